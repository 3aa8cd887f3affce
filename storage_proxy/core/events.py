"""Frozen facts that listeners hear: logs, metrics, the operator's view; hooks tomorrow.

Rules: an event is about one upload, and is told after it has become durable, by the operation that made it so. Any
other fact is told when it is known. Both hold plain values only.
"""

from dataclasses import dataclass

from storage_proxy.core.manifest import UploadId


@dataclass(frozen=True, slots=True)
class Fact:
    """Anything that listeners hear."""


# ---- about one upload ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event(Fact):
    upload: UploadId


@dataclass(frozen=True, slots=True)
class UploadCreated(Event):
    length: int | None
    target: str


@dataclass(frozen=True, slots=True)
class ChunkCommitted(Event):
    """A checkpoint, or the end of an append (`sealed`)."""

    offset: int
    length: int
    prefix: int
    sealed: bool
    fresh: int = 0
    """how many of the bytes no earlier commit of this append had promised"""
    seconds: float = 0.0
    """from the wish to commit to the answer: waiting for a turn and for the lock, syncing, and the change itself"""


@dataclass(frozen=True, slots=True)
class ChunkDiscarded(Event):
    """A body that added nothing, or that was refused."""

    offset: int
    length: int
    reason: str


@dataclass(frozen=True, slots=True)
class AppendEnded(Event):
    """A body is over, however it ended; what it has delivered was told by the facts above."""

    offset: int
    received: int
    seconds: float
    ending: str | None = None
    """the error that its client was told; `AppendSuperseded` is a takeover by a newer request"""


@dataclass(frozen=True, slots=True)
class FenceContended(Event):
    """A change met another writer in spite of the lock: it lost a revision, or carried a decided one through."""

    conflicts: int
    helped: int


@dataclass(frozen=True, slots=True)
class UploadClosed(Event):
    length: int


@dataclass(frozen=True, slots=True)
class AssemblyAdvanced(Event):
    through: int
    copied: int


@dataclass(frozen=True, slots=True)
class UploadPublished(Event):
    path: str
    length: int
    seconds: float = 0.0
    """since the last byte was committed"""


@dataclass(frozen=True, slots=True)
class PublishRefused(Event):
    reason: str


@dataclass(frozen=True, slots=True)
class PublishRetried(Event):
    """A person has mended what stood in the way."""


@dataclass(frozen=True, slots=True)
class UploadTerminated(Event):
    prefix: int


@dataclass(frozen=True, slots=True)
class UploadExpired(Event):
    prefix: int


@dataclass(frozen=True, slots=True)
class UploadReaped(Event):
    """The marker of an upload that had ended is gone, too."""


@dataclass(frozen=True, slots=True)
class LeftoversSwept(Event):
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CarryOnFailed(Event):
    """Background work on a closed upload stopped short; whoever meets the upload next tries again."""

    error: str
    fault: str = ""
    """the error's class"""


@dataclass(frozen=True, slots=True)
class NoticesWaiting(Event):
    """Somebody is to be told something; who met the upload says so."""


@dataclass(frozen=True, slots=True)
class NoticeDelivered(Event):
    number: int
    kind: str


@dataclass(frozen=True, slots=True)
class NoticeDelayed(Event):
    """Its receiver did not take it; it is tried again."""

    number: int
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class NoticeDropped(Event):
    """Its receiver has not taken it for so long that it is given up."""

    number: int
    kind: str
    reason: str


# ---- about a volume, or this replica -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestAnswered(Fact):
    route: str
    """the template of the path; empty where there is nothing at the path"""
    method: str
    status: int
    seconds: float
    problem: str | None = None
    """the error's class, or `Incident`"""


@dataclass(frozen=True, slots=True)
class VolumeSurveyed(Fact):
    """What the janitor found on its round."""

    volume: str
    phases: tuple[tuple[str, int], ...]
    owed: int
    """bytes that open uploads of known length may still bring"""
    unassembled: int
    """promised bytes of unfinished uploads that are not in their one file yet"""
    seconds: float
    oldest_closed_seconds: float = 0.0
    """since the last byte of the oldest upload that is whole and not published; 0: there is none"""


@dataclass(frozen=True, slots=True)
class VolumeProbed(Fact):
    volume: str
    reason: str | None
    """why it is not ready; None: it is"""
    free: int | None
    total: int | None


@dataclass(frozen=True, slots=True)
class VolumeTurned(Fact):
    """A volume that was ready is so no more, or is so again."""

    volume: str
    reason: str | None
