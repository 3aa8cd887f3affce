"""Locks that exclude threads, processes and, over NFS, other machines.

Rules: open-file-description locks only. A POSIX lock of the same process vanishes when *any* descriptor of the file is
closed anywhere in it, and does not exclude its threads; flock is the same lock as POSIX's over NFS, for the whole file,
so there could not be two regions. Never the blocking call: it cannot be given a deadline. A region is one byte of the
file; the file's content means nothing.
"""

import errno
import fcntl
import os
import random
import struct
import threading
import time
from types import TracebackType

from storage_proxy.core.errors import ShareFault
from storage_proxy.ports import LockTimeout, Region

PAUSE_SECONDS_MIN = 0.001
PAUSE_SECONDS_MAX = 0.020

# struct flock of 64-bit Linux: l_type, l_whence, (4 bytes of padding), l_start, l_len, l_pid, (4 bytes of padding).
# l_pid must be 0 for these locks.
_FLOCK = struct.Struct("@hhqqi4x")

_HELD = frozenset({errno.EACCES, errno.EAGAIN})


class PosixHeldLock:
    """See `ports.HeldLock`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._mutex = threading.Lock()

    def release(self) -> None:
        with self._mutex:
            fd, self.fd = self.fd, -1
        if fd >= 0:
            try:
                # The last close of the description gives the lock back; unlocking first would be one more question.
                os.close(fd)
            except OSError:
                pass

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        # The last resort for a lock that was got when its caller had gone: it would be held until the process ends.
        self.release()


def take_lock(path: str, region: Region, seconds: float) -> PosixHeldLock:
    """OSError where the file cannot be opened; ShareFault where it cannot be locked; LockTimeout."""
    deadline = time.monotonic() + seconds
    while True:
        # From here on the descriptor has an owner that closes it, whatever happens.
        held = PosixHeldLock(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            _wait(held.fd, region, deadline)
            if _still_has_a_name(held.fd):
                return held
        except BaseException:
            held.release()
            raise
        # Somebody reaped the upload while this call was waiting; a lock on a file without a name excludes nobody.
        held.release()


def _wait(fd: int, region: Region, deadline: float) -> None:
    pause = PAUSE_SECONDS_MIN
    while not _try_lock(fd, region):
        left = deadline - time.monotonic()
        if left <= 0:
            raise LockTimeout(region.name)
        # Jitter, so that waiters of several replicas do not knock in step.
        time.sleep(min(left, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - no secret hangs on it
        pause = min(pause * 1.5, PAUSE_SECONDS_MAX)


def _try_lock(fd: int, region: Region) -> bool:
    request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, int(region), 1, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno == errno.EINVAL:
            raise ShareFault("lock", "this mount has no open-file-description locks") from error
        if error.errno == errno.ENOLCK:
            raise ShareFault(
                "lock", "this mount gives no locks (mounted with nolock, or the server has none)"
            ) from error
        raise
    return True


def _still_has_a_name(fd: int) -> bool:
    try:
        # Over NFS taking a lock drops the cached attributes, so this asks the server.
        return os.fstat(fd).st_nlink > 0
    except OSError as error:
        if error.errno == errno.ESTALE:
            return False
        raise
