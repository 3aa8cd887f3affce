"""Refused: the upload is not in a state for it."""

from dataclasses import dataclass

from storage_proxy.core.errors.families import Refused


@dataclass(eq=False)
class UploadNotFound(Refused):
    upload: str

    def __str__(self) -> str:
        return f"There is no upload {self.upload!r}; create one and send from the start."


@dataclass(eq=False)
class UploadGone(Refused):
    upload: str
    reason: str

    def __str__(self) -> str:
        return f"The upload {self.upload} is gone: {self.reason}. Create a new one."


@dataclass(eq=False)
class NotFinished(Refused):
    prefix: int
    length: int | None

    def __str__(self) -> str:
        of = "" if self.length is None else f" of {self.length}"
        return f"The upload stands at byte {self.prefix}{of}; its file can be fetched once it is finished."


@dataclass(eq=False)
class FinalTakesNoBytes(Refused):
    upload: str

    def __str__(self) -> str:
        return f"The upload {self.upload} joins others and takes no bytes itself; send them to its parts."


@dataclass(eq=False)
class PartHasNoFile(Refused):
    upload: str

    def __str__(self) -> str:
        return f"The upload {self.upload} is a part; join it with Upload-Concat: final, and fetch the file of that."


@dataclass(eq=False)
class OffsetMismatch(Refused):
    expected: int
    received: int

    def __str__(self) -> str:
        return f"The upload stands at byte {self.expected}, the request starts at {self.received}; go on from there."


@dataclass(eq=False)
class ChunkConflict(Refused):
    """Bytes that differ from what is already promised; `prefix` is where a sequential client goes on."""

    start: int
    end: int
    prefix: int

    def __str__(self) -> str:
        return (
            f"Bytes {self.start} to {self.end} are already stored and differ from the ones sent; "
            f"nothing was changed. Ask HEAD where to go on (byte {self.prefix})."
        )


@dataclass(eq=False)
class AppendSuperseded(Refused):
    """Another append carried this upload on while this one stood still."""

    prefix: int

    def __str__(self) -> str:
        return f"Another request carried this upload on to byte {self.prefix}; go on from there."


@dataclass(eq=False)
class PiecesExhausted(Refused):
    reason: str
    prefix: int

    def __str__(self) -> str:
        return f"The upload's pieces {self.reason}; send only what is missing, from byte {self.prefix} on."


@dataclass(eq=False)
class TargetExists(Refused):
    path: str

    def __str__(self) -> str:
        return f"A file {self.path!r} exists already and may not be replaced; choose another name."


@dataclass(eq=False)
class PublishFailed(Refused):
    """The upload is in its `failed` phase: trying again cannot mend it, the bytes are kept."""

    reason: str

    def __str__(self) -> str:
        return f"The upload is complete but could not be published: {self.reason}. Its bytes are kept for the operator."


@dataclass(eq=False)
class HookRefused(Refused):
    """Somebody who was asked before said no."""

    hook: str
    message: str

    def __str__(self) -> str:
        return f"{self.message.rstrip(' .') or 'This is not allowed here'}."
