"""One replica's mount of the simulated share: the twin of `adapters.posix`, with an NFS client's bad memory.

Rules: look-ups (`inspect`, `read`, `read_at`, `copy`, `sync`) are answered from memory, see `mount.py`; a file that was
replaced or removed behind this replica's back can still be read. Calls that change names, and `refresh`, `list`,
`stage`, `lock`, `sync_directory` and all of `Targets`, are decided by the share, see `share.py`. Every call is counted
and passes the share's hooks, where tests plant faults and let other replicas run; an operation has its port's name
there, or is `staged.write`, `staged.sync`, `staged.close`, `lock.release` or `target.read`.
"""

from contextlib import suppress

from storage_proxy.core.errors import ShareFault
from storage_proxy.ports import (
    DirectoryNotEmpty,
    Entry,
    HeldLock,
    LockTimeout,
    NameMissing,
    NameTaken,
    OpenTarget,
    Region,
    Space,
    StagedFile,
)
from storage_proxy.testing.handles import SimulatedHeldLock, SimulatedOpenTarget, SimulatedStagedFile
from storage_proxy.testing.mount import Mount, ReplicaDead, refuse_strange
from storage_proxy.testing.share import Kind, SimulatedShare, refuse_long

__all__ = ["ReplicaDead", "SimulatedFilesystem", "SimulatedShare"]

_ROOMY = 1 << 40


