"""Bytes in files: staging a new one, and copying between two.

Rules: everything is written at a position that is known, never "at the end", so that a write that failed half-way can
be repeated. A descriptor is closed only when no thread is using it: its number would be given to another file, and a
thread that wakes late would write there.
"""

import ctypes
import errno
import os
import threading
from collections.abc import Sequence

from storage_proxy.adapters.errno_answers import asking
from storage_proxy.core.errors import ShareFault

# A sync waits for the disk, or the wire, for as long as it has been left idle: so that is told to begin earlier.
BEGIN_WRITING_BYTES = 1 << 20

# What the share copies in one go; meanwhile the last of it can be written.
COPY_BYTES = 16 << 20

# What writev takes in one call on Linux.
BUFFERS_MAX = 1024
PIECE = 1024 * 1024
# For manifests: a buffer that the allocator need not fetch from the kernel each time.
SMALL = 32 * 1024

# "Not between these two": other file systems, no support in kernel or share, a destination it does not like.
_COPY_BY_HAND = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF})


# Not in `os`; posix_fadvise(DONTNEED) does it as well, and throws pages out of the cache at some cost.
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong, ctypes.c_uint)
_SYNC_FILE_RANGE_WRITE = 2


def begin_writing_back(fd: int, offset: int, length: int) -> None:
    """Let the kernel start; whatever comes of it, the next sync tells."""
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, length, _SYNC_FILE_RANGE_WRITE)


def write_at(fd: int, buffers: Sequence[bytes | memoryview], position: int) -> int:
    """Write them all, whatever number the kernel takes at once; the position behind them."""
    waiting = [buffer for buffer in buffers if len(buffer)]
    first = 0
    while first < len(waiting):
        batch = waiting[first : first + BUFFERS_MAX]
        written = os.pwritev(fd, batch, position)
        if written == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        position += written
        for buffer in batch:
            if written < len(buffer):
                # Only after a short write: go on inside this buffer.
                waiting[first] = memoryview(buffer)[written:]
                break
            written -= len(buffer)
            first += 1
    return position


def read_at(fd: int, offset: int, length: int) -> bytes:
    pieces = []
    while length > 0:
        piece = os.pread(fd, min(length, 16 * PIECE), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def read_whole(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, SMALL):
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def copy_range(source: int, source_offset: int, destination: int, offset: int, length: int, *, sync: bool) -> int:
    """By the share itself where it can: on NFS 4.2 not a byte crosses the wire, on a reflink server none is copied.

    `sync`: it will be synced; see `begin_writing_back`."""
    copied = 0
    try:
        while copied < length:
            count = min(length - copied, COPY_BYTES)
            moved = os.copy_file_range(source, destination, count, source_offset + copied, offset + copied)
            if moved == 0:
                break
            if sync:
                begin_writing_back(destination, offset + copied, moved)
            copied += moved
    except OSError as error:
        if error.errno not in _COPY_BY_HAND:
            raise
    # By hand: all of it where the share cannot. After a 0 from above it only confirms that the source ends here, as
    # some file systems say 0 when they mean "not between these two".
    while copied < length:
        piece = os.pread(source, min(PIECE, length - copied), source_offset + copied)
        if not piece:
            break
        write_at(destination, [piece], offset + copied)
        copied += len(piece)
    return copied


class PosixStagedFile:
    """See `ports.StagedFile`.

    The kernel tells a descriptor once of a page that it could not write back, and calls the page clean then. Over NFS
    it may tell a `write`, of pages that earlier ones had taken; a sync afterwards says that all is well. So a sync
    counts only where nothing on this descriptor has ever failed, nor what was under way beside it. Decision 0025.
    """

    def __init__(self, fd: int, sync: bool) -> None:
        self.inode_number = os.fstat(fd).st_ino
        self._fd = fd
        self._sync = sync
        self._position = 0
        self._begun = 0
        """up to where writing to the disk was begun"""
        self._trouble: OSError | None = None
        """the first of any call"""
        self._mutex = threading.Lock()
        self._ended = threading.Condition(self._mutex)
        self._running: set[str] = set()
        self._writes_ended = 0
        self._closing = False

    def write(self, buffers: Sequence[bytes]) -> None:
        with asking("write"):
            fd = self._begin("write")
            try:
                self._position = write_at(fd, buffers, self._position)
                self._begin_writing(fd)
            except OSError as error:
                self._note(error)
                self._forget_half()
                raise
            finally:
                self._end("write")

    def _begin_writing(self, fd: int) -> None:
        """Only begin: what was begun is not durable, and its failure is the next sync's to tell."""
        if self._sync and self._position - self._begun >= BEGIN_WRITING_BYTES:
            begin_writing_back(fd, self._begun, self._position - self._begun)
            self._begun = self._position

    def sync(self) -> None:
        if self._trouble is not None:
            raise ShareFault(operation="sync", reason="an earlier write or sync of this file failed")
        with asking("sync"):
            fd = self._begin("sync")
            try:
                if self._sync:
                    # fdatasync: it covers the size, too, and spares the times.
                    os.fdatasync(fd)
                self._wait_for_write()
                if self._trouble is not None:
                    raise self._trouble
            except OSError as error:
                self._note(error)
                raise
            finally:
                self._end("sync")

    def close(self) -> None:
        with self._mutex:
            self._closing = True
            if not self._running:
                self._close_now()

    def _note(self, error: OSError) -> None:
        # Its fields, not itself: that one's traceback would hold the buffers.
        self._trouble = self._trouble or OSError(error.errno, error.strerror)

    def _wait_for_write(self) -> None:
        """For the one that is under way, which may have been told already what the sync should have been; not for
        those that begin now, as they have been told nothing of before."""
        with self._ended:
            if "write" in self._running:
                ended = self._writes_ended
                self._ended.wait_for(lambda: self._writes_ended != ended)

    def _begin(self, operation: str) -> int:
        with self._mutex:
            if self._closing or operation in self._running:
                reason = "the file is closed" if self._closing else "an earlier call on this file still hangs"
                raise ShareFault(operation=operation, reason=reason)
            self._running.add(operation)
            return self._fd

    def _end(self, operation: str) -> None:
        with self._ended:
            self._running.discard(operation)
            self._writes_ended += operation == "write"
            self._ended.notify_all()
            if self._closing and not self._running:
                self._close_now()

    def _close_now(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError:
                # NFS writes back on close and reports here. What was synced cannot fail any more, and of the rest
                # nothing was promised; the descriptor is free in any case.
                pass

    def _forget_half(self) -> None:
        try:
            # It frees space when the share is full, and what an earlier sync has covered stays.
            os.ftruncate(self._fd, self._position)
        except OSError:
            pass

    def __del__(self) -> None:
        # The last resort for a call whose caller had gone when it came back.
        self.close()
