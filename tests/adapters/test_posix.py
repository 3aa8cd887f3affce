"""What the contract cannot show: the errnos of a sick share, modes, durability calls, descriptors."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage_proxy.adapters.errno_answers import STALE_TRIES_MAX
from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.core.errors import ShareFault, ShareFull
from storage_proxy.ports import NameMissing, Region


def failing(number: int) -> Callable[..., Any]:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number), "/absolute/path")

    return fail


@pytest.fixture
def fs(tmp_path: Path) -> PosixFilesystem:
    filesystem = PosixFilesystem(tmp_path)
    filesystem.create_durably("one", b"text")
    filesystem.make_directory("directory")
    return filesystem


CALLS: dict[str, tuple[str, Callable[[PosixFilesystem], object]]] = {
    "make directory": ("mkdir", lambda fs: fs.make_directory("new")),
    "list": ("listdir", lambda fs: fs.list("directory")),
    "refresh": ("open", lambda fs: fs.refresh("directory")),
    "inspect": ("fstat", lambda fs: fs.inspect("one")),
    "create": ("pwritev", lambda fs: fs.create_durably("new", b"text")),
    "read": ("read", lambda fs: fs.read("one")),
    "link": ("link", lambda fs: fs.link("one", "two")),
    "rename": ("rename", lambda fs: fs.rename("one", "two")),
    "remove": ("unlink", lambda fs: fs.remove("one")),
    "remove directory": ("rmdir", lambda fs: fs.remove_directory("directory")),
    "sync directory": ("fsync", lambda fs: fs.sync_directory("directory")),
    "stage": ("open", lambda fs: fs.stage("new")),
    "copy": ("copy_file_range", lambda fs: fs.copy("one", 0, "one", 0, 4)),
    "sync": ("fsync", lambda fs: fs.sync("one")),
    "lock": ("open", lambda fs: fs.lock("lock", Region.MANIFEST, 0)),
    "share time": ("fstat", lambda fs: fs.share_time("directory")),
    "space": ("statvfs", lambda fs: fs.space()),
}


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.EIO, ShareFault), (errno.ENOSPC, ShareFull), (errno.EDQUOT, ShareFull), (errno.ESTALE, NameMissing)],
)
def test_trouble_in_any_call_is_answered_in_our_words(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, operation: str, number: int, expected: type[Exception]
) -> None:
    function, call = CALLS[operation]
    with monkeypatch.context() as patched:
        patched.setattr(os, function, failing(number))
        with pytest.raises(expected) as found:
            call(fs)
    assert getattr(found.value, "operation", operation) == operation
    assert "/absolute" not in str(found.value)


@pytest.mark.parametrize("function", ["pwritev", "fsync"])
def test_a_creation_that_failed_leaves_no_half_file(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, function, failing(errno.ENOSPC))
        with pytest.raises(ShareFull):
            fs.create_durably("directory/new", b"text")
    assert fs.list("directory") == []


def test_the_first_failure_of_a_creation_is_the_one_that_is_told(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing(errno.ENOSPC))
        patched.setattr(os, "unlink", failing(errno.EIO))
        with pytest.raises(ShareFull):
            fs.create_durably("new", b"text")


def stale_reads(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    real, opened = os.read, []

    def read(fd: int, length: int) -> bytes:
        opened.append(fd)
        if len(opened) <= times:
            raise OSError(errno.ESTALE, "stale")
        return real(fd, length)

    monkeypatch.setattr(os, "read", read)
    return opened


def test_a_file_that_was_replaced_while_it_was_read_is_read_anew(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale_reads(monkeypatch, STALE_TRIES_MAX - 1)
    assert fs.read("one") == b"text"


def test_a_file_that_stays_stale_is_missing(fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = stale_reads(monkeypatch, 1000)
    with pytest.raises(NameMissing):
        fs.read("one")
    assert len(reads) == STALE_TRIES_MAX


def remembered_as_missing(monkeypatch: pytest.MonkeyPatch, function: str) -> list[str]:
    """An NFS client that says ENOENT from memory until a directory has been opened."""
    real, real_open, opened = getattr(os, function), os.open, list[str]()

    def call(*args: Any, **kwargs: Any) -> Any:
        if not opened:
            raise FileNotFoundError(errno.ENOENT, "remembered")
        return real(*args, **kwargs)

    def open_directory(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_DIRECTORY:
            opened.append(path)
        return real_open(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, function, call)
    monkeypatch.setattr(os, "open", open_directory)
    return opened


@pytest.mark.parametrize("operation", ["make directory", "list", "rename", "remove", "remove directory"])
def test_a_memory_of_nothing_being_there_does_not_decide(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    function, call = CALLS[operation]
    with monkeypatch.context() as patched:
        assert remembered_as_missing(patched, function) == []
        call(fs)


def test_every_directory_on_the_way_is_refreshed_before_nothing_is_believed(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fs.make_directory("directory/deep")
    fs.create_durably("directory/deep/one", b"text")
    with monkeypatch.context() as patched:
        opened = remembered_as_missing(patched, "unlink")
        fs.remove("directory/deep/one")
    assert opened == [str(tmp_path), f"{tmp_path}/directory", f"{tmp_path}/directory/deep"]


def test_a_links_source_is_looked_up_anew(fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fs.create_durably("directory/one", b"text")
    with monkeypatch.context() as patched:
        opened = remembered_as_missing(patched, "link")
        fs.link("directory/one", "directory/two")
    assert opened == [f"{tmp_path}/directory"]


def test_the_services_own_files_are_its_own_and_staged_ones_are_for_everybody(
    fs: PosixFilesystem, tmp_path: Path
) -> None:
    previous = os.umask(0o027)
    try:
        fs.make_directory("private")
        fs.create_durably("private/info", b"")
        fs.stage("private/chunk").close()
        fs.lock("private/lock", Region.MANIFEST, 0).release()
        fs.link_target("private/chunk", "people/folder/file")
    finally:
        os.umask(previous)
    modes = {
        path: os.stat(tmp_path / path).st_mode & 0o777
        for path in ("private", "private/info", "private/chunk", "private/lock", "people", "people/folder")
    }
    assert modes == {
        "private": 0o700,
        "private/info": 0o600,
        "private/chunk": 0o640,
        "private/lock": 0o600,
        "people": 0o750,
        "people/folder": 0o750,
    }


def everything(fs: PosixFilesystem) -> None:
    fs.create_durably("new", b"text")
    staged = fs.stage("chunk")
    staged.write([b"text"])
    staged.sync()
    staged.close()
    fs.copy("new", 0, "chunk", 0, 4)
    fs.sync("chunk")
    fs.link_target("chunk", "folder/file")
    fs.sync_target("folder/file")
    fs.sync_directory("directory")
    with fs.lock("lock", Region.MANIFEST, 0):
        fs.inspect_target("folder/file")
    fs.share_time("directory")


def test_without_sync_nothing_is_ever_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = PosixFilesystem(tmp_path, sync=False)
    fs.make_directory("directory")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing(errno.EIO))
        patched.setattr(os, "fdatasync", failing(errno.EIO))
        everything(fs)
    assert fs.read("chunk") == b"text"


def test_every_sync_reaches_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = PosixFilesystem(tmp_path)
    fs.make_directory("directory")
    synced: list[int] = []

    def note(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", note)
        patched.setattr(os, "fdatasync", note)
        everything(fs)
    at = {name: os.stat(tmp_path / name).st_ino for name in ("new", "chunk", "folder", "directory", ".")}
    assert synced == [at["new"], at["chunk"], at["chunk"], at["folder"], at["."], at["directory"]]


def test_no_call_that_fails_keeps_a_descriptor(fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    os.symlink("/", os.path.join(fs._root, "away"))
    before = sorted(os.listdir("/proc/self/fd"))
    for operation, (function, call) in CALLS.items():
        if operation == "stage":
            continue
        with monkeypatch.context() as patched:
            patched.setattr(os, function, failing(errno.EIO))
            with pytest.raises(ShareFault):
                call(fs)
    for path in ("away/x", "one/x", "none/x", "away", "directory"):
        for target_call in (
            lambda path=path: fs.link_target("none", path),
            lambda path=path: fs.rename_target("none", path),
            lambda path=path: fs.read_target_at(path, 0, 0, 1),
        ):
            with pytest.raises(Exception):  # noqa: B017, PT011 - which one is the contract's matter
                target_call()
    assert sorted(os.listdir("/proc/self/fd")) == before