class SimulatedFilesystem(Mount):
    """See `ports.Filesystem`."""

    # ---- Names ---------------------------------------------------------------------------------------------------

    def make_directory(self, path: str) -> bool:
        def make() -> bool:
            directory, name = self.place(path)
            if name in directory.names:
                self.forget(directory, name)
                return False
            self.change((directory, name, self.share.make(Kind.DIRECTORY)))
            return True

        return self.call("make_directory", (path,), make)

    def refresh(self, directory: str) -> None:
        self.call("refresh", (directory,), lambda: self.refreshed(directory))

    def list(self, directory: str) -> list[str]:
        return self.call("list", (directory,), lambda: sorted(self.refreshed(directory).names))

    def inspect(self, path: str) -> Entry:
        return self.call("inspect", (path,), lambda: self.entry(self.look_up(path)))

    def create_durably(self, path: str, text: bytes) -> None:
        def create() -> None:
            self.share.make_room("create", len(text))
            inode = self.create(path)
            inode.data[:] = inode.durable[:] = text

        self.call("create_durably", (path,), create)

    def read(self, path: str) -> bytes:
        return self.call("read", (path,), lambda: self.view(self.file(path, "read")))

    def link(self, source: str, name: str) -> None:
        def link() -> None:
            inode = self.source(source)
            directory, last = self.place(name)
            self.link_inode(inode, directory, last)

        self.call("link", (source, name), link)

    def rename(self, source: str, name: str) -> None:
        def rename() -> None:
            from_directory, from_name = self.place(source)
            inode = self.source(source)
            to_directory, to_name = self.place(name)
            standing = to_directory.names.get(to_name)
            if standing is not None and standing.kind is Kind.DIRECTORY:
                raise ShareFault(operation="rename", reason="Is a directory")
            self.rename_inode(inode, (from_directory, from_name), (to_directory, to_name))

        self.call("rename", (source, name), rename)

    def remove(self, path: str) -> None:
        def remove() -> None:
            directory, name = self.place(path)
            inode = self.source(path)
            if inode.kind is Kind.DIRECTORY:
                raise ShareFault(operation="remove", reason="Is a directory")
            self.change(*self.hide(directory, inode), (directory, name, None))

        self.call("remove", (path,), remove)

    def remove_directory(self, path: str) -> None:
        def remove() -> None:
            directory, name = self.place(path)
            inode = self.source(path)
            if inode.kind is not Kind.DIRECTORY:
                raise NameMissing(path)
            if inode.names:
                raise DirectoryNotEmpty(path)
            self.change((directory, name, None))

        self.call("remove_directory", (path,), remove)

    def sync_directory(self, directory: str) -> None:
        def sync() -> None:
            self.directory(directory)
            self.share.sync_names()

        self.call("sync_directory", (directory,), sync)

    # ---- Bytes ---------------------------------------------------------------------------------------------------

    def stage(self, path: str) -> StagedFile:
        def stage() -> SimulatedStagedFile:
            staged = SimulatedStagedFile(self, path, self.create(path))
            self._open.append(staged)
            return staged

        return self.call("stage", (path,), stage)

    def read_at(self, path: str, offset: int, length: int) -> bytes:
        def read() -> bytes:
            return self.view(self.file(path, "read"))[offset : offset + length]

        return self.call("read_at", (path,), read)

    def copy(self, source: str, source_offset: int, name: str, offset: int, length: int) -> int:
        def copy() -> int:
            piece = self.view(self.file(source, "copy"))[source_offset : source_offset + length]
            destination = self.file(name, "copy")
            self.write("copy", destination, offset, piece)
            return len(piece)

        return self.call("copy", (source, name), copy)

    def sync(self, path: str) -> None:
        try:
            self.call("sync", (path,), lambda: self.file(path, "sync").sync(self.replica))
        except ShareFault:
            with self.share.mutex, suppress(NameMissing):
                self.look_up(path).lose_unsynced(self.replica)
            raise

    # ---- Exclusion -----------------------------------------------------------------------------------------------

    def lock(self, path: str, region: Region, seconds: float) -> HeldLock:
        def lock() -> SimulatedHeldLock | None:
            directory, name = self.place(path)
            inode = directory.names.get(name) or self.create(path)
            held = SimulatedHeldLock(self, path, (inode.number, int(region)))
            if self.share.holder(held.key) is not None:
                return None
            self.share.locks[held.key] = held
            return held

        while (held := self.call("lock", (path,), lock)) is None:
            if seconds <= 0 or self.share.on_wait is None or not self.share.on_wait(self.replica, path):
                raise LockTimeout(region.name)
        return held

    # ---- Targets -------------------------------------------------------------------------------------------------

    def link_target(self, source: str, path: str) -> None:
        def link() -> None:
            self.place(source)
            directory, name = self.share.walk(path, make=True)
            inode = self.source(source)
            refuse_long(name, naming=True)
            refuse_strange(directory.names.get(name))
            self.link_inode(inode, directory, name)

        self.call("link_target", (source, path), link)

    def rename_target(self, source: str, path: str) -> None:
        def rename() -> None:
            place = self.place(source)
            directory, name = self.share.walk(path, make=True)
            refuse_long(name, naming=True)
            standing = directory.names.get(name)
            refuse_strange(standing)
            if standing is not None and standing.kind is Kind.DIRECTORY:
                raise NameTaken(path)
            self.rename_inode(self.source(source), place, (directory, name))

        self.call("rename_target", (source, path), rename)

    def sync_target(self, path: str) -> None:
        def sync() -> None:
            self.share.walk(path)
            self.share.sync_names()

        self.call("sync_target", (path,), sync)

    def inspect_target(self, path: str) -> Entry:
        return self.call("inspect_target", (path,), lambda: self.entry(self.target(path)))

    def read_target_at(self, path: str, inode: int, offset: int, length: int) -> bytes:
        def read() -> bytes:
            found = self.target(path)
            if found.number != inode or found.kind is Kind.DIRECTORY:
                raise NameMissing(path)
            return self.view(found)[offset : offset + length]

        return self.call("read_target_at", (path,), read)

    async def open_target(self, path: str) -> OpenTarget:
        def open_it() -> SimulatedOpenTarget:
            found = self.target(path)
            if found.kind is Kind.DIRECTORY:
                raise NameMissing(path)
            return SimulatedOpenTarget(self, path, found)

        return self.call("open_target", (path,), open_it)

    # ---- the volume ----------------------------------------------------------------------------------------------

    def share_time(self, directory: str) -> float:
        def now() -> float:
            self.directory(directory)
            return self.share.now

        return self.call("share_time", (directory,), now)

    def space(self) -> Space:
        def space() -> Space:
            total = _ROOMY if self.share.capacity_bytes is None else self.share.capacity_bytes
            return Space(total=total, free=max(0, total - self.share.used_bytes()))

        return self.call("space", (), space)
