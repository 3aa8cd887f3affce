"""Frozen facts that listeners hear: logs today, metrics and hooks tomorrow.

Rules: an event is told after it has become durable, by the operation that made it so; it holds plain values only.
"""

from dataclasses import dataclass

from storage_proxy.core.manifest import UploadId


@dataclass(frozen=True, slots=True)
class Event:
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


@dataclass(frozen=True, slots=True)
class ChunkDiscarded(Event):
    """A body that added nothing, or that was refused."""

    offset: int
    length: int
    reason: str


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


@dataclass(frozen=True, slots=True)
class PublishRefused(Event):
    reason: str


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
