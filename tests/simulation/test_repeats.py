"""A creation that is sent again: a crash at every call, and two replicas at once, make one upload and no more."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core.errors import StorageProxyError
from storage_proxy.core.manifest import Order, Phase, Policy, Repeat, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.append import append
from storage_proxy.operations.create import Wanted, new_upload_id
from storage_proxy.operations.reap import reap
from storage_proxy.operations.reception import Append
from storage_proxy.operations.repeat import create_once
from storage_proxy.store import layout
from storage_proxy.testing.filesystem import ReplicaDead, SimulatedShare
from storage_proxy.testing.replicas import VOLUME, ListedBody, Replica
from tests.simulation.scheduler import Scheduler
from tests.simulation.sweep import FAULTS, Fault, run
from tests.simulation.test_replicas import CHOICES, MANY

CONTENT = b"what was meant"
REPEAT = Repeat("ab" * 32, "cd" * 32)
DAY = 86400.0


def wanted(length: int) -> Wanted:
    return Wanted(Target(VOLUME, "file"), length, Order.SEQUENTIAL, Policy.KEEP_BOTH, repeat=REPEAT)


async def create(replica: Replica, length: int) -> UploadId:
    manifest = await create_once(replica.service, new_upload_id(replica.service, VOLUME), wanted(length))
    await replica.rest()
    return manifest.upload


class World:
    def __init__(self, length: int) -> None:
        self.length = length
        self.share = SimulatedShare()
        self.first = Replica(self.share, "first")
        self.answered: UploadId | None = None
        self.began_at = self.share.calls
        self.fired = False

    def plant(self, fault: Fault, at: int) -> None:
        def strike(replica: str, operation: str, paths: tuple[str, ...]) -> None:
            if self.fired or self.share.calls - self.began_at != at:
                return
            self.fired = True
            if operation == "lock" and not fault.before and not fault.dies:
                return  # a lock whose taker got an error is let go with its descriptor
            if fault.dies:
                self.first.filesystem.die()
                if fault.power is not None:
                    fault.power(self.share)
                raise ReplicaDead
            assert fault.error is not None
            raise fault.error(operation)

        if fault.before:
            self.share.before_call = strike
        else:
            self.share.after_call = strike

    async def begin(self) -> None:
        with suppress(StorageProxyError):
            self.answered = await create(self.first, self.length)
        await self.first.rest()

    async def go_on(self) -> None:
        """The client asks again, through other replicas, and sends its bytes."""
        second, third = (Replica(self.share, name, clock=self.first.clock) for name in ("second", "third"))
        found = await create(second, self.length)
        assert self.answered in (None, found), "another upload than the one that was told"
        assert await create(third, self.length) == found
        if self.length:
            await append(third.service, found, Append(0, self.length), ListedBody([CONTENT]))
        await third.rest()
        assert await create(second, self.length) == found, "found also when it is published"
        assert (await second.service.read(found)).phase is Phase.PUBLISHED
        await self.check_leftovers(third)

    async def check_leftovers(self, replica: Replica) -> None:
        for _ in range(4):
            self.share.now += 8 * DAY
            assert await reap(replica.service, replica.volume)
            await replica.rest()
        assert self.share.target_bytes("file") == CONTENT[: self.length]
        assert self.share.target_bytes("file (1)") is None, "created twice"
        left = [path for path in self.share.tree() if path.startswith(f"{layout.ROOT}/") and path.count("/") > 2]
        assert left == [], "left behind for ever"


def quietly(work: Coroutine[Any, Any, None]) -> None:
    with suppress(ReplicaDead):
        run(work)


@pytest.mark.parametrize("length", [len(CONTENT), 0])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_whatever_strikes_at_whichever_call_the_same_request_finds_one_upload(fault: Fault, length: int) -> None:
    struck, at = True, 0
    while struck:
        at += 1
        world = World(length)
        world.plant(fault, at)
        try:
            quietly(world.begin())
            world.share.before_call = world.share.after_call = None
            run(world.go_on())
        except BaseException as error:
            error.add_note(f"{fault.name}, at call {at}")
            raise
        # A look-up that finds nothing has no end at which to strike.
        struck = world.fired or (world.share.calls - world.began_at > at and at < 60)
    assert at > 10


@MANY
@given(choices=CHOICES, empty=st.booleans(), repeat=st.booleans())
def test_two_requests_at_once_are_one_upload(choices: list[int], empty: bool, repeat: bool) -> None:
    length = 0 if empty else len(CONTENT)
    share = SimulatedShare()
    share.repeat_links = repeat
    replicas = [Replica(share, name) for name in ("one", "two")]
    found: list[UploadId] = []

    async def send(replica: Replica) -> None:
        found.append(await create(replica, length))
        # Sent once more at once: it is there.
        assert await create(replica, length) == found[-1]

    scheduler = Scheduler(share, choices)
    for replica in replicas:
        scheduler.add(replica.name, partial(send, replica))
    nap = asyncio.sleep

    async def look_again(seconds: float) -> None:
        """Who waits for the other's work takes no real time: turns are taken at calls, not by the clock."""
        await nap(0)

    with mock.patch.object(asyncio, "sleep", look_again):
        scheduler.run()
    share.before_call = share.on_wait = None
    assert len(set(found)) == 1
    phases = [replicas[0].volume.manifests.read(key).phase for key in list(replicas[0].volume.sweeping.keys())]
    lost = [phase for phase in phases if phase is not Phase.TERMINATED]
    assert lost == [Phase.PUBLISHED if empty else Phase.OPEN]
    assert share.target_bytes("file (1)") is None


def test_a_key_that_has_outlived_its_upload_is_a_new_one() -> None:
    world = World(len(CONTENT))

    async def act() -> None:
        await world.begin()
        for _ in range(3):
            world.share.now += 8 * DAY
            assert await reap(world.first.service, world.first.volume)
        records = [path for path in world.share.tree() if path.startswith(f"{layout.REPEATS}/") and path.count("/") > 2]
        assert records == []
        assert await create(world.first, world.length) != world.answered

    asyncio.run(act())
