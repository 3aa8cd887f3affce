from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from tests.server.proxy import Client, Proxy, Start


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    share = tmp_path / "share"
    share.mkdir()
    return share


@pytest.fixture
def start(aiohttp_client: Callable[..., Awaitable[Client]], directory: Path) -> Start:
    """Start a replica on the directory; several calls start several replicas."""
    return partial(Proxy.start, aiohttp_client, directory)


@pytest.fixture
async def proxy(start: Start) -> Proxy:
    return await start()
