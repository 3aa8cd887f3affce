"""Telling others: again until it is taken, in order, by whichever replica is there."""

import asyncio

import pytest

from storage_proxy.core import events
from storage_proxy.core.errors import HookFailed, HookRefused, PublishFailed, UploadNotFound
from storage_proxy.core.manifest import Order, Phase, Policy, UploadId
from storage_proxy.core.notices import Noting, Told
from storage_proxy.core.target import Target
from storage_proxy.operations.append import append
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.notify import Notifier, Patience, deliver
from storage_proxy.operations.reap import reap
from storage_proxy.operations.reception import Append
from storage_proxy.operations.service import NoticeRules
from storage_proxy.operations.terminate import terminate
from storage_proxy.ports import Asked, Asker, Region, Verdict
from storage_proxy.store import layout
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.hooks import RecordingHooks
from storage_proxy.testing.replicas import VOLUME, ListedBody, Replica

ALL = frozenset(Told)
CONTENT = bytes(range(100))
# Pauses are what a test must not wait for.
QUICK = Patience(pauses=(0.0,) * 6)
ASKER = Asker("POST", "/files", "127.0.0.1", {"X-User": "7"})


class World:
    def __init__(self, *questions: Asked, patience: Patience = QUICK) -> None:
        self.share = SimulatedShare()
        self.hooks = RecordingHooks(*questions)
        self.rules = NoticeRules(Noting(ALL), publishing_is_asked=Asked.PUBLISHING in questions)
        self.replica = self.another("one")
        self.notifier = Notifier(self.replica.service, self.hooks, ALL, patience)
        self.upload = new_upload_id(self.replica.service, VOLUME)

    def another(self, name: str) -> Replica:
        return Replica(self.share, name, hooks=self.hooks, notices=self.rules)

    def listen(self) -> None:
        self.replica.service.also_tell(self.notifier)

    async def create(self, length: int = len(CONTENT)) -> None:
        wanted = Wanted(Target(VOLUME, "file"), length, Order.SEQUENTIAL, Policy.KEEP_BOTH, asker=ASKER)
        await create(self.replica.service, self.upload, wanted)

    async def send(self, content: bytes = CONTENT) -> None:
        await append(self.replica.service, self.upload, Append(0, len(content)), ListedBody([content]))

    @property
    def told(self) -> list[str]:
        return [notice.kind for notice in self.hooks.told[self.upload]]

    async def phase(self) -> Phase:
        return (await self.replica.service.read(self.upload)).phase

    def events(self, kind: type[events.Event]) -> int:
        return sum(isinstance(event, kind) for event in self.replica.listener.events)


async def test_what_happens_to_an_upload_is_told_in_order() -> None:
    world = World()
    world.listen()
    await world.create()
    await world.notifier.settle(5.0)
    await world.send()
    await world.notifier.settle(5.0)
    await world.notifier.settle(5.0)
    assert world.told == ["post-create", "post-receive", "post-finish"]
    assert [notice.number for notice in world.hooks.told[world.upload]] == [1, 2, 3]
    assert (await world.replica.service.read(world.upload)).notices == ()


async def test_a_notice_is_told_again_until_it_is_taken_and_nothing_passes_it_by() -> None:
    world = World()
    world.hooks.failures = 3
    world.listen()
    await world.create()
    await terminate(world.replica.service, world.upload)
    await world.notifier.settle(5.0)
    assert world.told == ["post-create", "post-terminate"]
    assert world.events(events.NoticeDelayed) == 3


async def test_what_a_dead_replica_has_left_is_told_by_anothers_janitor() -> None:
    world = World()
    await world.create()
    world.replica.filesystem.die()
    second = world.another("two")
    notifier = Notifier(second.service, world.hooks, ALL, QUICK)
    second.service.also_tell(notifier)
    assert await reap(second.service, second.volume)
    await notifier.settle(5.0)
    assert world.told == ["post-create"]


async def test_while_another_replica_is_at_it_nothing_is_told_twice() -> None:
    world = World()
    await world.create()
    other = world.another("two")
    with other.filesystem.lock(layout.lock(world.upload.key), Region.NOTICES, 0):
        await deliver(world.replica.service, world.hooks, world.upload, QUICK)
        assert world.told == []
        # Whoever holds the claim for so long may be dead without its share having noticed.
        world.replica.clock.advance(QUICK.claim_seconds)
        await deliver(world.replica.service, world.hooks, world.upload, QUICK)
    assert world.told == ["post-create"]


async def test_a_notice_that_nobody_takes_is_given_up_after_its_time_and_the_next_is_told() -> None:
    world = World()
    await world.create()
    await terminate(world.replica.service, world.upload)
    world.hooks.failures = 1
    with pytest.raises(HookFailed):
        await deliver(world.replica.service, world.hooks, world.upload, QUICK)
    world.replica.clock.advance(QUICK.give_up_seconds)
    world.hooks.failures = 1
    await deliver(world.replica.service, world.hooks, world.upload, QUICK)
    assert world.told == ["post-terminate"]
    assert world.events(events.NoticeDropped) == 1


