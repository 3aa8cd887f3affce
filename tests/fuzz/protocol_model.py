"""What TUS says must become of an upload, in memory: the small truth that the service is compared with.

Rules: it knows no more than a client could; where the protocol leaves a choice, the model takes over what HEAD says and
checks that it is one of the possible.
"""

import hashlib
import random
from base64 import b64encode
from dataclasses import dataclass, field
from enum import Enum

MISSING, KNOWN, UNKNOWN = range(3)
"""of a byte: not acknowledged; acknowledged, and what it is; acknowledged, but wild bytes may have become it"""

_STREAM = random.Random("what uploads consist of").randbytes(4 << 20)


class Phase(Enum):
    OPEN = "open"
    WHOLE = "whole"
    """a part, with all of its bytes"""
    WAITING = "waiting"
    """a final upload, for its parts"""
    DONE = "published"
    FAILED = "failed"
    """it is not what was declared"""
    FORSAKEN = "forsaken"
    """a final upload, by one of its parts"""
    GONE = "terminated"


@dataclass(frozen=True)
class Declared:
    """The digest of a whole file, right or wrong."""

    algorithm: str
    """as Repr-Digest calls it"""
    digest: bytes

    @classmethod
    def of(cls, algorithm: str, content: bytes) -> "Declared":
        return cls(algorithm, hashlib.new(algorithm.replace("-", ""), content).digest())

    @property
    def member(self) -> str:
        return f"{self.algorithm}=:{b64encode(self.digest).decode()}:"

    def fits(self, content: bytes) -> bool:
        return Declared.of(self.algorithm, content) == self


@dataclass(eq=False)
class Upload:
    number: int
    path: str
    length: int | None
    any_order: bool
    part: bool = False
    declared: Declared | None = None
    created_with: dict[str, str] = field(default_factory=dict)
    """by those that may be created once more"""
    phase: Phase = Phase.OPEN
    data: bytearray = field(default_factory=bytearray)
    mask: bytearray = field(default_factory=bytearray)
    blurred: bool = False
    """what lies behind a gap is not known: only what HEAD says counts"""

    def __repr__(self) -> str:
        """As hypothesis prints it: no bytes."""
        return f"<upload {self.number}: {self.phase.value} at {self.prefix} of {self.length}>"

    def bytes_at(self, offset: int, size: int) -> bytes:
        """The right ones: each place of each upload has its own, always the same."""
        begin = self.number * 977 % 4096 + offset
        return _STREAM[begin : begin + size]

    @property
    def prefix(self) -> int:
        gap = self.mask.find(MISSING)
        return len(self.mask) if gap < 0 else gap

    @property
    def was_whole(self) -> bool:
        return self.length is not None and self.prefix == self.length

    @property
    def reach(self) -> int:
        """behind the last byte that is there"""
        return len(self.mask.rstrip(bytes([MISSING])))

    def holds(self, offset: int, size: int) -> bool:
        """Every byte there is known."""
        held = self.mask[offset : offset + size]
        return len(held) == size and held == bytes([KNOWN]) * size

    def put(self, offset: int, body: bytes, what: int = KNOWN) -> None:
        end = offset + len(body)
        for buffer in (self.data, self.mask):
            buffer.extend(bytes(max(0, end - len(buffer))))
        self.data[offset:end] = body
        self.mask[offset:end] = bytes([what]) * len(body)
        self.complete()

    def complete(self) -> None:
        if self.phase is Phase.OPEN and self.length is not None and self.prefix == self.length:
            # Wild bytes are not those that were declared.
            right = self.declared is None or self.declared.fits(bytes(self.data))
            self.phase = Phase.WHOLE if self.part else Phase.DONE if right else Phase.FAILED

    def found_at(self, offset: int) -> None:
        """HEAD says so after something wild: all that was there is there, and what came is anybody's guess."""
        assert offset >= self.prefix, f"{self} has shrunk to {offset}"
        for buffer in (self.data, self.mask):
            buffer.extend(bytes(max(0, offset - len(buffer))))
        for place in range(self.prefix, offset):
            if self.mask[place] == MISSING:
                self.data[place], self.mask[place] = ord("?"), UNKNOWN
        self.complete()

    def anything_behind(self) -> None:
        """Wild bytes may also lie behind a gap, where HEAD does not show them."""
        self.blurred = True

    def fits(self, content: bytes) -> bool:
        return _fits(bytes(self.data), bytes(self.mask), content)


