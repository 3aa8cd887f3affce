"""What is uploaded: bytes without end that are nowhere the same, held in memory once and sent from there.

Rules: the bytes repeat after a prime number of them, so that no block stands where another one of the same multiple of
two would be right: a server that mixes up its pieces is found by the hash. The file descriptor is for sendfile: the
kernel hands out these very pages, and this process never touches them again.
"""

import hashlib
import os
import random

# The largest prime below 64 MiB.
PERIOD = 67_108_859
_SEED = 20_261_120
_BLOCK = 1024 * 1024


class Content:
    """The same in every process that makes one."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("content")
        data = memoryview(random.Random(_SEED).randbytes(PERIOD))
        while data:
            data = data[os.write(self.fd, data) :]

    def send(self, socket_fd: int, offset: int, length: int) -> int:
        """Some of the bytes from there; how many."""
        place = offset % PERIOD
        return os.sendfile(socket_fd, self.fd, place, min(length, PERIOD - place))

    def read(self, offset: int, length: int) -> bytes:
        """For small pieces, which go with their headers in one call."""
        place = offset % PERIOD
        piece = os.pread(self.fd, length, place)
        return piece if len(piece) == length else piece + self.read(offset + len(piece), length - len(piece))

    def sha256(self, length: int, begin: int = 0) -> str:
        """Of so many bytes from there."""
        whole = hashlib.sha256()
        for offset in range(begin, begin + length, _BLOCK):
            whole.update(self.read(offset, min(_BLOCK, begin + length - offset)))
        return whole.hexdigest()
