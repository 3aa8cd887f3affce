"""One volume: the `Filesystem` port over a mounted share.

Rules: one port call is one thing asked of the share, and blocks; every OSError leaves through the table in
`errno_answers.py`; nothing is remembered between calls (no descriptor, no "it exists"), because another replica may
have changed it since. How the bytes go is in `posix_files.py`, how locks exclude in `posix_locks.py`, how a path that
people named is walked in `posix_targets.py`.
"""

import os
import secrets
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from storage_proxy.adapters.errno_answers import asking, freshly
from storage_proxy.adapters.posix_files import PosixStagedFile, copy_range, read_at, read_whole, write_at
from storage_proxy.adapters.posix_locks import take_lock
from storage_proxy.adapters.posix_targets import PosixTargets, entry_of
from storage_proxy.ports import Entry, HeldLock, Region, Space, StagedFile

T = TypeVar("T")

_READ = os.O_RDONLY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class PosixFilesystem(PosixTargets):
    """See `ports.Filesystem`. `executor` reads open targets; `sync=False` promises nothing and is for benchmarks."""

    def __init__(self, root: str | Path, *, sync: bool = True, executor: Executor | None = None) -> None:
        super().__init__(str(root), sync, executor)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _decided(self, work: Callable[[], T], *paths: str) -> T:
        """By the share and not by a cache: an NFS client says "not there" from memory, so that is believed only after
        every directory on the way has been refreshed. All else it asks the server."""
        try:
            return work()
        except FileNotFoundError:
            for path in paths:
                self._refresh_way(path)
            return work()

    # ---- Names ---------------------------------------------------------------------------------------------------

    def make_directory(self, path: str) -> bool:
        with asking("make directory"):
            try:
                self._decided(lambda: os.mkdir(self._at(path), 0o700), path)
            except FileExistsError:
                return False
            return True

    def refresh(self, directory: str) -> None:
        # Opening a directory is what makes an NFS client ask whether it has changed, and forget its names if so.
        # A stat of a name in it does not.
        with asking("refresh"):
            os.close(self._open_directory(directory))

    def list(self, directory: str) -> list[str]:
        # Opens the directory, so it refreshes as well.
        with asking("list"):
            return freshly(lambda: self._decided(lambda: os.listdir(self._at(directory)), directory))

    def inspect(self, path: str) -> Entry:
        def inspect() -> Entry:
            # Not stat: by name it is answered from the NFS client's cache, an open asks the server.
            fd = os.open(self._at(path), _READ)
            try:
                return entry_of(os.fstat(fd))
            finally:
                os.close(fd)

        with asking("inspect"):
            return freshly(inspect)

    def create_durably(self, path: str, text: bytes) -> None:
        with asking("create"):
            fd = self._decided(lambda: os.open(self._at(path), _NEW, 0o600), path)
            try:
                try:
                    write_at(fd, [text], 0)
                    if self._sync:
                        os.fsync(fd)
                finally:
                    # Inside the outer try: over NFS a close, too, can say that the write failed.
                    os.close(fd)
            except BaseException:
                try:
                    os.unlink(self._at(path))
                except OSError:
                    # The first failure is what the caller has to hear; the half file has a name of its own.
                    pass
                raise

    def read(self, path: str) -> bytes:
        def read() -> bytes:
            fd = os.open(self._at(path), _READ)
            try:
                return read_whole(fd)
            finally:
                os.close(fd)

        with asking("read"):
            return freshly(read)

    def link(self, source: str, name: str) -> None:
        with asking("link"):
            # The call names its source by a handle the client remembers, so it would link what the name stood for.
            os.close(self._open_directory(source.rpartition("/")[0]))
            self._decided(lambda: os.link(self._at(source), self._at(name), follow_symlinks=False), source, name)

    def rename(self, source: str, name: str) -> None:
        with asking("rename"):
            self._decided(lambda: os.rename(self._at(source), self._at(name)), source, name)

    def remove(self, path: str) -> None:
        with asking("remove"):
            self._decided(lambda: os.unlink(self._at(path)), path)

    def remove_directory(self, path: str) -> None:
        with asking("remove directory"):
            self._decided(lambda: os.rmdir(self._at(path)), path)

    def sync_directory(self, directory: str) -> None:
        with asking("sync directory"):
            fd = self._open_directory(directory)
            try:
                if self._sync:
                    os.fsync(fd)
            finally:
                os.close(fd)

    def _open_directory(self, directory: str) -> int:
        return self._decided(lambda: os.open(self._at(directory), _READ | os.O_DIRECTORY), directory)

    # ---- Bytes ---------------------------------------------------------------------------------------------------

    def stage(self, path: str) -> StagedFile:
        with asking("stage"):
            # The umask decides who may read it: this very file may become the finished one. Unbuffered, so that
            # "written" means that the kernel has it.
            return PosixStagedFile(self._decided(lambda: os.open(self._at(path), _NEW, 0o666), path), self._sync)

    def read_at(self, path: str, offset: int, length: int) -> bytes:
        def read() -> bytes:
            fd = os.open(self._at(path), _READ)
            try:
                return read_at(fd, offset, length)
            finally:
                os.close(fd)

        with asking("read"):
            return freshly(read)

    def copy(self, source: str, source_offset: int, name: str, offset: int, length: int) -> int:
        with asking("copy"):
            from_fd = os.open(self._at(source), _READ)
            try:
                # No O_APPEND: copy_file_range refuses it. No O_CREAT: a name that is gone must be heard of. No
                # O_TRUNC: somebody else may be copying the same bytes to the same place.
                to_fd = os.open(self._at(name), os.O_WRONLY | os.O_CLOEXEC)
                try:
                    copied = copy_range(from_fd, source_offset, to_fd, offset, length, sync=self._sync)
                finally:
                    # May raise: NFS writes back on close and reports here what a later sync need not see any more.
                    os.close(to_fd)
                return copied
            finally:
                os.close(from_fd)

    def sync(self, path: str) -> None:
        # Another descriptor than the one that wrote, and still enough: Linux keeps dirty pages with the inode, so
        # fsync flushes what every descriptor of this machine wrote; and a write-back error nobody has heard of yet
        # is told to a descriptor that was opened after it. Not repeated after ESTALE: the name may stand for another
        # file by then, whose sync would say nothing about ours.
        with asking("sync"):
            fd = os.open(self._at(path), _READ)
            try:
                if self._sync:
                    os.fsync(fd)
            finally:
                os.close(fd)

    # ---- Exclusion -----------------------------------------------------------------------------------------------

    def lock(self, path: str, region: Region, seconds: float) -> HeldLock:
        with asking("lock"):
            return self._decided(lambda: take_lock(self._at(path), region, seconds), path)

    # ---- the volume ----------------------------------------------------------------------------------------------

    def share_time(self, directory: str) -> float:
        with asking("share time"):
            # Without O_EXCL: an exclusive create lets some NFS versions keep their own notes in the times. The name
            # is nobody else's anyhow.
            path = self._at(f"{directory}/clock.{secrets.token_hex(16)}")
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                return os.fstat(fd).st_mtime
            finally:
                os.close(fd)
                os.unlink(path)

    def space(self) -> Space:
        with asking("space"):
            found = os.statvfs(self._root)
            # f_bavail: what the superuser keeps for itself is not ours to promise.
            return Space(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)
