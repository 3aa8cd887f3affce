"""Refused: the request itself is not as it must be."""

from dataclasses import dataclass

from storage_proxy.core.errors.families import Refused


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
class PartUnusable(Refused):
    part: str
    reason: str

    def __str__(self) -> str:
        return f"The upload {self.part} cannot be a part of another one: {self.reason}."


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
class IdempotencyKeyReused(Refused):
    def __str__(self) -> str:
        return "This Idempotency-Key was sent with another request before; send a new one for each upload."


@dataclass(eq=False)
class VolumeTooSmall(Refused):
    size: int
    total: int
    reserve: int

    def __str__(self) -> str:
        kept = f", {self.reserve} of them kept free" if self.reserve else ""
        return f"An upload of {self.size} bytes can never fit: the volume has {self.total}{kept}. Send a smaller file."


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
