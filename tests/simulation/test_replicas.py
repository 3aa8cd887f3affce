"""Several replicas, clients and janitors on one share, interleaved at every call, against a bytearray.

What is acknowledged is written into the model; whatever happens afterwards, no other byte may be acknowledged at the
same place, the prefix may not shrink, and the published file must hold what was acknowledged.
"""

import asyncio
import hashlib
import math
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from storage_proxy.core.errors import Contended, Refused, StorageProxyError, Unavailable, UploadNotFound
from storage_proxy.core.events import ChunkCommitted, Fact, UploadExpired, UploadPublished, UploadReaped
from storage_proxy.core.manifest import SHA_256, Digest, Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.append import append
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.describe import describe
from storage_proxy.operations.finish import finish
from storage_proxy.operations.reap import reap
from storage_proxy.operations.reception import Append
from storage_proxy.store import layout
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import AGES, VOLUME, ListedBody, Replica
from tests.simulation.scheduler import Scheduler

# Somebody may have heard of the end whom no client has asked.
ENDS = (UploadExpired, UploadPublished)

LENGTH = 120
TARGET = "file.bin"
RIGHT = bytes(range(LENGTH))
WRONG = bytes(255 - byte for byte in RIGHT)


@dataclass(frozen=True)
class Sent:
    offset: int
    length: int
    batch: int
    wrong: bool = False
    at_hand: bool = False

    def body(self) -> ListedBody:
        content = (WRONG if self.wrong else RIGHT)[self.offset : self.offset + self.length]
        batches = [content[start : start + self.batch] for start in range(0, len(content), self.batch)]
        return ListedBody(batches, at_hand=self.at_hand)


@dataclass
class Model:
    """What clients were told, whoever told them."""

    acknowledged: dict[int, int] = field(default_factory=dict)
    prefix: int = 0
    ended: Phase | None = None
    alive_at: float = 0.0
    """by the share's clock: the last append that was acknowledged, and added something, began no earlier"""
    expired_at: float = math.inf
    """the same clock, as the janitor that did it had read it"""
    buried_at: float = math.inf

    def note_append(self, sent: Sent) -> None:
        content = WRONG if sent.wrong else RIGHT
        for place in range(sent.offset, sent.offset + sent.length):
            assert self.acknowledged.setdefault(place, content[place]) == content[place], "a promised byte changed"

    def note_prefix(self, asked_at: int, manifest: Manifest) -> None:
        if manifest.phase in (Phase.OPEN, Phase.PUBLISHED):
            assert manifest.prefix >= asked_at, f"the prefix shrank from {asked_at} to {manifest.prefix}"
            self.prefix = max(self.prefix, manifest.prefix)
        if manifest.phase in (Phase.PUBLISHED, Phase.EXPIRED):
            self.ended = manifest.phase

    def judge_ages(self) -> None:
        assert self.expired_at >= self.alive_at + AGES.open, "expired before its time"
        assert self.buried_at >= self.alive_at + min(AGES.published, AGES.ended), "buried before its time"