@dataclass(eq=False)
class Final:
    """An upload that joins others."""

    path: str
    text: str
    """Upload-Concat as it was sent"""
    parts: tuple[Upload, ...]
    phase: Phase = Phase.WAITING

    def __repr__(self) -> str:
        return f"<final upload: {self.phase.value}, of {list(self.parts)}>"

    @property
    def length(self) -> int | None:
        lengths = [part.length for part in self.parts if part.length is not None]
        return sum(lengths) if len(lengths) == len(self.parts) else None

    @property
    def could_be(self) -> set[Phase]:
        """Next, if it waits. A part that ended may have been taken before, if it was whole; nobody outside knows."""
        if all(part.phase is Phase.WHOLE for part in self.parts):
            return {Phase.DONE}
        if any(part.phase is Phase.GONE and not part.was_whole for part in self.parts):
            return {Phase.FORSAKEN}
        if any(part.phase is Phase.GONE for part in self.parts):
            all_were = all(part.phase is Phase.WHOLE or part.was_whole for part in self.parts)
            return {Phase.FORSAKEN, Phase.DONE if all_were else Phase.WAITING}
        return {Phase.WAITING}

    def fits(self, content: bytes) -> bool:
        data, mask = (b"".join(bytes(buffer) for buffer in buffers) for buffers in self._buffers)
        return _fits(data, mask, content)

    @property
    def _buffers(self) -> tuple[list[bytearray], list[bytearray]]:
        return [part.data for part in self.parts], [part.mask for part in self.parts]


def _fits(data: bytes, mask: bytes, content: bytes) -> bool:
    if mask.count(KNOWN) == len(mask):
        return content == data
    return len(content) == len(data) and all(
        mine == theirs or what != KNOWN for mine, theirs, what in zip(data, content, mask, strict=True)
    )


class Takes(Enum):
    NOTHING = "nothing"
    SOME = "any beginning of what fits"
    ALL = "all"


@dataclass(frozen=True)
class Expected:
    """Of an append that has nothing wrong with it but, perhaps, its place."""

    status: int
    takes: Takes = Takes.NOTHING


REFUSED_IN = {Phase.GONE: 404, Phase.FAILED: 422}
"""whatever an append is like"""


def expect(upload: Upload, offset: int, size: int, declared: int | None, *, chunked: bool) -> Expected:
    if upload.phase in REFUSED_IN:
        return Expected(REFUSED_IN[upload.phase])
    if not upload.any_order and offset != upload.prefix:
        return Expected(409)
    length = upload.length if upload.length is not None else declared
    if length is not None and (offset > length or offset + size > length):
        # Without Content-Length it is noticed only when there is one byte too many: what came before may be kept.
        return Expected(413, Takes.SOME if chunked and offset <= length else Takes.NOTHING)
    if upload.length is not None and declared not in (None, upload.length):
        return Expected(400)
    if upload.length is None and declared == upload.prefix and size and not upload.part:
        # All of it was there before: telling the length closes the upload, and a closed one takes no body.
        return Expected(423)
    return Expected(422 if ends_wrong(upload, offset, size) else 204, Takes.ALL)


def ends_wrong(upload: Upload, offset: int, size: int) -> bool:
    """The last bytes come, and with them it is not what was declared."""
    if upload.declared is None or not size or offset + size != upload.length:
        return False
    return not upload.declared.fits(bytes(upload.data[:offset]) + upload.bytes_at(offset, size))


def expect_of_the_draft(upload: Upload, offset: int, size: int, *, whole: bool, chunked: bool) -> Expected:
    """Resumable Uploads for HTTP. `whole`: the client says that these are the last bytes. 201 is any success."""
    if upload.phase in REFUSED_IN:
        return Expected(REFUSED_IN[upload.phase])
    if not upload.any_order and offset != upload.prefix:
        return Expected(409)
    end, late = offset + size, Takes.ALL if chunked else Takes.NOTHING
    if upload.length is not None and end > upload.length:
        return Expected(400, Takes.SOME if chunked and offset <= upload.length else Takes.NOTHING)
    if whole and (upload.reach > end or upload.length not in (None, end)):
        # Without Content-Length the end is known only when it is there.
        return Expected(400, late)
    return Expected(422 if ends_wrong(upload, offset, size) else 201, Takes.ALL)
