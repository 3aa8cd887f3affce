"""Replicas over one simulated share: the real operations and store on twins of the machine.

Rules: a replica is its service and its mount, nothing else; killing one leaves the share as the crash left it, and
another, or a new one, goes on. A client here does what tus-js-client does: it asks HEAD where to go on, and goes on.
"""

import asyncio
from collections.abc import Sequence

from storage_proxy.core.target import Layout
from storage_proxy.operations.service import Limits, NoticeRules, Service, open_volume
from storage_proxy.ports import Hooks, total
from storage_proxy.store.sweeping import Ages
from storage_proxy.testing.filesystem import SimulatedFilesystem, SimulatedShare
from storage_proxy.testing.system import CountingEntropy, HandClock, InlineWorkers, RecordingListener

VOLUME = "main"

AGES = Ages(open=7 * 86400, published=86400, ended=86400, orphans=3600)

# Small enough that a test of a few hundred bytes meets every checkpoint and every fold.
SMALL = Limits(
    checkpoint_bytes=64,
    checkpoint_seconds=5.0,
    fold_lag_bytes=32,
    fold_lag_chunks=2,
    closer_wait_seconds=5.0,
    lock_wait_seconds=1.0,
)


class ListedBody:
    """A request body that is known beforehand: its batches, and how it ends; `at_hand`: whether it came at once."""

    def __init__(self, batches: Sequence[bytes], ending: Exception | None = None, *, at_hand: bool = False) -> None:
        self._batches = list(batches)
        self._ending = ending
        self._at_hand = at_hand and ending is None and total(batches) > 0

    def at_hand(self, size_max: int) -> Sequence[bytes] | None:
        return self._batches if self._at_hand and total(self._batches) <= size_max else None

    async def batch(self, size: int, seconds: float) -> Sequence[bytes]:
        if self._batches:
            return [self._batches.pop(0)]
        if self._ending is not None:
            raise self._ending
        return []


class Replica:
    def __init__(
        self,
        share: SimulatedShare,
        name: str,
        *,
        clock: HandClock | None = None,
        limits: Limits = SMALL,
        seed: int = 0,
        hooks: Hooks | None = None,
        notices: NoticeRules | None = None,
    ) -> None:
        self.name = name
        self.clock = clock or HandClock()
        self.listener = RecordingListener()
        self.filesystem = SimulatedFilesystem(share, name)
        entropy = CountingEntropy(hash_of(name) ^ seed)
        volume = open_volume(VOLUME, Layout.PLAIN, self.filesystem, InlineWorkers(), entropy, limits, AGES, notices)
        self.volume = volume
        self.service = Service({VOLUME: volume}, self.clock, entropy, self.listener, limits, AGES, hooks)
        volume.manifests.prepare()

    async def rest(self) -> None:
        """Until no background work is left."""
        while going_on := self.service._going_on():
            await asyncio.wait(going_on)


def hash_of(name: str) -> int:
    """Like `hash`, but the same in every process."""
    return int.from_bytes(name.encode(), "big") & 0xFFFFFFFF
