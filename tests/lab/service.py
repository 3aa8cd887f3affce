"""Replicas of the service in guests: each the real `serve` command of this checkout.

Rules: a replica is known by its guest's name, and is ended by its process id there. Times are short, so that what takes
hours in production happens many times while the faults fire.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from sys import executable

import aiohttp

from tests.lab.guests import Guest
from tests.lab.laboratory import together

ROOT = Path(__file__).parents[2]
PORT = 8080
READY_SECONDS = 60.0
LOCAL = "/tmp/local"

SETTINGS = """\
[server]
listen = "0.0.0.0:{port}"
drain_seconds = 8
[access]
open_to_everyone = true
[volumes.main]
path = "{data}"
[volumes.local]
path = "{local}"
[limits]
body_idle_seconds = 10
closer_wait_seconds = 5
lock_wait_seconds = 4
share_stall_seconds = {stall_seconds}
[checkpoints]
bytes = "256KiB"
seconds = 1
[expiry]
open = "{open}"
published = "{ended}"
ended = "{ended}"
orphans = "{orphans}"
sweep_every = "2s"
[log]
format = "json"
level = "{level}"
"""

DEFAULTS: Mapping[str, object] = {
    "stall_seconds": 6,
    "open": "1h",
    "ended": "1h",
    # Older than that, a writer's file is condemned; a paused or cut off writer is much longer away.
    "orphans": "8s",
    "level": "info",
}


class Replica:
    def __init__(self, guest: Guest, data: str, **changed: object) -> None:
        self.guest = guest
        self.url: str = f"http://{guest.address}:{PORT}"
        self.pid: int | None = None
        self._settings = SETTINGS.format(**{**DEFAULTS, **changed}, port=PORT, data=data, local=LOCAL)

    @property
    def name(self) -> str:
        return self.guest.name

    def start(self) -> None:
        self.guest.check("mkdir", "-p", LOCAL)
        self.guest.check("sh", "-c", 'printf %s "$1" >/run/replica.toml', "sh", self._settings)
        command = [executable, "-m", "storage_proxy", "serve", "--config", "/run/replica.toml"]
        self.pid = self.guest.begin(command, log="/run/replica.log", cwd=str(ROOT))

    def kill(self) -> None:
        assert self.pid is not None
        self.guest.run(["kill", "-KILL", str(self.pid)])
        # Over NFS 3 a thread that waits for a lock cannot be killed while the server has its grace.
        self._wait_until_gone(60)

    def stop(self, seconds: float = 20.0) -> None:
        """SIGTERM, and time to commit what is open."""
        assert self.pid is not None
        self.guest.run(["kill", "-TERM", str(self.pid)])
        self._wait_until_gone(seconds)

    def _wait_until_gone(self, seconds: float) -> None:
        ended = self.guest.run(["sh", "-c", f"while kill -0 {self.pid}; do sleep 0.1; done 2>/dev/null"], seconds)
        assert ended.code == 0, f"the replica in {self.name} did not end:\n{self.last_lines()}"
        self.pid = None

    def last_lines(self, count: int = 20) -> str:
        return self.guest.run(["tail", "-n", str(count), "/run/replica.log"]).said

    def events(self) -> dict[str, int]:
        """How often each event is in its log."""
        done = self.guest.run(["sh", "-c", 'grep -o \'"event": *"[^"]*"\' /run/replica.log | sort | uniq -c'])
        counted = (line.split(maxsplit=1) for line in done.said.splitlines())
        return {name.rpartition(": ")[2].strip('" '): int(count) for count, name in counted}

    def incidents(self) -> list[str]:
        """What it calls a bug of its own."""
        return self.guest.run(["grep", '"event": *"incident"', "/run/replica.log"]).said.splitlines()


def start_all(replicas: Iterable[Replica]) -> None:
    together(replica.start for replica in replicas)


def stop_all(replicas: Iterable[Replica]) -> None:
    together(partial(replica.stop) for replica in replicas)


async def is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/health/ready", timeout=aiohttp.ClientTimeout(3)) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def all_ready(replicas: Iterable[Replica], seconds: float = READY_SECONDS) -> float:
    """How long it took until each of them said so."""
    begun = time.monotonic()
    async with aiohttp.ClientSession() as session:
        for replica in replicas:
            while not await is_ready(session, replica.url):
                waited = time.monotonic() - begun
                assert waited < seconds, f"{replica.name} is not ready after {waited:.0f} s:\n{replica.last_lines()}"
                await asyncio.sleep(0.1)
    return time.monotonic() - begun
