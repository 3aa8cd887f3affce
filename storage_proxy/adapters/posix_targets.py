"""People's files: every path is resolved part by part, from the volume's root, without following a link.

Rules: no call here hands a target path of more than one part to the kernel. Each directory on the way is opened by its
own name in the one before (O_NOFOLLOW), so whatever is planted, and whenever, a descriptor is always inside the
volume; and opening it is also what makes an NFS client forget stale names in it. Only plain files and directories are
looked at: opening a planted pipe would wait for ever, and opening a device can do anything.
"""

import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress

import aiofiles
from aiofiles.threadpool.binary import AsyncBufferedReader

from storage_proxy.adapters.errno_answers import asking, freshly
from storage_proxy.adapters.posix_files import PIECE, read_at
from storage_proxy.core.errors import ShareFault
from storage_proxy.ports import Entry, LinkInTheWay, NameMissing, NameTaken, OpenTarget

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# Only somebody who removes directories as fast as we make them gets us through all of these.
_TRIES_MAX = 4


def entry_of(found: os.stat_result) -> Entry:
    return Entry(
        inode=found.st_ino,
        size=found.st_size,
        links=found.st_nlink,
        modified=found.st_mtime,
        is_directory=stat.S_ISDIR(found.st_mode),
    )


class PosixOpenTarget:
    """See `ports.OpenTarget`. One reader at a time."""

    def __init__(self, entry: Entry, file: AsyncBufferedReader) -> None:
        self.entry = entry
        self._file = file

    async def read(self, offset: int, length: int) -> AsyncIterator[bytes]:
        with asking("read", of_target=True):
            await self._file.seek(offset)
            while length > 0 and (piece := await self._file.read(min(PIECE, length))):
                length -= len(piece)
                yield piece

    async def close(self) -> None:
        with suppress(OSError):
            await self._file.close()


