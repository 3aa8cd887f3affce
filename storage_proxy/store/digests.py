"""Digests that are computed while bytes pass by: what a request or a file may name, and what each is made with."""

import hashlib
import threading
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol

from storage_proxy.core.manifest import SHA_256, SHA_512


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


# What may wait to be hashed while its adder goes on; more would leave the processor's cache.
ASIDE_PIECES_MAX = 8

# A helper leaves when nothing has come for so long: its adder may be in a call of the share that hangs, and the end of
# the process would wait for it.
ASIDE_SECONDS = 1.0


class Aside:
    """Hashes what is added, in order, in the thread of a helper where one comes, and otherwise in the adder's own.

    Receiving and writing take about as long as hashing: side by side, one large upload goes nearly twice as fast.
    Pieces are added in its context; when that ends, everything is hashed.
    """

    def __init__(self, update: Callable[[bytes], None]) -> None:
        self._update = update
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._helped = False
        self._finished = False

    def help(self) -> None:
        """In another thread, until the context ends."""
        with self._changed:
            self._helped = not self._finished
            while self._helped:
                if self._waiting:
                    piece = self._waiting[0]
                    self._changed.release()
                    try:
                        self._update(piece)
                    finally:
                        self._changed.acquire()
                    self._waiting.popleft()
                elif self._finished or not self._changed.wait(ASIDE_SECONDS):
                    self._helped = False
                self._changed.notify_all()

    def add(self, piece: bytes) -> None:
        with self._changed:
            self._waiting.append(piece)
            self._changed.notify_all()
            while self._helped and len(self._waiting) > ASIDE_PIECES_MAX:
                self._changed.wait()
            self._hash_unless_helped()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._finished = True
            self._changed.notify_all()
            while self._helped:
                self._changed.wait()
            self._hash_unless_helped()

    def _hash_unless_helped(self) -> None:
        while self._waiting and not self._helped:
            self._update(self._waiting.popleft())


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


# sha1 is a must of the checksum extension, md5 and crc32 are what some clients have; none of them guards a secret.
_MAKERS: Mapping[str, Callable[[], Digest]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "crc32": _Crc32,
}

ALGORITHMS = tuple(_MAKERS)
"""for `Upload-Checksum`"""

WHOLE_FILE: Mapping[str, Callable[[], "hashlib._Hash"]] = {SHA_256: hashlib.sha256, SHA_512: hashlib.sha512}
"""for whole files; a hash that can be copied and goes on"""


def start(algorithm: str) -> Digest:
    return _MAKERS[algorithm]()
