import threading
from collections.abc import Iterator

import pytest

from storage_proxy.adapters.threads import ThreadWorkers
from storage_proxy.core.errors import ShareFault
from storage_proxy.core.events import VolumeProbed, VolumeTurned
from storage_proxy.operations import readiness as module
from storage_proxy.operations.readiness import NOT_ASKED, Readiness
from storage_proxy.ports import Region
from storage_proxy.testing.replicas import Replica
from storage_proxy.testing.share import SimulatedShare
from storage_proxy.testing.system import InlineWorkers

QUICK_SECONDS = 0.05


@pytest.fixture
def share() -> SimulatedShare:
    return SimulatedShare()


@pytest.fixture
def replica(share: SimulatedShare) -> Replica:
    return Replica(share, "a")


@pytest.fixture
def readiness(replica: Replica) -> Readiness:
    return Readiness(replica.service, {"main": InlineWorkers()})


def turns(replica: Replica) -> list[bool]:
    return [event.reason is None for event in replica.listener.events if isinstance(event, VolumeTurned)]


async def test_a_volume_is_ready_once_it_has_answered(replica: Replica, readiness: Readiness) -> None:
    assert readiness.reason(replica.volume) == NOT_ASKED
    await readiness.ask()
    assert readiness.reason(replica.volume) is None
    assert readiness.space["main"].free > 0
    assert isinstance(replica.listener.events[-1], VolumeProbed)
    assert turns(replica) == []


async def test_a_share_that_grants_no_locks_is_not_ready_and_is_again_when_it_does(
    share: SimulatedShare, replica: Replica, readiness: Readiness
) -> None:
    await readiness.ask()

    def refuse(_: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "lock":
            raise ShareFault("lock", "the server is in its grace period")

    share.before_call = refuse
    for _ in range(2):
        await readiness.ask()
        assert "grace period" in str(readiness.reason(replica.volume))
    share.before_call = None
    await readiness.ask()
    assert readiness.reason(replica.volume) is None
    assert turns(replica) == [False, True]


async def test_a_lock_that_another_replica_holds_is_an_answer(
    share: SimulatedShare, replica: Replica, readiness: Readiness
) -> None:
    await readiness.ask()
    with Replica(share, "b").filesystem.lock(".uploads/probe.lock", Region.MANIFEST, 0.0):
        await readiness.ask()
    assert readiness.reason(replica.volume) is None


async def test_a_missing_directory_is_told(share: SimulatedShare, replica: Replica, readiness: Readiness) -> None:
    share.unplant(".uploads")
    replica.filesystem.refresh("")
    await readiness.ask()
    assert readiness.reason(replica.volume) == "There is no .uploads directory any more."


class Hanging:
    """A share whose calls do not come back until they may."""

    def __init__(self, share: SimulatedShare) -> None:
        self.back = threading.Event()
        self.asked = 0
        share.before_call = self

    def __call__(self, _: str, operation: str, paths: tuple[str, ...]) -> None:
        self.asked += 1
        self.back.wait(60)


@pytest.fixture
def prober() -> Iterator[ThreadWorkers]:
    workers = ThreadWorkers("main-probe", threads=1)
    yield workers
    workers.close()


async def test_a_mount_that_hangs_is_found_out_with_one_thread_and_found_well_when_it_comes_back(
    share: SimulatedShare, replica: Replica, prober: ThreadWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", QUICK_SECONDS)
    readiness = Readiness(replica.service, {"main": prober})
    await readiness.ask()
    hanging = Hanging(share)
    try:
        for _ in range(5):
            await readiness.ask()
            assert "not answered" in str(readiness.reason(replica.volume))
        assert hanging.asked == 1
    finally:
        hanging.back.set()
    monkeypatch.setattr(module, "PROBE_SECONDS", 60.0)
    while readiness.reason(replica.volume) is not None:
        await readiness.ask()
    assert turns(replica) == [False, True]


async def test_a_volume_whose_threads_all_hang_is_not_ready_although_the_share_answers(
    replica: Replica, readiness: Readiness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await readiness.ask()
    monkeypatch.setattr(replica.volume.workers, "hung_seconds", lambda: 42.0)
    assert "42" in str(readiness.reason(replica.volume))