class World:
    def __init__(self, order: Order, choices: list[int], declared: tuple[Digest, ...] = ()) -> None:
        self.share = SimulatedShare()
        self.choices = choices
        self.order = order
        self.declared = declared
        self.ended_as_declared = True
        self.model = Model()
        self.replicas: dict[str, Replica] = {}
        self.janitors_clocks: dict[str, float] = {}
        """what each has last read of the share's clock"""
        self.share.after_call = self._note_clock
        maker = Replica(self.share, "maker")
        self.upload: UploadId = new_upload_id(maker.service, VOLUME)
        wanted = Wanted(Target(VOLUME, TARGET), LENGTH, order, Policy.KEEP_BOTH, declared=declared)
        asyncio.run(create(maker.service, self.upload, wanted))

    def replica(self, name: str) -> Replica:
        self.replicas[name] = Replica(self.share, name)
        return self.replicas[name]

    async def ask(self, replica: Replica) -> Manifest:
        asked_at = self.model.prefix
        manifest = await describe(replica.service, self.upload)
        self.model.note_prefix(asked_at, manifest)
        return manifest

    async def send(self, replica: Replica, sent: Sent) -> None:
        began, heard = self.share.now, len(replica.listener.events)
        with suppress(Refused, Contended, Unavailable):
            await append(replica.service, self.upload, Append(sent.offset, sent.length), sent.body())
            self.model.note_append(sent)
            if any(isinstance(fact, ChunkCommitted) and fact.fresh for fact in replica.listener.events[heard:]):
                self.model.alive_at = max(self.model.alive_at, began)
            await self.ask(replica)

    async def client(self, replica: Replica, plan: list[Sent]) -> None:
        for sent in plan:
            await self.send(replica, sent)
        await replica.rest()

    async def resuming_client(self, replica: Replica, batch: int, *, at_hand: bool = False) -> None:
        """A sequential client that only ever goes on where HEAD says."""
        for _ in range(30):
            try:
                manifest = await self.ask(replica)
            except StorageProxyError:
                continue
            if manifest.phase is not Phase.OPEN:
                break
            piece = Sent(manifest.prefix, min(45, LENGTH - manifest.prefix), batch, at_hand=at_hand)
            await self.send(replica, piece)
        await replica.rest()

    async def janitor(self, replica: Replica, rounds: int, seconds: float) -> None:
        for _ in range(rounds):
            self.share.now += seconds
            heard = len(replica.listener.events)
            with suppress(StorageProxyError):
                if await reap(replica.service, replica.volume):
                    self._note_ends(replica.listener.events[heard:], self.janitors_clocks[replica.name])
                await self.ask(replica)
            await replica.rest()

    def _note_ends(self, facts: list[Fact], now: float) -> None:
        if any(isinstance(fact, UploadExpired) for fact in facts):
            self.model.expired_at = min(self.model.expired_at, now)
        if any(isinstance(fact, UploadReaped) for fact in facts):
            self.model.buried_at = min(self.model.buried_at, now)

    def _note_clock(self, replica: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "share_time":
            self.janitors_clocks[replica] = self.share.now

    def close(self) -> None:
        """Whatever happened: a new replica brings the upload to its end, and the file is what was promised."""
        self.share.before_call = self.share.on_wait = None
        last = Replica(self.share, "last")
        asyncio.run(self._close(last))

    async def _close(self, last: Replica) -> None:
        try:
            manifest = await self._finish(last)
        except UploadNotFound:
            heard = (fact for replica in self.replicas.values() for fact in replica.listener.events)
            assert any(isinstance(fact, ENDS) for fact in heard), "reaped before it had ended"
            return
        await last.rest()
        if manifest.phase is Phase.EXPIRED:
            return
        found = self.share.target_bytes(TARGET)
        if self.declared and manifest.phase is Phase.FAILED:
            self.ended_as_declared = False
            assert found is None, "published, though its digest is not the declared one"
            return
        assert manifest.phase is Phase.PUBLISHED, manifest
        assert found is not None
        for digest in self.declared:
            assert digest.value == hashlib.sha256(found).hexdigest(), "published with a wrong digest"
        assert len(found) == LENGTH
        for place, byte in self.model.acknowledged.items():
            assert found[place] == byte, f"byte {place} was acknowledged as {byte} and is {found[place]}"
        assert all(byte in (RIGHT[place], WRONG[place]) for place, byte in enumerate(found))
        for _ in range(2):
            self.share.now += 2 * 3600
            assert await reap(last.service, last.volume)
        known = (layout.Kind.MANIFEST, layout.Kind.LOCK)
        left = [path for path in self.share.tree() if path.count("/") > 2]
        assert all(layout.kind_of(path.rpartition("/")[2]) in known for path in left), left

    async def _finish(self, last: Replica) -> Manifest:
        for _ in range(60):
            manifest = await self.ask(last)
            if manifest.phase in (Phase.CLOSED, Phase.PUBLISHING):
                with suppress(Contended):
                    await finish(last.service, self.upload)
            elif manifest.phase is Phase.OPEN:
                gap = manifest.missing[0]
                await self.send(last, Sent(gap.start, gap.length, 40))
            else:
                return manifest
        raise AssertionError("the upload does not come to an end")


def play(world: World, scheduler: Scheduler) -> None:
    try:
        scheduler.run()
    finally:
        # Those who were frozen hold locks that only their death lets go.
        for replica in world.replicas.values():
            replica.filesystem.die()


def run(world: World, scheduler: Scheduler) -> None:
    play(world, scheduler)
    event(f"phase before the last replica: {world.model.ended}")
    world.close()


MANY = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

CHOICES = st.lists(st.integers(0, 3), min_size=1, max_size=60)

# One stands still while another does something from beginning to end.
LONG_TURNS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=20).map(
    lambda turns: [actor for actor, calls in turns for _ in range(calls)]
)


@st.composite
def pieces(draw: st.DrawFn) -> Sent:
    offset = draw(st.integers(0, LENGTH - 1))
    length = draw(st.integers(1, LENGTH - offset))
    return Sent(
        offset, length, draw(st.sampled_from((10, 30, 70, LENGTH))), draw(st.integers(0, 5)) == 0, draw(st.booleans())
    )


PLANS = st.lists(st.lists(pieces(), min_size=1, max_size=4), min_size=2, max_size=3)


