"""What befalls the laboratory while clients upload: one fault after the other, drawn from a seed.

Rules: every kind fires at least once, in an order drawn from the seed, and then at random. A fault ends by being
mended, and the next one waits until all replicas are ready again; how long that took is the time to recover. What it
does to the guests blocks, so it runs in a thread.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.lab.laboratory import Laboratory
from tests.lab.service import Replica, all_ready


@dataclass
class Fired:
    kinds: Counter[str] = field(default_factory=Counter)
    recovery_seconds: dict[str, list[float]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


class Faults:
    def __init__(self, laboratory: Laboratory, replicas: Sequence[Replica], seed: int) -> None:
        self.fired = Fired()
        self._laboratory = laboratory
        self._replicas = replicas
        self._random = Random(f"faults {seed}")
        self._begun = time.monotonic()
        self.kinds: dict[str, Callable[[Replica], str]] = {
            "client kernel paused beyond its lease": self._pause,
            "client cut off from the share": self._cut,
            "replica killed": self._kill_replica,
            "client powered off": self._power_off,
            "NFS server powered off": self._restart_server,
            "two clients, one paused, one cut off": self._two_at_once,
            "a client's clock wrong": self._wrong_clock,
        }

    async def fire_until(self, seconds: float) -> None:
        """Every kind once, and on until the time is up."""
        due = list(self.kinds)
        self._random.shuffle(due)
        deadline = time.monotonic() + seconds
        while due or time.monotonic() < deadline:
            await asyncio.sleep(self._random.uniform(1.0, 3.0))
            await self._fire(due.pop() if due else self._random.choice(list(self.kinds)))

    async def _fire(self, kind: str) -> None:
        replica = self._random.choice(self._replicas)
        at = time.monotonic() - self._begun
        told = await asyncio.to_thread(self.kinds[kind], replica)
        recovered = await all_ready(self._replicas)
        self.fired.kinds[kind] += 1
        self.fired.recovery_seconds.setdefault(kind, []).append(recovered)
        self.fired.lines.append(f"{at:6.1f} s: {kind}: {told}; all ready {recovered:.1f} s after it was mended")

    # ---- the kinds --------------------------------------------------------------------------------------------------

    def _pause(self, replica: Replica) -> str:
        seconds = self._laboratory.lease_seconds + self._random.uniform(2.0, 5.0)
        replica.guest.pause()
        try:
            time.sleep(seconds)
        finally:
            replica.guest.resume()
        return f"{replica.name} for {seconds:.1f} s"

    def _cut(self, replica: Replica) -> str:
        seconds = self._random.uniform(4.0, 13.0)
        replica.guest.cut()
        try:
            time.sleep(seconds)
        finally:
            replica.guest.mend()
        return f"{replica.name} for {seconds:.1f} s"

    def _kill_replica(self, replica: Replica) -> str:
        replica.kill()
        seconds = self._random.uniform(0.0, 2.0)
        time.sleep(seconds)
        replica.start()
        return f"{replica.name}, started again after {seconds:.1f} s"

    def _power_off(self, replica: Replica) -> str:
        self._laboratory.restart_client(replica.guest)
        replica.start()
        return replica.name

    def _restart_server(self, replica: Replica) -> str:
        seconds = self._random.uniform(0.5, 3.0)
        self._laboratory.restart_server(seconds)
        return f"away for {seconds:.1f} s and a boot"

    def _wrong_clock(self, replica: Replica) -> str:
        """Ages and leases must not be judged by it; it stays wrong until the next time it is set."""
        hours = self._random.choice((-48, -1, 1, 48))
        now = int(time.time()) + hours * 3600
        replica.guest.check("date", "-s", f"@{now}")
        seconds = self._random.uniform(4.0, 8.0)
        time.sleep(seconds)
        if self._random.random() < 0.5:
            return f"{replica.name} by {hours} h, from now on"
        replica.guest.check("date", "-s", f"@{int(time.time())}")
        return f"{replica.name} by {hours} h, for {seconds:.1f} s"

    def _two_at_once(self, replica: Replica) -> str:
        other = self._random.choice([each for each in self._replicas if each is not replica])
        other.guest.cut()
        try:
            return f"{self._pause(replica)}, {other.name} cut off as long"
        finally:
            other.guest.mend()
