import threading
from collections import Counter
from pathlib import Path

import pytest

from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.adapters.stopwatch import BUCKETS, CALLS, LOCKS, STAGED, Stopwatch
from storage_proxy.core.errors import ShareFault
from storage_proxy.ports import Filesystem, LockTimeout, NameMissing, Region


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch("main", stall_seconds=0.05)


@pytest.fixture
def filesystem(stopwatch: Stopwatch, tmp_path: Path) -> Filesystem:
    return stopwatch.around(PosixFilesystem(tmp_path))


def counted(stopwatch: Stopwatch) -> Counter[str]:
    calls: Counter[str] = Counter()
    for call, buckets, _ in stopwatch.news():
        calls[call] += int(sum(buckets))
    return calls


def test_each_blocking_call_of_the_port_is_timed() -> None:
    blocking = set(CALLS) | {"stage", "lock"}
    assert blocking == {name for name in dir(Filesystem) if not name.startswith("_")} - {"open_target"}
    assert {"lock", "claim"} == set(LOCKS.values())
    assert "stage" in STAGED


def test_calls_are_counted_by_name_and_told_once(stopwatch: Stopwatch, filesystem: Filesystem) -> None:
    filesystem.create_durably("a", b"text")
    filesystem.read("a")
    filesystem.read("a")
    assert counted(stopwatch) == {"create_durably": 1, "read": 2}
    assert counted(stopwatch) == {}
    filesystem.read("a")
    assert counted(stopwatch) == {"read": 1}


def test_a_staged_file_is_timed_as_it_is_written(stopwatch: Stopwatch, filesystem: Filesystem, tmp_path: Path) -> None:
    staged = filesystem.stage("b")
    staged.write([b"12", b"345"])
    staged.sync()
    assert staged.inode_number == (tmp_path / "b").stat().st_ino
    staged.close()
    assert (tmp_path / "b").read_bytes() == b"12345"
    assert counted(stopwatch) == {"stage": 1, "write_staged": 1, "sync_staged": 1}


def test_waiting_for_a_lock_is_told_apart_from_trying_one(stopwatch: Stopwatch, filesystem: Filesystem) -> None:
    held = filesystem.lock("l", Region.MANIFEST, 1.0), filesystem.lock("l", Region.ASSEMBLY, 0.0)
    with pytest.raises(LockTimeout):
        filesystem.lock("l", Region.MANIFEST, 0.0)
    for lock in held:
        lock.release()
    assert counted(stopwatch) == {"lock": 2, "claim": 1}
    assert stopwatch.failures() == {("lock", "LockTimeout"): 1}
    assert stopwatch.failures() == {}


def test_an_answer_is_no_failure_and_a_fault_is(stopwatch: Stopwatch, filesystem: Filesystem, tmp_path: Path) -> None:
    with pytest.raises(NameMissing):
        filesystem.read("absent")
    assert stopwatch.failures() == {}
    (tmp_path / "directory").mkdir()
    for _ in range(2):
        with pytest.raises(ShareFault):
            filesystem.read("directory")
    assert stopwatch.failures() == {("read", "ShareFault"): 2}


def test_no_call_of_any_thread_is_lost(stopwatch: Stopwatch, filesystem: Filesystem) -> None:
    filesystem.create_durably("a", b"")
    seen: Counter[str] = Counter()
    threads = [threading.Thread(target=lambda: [filesystem.read("a") for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen += counted(stopwatch)
    seen += counted(stopwatch)
    assert seen["read"] == 8 * 500


def test_a_call_falls_into_the_bucket_of_its_time(stopwatch: Stopwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [1.0, 1.0, 2.0, 2.0 + BUCKETS[0] * 1.01, 3.0, 1e9]
    monkeypatch.setattr("storage_proxy.adapters.stopwatch.perf_counter", lambda: times.pop(0))
    for _ in range(3):
        stopwatch._timed("read", lambda: None)()
    ((_, buckets, total),) = stopwatch.news()
    assert (buckets[0], buckets[1], buckets[-1], len(buckets)) == (1, 1, 1, len(BUCKETS) + 1)
    assert total == pytest.approx(1e9)


def test_a_call_that_does_not_come_back_is_hung_until_it_does(stopwatch: Stopwatch) -> None:
    begun, back = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        back.wait(60)

    thread = threading.Thread(target=stopwatch._timed("sync", hang))
    thread.start()
    begun.wait(60)
    while not stopwatch.hung():
        pass
    assert stopwatch.hung() == {"sync": 1}
    back.set()
    thread.join()
    assert stopwatch.hung() == {}
