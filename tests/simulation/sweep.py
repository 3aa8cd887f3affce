"""One crash or fault at every call of a scenario, and the promises checked afterwards.

A scenario is what one client does with one upload. It is run once to count the calls that it makes of the file system,
then once for every call and every kind of fault. After a crash another replica goes on; after an error the client asks
where to go on, as real ones do. What was acknowledged before is remembered here, on the client's side, and must hold.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

from storage_proxy.core import extents
from storage_proxy.core.errors import (
    Contended,
    Refused,
    ShareFault,
    ShareFull,
    StorageProxyError,
    Unavailable,
    UploadNotFound,
)
from storage_proxy.core.extents import Coverage, Extent
from storage_proxy.core.folding import whole_file
from storage_proxy.core.manifest import Digest, Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.append import append
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.describe import describe
from storage_proxy.operations.finish import finish
from storage_proxy.operations.reap import reap
from storage_proxy.operations.reception import Append
from storage_proxy.operations.service import NoticeRules
from storage_proxy.operations.terminate import terminate
from storage_proxy.ports import Hooks
from storage_proxy.store import layout
from storage_proxy.testing.filesystem import ReplicaDead, SimulatedShare
from storage_proxy.testing.replicas import VOLUME, ListedBody, Replica
from storage_proxy.testing.system import HandClock

CONTENT = bytes((index * 7 + index // 251) % 256 for index in range(300))
TARGET = "folder/report.pdf"
OLD = b"what stood there before"


@dataclass
class Client:
    """Remembers what it was told, and sends `content`."""

    replica: Replica
    upload: UploadId
    content: bytes = CONTENT
    created: bool = False
    acknowledged: Coverage = ()
    published: bool = False
    terminating: bool = False
    terminated: bool = False

    async def create(self, wanted: Wanted) -> None:
        manifest = await create(self.replica.service, self.upload, wanted)
        self.created = True
        self._note(manifest)

    async def send(
        self,
        offset: int,
        length: int,
        *,
        batch: int = 50,
        ending: Exception | None = None,
        declare: int | None = None,
        at_hand: bool = False,
    ) -> None:
        piece = self.content[offset : offset + length]
        batches = [piece[start : start + batch] for start in range(0, len(piece), batch)]
        body = ListedBody(batches, ending, at_hand=at_hand)
        wanted = Append(offset, None if ending else length, length=declare)
        try:
            done = await append(self.replica.service, self.upload, wanted, body)
        except StorageProxyError:
            if ending is None:
                raise
            return
        assert done.offset == offset + length, "the answer must be request offset + received bytes"
        self.acknowledged = extents.merge((*self.acknowledged, Extent(offset, done.offset)))
        self._note(done.manifest)

    async def ask(self) -> Manifest:
        """HEAD: what it says is an acknowledgement, too."""
        manifest = await describe(self.replica.service, self.upload)
        self._note(manifest)
        return manifest

    async def terminate(self) -> None:
        self.terminating = True
        await terminate(self.replica.service, self.upload)
        self.terminated = True

    def _note(self, manifest: Manifest) -> None:
        lost = extents.subtract(self.acknowledged, manifest.coverage)
        excused = self.terminating or manifest.phase is Phase.FAILED
        assert excused or not lost, f"acknowledged, then lost: {lost}"
        self.acknowledged = extents.merge((*self.acknowledged, *manifest.coverage))
        self.published = self.published or manifest.phase is Phase.PUBLISHED

    async def go_on(self) -> Manifest:
        """Whatever happened: ask, send what is missing, and again, until the upload has come to an end."""
        for _ in range(40):
            try:
                manifest = await self.ask()
            except (Contended, Unavailable):
                continue  # 423 to a client: come again
            if manifest.phase in (Phase.CLOSED, Phase.PUBLISHING):
                with suppress(StorageProxyError):
                    await finish(self.replica.service, self.upload)
                continue
            if manifest.phase is not Phase.OPEN:
                return manifest
            gap = (*manifest.missing, Extent(manifest.prefix, len(self.content)))[0]
            declare = len(self.content) if manifest.length is None else None
            with suppress(Refused, Contended, Unavailable):
                await self.send(gap.start, gap.length, declare=declare)
        raise AssertionError(f"the upload does not come to an end: {manifest}")


@dataclass(frozen=True)
class Scenario:
    name: str
    act: Callable[[Client], Coroutine[Any, Any, None]]
    order: Order = Order.SEQUENTIAL
    policy: Policy = Policy.KEEP_BOTH
    length: int | None = len(CONTENT)
    content: bytes = CONTENT
    standing: bytes | None = None
    """what is at the target before"""
    ends: tuple[Phase, ...] = (Phase.PUBLISHED,)
    client: "Callable[[Replica, UploadId, bytes], Client] | None" = None
    """makes another client than the one that sends one upload"""
    settles_after: float = 2 * 3600
    """so many seconds after its end nothing is left but markers"""
    declared: tuple[Digest, ...] = ()

    @property
    def wanted(self) -> Wanted:
        return Wanted(Target(VOLUME, TARGET), self.length, self.order, self.policy, declared=self.declared)


@dataclass(frozen=True)
class Fault:
    """What happens at the n-th call."""

    name: str
    dies: bool = False
    before: bool = True
    error: Callable[[str], Exception] | None = None
    power: Callable[[SimulatedShare], None] | None = None


FAULTS = (
    Fault("killed before the call", dies=True),
    Fault("killed after the call", dies=True, before=False),
    Fault("power lost, no unsynced name kept", dies=True, before=False, power=lambda share: share.lose_power(0)),
    Fault("power lost, one unsynced name kept", dies=True, before=False, power=lambda share: share.lose_power(1)),
    Fault("power lost, two unsynced names kept", dies=True, before=False, power=lambda share: share.lose_power(2)),
    Fault(
        "power lost, all names kept, data torn",
        dies=True,
        before=False,
        power=lambda share: share.lose_power(None, torn=True),
    ),
    Fault("share full", error=lambda operation: ShareFull(operation=operation, quota=False)),
    Fault("input/output error", error=lambda operation: ShareFault(operation=operation, reason="EIO")),
    Fault(
        "done, but the answer was an error",
        before=False,
        error=lambda operation: ShareFault(operation=operation, reason="EIO"),
    ),
)


@dataclass
class World:
    scenario: Scenario
    seed: int = 0
    fired: str | None = None
    hooks: Hooks | None = None
    notices: NoticeRules | None = None
    share: SimulatedShare = field(init=False)

    def __post_init__(self) -> None:
        self.share = SimulatedShare(self.seed)
        self.first = self._replica("first")
        if self.scenario.standing is not None:
            self.share.plant_file(TARGET, self.scenario.standing)
        upload = new_upload_id(self.first.service, VOLUME)
        self.client = (self.scenario.client or Client)(self.first, upload, self.scenario.content)
        self.began_at = self.share.calls

    def _replica(self, name: str, clock: HandClock | None = None) -> Replica:
        return Replica(self.share, name, clock=clock, seed=self.seed, hooks=self.hooks, notices=self.notices)

    # ---- the first run: the fault ------------------------------------------------------------------------------------

    def plant(self, fault: Fault, at: int) -> None:
        def strike(replica: str, operation: str, paths: tuple[str, ...]) -> None:
            if self.fired is not None or self.share.calls - self.began_at != at:
                return
            self.fired = f"{operation} {paths}"
            if operation == "lock" and not fault.before and not fault.dies:
                return  # a lock whose taker got an error is let go with its descriptor: nothing to see
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

    async def act(self) -> None:
        """The scenario; a client that meets an error asks where to go on, and does."""
        await self.client.create(self.scenario.wanted)
        await self.scenario.act(self.client)

    async def act_and_go_on(self) -> None:
        try:
            await self.act()
        except StorageProxyError:
            assert self.fired is not None, "refused, and nothing had struck"
            if not self.client.created:
                return
        if not self.client.terminated:
            self.check_target()
            await self.finish_with(self.first)
        await self.first.rest()

    # ---- afterwards --------------------------------------------------------------------------------------------------

    @cached_property
    def second(self) -> Replica:
        """The replica that goes on after the crash."""
        return self._replica("second", self.first.clock)

    async def finish_with(self, replica: Replica) -> None:
        self.client.replica = replica
        try:
            manifest = await self.client.go_on()
        except UploadNotFound:
            assert not self.client.created, "an upload that was created is not found"
            return
        if manifest.phase is Phase.TERMINATED:
            # The fault struck between the tombstone and its answer.
            self.client.terminated = True
            return
        assert manifest.phase in self.scenario.ends, f"ended as {manifest.phase}: {manifest.reason}"
        if manifest.phase is Phase.FAILED:
            assert whole_file(manifest) in manifest.files, "the bytes of a failed upload stay"
        elif manifest.phase is Phase.PUBLISHED and self.scenario.declared:
            assert manifest.sha256 in (None, sha256(self.client.content).hexdigest())
        await replica.rest()

    def check_target(self) -> None:
        """Whole or absent, and an older file stays until then."""
        found = self.share.target_bytes(TARGET)
        allowed: list[bytes | None] = [self.scenario.standing]
        may_appear = Phase.PUBLISHED in self.scenario.ends
        if may_appear and (self.scenario.policy is Policy.REPLACE or self.scenario.standing is None):
            allowed.append(self.client.content)
        assert found in allowed, f"the target holds {found!r}"
        if self.client.published:
            assert self.client.content in (found, self.share.target_bytes("folder/report (1).pdf"))

    async def check_leftovers(self) -> None:
        """Nothing is left but the marker; and later on not even that."""
        await self._tidy(self.scenario.settles_after)
        known = (layout.Kind.MANIFEST, layout.Kind.LOCK)
        left = [path for path in self._ours() if layout.kind_of(path.rpartition("/")[2]) not in known]
        if Phase.FAILED not in self.scenario.ends:
            assert not left, f"left behind: {left}"
            await self._tidy(30 * 86400)
            assert not self._ours(), f"left behind for ever: {self._ours()}"

    async def _tidy(self, seconds: float) -> None:
        self.share.now += seconds
        self.second.clock.advance(seconds)
        # One may carry through what a dead replica had decided, one expire, one sweep.
        for _ in range(3):
            assert await reap(self.second.service, self.second.volume)
            await self.second.rest()

    def _ours(self) -> list[str]:
        return [path for path in self.share.tree() if path.startswith(f"{layout.ROOT}/") and path.count("/") > 2]


def count_calls(scenario: Scenario) -> tuple[int, int]:
    """How many calls the scenario makes when nothing strikes, and how many of them end without an error: a look-up
    that finds nothing has no end at which to strike."""
    world = World(scenario)
    ended = 0

    def count(replica: str, operation: str, paths: tuple[str, ...]) -> None:
        nonlocal ended
        ended += 1

    world.share.after_call = count
    run(world.act_and_go_on())
    world.share.after_call = None
    calls = world.share.calls - world.began_at
    world.check_target()
    run(world.check_leftovers())
    return calls, ended


def sweep_one(scenario: Scenario, fault: Fault, at: int, seed: int = 0) -> bool:
    """False: the scenario made fewer calls than `at`."""
    world = World(scenario, seed)
    world.plant(fault, at)
    try:
        with suppress(ReplicaDead):
            run(world.act_and_go_on())
        world.share.before_call = world.share.after_call = None
        if world.fired is None:
            return False
        world.check_target()
        if not world.client.terminated:
            run(world.finish_with(world.second))
        world.check_target()
        run(world.check_leftovers())
        world.check_target()
    except BaseException as error:
        error.add_note(f"replay: sweep_one({scenario.name!r}, {fault.name!r}, at={at}, seed={seed}); {world.fired}")
        raise
    return True


def run(work: Coroutine[Any, Any, Any]) -> None:
    async def main() -> None:
        # The dead replica's background tasks end with it; nobody is told.
        asyncio.get_running_loop().set_exception_handler(_let_the_dead_rest)
        await work

    asyncio.run(main())


def _let_the_dead_rest(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if not isinstance(error, ReplicaDead):
        loop.default_exception_handler(context)
