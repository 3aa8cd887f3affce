"""A crash or a fault at every call, while notices are made and delivered: none is lost, and they come in order."""

from contextlib import suppress

import pytest

from storage_proxy.core.errors import StorageProxyError, UploadNotFound
from storage_proxy.core.manifest import Manifest, Phase
from storage_proxy.core.notices import Noting, Told
from storage_proxy.operations.notify import Patience, deliver
from storage_proxy.operations.service import NoticeRules
from storage_proxy.ports import Asked
from storage_proxy.testing.filesystem import ReplicaDead
from storage_proxy.testing.hooks import RecordingHooks
from storage_proxy.testing.replicas import Replica
from tests.simulation.sweep import CONTENT, FAULTS, Client, Fault, Scenario, World, run

ALL = frozenset(Told)


async def in_two_requests(client: Client) -> None:
    await client.send(0, 120)
    await client.send(120, len(CONTENT) - 120)


async def in_one_request(client: Client) -> None:
    await client.send(0, len(CONTENT))


async def cancelled(client: Client) -> None:
    await client.send(0, 120)
    await client.terminate()


SCENARIOS = (
    Scenario("in two requests", in_two_requests),
    Scenario("in one request", in_one_request),
    Scenario("cancelled", cancelled, ends=(Phase.TERMINATED, Phase.PUBLISHED)),
)

LAST = {Phase.PUBLISHED: Told.PUBLISHED, Phase.TERMINATED: Told.TERMINATED}


class Telling:
    """One world, and everything that its hooks were told."""

    def __init__(self, scenario: Scenario) -> None:
        # With a question in the way, closing and announcing are two commits.
        self.hooks = RecordingHooks(Asked.PUBLISHING)
        self.world = World(scenario, hooks=self.hooks, notices=NoticeRules(Noting(ALL), publishing_is_asked=True))

    async def deliver(self, replica: Replica) -> None:
        with suppress(UploadNotFound):
            await deliver(replica.service, self.hooks, self.world.client.upload, Patience())

    async def act(self) -> None:
        world = self.world
        with suppress(StorageProxyError):
            await world.client.create(world.scenario.wanted)
            await self.deliver(world.first)
            await world.scenario.act(world.client)
        with suppress(StorageProxyError):
            await self.deliver(world.first)
        await world.first.rest()

    async def go_on(self) -> Manifest | None:
        world = self.world
        replica = world.second
        if not world.client.terminated:
            await world.finish_with(replica)
        with suppress(UploadNotFound):
            # What a fault has left of a change is helped to its end by the next look.
            await self.deliver(replica)
            return await replica.service.read(world.client.upload)
        return None

    def check(self, manifest: Manifest | None) -> None:
        told = self.hooks.told[self.world.client.upload]
        numbers = [notice.number for notice in told]
        # Again is allowed, and only the last one that was told can come again.
        assert numbers == sorted(numbers), f"told out of order: {told}"
        if manifest is None:
            assert not self.world.client.created
            return
        assert manifest.notices == ()
        assert told[0].kind == Told.CREATED
        assert told[-1].kind == LAST[manifest.phase]
        missing = set(range(1, manifest.notices_made + 1)) - set(numbers)
        # Only a reception may have given its place to a newer one.
        kinds = {notice.kind for notice in told}
        assert len(missing) <= manifest.notices_made - len(kinds)
        assert kinds <= {Told.CREATED, Told.RECEIVED, LAST[manifest.phase]}


def count_calls(scenario: Scenario) -> int:
    telling = Telling(scenario)
    run(telling.act())
    calls = telling.world.share.calls - telling.world.began_at
    run(_finish(telling))
    return calls


async def _finish(telling: Telling) -> None:
    telling.check(await telling.go_on())


def sweep_one(scenario: Scenario, fault: Fault, at: int) -> None:
    telling = Telling(scenario)
    world = telling.world
    world.plant(fault, at)
    try:
        with suppress(ReplicaDead):
            run(telling.act())
        world.share.before_call = world.share.after_call = None
        run(_finish(telling))
    except BaseException as error:
        error.add_note(f"replay: sweep_one({scenario.name!r}, {fault.name!r}, at={at}); {world.fired}")
        raise


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_crash_loses_a_notice_or_changes_their_order(scenario: Scenario, fault: Fault) -> None:
    calls = count_calls(scenario)
    assert calls > 60
    for at in range(1, calls + 1):
        sweep_one(scenario, fault, at)
