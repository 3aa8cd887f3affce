"""Twins of the machine's clocks, chance and threads, and a listener that remembers.

Rules: nothing moves by itself. Time passes when a test says so, chance is drawn from a seed, work runs in its caller.
"""

import random
from collections.abc import Callable
from typing import TypeVar

from storage_proxy.core.events import Fact

T = TypeVar("T")


class HandClock:
    """See `ports.Clock`; moved by hand."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds


class CountingEntropy:
    """See `ports.Entropy`; the same seed gives the same tokens. They are counted, so none comes twice."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)
        self._count = 0

    def token(self) -> str:
        self._count += 1
        return f"{self._chance.getrandbits(96):024x}{self._count:08x}"


class InlineWorkers:
    """See `ports.Workers`; the work has ended before `run` first waits, so nothing can happen in between."""

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        return work()

    def hung_seconds(self) -> float:
        return 0.0

    def side_by_side(self, work: Callable[[], None], help: Callable[[], object]) -> None:
        """There is nobody else."""
        work()

    def abandon(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:  # noqa: S110 - nobody's, by the port's promise
            pass


class RecordingListener:
    """See `ports.Listener`."""

    def __init__(self) -> None:
        self.events: list[Fact] = []

    def hear(self, fact: Fact) -> None:
        self.events.append(fact)
