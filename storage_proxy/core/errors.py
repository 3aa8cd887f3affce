"""Everything that can be refused or go wrong, in four families by who must act.

    StorageProxyError
    ├── Refused        the client must change its request            logged as info
    ├── Contended      nobody is wrong; the client comes again       logged as info
    ├── Unavailable    the operator should look                      logged as warning
    └── Corrupt        what was promised is not there; never         logged as error
                       repaired in silence, never deleted

Rules: a class holds facts, `__str__` makes the sentence that tells what to do, and none knows HTTP. Only leaves are
raised. Which status a leaf gets stands in one table, `server/problems.py`, and a test holds the two together.
"""

from dataclasses import dataclass


@dataclass(eq=False)
class StorageProxyError(Exception):
    """The root; never raised itself."""

    def __post_init__(self) -> None:
        # Without this, pickling and `repr` of an exception with fields lose them.
        super().__init__(*(getattr(self, name) for name in self.__dataclass_fields__))


class Refused(StorageProxyError): ...


class Contended(StorageProxyError): ...


class Unavailable(StorageProxyError): ...


class Corrupt(StorageProxyError): ...


# ---- Refused: the request itself ------------------------------------------------------------------------------------


@dataclass(eq=False)
class HeaderMissing(Refused):
    header: str
    expected: str

    def __str__(self) -> str:
        return f"The header {self.header} is missing; send {self.expected}."


@dataclass(eq=False)
class HeaderMalformed(Refused):
    header: str
    received: str
    expected: str

    def __str__(self) -> str:
        return f"The header {self.header} says {self.received!r}; send {self.expected}."


@dataclass(eq=False)
class ParameterMalformed(Refused):
    """A query parameter or a field of a JSON body."""

    parameter: str
    expected: str

    def __str__(self) -> str:
        return f"The parameter {self.parameter} is missing or malformed; send {self.expected}."


@dataclass(eq=False)
class ChecksumUnknown(Refused):
    algorithm: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return f"The checksum algorithm {self.algorithm!r} is not known here; use one of {', '.join(self.known)}."


@dataclass(eq=False)
class ChecksumMismatch(Refused):
    algorithm: str
    declared: str
    computed: str

    def __str__(self) -> str:
        return (
            f"The body's {self.algorithm} is {self.computed}, not {self.declared} as Upload-Checksum declares; "
            "it was discarded, send these bytes again."
        )


@dataclass(eq=False)
class LengthInconsistent(Refused):
    known: int
    declared: int

    def __str__(self) -> str:
        return f"The upload's length is {self.known} and cannot become {self.declared}; leave Upload-Length out."


@dataclass(eq=False)
class LengthExceeded(Refused):
    length: int
    reached: int

    def __str__(self) -> str:
        return f"The body would end at byte {self.reached}, but the upload is {self.length} bytes long; send no more."


@dataclass(eq=False)
class SizeExceeded(Refused):
    size: int
    size_max: int

    def __str__(self) -> str:
        return f"An upload of {self.size} bytes is over the limit of {self.size_max} bytes; send a smaller file."


@dataclass(eq=False)
class VersionUnsupported(Refused):
    received: str
    supported: tuple[str, ...]

    def __str__(self) -> str:
        return f"Tus-Resumable {self.received!r} is not spoken here; send {' or '.join(self.supported)}."


@dataclass(eq=False)
class MediaTypeUnsupported(Refused):
    received: str
    expected: str

    def __str__(self) -> str:
        return f"The Content-Type {self.received!r} is not accepted here; send {self.expected}."


@dataclass(eq=False)
class MethodUnsupported(Refused):
    method: str
    allowed: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method} is not possible here; use {', '.join(self.allowed)}."


@dataclass(eq=False)
class RangeUnsatisfiable(Refused):
    size: int

    def __str__(self) -> str:
        return f"The Range begins behind the end of the file; ask for a part of its {self.size} bytes."


# ---- Refused: access ------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class TokenRejected(Refused):
    reason: str

    def __str__(self) -> str:
        return f"The upload token is not valid: {self.reason}. Ask for a new one and go on with the same upload."


@dataclass(eq=False)
class KeyMissing(Refused):
    def __str__(self) -> str:
        return "This service needs a key; send it as 'Authorization: Bearer <key>'."


@dataclass(eq=False)
class KeyRejected(Refused):
    header: str

    def __str__(self) -> str:
        return f"The key in the header {self.header} is not one of this service's."


@dataclass(eq=False)
class TargetNotAllowed(Refused):
    path: str
    reason: str

    def __str__(self) -> str:
        return f"A file may not be stored as {self.path!r}: {self.reason}."


# ---- Refused: the state of the upload -------------------------------------------------------------------------------


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


# ---- Contended ------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class UploadBusy(Contended):
    def __str__(self) -> str:
        return "The upload is being changed by several at once, and others were first each time. Come again."


@dataclass(eq=False)
class NotYetPublished(Contended):
    assembled: int
    length: int

    def __str__(self) -> str:
        return f"All bytes are stored; the file is being assembled ({self.assembled} of {self.length}). Come again."


@dataclass(eq=False)
class AppendsExhausted(Contended):
    appends_max: int

    def __str__(self) -> str:
        return f"This replica is receiving {self.appends_max} bodies, its limit; come again."


@dataclass(eq=False)
class BodyBrokenOff(Contended):
    committed: int

    def __str__(self) -> str:
        return f"The body broke off; what had arrived is stored up to byte {self.committed}. Go on from there."


@dataclass(eq=False)
class BodyStalled(Contended):
    idle_seconds: float
    committed: int

    def __str__(self) -> str:
        return (
            f"No byte arrived for {self.idle_seconds:.0f} s, so the request was ended; what had arrived is stored "
            f"up to byte {self.committed}. Go on from there."
        )


# ---- Unavailable ----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class ShareFull(Unavailable):
    operation: str
    quota: bool

    def __str__(self) -> str:
        what = "The quota is used up" if self.quota else "The share is full"
        return f"{what} ({self.operation}); what was acknowledged is safe. Make room, then go on."


@dataclass(eq=False)
class ShareFault(Unavailable):
    operation: str
    reason: str

    def __str__(self) -> str:
        return f"The share did not do its work ({self.operation}: {self.reason}); what was acknowledged is safe."


@dataclass(eq=False)
class ShareStalled(Unavailable):
    volume: str
    seconds: float

    def __str__(self) -> str:
        return f"The volume {self.volume} has not answered for {self.seconds:.0f} s; come again."


@dataclass(eq=False)
class Draining(Unavailable):
    def __str__(self) -> str:
        return "This replica is shutting down; what had arrived is stored. Come again and another one goes on."


# ---- Corrupt --------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class ManifestUnreadable(Corrupt):
    upload: str
    reason: str

    def __str__(self) -> str:
        return f"The manifest of upload {self.upload} cannot be read: {self.reason}. Nothing was changed."


@dataclass(eq=False)
class ManifestTooNew(Corrupt):
    upload: str
    schema: int
    schema_known: int

    def __str__(self) -> str:
        return (
            f"Upload {self.upload} was written by a newer version (schema {self.schema}, this one knows "
            f"{self.schema_known}); upgrade this replica. Nothing was changed."
        )


@dataclass(eq=False)
class PromisedBytesMissing(Corrupt):
    upload: str
    file: str
    reason: str

    def __str__(self) -> str:
        return f"Bytes of upload {self.upload} that were promised are not in {self.file}: {self.reason}."
