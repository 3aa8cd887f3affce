from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from storage_proxy.adapters.metrics import Metrics
from storage_proxy.app import build_manager
from storage_proxy.operations.readiness import Readiness
from storage_proxy.server.event_stream import EventStream
from tests.adapters.test_metrics import Samples, samples
from tests.server.proxy import Client, Proxy, Start, settings_for, until

MANAGER = {"listen": "127.0.0.1:1", "secret": "s"}
KEY = {"Authorization": "Bearer the-key-of-prometheus"}


async def scraped(client: Client, **headers: str) -> Samples:
    answer = await client.get("/metrics", headers=headers)
    assert answer.status == 200, await answer.text()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "no-store"
    return samples(await answer.text())


def named(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


async def test_an_upload_is_seen_from_its_creation_to_its_publication(start: Start) -> None:
    proxy = await start(metrics={"public": True})
    path = await proxy.create(6)
    assert (await proxy.patch(path, 0, b"abc")).status == 204
    assert (await proxy.patch(path, 0, b"")).status == 409
    assert (await proxy.patch(path, 3, b"def")).status == 204

    async def everything_is_told() -> bool:
        seen = await scraped(proxy.client)
        linked = seen.get(("share_call_seconds_count", named(volume="main", call="link_target")))
        return (seen["received_bytes_total", named()], linked) == (6, 1)

    await until(everything_is_told)
    seen = await scraped(proxy.client)
    main = {"volume": "main"}
    assert seen["uploads_total", named(**main, event="created")] == 1
    assert seen["uploads_total", named(**main, event="closed")] == 1
    assert seen["uploads_total", named(**main, event="published")] == 1
    assert seen["committed_bytes_total", named(**main)] == 6
    assert seen["published_bytes_total", named(**main)] == 6
    assert seen["commit_seconds_count", named(**main)] == 2
    assert seen["appends_total", named(**main, ending="complete")] == 2
    assert seen["requests_total", named(route="/files/{upload}", method="PATCH", status="204")] == 2
    assert seen["requests_total", named(route="/files/{upload}", method="PATCH", status="409")] == 1
    assert seen["share_call_seconds_count", named(**main, call="lock")] > 0
    assert path.rpartition(".")[2] not in str(seen)


async def test_checkpoints_of_one_body_are_counted_once(start: Start) -> None:
    proxy = await start(metrics={"public": True}, checkpoints={"bytes": "1MiB"})
    path = await proxy.create(20 << 20)
    assert (await proxy.patch(path, 0, bytes(20 << 20))).status == 204
    seen = await scraped(proxy.client)
    assert seen["committed_bytes_total", named(volume="main")] == 20 << 20
    assert seen["commit_seconds_count", named(volume="main")] > 1


@pytest.mark.parametrize("sections", [{}, {"metrics": {"public": True, "enabled": False}}, {"manager": MANAGER}])
async def test_clients_find_no_metrics_unless_the_settings_say_so(start: Start, sections: dict[str, Any]) -> None:
    if "manager" in sections:
        sections = {"manager": {**MANAGER, "listen": "127.0.0.1:0"}}
    proxy = await start(**sections)
    assert (await proxy.client.get("/metrics")).status == 404


async def test_a_key_is_asked_for_where_there_is_one(start: Start) -> None:
    proxy = await start(metrics={"public": True, "key": "the-key-of-prometheus"}, server={"base_path": "/up"})
    for path in ("/metrics", "/up/metrics"):
        assert (await proxy.client.get(path)).status == 401
        assert (await proxy.client.get(path, headers={"Authorization": "Bearer another"})).status == 403
        assert (await proxy.client.get(path, headers=KEY)).status == 200


async def test_the_managers_listener_needs_no_tokens_to_have_them(
    aiohttp_client: Callable[..., Awaitable[Client]], proxy: Proxy
) -> None:
    settings = settings_for(proxy.directory, manager=MANAGER)
    app = build_manager(settings, proxy.service, Readiness(proxy.service, {}), EventStream({}), Metrics(["main"]))
    client = await aiohttp_client(TestServer(app))
    assert ("uploads_total", named(volume="main", event="created")) in await scraped(client)
    assert (await client.post("/folder/file/upload")).status == 404
