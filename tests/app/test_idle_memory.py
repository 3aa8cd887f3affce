"""When memory is given back: while bytes come in, and once more after that."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from storage_proxy.app import idle_memory, wiring
from storage_proxy.app.idle_memory import IdleMemory
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import Replica
from tests.server.proxy import PATIENCE_SECONDS, Client, Proxy


async def test_memory_is_given_back_while_bytes_come_in_and_once_more() -> None:
    service = Replica(SimulatedShare(), "one").service
    given: list[int] = []
    idle = IdleMemory(service, lambda: given.append(service.undurable.received))
    await idle.look()
    assert given == []
    service.undurable.add(5)
    await idle.look()
    service.undurable.add(4)
    service.undurable.add(-9)
    for _ in range(3):
        await idle.look()
    assert given == [5, 9, 9]


async def test_a_replica_gives_memory_back_by_itself(
    aiohttp_client: Callable[..., Awaitable[Client]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, given = asyncio.get_running_loop(), asyncio.Event()
    monkeypatch.setattr(idle_memory, "GIVE_BACK_SECONDS", 0.01)
    monkeypatch.setattr(wiring, "give_back", lambda: loop.call_soon_threadsafe(given.set))
    proxy = await Proxy.start(aiohttp_client, tmp_path)
    await proxy.patch(await proxy.create(3), 0, b"abc")
    await asyncio.wait_for(given.wait(), PATIENCE_SECONDS)
