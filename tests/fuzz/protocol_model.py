"""What TUS says must become of an upload, in memory: the small truth that the service is compared with.

Rules: it knows no more than a client could; where the protocol leaves a choice, the model takes over what HEAD says and
checks that it is one of the possible.
"""

import random
from dataclasses import dataclass, field
from enum import Enum

MISSING, KNOWN, UNKNOWN = range(3)
"""of a byte: not acknowledged; acknowledged, and what it is; acknowledged, but wild bytes may have become it"""

_STREAM = random.Random("what uploads consist of").randbytes(1 << 17)


class Phase(Enum):
    OPEN = "open"
    DONE = "published"
    GONE = "terminated"


@dataclass(eq=False)
class Upload:
    number: int
    path: str
    length: int | None
    any_order: bool
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
            self.phase = Phase.DONE

    def found_at(self, offset: int) -> None:
        """HEAD says so after something wild: all that was there is there, and what came is anybody's guess."""
        assert offset >= self.prefix, f"{self} has shrunk to {offset}"
        for place in range(self.prefix, offset):
            if place >= len(self.mask) or self.mask[place] == MISSING:
                self.put(place, b"?", UNKNOWN)
        self.complete()

    def anything_behind(self) -> None:
        """Wild bytes may also lie behind a gap, where HEAD does not show them."""
        self.blurred = True

    def fits(self, content: bytes) -> bool:
        return len(content) == len(self.data) and all(
            mine == theirs or what != KNOWN for mine, theirs, what in zip(self.data, content, self.mask, strict=True)
        )


@dataclass(frozen=True)
class Expected:
    """Of an append that has nothing wrong with it but, perhaps, its place."""

    status: int
    takes: bool = False


def expect(upload: Upload, offset: int, size: int, declared: int | None, *, chunked: bool) -> Expected:
    if upload.phase is Phase.GONE:
        return Expected(404)
    if not upload.any_order and offset != upload.prefix:
        return Expected(409)
    length = upload.length if upload.length is not None else declared
    if length is not None and (offset > length or offset + size > length):
        # Without Content-Length it is noticed only when there is one byte too many: what came before may be kept.
        return Expected(413, takes=chunked and offset <= length)
    if upload.length is not None and declared not in (None, upload.length):
        return Expected(400)
    if upload.length is None and declared == upload.prefix and size:
        # All of it was there before: telling the length closes the upload, and a closed one takes no body.
        return Expected(423)
    return Expected(204, takes=True)