class PosixTargets:
    """The `Targets` part of `PosixFilesystem`."""

    def __init__(self, root: str, sync: bool, executor: Executor | None) -> None:
        self._root = root
        self._sync = sync
        self._executor = executor

    def link_target(self, source: str, path: str) -> None:
        def link(directory: int, name: str) -> None:
            try:
                os.link(f"{self._root}/{source}", name, dst_dir_fd=directory, follow_symlinks=False)
            except FileExistsError:
                _standing(directory, name)
                raise

        self._place("link", source, path, link)

    def rename_target(self, source: str, path: str) -> None:
        def rename(directory: int, name: str) -> None:
            # A rename would replace a planted link, not follow it; it is refused all the same, as everywhere.
            found = _standing(directory, name)
            if found is not None and stat.S_ISDIR(found.st_mode):
                raise NameTaken("rename")
            os.rename(f"{self._root}/{source}", name, dst_dir_fd=directory)

        self._place("rename", source, path, rename)

    def sync_target(self, path: str) -> None:
        with asking("sync directory", of_target=True):
            directories: list[int] = []
            try:
                directories.extend(self._way(path))
                # All of them, up to the root: which ones are new, and whether the replica that made them lived to
                # sync them, is known to nobody. An old one costs next to nothing. The deepest first: the name of the
                # file is what matters most.
                for directory in reversed(directories) if self._sync else ():
                    os.fsync(directory)
            finally:
                for directory in directories:
                    os.close(directory)

    def inspect_target(self, path: str) -> Entry:
        def inspect() -> Entry:
            with self._directory(path) as (directory, name):
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                _refuse_strange(found)
                # A file that we may not read is still one that has the name.
                with suppress(PermissionError):
                    fd = os.open(name, _FILE, dir_fd=directory)
                    try:
                        found = os.fstat(fd)
                    finally:
                        os.close(fd)
                    _refuse_strange(found)
                return entry_of(found)

        with asking("inspect", of_target=True):
            return freshly(inspect)

    def read_target_at(self, path: str, inode: int, offset: int, length: int) -> bytes:
        def read() -> bytes:
            fd = self._open_file(path)
            try:
                if os.fstat(fd).st_ino != inode:
                    raise NameMissing("read")
                return read_at(fd, offset, length)
            finally:
                os.close(fd)

        with asking("read", of_target=True):
            return freshly(read)

    async def open_target(self, path: str) -> OpenTarget:
        entries: list[Entry] = []

        def opener(name: str, flags: int) -> int:
            fd = freshly(lambda: self._open_file(path))
            try:
                entries.append(entry_of(os.fstat(fd)))
            except BaseException:
                os.close(fd)
                raise
            return fd

        # Opened by aiofiles through `opener`, so that resolving, opening and looking are one trip to the thread, and
        # the file has an owner that closes it even when our caller has gone meanwhile.
        with asking("open", of_target=True):
            file = await aiofiles.open("target", "rb", opener=opener, executor=self._executor)
        return PosixOpenTarget(entries[-1], file)

    def _place(self, operation: str, source: str, path: str, act: Callable[[int, str], None]) -> None:
        with asking(operation):
            self._refresh_home(source)
        with asking(operation, of_target=True, naming=True):
            for _ in range(_TRIES_MAX):
                with self._directory(path, make=True) as (directory, name):
                    try:
                        return act(directory, name)
                    except FileNotFoundError:
                        # The source, or the directory, removed since we opened it? The answer to the first is final.
                        if os.fstat(directory).st_nlink > 0:
                            raise
        raise ShareFault(operation, "the target's directory is removed again and again")

    def _refresh_home(self, path: str) -> None:
        """As `_refresh_way`, of the one directory that matters where the path's others are never made twice."""
        try:
            os.close(os.open(f"{self._root}/{path.rpartition('/')[0]}", _DIRECTORY))
        except FileNotFoundError:
            # Perhaps from memory: asked again from the top.
            self._refresh_way(path)

    def _refresh_way(self, path: str) -> None:
        """Make the NFS client forget stale names in every directory of a store path, the highest first."""
        parts = path.split("/")
        for depth in range(len(parts)):
            os.close(os.open("/".join((self._root, *parts[:depth])), _DIRECTORY))

    def _open_file(self, path: str) -> int:
        with self._directory(path) as (directory, name):
            _refuse_strange(os.stat(name, dir_fd=directory, follow_symlinks=False))
            fd = os.open(name, _FILE, dir_fd=directory)
        try:
            found = os.fstat(fd)
            _refuse_strange(found)
            if stat.S_ISDIR(found.st_mode):
                raise NameMissing("open")
        except BaseException:
            os.close(fd)
            raise
        return fd

    @contextmanager
    def _directory(self, path: str, make: bool = False) -> Iterator[tuple[int, str]]:
        """The directory that holds the last part of the path, and that part."""
        fd = -1
        try:
            for opened in self._way(path, make):
                if fd >= 0:
                    os.close(fd)
                fd = opened
            yield fd, path.rpartition("/")[2]
        finally:
            if fd >= 0:
                os.close(fd)

    def _way(self, path: str, make: bool = False) -> Iterator[int]:
        """Descriptors from the root to the directory that holds the last part; each is the receiver's to close."""
        directory = os.open(self._root, _DIRECTORY)
        yield directory
        for part in path.split("/")[:-1]:
            directory = _enter(directory, part, make)
            yield directory


def _enter(directory: int, part: str, make: bool) -> int:
    for _ in range(_TRIES_MAX):
        try:
            return os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        except FileNotFoundError:
            if not make:
                raise
        # Others may be making it at the same time; whoever was first, it is opened like one that was there.
        with suppress(FileExistsError):
            os.mkdir(part, 0o777, dir_fd=directory)
    raise ShareFault("make directory", "the target's directory is removed again and again")


def _standing(directory: int, name: str) -> os.stat_result | None:
    """What has the name already, if it is something that may."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    _refuse_strange(found)
    return found


def _refuse_strange(found: os.stat_result) -> None:
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise LinkInTheWay("neither a file nor a directory")
