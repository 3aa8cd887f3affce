"""Digests that are computed while bytes pass by: what a request or a file may name, and what each is made with."""

import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

from storage_proxy.core.manifest import SHA_256, SHA_512


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


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
