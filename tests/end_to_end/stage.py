"""Three replicas on one directory, and every proxy of proxies.py in front of them: made once, for many tests.

Rules: tests share it, so each upload has a file name of its own, and a test that stops replicas starts them again.
Between a client and a proxy there may be a `Balancer`: here it is only the slow network, which can also stand still.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end import proxies
from tests.end_to_end.balancer import Balancer
from tests.end_to_end.clients import MIB, Client, sha256
from tests.end_to_end.proxies import KINDS, Proxy
from tests.end_to_end.replicas import Replica, Replicas, until

# One connection's: an upload takes seconds, so that it can be met on its way.
SPEED = 6 * MIB


@dataclass
class Stage:
    home: Path
    replicas: Replicas
    client: Client
    proxies: dict[str, Proxy] = field(default_factory=dict)

    def proxy(self, name: str) -> Proxy:
        if name not in self.proxies:
            pytest.skip(str(proxies.missing(KINDS[name].program)))
        return self.proxies[name]

    def source(self, name: str, size: int) -> Path:
        """A file of chance, whose name no other upload has."""
        path = self.home / name
        assert not path.exists(), f"{name} is another test's"
        path.write_bytes(random.Random(name).randbytes(size))
        return path

    async def arrived(self, source: Path, path: str) -> None:
        """The file is there whole, whoever is asked, and nothing of it is left elsewhere."""
        size, wanted = await asyncio.to_thread(lambda: (source.stat().st_size, sha256(source)))
        assert await asyncio.to_thread(sha256, self.replicas.data / source.name) == wanted, source.name
        for replica in self.replicas.all:
            assert await self.client.offset(replica.url, path) == size
            assert (await self.client.status(replica.url, path))["phase"] == "published"
        await self.swept(path)

    async def who_served(self, request: str) -> list[Replica]:
        """By the id of the request, from what the replicas log."""

        def look() -> list[Replica]:
            return [replica for replica in self.replicas.all if f'"{request}"' in replica.log.read_text()]

        async def found() -> list[Replica] | None:
            return await asyncio.to_thread(look) or None

        return await until(f"a replica has logged {request}", found)

    @asynccontextmanager
    async def another_proxy(self, kind: str, more: Mapping[str, str], *, down: bool = False) -> AsyncIterator[Proxy]:
        """`more`: what else is changed in its file; `down`: no replica behind it runs."""
        self.proxy(kind)
        home = self.home / f"another-{kind}-{len(more)}"
        home.mkdir()
        behind = [Replica(each.name, self.replicas.data, home) for each in self.replicas.all] if down else []
        plain = KINDS[kind]
        its = replace(plain, more={**plain.more, **more})
        proxy = Proxy(f"another {kind}", its, behind or self.replicas.all, home)
        try:
            await proxy.start()
            yield proxy
        finally:
            proxy.stop()
            for replica in behind:
                replica.stop()

    async def swept(self, path: str) -> None:
        """Wait until nothing is left of the upload but its record."""
        found: list[str] = []

        def look() -> bool:
            key = path.rpartition(".")[2]
            found[:] = [file.name for file in self.replicas.data.glob(f".uploads/*/{key}/*")]
            return set(found) <= {"info.json", "lock"}

        try:
            await until("swept", lambda: asyncio.to_thread(look), 30)
        except AssertionError as error:
            raise AssertionError(f"left of {path}: {found}") from error

    async def roll(self, network: Balancer, kind: str, total: int, unfinished: Callable[[], Awaitable[bool]]) -> None:
        """Stop one replica after the other and start it again; the last before half of `total` has passed.

        Unless the proxy collects bodies first, each is stopped while it has one, and its client is told to come again.
        """
        collects = KINDS[kind].collects
        left, met = list(self.replicas.all), 0
        for reached in (total // 6, total // 3, total // 2):
            await until(f"{reached} bytes are on their way", partial(_at_least, network, reached), 60)
            replica = left[0] if collects else await self._receiving(network, left)
            left.remove(replica)
            said = replica.log.stat().st_size
            replica.tell_to_stop()
            # The others may go on, but not to the end, however long a new one takes to come.
            network.go_on()
            network.hold_after(2 * MIB)
            assert await replica.ended(15) == 0
            met += await asyncio.to_thread(_bodies_ended_by_drain, replica.log, said)
            await replica.restart()
            assert await unfinished(), "all was over before the replica was back"
            network.go_on()
        assert met > 0 or collects, "no replica had a body when it was stopped"

    async def _receiving(self, network: Balancer, among: Sequence[Replica]) -> Replica:
        """One that has a body on its way; the network stands still then, so that it has it for as long as we like."""

        async def look() -> Replica | None:
            network.hold_after(0)
            for replica in among:
                metrics = await self.client.ask("GET", f"http://127.0.0.1:{replica.manager_port}/metrics")
                if b"storage_proxy_appends_in_flight 0.0\n" not in metrics.body:
                    return replica
            network.go_on()
            return None

        return await until("a replica has a body on its way", look)


def _bodies_ended_by_drain(log: Path, since: int) -> int:
    lines = (json.loads(line) for line in log.read_bytes()[since:].splitlines() if line.startswith(b"{"))
    return sum(line["event"] == "append_ended" and line["ending"] == "Draining" for line in lines)


async def _at_least(network: Balancer, reached: int) -> bool:
    return network.passed >= reached


@asynccontextmanager
async def set_up(home: Path) -> AsyncIterator[Stage]:
    (home / "replicas").mkdir()
    async with Client() as client:
        stage = Stage(home, Replicas(home / "replicas"), client)
        try:
            started = await stage.replicas.start(3)
            for name, kind in KINDS.items():
                if proxies.missing(kind.program) is None:
                    stage.proxies[name] = Proxy(name, kind, started, home)
                    await stage.proxies[name].start()
            yield stage
        finally:
            for proxy in stage.proxies.values():
                proxy.stop()
            stage.replicas.stop()
