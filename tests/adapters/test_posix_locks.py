import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.core.errors import ShareFault
from storage_proxy.ports import LockTimeout, NameMissing, Region

HOLDER = """
import sys
from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.ports import Region
held = PosixFilesystem(sys.argv[1]).lock("lock", Region.MANIFEST, 0)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def fs(tmp_path: Path) -> PosixFilesystem:
    return PosixFilesystem(tmp_path)


def test_a_lock_of_another_process_excludes_us_and_ends_with_its_death(fs: PosixFilesystem, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockTimeout):
            fs.lock("lock", Region.MANIFEST, 0.02)
        fs.lock("lock", Region.ASSEMBLY, 0).release()
        holder.kill()
        holder.wait()
        fs.lock("lock", Region.MANIFEST, 0).release()


def test_threads_that_wait_for_a_lock_get_it_one_at_a_time(fs: PosixFilesystem) -> None:
    inside = most = turns = 0

    def take_turns(_: int) -> None:
        nonlocal inside, most, turns
        for _ in range(25):
            with fs.lock("lock", Region.MANIFEST, 60):
                inside += 1
                most = max(most, inside)
                turns += 1
                inside -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(take_turns, range(8)))
    assert (most, turns) == (1, 200)


def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once somebody has found the lock held and waits."""
    found_held, real = threading.Event(), time.sleep

    def sleep(seconds: float) -> None:
        found_held.set()
        real(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    return found_held


def test_who_waits_gets_the_lock_when_it_is_given_back(fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    held = fs.lock("lock", Region.MANIFEST, 0)
    found_held = waiting(monkeypatch)
    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(fs.lock, "lock", Region.MANIFEST, 60)
        assert found_held.wait(30)
        held.release()
        waiter.result(30).release()


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_no_lock(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = fs.lock("lock", Region.MANIFEST, 0)
    found_held = waiting(monkeypatch)
    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(fs.lock, "lock", Region.MANIFEST, 60)
        assert found_held.wait(30)
        fs.remove("lock")
        held.release()
        with waiter.result(30), pytest.raises(LockTimeout):
            fs.lock("lock", Region.MANIFEST, 0)


def test_who_waits_in_a_directory_that_is_removed_hears_of_it(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.make_directory("upload")
    held = fs.lock("upload/lock", Region.MANIFEST, 0)
    found_held = waiting(monkeypatch)
    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(fs.lock, "upload/lock", Region.MANIFEST, 60)
        assert found_held.wait(30)
        fs.remove("upload/lock")
        fs.remove_directory("upload")
        held.release()
        with pytest.raises(NameMissing):
            waiter.result(30)


def test_a_lock_nobody_knows_of_any_more_is_given_back(fs: PosixFilesystem) -> None:
    held = fs.lock("lock", Region.MANIFEST, 0)
    del held
    fs.lock("lock", Region.MANIFEST, 0).release()


def test_a_timeout_keeps_no_descriptor(fs: PosixFilesystem) -> None:
    with fs.lock("lock", Region.MANIFEST, 0):
        before = sorted(os.listdir("/proc/self/fd"))
        with pytest.raises(LockTimeout):
            fs.lock("lock", Region.MANIFEST, 0.005)
        assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.EINVAL, "open-file-description"), (errno.ENOLCK, "nolock"), (errno.EIO, "Input/output")],
)
def test_a_mount_without_locks_is_told_in_plain_words(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "fcntl", fail)
    with pytest.raises(ShareFault, match=says):
        fs.lock("lock", Region.MANIFEST, 0)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN])
def test_both_errnos_of_a_held_lock_mean_wait(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "fcntl", fail)
    with pytest.raises(LockTimeout):
        fs.lock("lock", Region.MANIFEST, 0)
