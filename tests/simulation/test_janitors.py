"""Janitors of several replicas: one goes round at a time, and two do no harm."""

import asyncio
from functools import partial

import pytest

from storage_proxy.core.errors import StorageProxyError, UploadGone
from storage_proxy.core.events import UploadExpired
from storage_proxy.core.manifest import Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.append import append
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.describe import look_up
from storage_proxy.operations.reap import reap
from storage_proxy.operations.reception import Append
from storage_proxy.ports import Region
from storage_proxy.store import layout
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import AGES, VOLUME, ListedBody, Replica
from tests.simulation.scheduler import Scheduler

HELLO, WORLD = b"hello", b" world"

# More than a round over the uploads below makes.
CALLS = 90


async def begun(replica: Replica, name: str) -> UploadId:
    upload = new_upload_id(replica.service, VOLUME)
    wanted = Wanted(Target(VOLUME, name), len(HELLO + WORLD), Order.SEQUENTIAL, Policy.KEEP_BOTH)
    await create(replica.service, upload, wanted)
    await append(replica.service, upload, Append(0, len(HELLO)), ListedBody([HELLO]))
    await replica.rest()
    return upload


def data_files(share: SimulatedShare, upload: UploadId) -> list[str]:
    names = [path.rpartition("/")[2] for path in share.tree() if upload.key in path]
    return [name for name in names if layout.kind_of(name) in layout.DATA]


async def test_while_one_replica_goes_round_another_does_not() -> None:
    share = SimulatedShare()
    one, two = Replica(share, "one"), Replica(share, "two")
    stale = await begun(one, "stale")
    share.now += AGES.open + 1
    lock = one.filesystem.lock(layout.JANITOR_LOCK, Region.MANIFEST, 0.0)
    assert not await reap(two.service, two.volume)
    assert (await two.service.read(stale)).phase is Phase.OPEN
    assert two.listener.events == []
    lock.release()
    assert await reap(two.service, two.volume)
    with pytest.raises(UploadGone):
        await look_up(two.service, stale)


async def finish_by(replica: Replica, upload: UploadId) -> None:
    await append(replica.service, upload, Append(len(HELLO), len(WORLD)), ListedBody([WORLD]))
    await replica.rest()


async def go_round(janitor: Replica) -> bool:
    done = await reap(janitor.service, janitor.volume)
    await janitor.rest()
    return done


async def keep_house(janitor: Replica) -> None:
    assert await go_round(janitor)


class Rounds:
    """Two janitors; the first is stopped before one of its calls, the second goes on, then the first wakes."""

    def __init__(self, stopped_before: int, *, break_locks: bool) -> None:
        self.share = SimulatedShare()
        self.janitors = [Replica(self.share, name) for name in ("one", "two")]
        self.done: dict[str, bool] = {}
        self.stale, self.fresh = asyncio.run(self._prepare(Replica(self.share, "maker")))

        def strike(turn: int) -> None:
            if break_locks and turn == stopped_before:
                self.share.break_locks()

        choices = [0] * stopped_before + [1] * CALLS + [0, 1] * CALLS
        scheduler = Scheduler(self.share, choices, strike)
        for janitor in self.janitors:
            scheduler.add(janitor.name, partial(self._go_round, janitor))
        scheduler.run()
        self.share.before_call = self.share.on_wait = None

    async def _prepare(self, maker: Replica) -> tuple[UploadId, UploadId]:
        stale = await begun(maker, "stale")
        self.share.now += AGES.open + 1
        return stale, await begun(maker, "fresh")

    async def _go_round(self, janitor: Replica) -> None:
        self.done[janitor.name] = await go_round(janitor)

    @property
    def told(self) -> list[str]:
        """By whom it was told that the stale one has expired."""
        return [one.name for one in self.janitors for event in one.listener.events if isinstance(event, UploadExpired)]

    async def look(self) -> None:
        """What is over is over, what is not goes on as if nobody had come by."""
        last = Replica(self.share, "last")
        with pytest.raises(StorageProxyError) as caught:
            await look_up(last.service, self.stale)
        assert isinstance(caught.value, UploadGone)
        # Of two who each took the other for through, neither may have cleared away.
        self.share.now += AGES.orphans + 1
        assert await go_round(last)
        assert data_files(self.share, self.stale) == []
        assert (await look_up(last.service, self.fresh)).prefix == len(HELLO)
        await finish_by(last, self.fresh)
        assert self.share.target_bytes("fresh") == HELLO + WORLD


def test_whoever_comes_while_a_round_is_made_makes_none() -> None:
    refused = 0
    for stopped_before in range(1, CALLS):
        rounds = Rounds(stopped_before, break_locks=False)
        assert rounds.done["one"]
        assert len(rounds.told) == 1
        if not rounds.done["two"]:
            refused += 1
            assert rounds.janitors[1].listener.events == []
        asyncio.run(rounds.look())
    # At its very beginning and behind its end the lock is free.
    assert 0 < refused < CALLS - 1


def test_an_upload_that_was_idle_for_long_and_is_finished_while_the_janitor_looks_keeps_its_record() -> None:
    """Its client, whose last answer may be lost, would start over at "not found"."""
    for stopped_before in range(1, CALLS):
        share = SimulatedShare()
        client, janitor = Replica(share, "client"), Replica(share, "janitor")
        upload = asyncio.run(begun(client, "file"))
        share.now += AGES.published + 1
        scheduler = Scheduler(share, [1] * stopped_before + [0] * CALLS * 2 + [1] * CALLS)
        scheduler.add("client", partial(finish_by, client, upload))
        scheduler.add("janitor", partial(keep_house, janitor))
        scheduler.run()
        share.before_call = share.on_wait = None
        assert asyncio.run(look_up(Replica(share, "last").service, upload)).phase is Phase.PUBLISHED
        assert share.target_bytes("file") == HELLO + WORLD


def test_two_rounds_at_once_by_a_lock_that_was_lost_harm_nothing() -> None:
    both = 0
    for stopped_before in range(1, CALLS):
        rounds = Rounds(stopped_before, break_locks=True)
        both += all(rounds.done.values())
        asyncio.run(rounds.look())
    assert both > CALLS / 2
