"""The record of one upload: an immutable value, and what can be read off it.

Rules: what can be computed (the committed prefix, the gaps, progress) is never stored. A manifest changes only by a
function of `core/transitions.py`, and becomes durable only through `store/manifests.py`. The text on disk is
`store/info_json.py`'s; a field added here is a field added there.
"""

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum

from storage_proxy.core import extents
from storage_proxy.core.errors import UploadNotFound
from storage_proxy.core.extents import Coverage, Extent
from storage_proxy.core.target import Target


class Phase(StrEnum):
    """Where an upload is in its life; what may happen in which phase stands at the top of `transitions.py`."""

    OPEN = "open"
    WHOLE = "whole"
    """a part, every byte of which is committed: it stays as it is, for final uploads to join"""
    WAITING = "waiting"
    """a final upload that does not hold the bytes of all its parts yet"""
    CLOSED = "closed"
    """every byte is committed; the file is not at its target yet"""
    PUBLISHING = "publishing"
    """the finished file has a name and an inode; only the atomic step and its record are left"""
    PUBLISHED = "published"
    FAILED = "failed"
    """cannot be published and trying again cannot mend it; the bytes stay"""
    TERMINATED = "terminated"
    EXPIRED = "expired"


class Order(StrEnum):
    SEQUENTIAL = "sequential"
    ANY = "any"


class Policy(StrEnum):
    """What publishing does when the target's name is taken."""

    REFUSE = "refuse"
    REPLACE = "replace"
    KEEP_BOTH = "keep-both"


_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class UploadId:
    """A volume and 32 hex digits: any replica finds the upload by it, and asks no other volume."""

    volume: str
    key: str

    def __post_init__(self) -> None:
        if not self.volume or not _UPLOAD_ID.fullmatch(self.key):
            raise UploadNotFound(upload=f"{self.volume}.{self.key}"[:80])

    def __str__(self) -> str:
        return f"{self.volume}.{self.key}"

    @classmethod
    def parse(cls, text: str) -> "UploadId":
        volume, _, key = text.rpartition(".")
        return cls(volume, key)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A file that holds one extent from its first byte on. Not sealed: a writer may still be adding to the file."""

    offset: int
    length: int
    sha256: str
    file: str
    sealed: bool

    @property
    def extent(self) -> Extent:
        return Extent(self.offset, self.offset + self.length)


@dataclass(frozen=True, slots=True)
class Assembly:
    """The one file that becomes the upload's; its first `through` bytes are synced and final."""

    file: str
    through: int


SHA_256, SHA_512 = "sha-256", "sha-512"
"""as RFC 9530 calls them"""


@dataclass(frozen=True, slots=True)
class Digest:
    """Of a whole file; `value` in hex digits."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """By what a creation that is sent again is known, and by what it is known to be the same; both in hex digits."""

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Publication:
    """The name that was chosen, and the inode by which any replica knows whether it is ours."""

    path: str
    inode: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that others are to be told and have not been told yet; see `core/notices.py`."""

    number: int
    kind: str
    at: float
    offset: int
    """the committed prefix at that moment"""


