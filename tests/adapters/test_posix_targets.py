"""Races with whoever plants and removes things in people's directories; the rest is in the contract."""

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.core.errors import ShareFault
from storage_proxy.ports import LinkInTheWay, NameMissing, NameTaken


@pytest.fixture
def fs(tmp_path: Path) -> PosixFilesystem:
    (tmp_path / "volume").mkdir()
    (tmp_path / "outside").mkdir()
    filesystem = PosixFilesystem(tmp_path / "volume")
    filesystem.create_durably("done", b"finished")
    return filesystem


def before(monkeypatch: pytest.MonkeyPatch, function: str, meanwhile: Callable[[], object], times: int = 1) -> None:
    """Let `meanwhile` happen just before the first calls of os.<function>."""
    real = getattr(os, function)
    left = times

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        if left > 0:
            left -= 1
            meanwhile()
        return real(*args, **kwargs)

    monkeypatch.setattr(os, function, call)


def test_a_link_planted_instead_of_the_directory_we_make_is_not_followed(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patched:
        before(patched, "mkdir", lambda: (tmp_path / "volume/folder").symlink_to(tmp_path / "outside"))
        with pytest.raises(LinkInTheWay):
            fs.link_target("done", "folder/report")
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_directory_swapped_for_a_link_at_the_last_moment_changes_nothing(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "volume/folder"
    folder.mkdir()

    def swap() -> None:
        folder.rename(tmp_path / "volume/moved")
        folder.symlink_to(tmp_path / "outside")

    with monkeypatch.context() as patched:
        before(patched, "link", swap)
        fs.link_target("done", "folder/report")
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tmp_path / "volume/moved/report").read_bytes() == b"finished"


def test_links_planted_and_removed_all_the_time_never_lead_outside(fs: PosixFilesystem, tmp_path: Path) -> None:
    folder, ended = tmp_path / "volume/folder", threading.Event()

    def plant() -> None:
        while not ended.is_set():
            folder.symlink_to(tmp_path / "outside")
            folder.unlink()

    with ThreadPoolExecutor(1) as threads:
        planter = threads.submit(plant)
        try:
            for number in range(300):
                try:
                    fs.link_target("done", f"folder/{number}")
                except (LinkInTheWay, NameMissing, ShareFault):
                    pass
        finally:
            ended.set()
        # Once the directory is there the planter finds its name taken, and has lost.
        assert isinstance(planter.exception(30), FileExistsError | IsADirectoryError | None)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_link_among_our_own_files_brings_nothing_from_outside_in(fs: PosixFilesystem, tmp_path: Path) -> None:
    (tmp_path / "outside/secret").write_bytes(b"secret")
    (tmp_path / "volume/chunk").symlink_to(tmp_path / "outside/secret")
    fs.link_target("chunk", "report")
    with pytest.raises(LinkInTheWay):
        fs.inspect_target("report")


@pytest.mark.parametrize("verb", ["link", "rename"])
def test_a_directory_removed_under_our_hands_is_made_again(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    with monkeypatch.context() as patched:
        before(patched, verb, lambda: (tmp_path / "volume/folder").rmdir())
        getattr(fs, f"{verb}_target")("done", "folder/report")
    assert fs.inspect_target("folder/report").size == 8


def test_a_directory_removed_again_and_again_is_the_shares_fault_and_not_a_missing_source(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patched:
        before(patched, "link", lambda: (tmp_path / "volume/folder").rmdir(), times=1000)
        with pytest.raises(ShareFault, match="again and again"):
            fs.link_target("done", "folder/report")


def test_a_directory_that_takes_the_name_at_the_last_moment_is_not_replaced(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patched:
        before(patched, "rename", lambda: (tmp_path / "volume/report").mkdir())
        with pytest.raises(NameTaken):
            fs.rename_target("done", "report")
    assert fs.read("done") == b"finished"


def test_a_pipe_that_takes_the_name_at_the_last_moment_is_not_waited_for(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = tmp_path / "volume/report"
    report.write_bytes(b"text")
    inode = fs.inspect_target("report").inode
    real, swapped = os.stat, list[bool]()

    def stat(*args: Any, **kwargs: Any) -> os.stat_result:
        found = real(*args, **kwargs)
        if not swapped:
            swapped.append(True)
            report.unlink()
            os.mkfifo(report)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", stat)
        with pytest.raises(LinkInTheWay):
            fs.read_target_at("report", inode, 0, 1)
    assert swapped


def test_a_file_we_may_not_read_can_be_inspected_all_the_same(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.link_target("done", "report")
    real = os.open

    def open_nothing_but_directories(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if not flags & os.O_DIRECTORY:
            raise PermissionError(errno.EACCES, "not yours")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_nothing_but_directories)
    assert fs.inspect_target("report").size == 8
    with pytest.raises(ShareFault):
        fs.read_target_at("report", fs.inspect_target("report").inode, 0, 1)


def test_a_name_is_synced_with_every_directory_above_it(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fs.link_target("done", "a/b/report")
    synced: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
        fs.sync_target("a/b/report")
    assert synced == [os.stat(tmp_path / "volume" / path).st_ino for path in ("a/b", "a", ".")]


async def test_an_open_target_reads_in_the_threads_it_was_given(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="of-the-volume") as executor:
        fs = PosixFilesystem(tmp_path, executor=executor)
        (tmp_path / "report").write_bytes(bytes(3_000_000))
        opened = await fs.open_target("report")
        pieces = [len(piece) async for piece in opened.read(0, 3_000_000)]
        await opened.close()
        assert pieces == [1 << 20, 1 << 20, 3_000_000 - (2 << 20)]
        assert {thread.name for thread in executor._threads} == {"of-the-volume_0"}
