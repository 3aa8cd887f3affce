"""Parts that are sent through several replicas, joined by others and reaped by janitors, in turn at every call.

Whatever happens in whichever order: a final upload's file is its parts' bytes in order, or it has a reason for ending
without one. One that was answered while its parts were whole needs them no more, whatever becomes of them.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from hypothesis import event, given
from hypothesis import strategies as st

from storage_proxy.core.errors import Contended, Refused, StorageProxyError, Unavailable, UploadNotFound
from storage_proxy.core.manifest import Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.append import append
from storage_proxy.operations.concatenate import concatenate
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.describe import describe
from storage_proxy.operations.reap import reap
from storage_proxy.operations.reception import Append
from storage_proxy.operations.terminate import terminate
from storage_proxy.store import layout
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import SMALL, VOLUME, ListedBody, Replica
from tests.simulation.scheduler import Scheduler
from tests.simulation.test_replicas import CHOICES, MANY

CONTENTS = (bytes(range(90)), bytes(range(100, 170)))
ENDED = (Phase.PUBLISHED, Phase.FAILED, Phase.EXPIRED, Phase.TERMINATED)


# Nobody waits for another's claim: more is done by two at once, and no real time is spent watching.
IMPATIENT = replace(SMALL, claim_wait_seconds=0.0)


@dataclass
class Told:
    """A final upload that was answered with 201."""

    upload: UploadId
    target: str
    wanted: bytes
    whole: bool
    """its parts were known to be whole before it was asked for"""


@dataclass
class World:
    order: tuple[int, ...]
    """which part comes where"""
    ends_parts: bool
    share: SimulatedShare = field(default_factory=SimulatedShare)
    replicas: dict[str, Replica] = field(default_factory=dict)
    parts: list[UploadId] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        maker = Replica(self.share, "maker")
        for content in CONTENTS:
            upload = new_upload_id(maker.service, VOLUME)
            target = Target(VOLUME, upload.key)
            wanted = Wanted(target, len(content), Order.SEQUENTIAL, Policy.KEEP_BOTH, partial=True)
            asyncio.run(create(maker.service, upload, wanted))
            self.parts.append(upload)

    def replica(self, name: str) -> Replica:
        self.replicas[name] = Replica(self.share, name, limits=IMPATIENT)
        return self.replicas[name]

    # ---- actors -----------------------------------------------------------------------------------------------------

    async def sender(self, replica: Replica, number: int, piece: int, rounds: int = 12) -> None:
        """A client that goes on where HEAD says, until its part is whole or gone."""
        upload, content = self.parts[number], CONTENTS[number]
        for _ in range(rounds):
            with suppress(Refused, Contended, Unavailable):
                manifest = await describe(replica.service, upload)
                if manifest.phase is not Phase.OPEN:
                    break
                body = content[manifest.prefix : manifest.prefix + piece]
                await append(
                    replica.service, upload, Append(manifest.prefix, len(body)), ListedBody([body[:25], body[25:]])
                )
        await replica.rest()

    async def joiner(self, replica: Replica, name: str, waits: bool) -> None:
        for _ in range(8):
            with suppress(Refused, Contended, Unavailable):
                phases = [(await describe(replica.service, part)).phase for part in self.parts]
                whole = all(phase is Phase.WHOLE for phase in phases)
                if whole or not waits:
                    await self.join(replica, name, whole)
                    break
        await replica.rest()

    async def join(self, replica: Replica, name: str, whole: bool) -> None:
        upload = new_upload_id(replica.service, VOLUME)
        parts = tuple(self.parts[number] for number in self.order)
        wanted = Wanted(Target(VOLUME, name), None, Order.SEQUENTIAL, Policy.KEEP_BOTH)
        await concatenate(replica.service, upload, wanted, "final;x", parts)
        content = b"".join(CONTENTS[number] for number in self.order)
        self.told.append(Told(upload, name, content, whole))
        if whole and self.ends_parts:
            for part in dict.fromkeys(parts):
                with suppress(StorageProxyError):
                    await terminate(replica.service, part)

    async def janitor(self, replica: Replica, rounds: int, seconds: float) -> None:
        for _ in range(rounds):
            self.share.now += seconds
            with suppress(StorageProxyError):
                await reap(replica.service, replica.volume)
            await replica.rest()

    # ---- afterwards -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        self.share.before_call = self.share.on_wait = None
        asyncio.run(self._close(Replica(self.share, "last")))

    async def _close(self, last: Replica) -> None:
        for number in range(len(CONTENTS)):
            await self.sender(last, number, 200)
        for told in self.told:
            await self._check(last, told)
        for seconds in (2 * 3600, 8 * 86400, 8 * 86400, 8 * 86400):
            self.share.now += seconds
            assert await reap(last.service, last.volume)
            await last.rest()
        left = [path for path in self.share.tree() if path.startswith(f"{layout.ROOT}/") and path.count("/") > 2]
        assert not left, f"left behind: {left}"

    async def _check(self, last: Replica, told: Told) -> None:
        found = self.share.target_bytes(told.target)
        try:
            manifest = await self._end_of(last, told.upload)
        except UploadNotFound:
            # Its marker was buried: then its file must be there, or it was not promised.
            event("the marker of a final upload was buried")
            assert found == told.wanted or (found is None and not told.whole)
            return
        event(f"a final upload ended as {manifest.phase}, {'over whole parts' if told.whole else 'before its parts'}")
        if manifest.phase is Phase.PUBLISHED:
            assert self.share.target_bytes(told.target) == told.wanted
            return
        assert manifest.phase is Phase.EXPIRED, f"it ended as {manifest.phase}: {manifest.reason}"
        assert not told.whole, f"its parts were whole, and it ended: {manifest.reason}"
        assert "is gone" in (manifest.reason or "")
        assert found is None

    async def _end_of(self, last: Replica, upload: UploadId) -> Manifest:
        for _ in range(20):
            manifest = await describe(last.service, upload)
            if manifest.phase in ENDED:
                return manifest
            await last.rest()
        raise AssertionError(f"the final upload does not come to an end: {manifest}")


def run(world: World, scheduler: Scheduler) -> None:
    try:
        scheduler.run()
    finally:
        # Those who were frozen hold locks that only their death lets go.
        for replica in world.replicas.values():
            replica.filesystem.die()
    world.close()


ORDERS = st.sampled_from(((0, 1), (1, 0), (0, 1, 0), (1,)))


@MANY
@given(
    order=ORDERS,
    ends_parts=st.booleans(),
    pieces=st.tuples(st.sampled_from((30, 90)), st.sampled_from((20, 70))),
    waits=st.tuples(st.booleans(), st.booleans()),
    choices=CHOICES,
    breaks=st.integers(1, 200),
    repeat=st.booleans(),
)
def test_a_final_upload_holds_its_parts_in_order_however_the_replicas_take_turns(
    order: tuple[int, ...],
    ends_parts: bool,
    pieces: tuple[int, int],
    waits: tuple[bool, bool],
    choices: list[int],
    breaks: int,
    repeat: bool,
) -> None:
    world = World(order, ends_parts)
    world.share.repeat_links = repeat

    def strike(turn: int) -> None:
        if turn % breaks == 0:
            world.share.break_locks()

    scheduler = Scheduler(world.share, choices, strike)
    for number, piece in enumerate(pieces):
        sender = world.replica(f"sender{number}")
        scheduler.add(sender.name, partial(world.sender, sender, number, piece))
    for number, wait in enumerate(waits):
        joiner = world.replica(f"joiner{number}")
        scheduler.add(joiner.name, partial(world.joiner, joiner, f"file{number}.bin", wait))
    run(world, scheduler)


@MANY
@given(
    order=ORDERS,
    ends_parts=st.booleans(),
    waits=st.booleans(),
    choices=CHOICES,
    seconds=st.sampled_from((4000.0, 8 * 86400.0)),
)
def test_a_janitor_never_takes_what_a_final_upload_was_promised(
    order: tuple[int, ...], ends_parts: bool, waits: bool, choices: list[int], seconds: float
) -> None:
    world = World(order, ends_parts)
    scheduler = Scheduler(world.share, choices)
    for number in range(2):
        sender = world.replica(f"sender{number}")
        scheduler.add(sender.name, partial(world.sender, sender, number, 200))
    joiner = world.replica("joiner")
    scheduler.add(joiner.name, partial(world.joiner, joiner, "file.bin", waits))
    keeper = world.replica("janitor")
    scheduler.add(keeper.name, partial(world.janitor, keeper, 4, seconds))
    run(world, scheduler)
