"""The operator's API, over real HTTP, on a listener beside the clients' one."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from storage_proxy.app import build_manager
from storage_proxy.core.errors import ShareFault
from storage_proxy.core.events import UploadReaped
from storage_proxy.core.manifest import UploadId
from storage_proxy.operations.readiness import Readiness
from storage_proxy.server import event_stream, operator_routes
from storage_proxy.server.event_stream import EventStream
from storage_proxy.testing.system import InlineWorkers
from tests.server.proxy import TUS, Client, Proxy, settings_for, until

SECRET = "a secret of the tests, for managers"
KEY = {"Authorization": f"Bearer {SECRET}"}
UNKNOWN = "main." + "0" * 32


@pytest.fixture
async def stream(proxy: Proxy) -> EventStream:
    stream = EventStream({"replica": "r", "workers": 1})
    proxy.service.also_tell(stream)
    return stream


@pytest.fixture
async def operator(
    proxy: Proxy, stream: EventStream, directory: Path, aiohttp_client: Callable[..., Awaitable[Client]]
) -> AsyncIterator[Client]:
    settings = settings_for(directory, manager={"listen": "127.0.0.1:1", "secret": SECRET})
    readiness = Readiness(proxy.service, {"main": InlineWorkers()})
    await readiness.ask()
    client = await aiohttp_client(build_manager(settings, proxy.service, readiness, stream), headers=KEY)
    yield client
    # Whoever still listens is let go, as at the end of a replica.
    proxy.service.draining.set()


async def told(client: Client, path: str, status: int = 200, method: str = "GET") -> Any:
    answer = await client.request(method, f"/operator/api/{path}")
    assert answer.status == status, await answer.text()
    assert answer.headers["Cache-Control"] == "no-store"
    return json.loads(await answer.text())


def key_of(location: str) -> str:
    return location.rpartition("/")[2]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "volumes"),
        ("GET", "uploads"),
        ("GET", f"uploads/{UNKNOWN}"),
        ("POST", f"uploads/{UNKNOWN}/finish"),
        ("POST", f"uploads/{UNKNOWN}/terminate"),
        ("GET", "events"),
    ],
)
async def test_nothing_is_told_or_done_without_the_key(
    operator: Client, aiohttp_client: Callable[..., Awaitable[Client]], method: str, path: str
) -> None:
    async with aiohttp.ClientSession() as stranger:
        url = operator.make_url(f"/operator/api/{path}")
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer another"}, 403),
            ({"X-BackendAI-Storage-Auth-Token": "another"}, 403),
            ({"X-BackendAI-Storage-Auth-Token": "another", **KEY}, 403),
        ):
            async with stranger.request(method, url, headers=headers) as answer:
                assert answer.status == status
        if path == "volumes":
            async with stranger.get(url, headers={"X-BackendAI-Storage-Auth-Token": SECRET}) as answer:
                assert answer.status == 200


async def test_clients_do_not_find_it_on_their_listener(proxy: Proxy) -> None:
    for path in ("/operator/", "/operator/api/volumes"):
        assert (await proxy.client.get(path, headers=KEY)).status == 404


async def test_uploads_are_listed_and_looked_at(proxy: Proxy, operator: Client) -> None:
    path = await proxy.create(10, "half.bin", **{"Upload-Order": "any"})
    await proxy.patch(path, 6, b"67")
    done = await proxy.create(3, "done.bin")
    await proxy.patch(done, 0, b"abc")
    listed = await told(operator, "uploads")
    assert {row["target"]: row["phase"] for row in listed["uploads"]} == {"half.bin": "open", "done.bin": "published"}
    assert (listed["after"], listed["looked_at"]) == (None, 2)
    only = await told(operator, "uploads?phase=published&phase=failed")
    assert [row["upload"] for row in only["uploads"]] == [key_of(done)]
    assert (await told(operator, "uploads?older_than=3600"))["uploads"] == []
    one = await told(operator, f"uploads/{key_of(path)}")
    assert (one["there"], one["missing"], one["arriving"]) == ([[6, 8]], [[0, 6], [8, 10]], [])
    await told(operator, f"uploads/{UNKNOWN}", 404)


async def test_pages_follow_each_other(proxy: Proxy, operator: Client) -> None:
    paths = {key_of(await proxy.create(10, f"{number}.bin")) for number in range(5)}
    seen: list[str] = []
    after = ""
    for _ in range(4):
        page = await told(operator, f"uploads?limit=2&after={after}")
        assert len(page["uploads"]) <= 2
        seen += [row["upload"] for row in page["uploads"]]
        if (after := page["after"]) is None:
            break
    assert (set(seen), len(seen)) == (paths, 5)


@pytest.mark.parametrize(
    "query",
    [
        "phase=strange",
        "limit=-1",
        "limit=201",
        "limit=x",
        "volume=other",
        "older_than=%C2%B2",
        "limit=",
        "limit=" + "0" * 20 + "999",
        "older_than=" + "0" * 20 + "9" * 5000,
    ],
    ids=lambda query: query[:30],
)
async def test_what_is_not_understood_is_refused(operator: Client, query: str) -> None:
    assert (await told(operator, f"uploads?{query}", 400))["type"].endswith("parameter-malformed")


@pytest.mark.parametrize("after", ["..%2f..", "0", "g" * 32])
async def test_no_path_is_made_of_what_is_asked(operator: Client, after: str) -> None:
    await told(operator, f"uploads?after={after}", 404)


async def test_volumes_are_told_with_space_survey_and_replicas(proxy: Proxy, operator: Client) -> None:
    async def everything_is_there() -> bool:
        (volume,) = (await told(operator, "volumes"))["volumes"]
        return volume["survey"] is not None and len(volume["replicas"]) == 1

    await until(everything_is_there)
    (volume,) = (await told(operator, "volumes"))["volumes"]
    assert (volume["volume"], volume["ready"], volume["reason"]) == ("main", True, None)
    assert 0 < volume["free"] <= volume["size"]
    assert volume["survey"]["owed"] == 0
    assert volume["replicas"][0]["appends"] == 0


async def test_a_volume_that_gives_a_reason_is_not_called_ready(
    proxy: Proxy, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ShareFault(operation="read", reason="Input/output error")

    monkeypatch.setattr(operator_routes, "last_survey", fail)
    (volume,) = (await told(operator, "volumes"))["volumes"]
    assert (volume["ready"], "Input/output error" in volume["reason"]) == (False, True)


async def test_a_failed_upload_is_finished_once_its_way_is_free(proxy: Proxy, operator: Client) -> None:
    (proxy.directory / "taken").write_bytes(b"a file where a directory is needed")
    path = await proxy.create(3, "taken/file.bin")
    assert (await proxy.patch(path, 0, b"abc")).status == 422
    finish = f"uploads/{key_of(path)}/finish"
    assert (await told(operator, finish, 422, "POST"))["type"].endswith("publish-failed")
    (proxy.directory / "taken").unlink()
    assert (await told(operator, finish, method="POST"))["phase"] == "published"
    assert (proxy.directory / "taken" / "file.bin").read_bytes() == b"abc"
    assert (await told(operator, finish, method="POST"))["phase"] == "published"


async def test_an_upload_that_lacks_bytes_is_not_finished(proxy: Proxy, operator: Client) -> None:
    path = await proxy.create(3)
    answer = await told(operator, f"uploads/{key_of(path)}/finish", 409, "POST")
    assert answer["type"].endswith("not-finished")


async def test_an_upload_is_terminated(proxy: Proxy, operator: Client) -> None:
    path = await proxy.create(3)
    answer = await operator.post(f"/operator/api/uploads/{key_of(path)}/terminate")
    assert answer.status == 204
    assert (await proxy.client.head(path, headers=TUS)).status == 404
    assert (await told(operator, f"uploads/{key_of(path)}"))["phase"] == "terminated"


# ---- events ---------------------------------------------------------------------------------------------------------


async def events(answer: aiohttp.ClientResponse, count: int) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            name = (await answer.content.readline()).decode()
            if name.startswith("event: "):
                data = (await answer.content.readline()).decode()
                found.append((name[7:].strip(), json.loads(data.removeprefix("data: "))))
            # The janitor's first round may be any time.
            found = [event for event in found if event[0] != "VolumeSurveyed"]
    return found


async def test_what_happens_is_told_as_it_happens_and_whose_news_it_is_first(proxy: Proxy, operator: Client) -> None:
    answer = await operator.get("/operator/api/events")
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert await events(answer, 1) == [("Listening", {"replica": "r", "workers": 1})]
    path = await proxy.create(3)
    ((name, facts),) = await events(answer, 1)
    assert (name, facts["upload"], facts["length"]) == ("UploadCreated", key_of(path), 3)
    await proxy.patch(path, 0, b"abc")
    assert {"ChunkCommitted", "UploadClosed", "UploadPublished"} <= {name for name, _ in await events(answer, 4)}
    answer.close()


async def test_a_watcher_that_does_not_keep_up_is_told_what_it_missed(
    proxy: Proxy, stream: EventStream, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "WAITING_MAX", 2)
    answer = await operator.get("/operator/api/events")
    await events(answer, 1)
    for _ in range(10):
        # No wait in between: nobody can keep up.
        stream._spread(UploadReaped(UploadId.parse(UNKNOWN)))
    told = await events(answer, 3)
    assert sum(name == "UploadReaped" for name, _ in told) + sum(
        facts["events"] for name, facts in told if name == "Missed"
    ) in (10, 9)
    assert "Missed" in [name for name, _ in told]
    answer.close()


async def test_a_watcher_that_goes_away_is_forgotten_and_one_that_stays_ends_with_the_replica(
    proxy: Proxy, stream: EventStream, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "SILENCE_SECONDS_MAX", 0.02)
    gone = await operator.get("/operator/api/events")
    stays = await operator.get("/operator/api/events")
    await events(gone, 1)
    assert len(stream._watchers) == 2
    gone.close()

    async def forgotten() -> bool:
        return len(stream._watchers) == 1

    await until(forgotten)
    proxy.service.draining.set()
    async with asyncio.timeout(20):
        await stays.read()
    assert len(stream._watchers) == 0


# ---- the page -------------------------------------------------------------------------------------------------------


async def test_the_page_is_made_of_its_own_files_only(operator: Client) -> None:
    page = await operator.get("/operator", allow_redirects=True)
    text = await page.text()
    assert page.status == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for name, kind in (("operator.js", "text/javascript"), ("operator.css", "text/css")):
        assert f'"{name}"' in text
        answer = await operator.get(f"/operator/{name}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
    assert "//" not in text.replace("<!doctype html>", "")
    assert (await operator.get("/operator/other.js")).status == 404
