"""Real server processes on one directory, to be killed and started again.

Rules: a replica is one `serve` command in a process group of its own; it is only ever signalled by its process id. Its
ports are held from the first bind to the end of the test (a bound socket that does not listen), so that nobody else
can take them while it is down. What it says goes to a file, which is shown when the test fails.

Times are short, so that a test sees in seconds what takes hours in production; nothing here waits without a deadline.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import aiohttp

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
MANAGER_SECRET = "the-secret-of-the-manager"
TOKEN_SECRET = "signs-the-tokens-of-every-replica"

START_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.02

SETTINGS = """\
[server]
listen = "127.0.0.1:{port}"
workers = {workers}
drain_seconds = {drain_seconds}
trusted_proxies = ["127.0.0.1"]
[manager]
listen = "127.0.0.1:{manager_port}"
secret = "{manager_secret}"
[tokens]
secret = "{token_secret}"
[volumes.main]
path = "{data}"
[files]
conflict = "keep-both"
interim_responses = "{interim_responses}"
[limits]
body_idle_seconds = {body_idle_seconds}
closer_wait_seconds = {closer_wait_seconds}
lock_wait_seconds = 5
[checkpoints]
bytes = "1MiB"
seconds = {checkpoint_seconds}
[expiry]
open = "{open}"
ended = "{ended}"
orphans = "{orphans}"
sweep_every = "1s"
[log]
format = "json"
level = "debug"
{more}
"""

DEFAULTS: Mapping[str, object] = {
    "workers": 1,
    "drain_seconds": 6,
    "body_idle_seconds": 20,
    "closer_wait_seconds": 3,
    "interim_responses": "direct",
    "checkpoint_seconds": 1,
    "open": "7d",
    "ended": "1h",
    "orphans": "2s",
    # other tables, as they stand in a file
    "more": "",
}


async def until(what: str, look: Callable[[], Awaitable[T | None]], seconds: float = 20.0) -> T:
    """Look again and again until there is something other than None or False; what was hoped for is named if not."""
    deadline = time.monotonic() + seconds
    while True:
        seen = await look()
        if seen is not None and seen is not False:
            return seen
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {what}"
        await asyncio.sleep(POLL_SECONDS)


def environment() -> dict[str, str]:
    """Ours, without settings for the service that somebody may have exported."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STORAGE_PROXY_")}


class Port:
    """A port on loopback that nobody else gets: two sockets may be bound to it while at most one listens."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()


class Replica:
    """One `serve` command; after `kill` or `terminate` it can be started again on the same ports."""

    def __init__(self, name: str, data: Path, home: Path, **changed: object) -> None:
        self.name = name
        self._ports = (Port(), Port())
        self.port, self.manager_port = (port.number for port in self._ports)
        self.log = home / f"{name}.log"
        self._config = home / f"{name}.toml"
        self._config.write_text(
            SETTINGS.format(
                **{**DEFAULTS, **changed},
                port=self.port,
                manager_port=self.manager_port,
                manager_secret=MANAGER_SECRET,
                token_secret=TOKEN_SECRET,
                data=data,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def launch(self) -> None:
        assert self._process is None, f"{self.name} runs already"
        command = [sys.executable, "-m", "storage_proxy", "serve", "--config", str(self._config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def start(self) -> None:
        self.launch()
        await self.ready()

    async def ready(self) -> None:
        async with aiohttp.ClientSession() as session:
            await until(f"{self.name} is ready", lambda: self._is_ready(session), START_SECONDS)

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        assert self._process is not None, f"{self.name} was not launched"
        assert self._process.poll() is None, f"{self.name} ended:\n{self.last_lines()}"
        try:
            async with session.get(f"{self.url}/health/ready", timeout=aiohttp.ClientTimeout(5)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def kill(self) -> None:
        """SIGKILL: no chance to commit, unlock, or say anything."""
        os.kill(self.pid, signal.SIGKILL)
        self._ended(STOP_SECONDS)

    async def restart(self) -> None:
        await self.start()

    def tell_to_stop(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    async def ended(self, seconds: float) -> int:
        """Wait for it to end by itself, and give its exit code."""
        process = self._process
        assert process is not None

        async def code() -> int | None:
            return process.poll()

        try:
            # An exit code of 0 is something, too.
            return (await until(f"{self.name} has ended", lambda: _boxed(code()), seconds))[0]
        finally:
            if process.poll() is not None:
                self._process = None

    def _ended(self, seconds: float) -> None:
        assert self._process is not None
        self._process.wait(seconds)
        self._process = None

    def stop(self) -> None:
        """Whatever state it is in: afterwards it is gone, its workers included, and so are its ports."""
        if (process := self._process) is not None:
            # The group is its own (start_new_session), and has this id as long as the leader was not waited for.
            os.killpg(process.pid, signal.SIGKILL)
            self._ended(STOP_SECONDS)
        for port in self._ports:
            port.close()

    def last_lines(self, count: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:]) if self.log.exists() else ""


async def _boxed(code: Awaitable[int | None]) -> tuple[int] | None:
    known = await code
    return None if known is None else (known,)


class Replicas:
    """Several on one directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / "data"
        self.data.mkdir()
        self.all: list[Replica] = []

    async def start(self, count: int, **changed: object) -> list[Replica]:
        started = [
            Replica(f"replica-{len(self.all) + index + 1}", self.data, self.home, **changed) for index in range(count)
        ]
        self.all += started
        for replica in started:
            replica.launch()
        await asyncio.gather(*(replica.ready() for replica in started))
        return started

    def stop(self) -> None:
        for replica in self.all:
            replica.stop()