async def test_the_record_of_an_ended_upload_stays_until_its_end_was_told() -> None:
    world = World()
    await world.create()
    await terminate(world.replica.service, world.upload)
    # Longer than a tombstone is kept, shorter than a notice.
    world.share.now += 2 * 86400
    await reap(world.replica.service, world.replica.volume)
    await deliver(world.replica.service, world.hooks, world.upload, QUICK)
    assert world.told == ["post-create", "post-terminate"]
    world.share.now += 2 * 86400
    await reap(world.replica.service, world.replica.volume)
    with pytest.raises(UploadNotFound):
        await world.phase()


async def test_a_receiver_that_is_gone_does_not_keep_records_for_ever() -> None:
    world = World()
    await world.create()
    await terminate(world.replica.service, world.upload)
    world.share.now += 5 * 86400
    await reap(world.replica.service, world.replica.volume)
    with pytest.raises(UploadNotFound):
        await world.phase()


async def test_only_so_many_are_told_at_once() -> None:
    world = World(patience=Patience(pauses=(), deliveries_max=2))
    most, now = 0, 0
    take = world.hooks.tell

    async def slowly(*told: object) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        await take(*told)  # type: ignore[arg-type] # whatever it was called with

    world.hooks.tell = slowly  # type: ignore[assignment,method-assign] # a twin, slowed down
    world.listen()
    for _ in range(8):
        world.upload = new_upload_id(world.replica.service, VOLUME)
        await world.create()
    await world.notifier.settle(5.0)
    assert (most, len(world.hooks.told)) == (2, 8)


async def test_a_replica_holds_tasks_for_so_many_uploads_and_no_more() -> None:
    world = World(patience=Patience(pauses=(), uploads_max=3))
    for number in range(5):
        world.notifier.hear(events.NoticesWaiting(UploadId(VOLUME, f"{number:032x}")))
    assert len(world.notifier._at_it) == 3
    await world.notifier.settle(5.0)


async def test_news_that_nobody_wants_costs_no_look_at_the_share() -> None:
    world = World()
    notifier = Notifier(world.replica.service, world.hooks, frozenset({Told.PUBLISHED}), QUICK)
    world.replica.service.also_tell(notifier)
    await world.create()
    assert notifier._at_it == {}


# ---- questions ------------------------------------------------------------------------------------------------------


async def test_a_refused_creation_leaves_nothing_and_its_client_is_told_why() -> None:
    world = World(Asked.CREATION)
    world.hooks.verdict = Verdict(refusal="Not on Fridays")
    before = dict(world.share.tree())
    with pytest.raises(HookRefused, match="Not on Fridays"):
        await world.create()
    assert world.share.tree() == before
    [(question, manifest, asker)] = world.hooks.asked
    assert (question, manifest.upload, asker) == (Asked.CREATION, world.upload, ASKER)


async def test_a_creation_that_nobody_answers_for_is_not_done_either() -> None:
    world = World(Asked.CREATION)
    world.hooks.failures = 1
    with pytest.raises(HookFailed):
        await world.create()
    with pytest.raises(UploadNotFound):
        await world.phase()


async def test_who_is_asked_may_say_where_the_file_appears() -> None:
    world = World(Asked.CREATION)
    world.hooks.verdict = Verdict(path="user-7/file")
    await world.create()
    await world.send()
    assert world.share.target_bytes("user-7/file") == CONTENT
    assert world.share.target_bytes("file") is None


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", ".uploads/x", ""])
async def test_a_path_that_climbs_out_is_the_hooks_mistake_and_not_the_clients(path: str) -> None:
    world = World(Asked.CREATION)
    world.hooks.verdict = Verdict(path=path)
    with pytest.raises(HookFailed):
        await world.create()


async def test_a_refused_file_never_appears_and_keeps_its_bytes() -> None:
    world = World(Asked.PUBLISHING)
    await world.create()
    world.hooks.verdict = Verdict(refusal="It holds a virus")
    with pytest.raises(PublishFailed, match="It holds a virus"):
        await world.send()
    manifest = await world.replica.service.read(world.upload)
    assert (manifest.phase, manifest.reason, manifest.prefix) == (Phase.FAILED, "It holds a virus", len(CONTENT))
    assert world.share.target_bytes("file") is None


async def test_a_file_waits_closed_until_somebody_answers_for_it() -> None:
    world = World(Asked.PUBLISHING)
    await world.create()
    world.hooks.failures = 1
    with pytest.raises(HookFailed):
        await world.send()
    assert await world.phase() is Phase.CLOSED
    assert world.share.target_bytes("file") is None
    await reap(world.replica.service, world.replica.volume)
    await world.replica.rest()
    assert await world.phase() is Phase.PUBLISHED
    assert world.share.target_bytes("file") == CONTENT


async def test_a_refused_end_leaves_the_upload_as_it_is() -> None:
    world = World(Asked.TERMINATION)
    await world.create()
    world.hooks.verdict = Verdict(refusal="It is under legal hold")
    with pytest.raises(HookRefused, match="legal hold"):
        await terminate(world.replica.service, world.upload, ASKER)
    assert await world.phase() is Phase.OPEN


async def test_an_end_that_no_client_asks_for_is_nobodys_to_refuse() -> None:
    """An operator's, or our own of what was never told to a client."""
    world = World(Asked.TERMINATION)
    await world.create()
    world.hooks.verdict = Verdict(refusal="It is under legal hold")
    await terminate(world.replica.service, world.upload)
    assert world.hooks.asked == []
    assert await world.phase() is Phase.TERMINATED