@MANY
@given(plans=PLANS, choices=CHOICES)
def test_chunks_in_any_order_through_any_replica_agree_with_a_bytearray(
    plans: list[list[Sent]], choices: list[int]
) -> None:
    world = World(Order.ANY, choices)
    scheduler = Scheduler(world.share, choices)
    for number, plan in enumerate(plans):
        replica = world.replica(f"replica{number}")
        scheduler.add(replica.name, partial(world.client, replica, plan))
    run(world, scheduler)


@MANY
@given(
    plans=PLANS,
    choices=CHOICES,
    strikes=st.dictionaries(st.integers(0, 400), st.sampled_from(("break locks", "kill 0", "kill 1")), max_size=4),
    repeat=st.booleans(),
)
def test_lost_locks_repeated_links_and_kills_harm_nothing(
    plans: list[list[Sent]], choices: list[int], strikes: dict[int, str], repeat: bool
) -> None:
    world = World(Order.ANY, choices)
    world.share.repeat_links = repeat

    def strike(turn: int) -> None:
        what = strikes.get(turn)
        if what == "break locks":
            world.share.break_locks()
        elif what is not None:
            world.replicas[f"replica{what[-1]}"].filesystem.die()

    scheduler = Scheduler(world.share, choices, strike)
    for number, plan in enumerate(plans):
        replica = world.replica(f"replica{number}")
        scheduler.add(replica.name, partial(world.client, replica, plan))
    run(world, scheduler)


@MANY
@given(
    batches=st.lists(st.sampled_from((7, 20, 45)), min_size=2, max_size=3), choices=CHOICES, breaks=st.integers(1, 50)
)
def test_sequential_clients_that_take_over_from_each_other_end_with_one_right_file(
    batches: list[int], choices: list[int], breaks: int
) -> None:
    world = World(Order.SEQUENTIAL, choices)

    def strike(turn: int) -> None:
        if turn % breaks == 0:
            world.share.break_locks()

    scheduler = Scheduler(world.share, choices, strike)
    for number, batch in enumerate(batches):
        replica = world.replica(f"replica{number}")
        scheduler.add(replica.name, partial(world.resuming_client, replica, batch, at_hand=number % 2 == 1))
    run(world, scheduler)


@MANY
@given(plans=PLANS, choices=CHOICES | LONG_TURNS, seconds=st.sampled_from((4000.0, 8 * 86400.0)))
def test_a_janitor_never_takes_what_an_append_or_a_completion_still_needs(
    plans: list[list[Sent]], choices: list[int], seconds: float
) -> None:
    world = World(Order.ANY, choices)
    scheduler = Scheduler(world.share, choices)
    for number, plan in enumerate(plans[:2]):
        replica = world.replica(f"replica{number}")
        scheduler.add(replica.name, partial(world.client, replica, plan))
    for number in range(2):
        keeper = world.replica(f"janitor{number}")
        scheduler.add(keeper.name, partial(world.janitor, keeper, 3, seconds))
    run(world, scheduler)
    world.model.judge_ages()


WHOLE = st.builds(Sent, st.just(0), st.just(LENGTH), st.sampled_from((30, LENGTH)), st.booleans())


@MANY
@given(
    plans=st.lists(st.lists(pieces() | WHOLE, min_size=1, max_size=4), min_size=2, max_size=3),
    choices=CHOICES,
    breaks=st.integers(1, 50),
)
def test_only_the_file_whose_digest_was_declared_is_published_whoever_closes_it(
    plans: list[list[Sent]], choices: list[int], breaks: int
) -> None:
    world = World(Order.ANY, choices, (Digest(SHA_256, hashlib.sha256(RIGHT).hexdigest()),))

    def strike(turn: int) -> None:
        if turn % breaks == 0:
            world.share.break_locks()

    scheduler = Scheduler(world.share, choices, strike)
    for number, plan in enumerate(plans):
        replica = world.replica(f"replica{number}")
        scheduler.add(replica.name, partial(world.client, replica, plan))
    run(world, scheduler)
    right = all(byte == RIGHT[place] for place, byte in world.model.acknowledged.items())
    # Wrong pieces may have been promised without a client having heard of it; right ones alone never fail.
    assert world.ended_as_declared or not right or any(sent.wrong for plan in plans for sent in plan)


def test_the_scheduler_really_interleaves() -> None:
    world = World(Order.ANY, [0, 1])
    order: list[str] = []
    scheduler = Scheduler(world.share, [0, 1])
    hand_on = world.share.before_call
    assert hand_on is not None

    def watch(replica: str, operation: str, paths: tuple[str, ...]) -> None:
        order.append(replica)
        hand_on(replica, operation, paths)

    world.share.before_call = watch
    for number in range(2):
        replica = world.replica(f"replica{number}")
        scheduler.add(replica.name, partial(world.client, replica, [Sent(0, LENGTH, 30)]))
    scheduler.run()
    switches = sum(one != other for one, other in pairwise(order))
    assert switches > 20
