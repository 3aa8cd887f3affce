"""What the simulated file system hands out: staged files, held locks, open targets.

Rules: closing and giving back never fail and are never refused, except by death: so does the real thing, which learns
nothing from a close that it had not learnt from a sync.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from types import TracebackType

from storage_proxy.core.errors import ShareFault
from storage_proxy.testing.mount import Mount
from storage_proxy.testing.share import Inode


class SimulatedStagedFile:
    """See `ports.StagedFile`."""

    def __init__(self, mount: Mount, path: str, inode: Inode) -> None:
        self.inode = inode
        self.inode_number = inode.number
        self.closed = False
        self._mount = mount
        self._path = path
        self._position = 0
        self._failed = False

    def write(self, buffers: Sequence[bytes]) -> None:
        def write() -> None:
            self._refuse_closed("write")
            piece = b"".join(buffers)
            self._mount.write("write", self.inode, self._position, piece)
            self._position += len(piece)

        try:
            self._mount.call("staged.write", (self._path,), write)
        except Exception:
            # It may tell of what earlier ones have written, as over NFS, and then no sync tells of that again.
            if not self.closed:
                self.fail()
            raise

    def sync(self) -> None:
        def sync() -> None:
            self._refuse_closed("sync")
            self.inode.sync(self._mount.replica)

        if self._failed:
            raise ShareFault(operation="sync", reason="an earlier write or sync of this file failed")
        try:
            self._mount.call("staged.sync", (self._path,), sync)
        except Exception:
            self.fail()
            raise

    def fail(self) -> None:
        self._failed = True
        self.inode.lose_unsynced(self._mount.replica)

    def close(self) -> None:
        if self.closed:
            return
        try:
            with suppress(Exception):
                self._mount.call("staged.close", (self._path,), lambda: None)
        finally:
            self._mount.drop_open(self)

    def _refuse_closed(self, operation: str) -> None:
        if self.closed:
            raise ShareFault(operation=operation, reason="the file is closed")


class SimulatedHeldLock:
    """See `ports.HeldLock`."""

    def __init__(self, mount: Mount, path: str, key: tuple[int, int]) -> None:
        self.mount = mount
        self.key = key
        self._path = path

    def release(self) -> None:
        try:
            with suppress(Exception):
                self.mount.call("lock.release", (self._path,), lambda: None)
        finally:
            with self.mount.share.mutex:
                # Only if it is still ours: a lease may have run out, and somebody else may hold it by now.
                if self.mount.share.holder(self.key) is self:
                    del self.mount.share.locks[self.key]

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class SimulatedOpenTarget:
    """See `ports.OpenTarget`."""

    def __init__(self, mount: Mount, path: str, inode: Inode) -> None:
        self.entry = mount.entry(inode)
        self._mount = mount
        self._path = path
        self._inode = inode

    async def read(self, offset: int, length: int) -> AsyncIterator[bytes]:
        def read() -> bytes:
            return self._mount.view(self._inode)[offset : offset + length]

        piece = self._mount.call("target.read", (self._path,), read)
        if piece:
            yield piece

    async def close(self) -> None:
        return None