@dataclass(frozen=True, slots=True)
class Part:
    """What only a part has (Upload-Concat: partial): it has no target, and final uploads take its bytes."""

    awaited_by: tuple[str, ...] = ()
    """keys of the final uploads that are to be carried on when it is whole"""
    joined: bool = False
    """a final upload has taken its bytes: it is kept for a while, to be used once more"""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part in the list of a final upload."""

    key: str
    length: int | None = None
    file: str | None = None
    """the final upload's own link to the part's one file, until the chunks name it"""

    @property
    def taken(self) -> bool:
        return self.file is not None or self.length == 0


@dataclass(frozen=True, slots=True)
class Final:
    """What only a final upload has: the parts that it joins, in order, on its own volume. One may be there twice."""

    text: str
    """Upload-Concat exactly as it came, to be echoed"""
    pieces: tuple[Piece, ...]

    def without_files(self) -> "Final":
        return Final(self.text, tuple(replace(piece, file=None) for piece in self.pieces))


@dataclass(frozen=True, slots=True)
class Manifest:
    upload: UploadId
    revision: int
    phase: Phase
    length: int | None
    order: Order
    policy: Policy
    target: Target
    metadata: str = ""
    """Upload-Metadata exactly as it came, to be echoed"""
    subdirectory: str | None = None
    """the `dst_dir` of a session, fixed by the first append that names one"""
    declared: tuple[Digest, ...] = ()
    """what the client says the whole file's digests are; it is published only if they are"""
    sha256: str | None = None
    """of the whole file as it was announced, where it was verified, or known without reading the file"""
    chunks: tuple[Chunk, ...] = ()
    received: int = 0
    """how many chunks were ever accepted, folded ones included"""
    assembly: Assembly | None = None
    publication: Publication | None = None
    reason: str | None = None
    """why the phase is `failed`"""
    repeat: Repeat | None = None
    """the Idempotency-Key of its creation"""
    condemned: tuple[str, ...] = ()
    """chunk files swept because their writers seemed dead; a writer that wakes may not commit them"""
    notices: tuple[Notice, ...] = ()
    notices_made: int = 0
    """how many there ever were: the number of the latest"""
    part: Part | None = None
    final: Final | None = None
    created_at: float = 0.0
    changed_at: float = 0.0
    expires_at: float | None = None
    _coverage: Coverage | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def coverage(self) -> Coverage:
        """Every byte that is promised."""
        if self._coverage is None:
            # Of thousands of pieces that is much to compute, and each request asks for it again and again. No change of
            # the record: it only remembers what follows from it.
            object.__setattr__(self, "_coverage", self._computed_coverage())
        assert self._coverage is not None
        return self._coverage

    def _computed_coverage(self) -> Coverage:
        if self.phase is Phase.PUBLISHED:
            return extents.merge((Extent(0, self.length or 0),))
        held = [chunk.extent for chunk in self.chunks]
        if self.assembly is not None:
            held.append(Extent(0, self.assembly.through))
        return extents.merge(held)

    @property
    def prefix(self) -> int:
        """The committed prefix: what Upload-Offset may say."""
        return extents.prefix(self.coverage)

    @property
    def missing(self) -> Coverage:
        """The gaps; for an upload of unknown length, those below its highest byte."""
        coverage = self.coverage
        end = self.length if self.length is not None else (coverage[-1].end if coverage else 0)
        return extents.gaps(coverage, Extent(0, end))

    @property
    def owed(self) -> int:
        """How many bytes are still to come, as far as that is known."""
        if self.phase is not Phase.OPEN or self.length is None:
            return 0
        return self.length - sum(extent.length for extent in self.coverage)

    @property
    def assembled(self) -> int:
        if self.phase is Phase.PUBLISHED:
            return self.length or 0
        return self.assembly.through if self.assembly else 0

    @property
    def digests(self) -> tuple[Digest, ...]:
        """What may be told of the whole file: what was declared, and what is known."""
        known = () if self.sha256 is None else (Digest(SHA_256, self.sha256),)
        return tuple(dict.fromkeys((*known, *self.declared)))

    @property
    def progress_percent(self) -> float:
        if self.length is None:
            return 0.0
        # Rounded down: 100 must mean all of it.
        return 100.0 if self.length == 0 else (self.prefix * 10_000 // self.length) / 100

    @property
    def files(self) -> frozenset[str]:
        """Every data file in the upload's directory that the manifest still needs."""
        held = {chunk.file for chunk in self.chunks}
        if self.assembly is not None:
            held.add(self.assembly.file)
        if self.final is not None:
            held.update(piece.file for piece in self.final.pieces if piece.file is not None)
        return frozenset(held)
