"""Many clients and three replicas on one directory, while replicas are killed, stopped and frozen at random.

A few seconds in every run; `make soak SECONDS=3600` runs for as long as one likes. The seed that is printed repeats the
choices (not their timing): STORAGE_PROXY_SOAK_SEED.
"""

import asyncio
import os
import secrets
import signal
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from tests.end_to_end.clients import leftovers
from tests.end_to_end.replicas import Replica, Replicas, until
from tests.lab.swarm import Swarm

SECONDS = float(os.environ.get("STORAGE_PROXY_SOAK_SECONDS", "12"))
SEED = int(os.environ.get("STORAGE_PROXY_SOAK_SEED") or secrets.randbelow(1 << 32))
AT_ONCE = 4
FINISH_SECONDS = 60.0

pytestmark = pytest.mark.timeout(int(SECONDS + 300))


class Faults:
    """One after the other; between two, everybody has a moment to get on."""

    def __init__(self, replicas: list[Replica]) -> None:
        self.fired: Counter[str] = Counter()
        self.recovery_seconds: list[float] = []
        self._replicas = replicas
        self._random = Random(f"faults {SEED}")

    async def fire_until(self, deadline: float) -> None:
        kinds = (self.kill, self.stop, self.freeze)
        while time.monotonic() < deadline or len(self.fired) < len(kinds):
            # Each kind fires, however short the run; after that, chance decides.
            left = [kind for kind in kinds if kind.__name__ not in self.fired]
            kind = self._random.choice(left or list(kinds))
            await kind(self._random.choice(self._replicas))
            self.fired[kind.__name__] += 1
            await asyncio.sleep(self._random.uniform(0.1, 0.8))

    async def kill(self, replica: Replica) -> None:
        replica.kill()
        await self._back(replica)

    async def stop(self, replica: Replica) -> None:
        replica.tell_to_stop()
        assert await replica.ended(15) == 0
        await self._back(replica)

    async def freeze(self, replica: Replica) -> None:
        os.kill(replica.pid, signal.SIGSTOP)
        await asyncio.sleep(self._random.uniform(0.3, 2.0))
        os.kill(replica.pid, signal.SIGCONT)

    async def _back(self, replica: Replica) -> None:
        begun = time.monotonic()
        await replica.restart()
        self.recovery_seconds.append(time.monotonic() - begun)


async def test_no_acknowledged_byte_is_lost_while_replicas_die_stop_and_freeze(replicas: Replicas) -> None:
    started = await replicas.start(3)
    swarm, faults = Swarm([replica.url for replica in started], SEED), Faults(started)
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            uploading = tasks.create_task(swarm.upload_until(stop, AT_ONCE))
            await faults.fire_until(time.monotonic() + SECONDS)
            stop.set()
            await asyncio.wait_for(uploading, FINISH_SECONDS)
    finally:
        await swarm.close()
        tell(swarm, faults)
    assert all(upload.done for upload in swarm.uploads)
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in replicas.data.iterdir() if path.is_file()}
    assert found == {upload.name: upload.sha256 for upload in swarm.uploads}
    # A creation whose answer was lost leaves a record without bytes, until it expires; nothing else may be left.
    await until("nothing is left but records", lambda: _tidy(replicas.data, list(found)), 60)


async def _tidy(data: Path, published: list[str]) -> bool:
    return not leftovers(data, published)


def tell(swarm: Swarm, faults: Faults) -> None:
    done = sum(upload.done for upload in swarm.uploads)
    print(f"\nsoak: seed {SEED}, {SECONDS:.0f} s, faults {dict(faults.fired)}")
    sent, retries = swarm.counts.bytes_sent, swarm.counts.retries
    print(f"  uploads {done} of {len(swarm.uploads)}, {sent} bytes sent, {retries} tries more")
    if faults.recovery_seconds:
        print(f"  a replica was back after {max(faults.recovery_seconds):.1f} s at the most")
    for answer, count in swarm.counts.answers.most_common():
        print(f"  {count:6} {answer}")
