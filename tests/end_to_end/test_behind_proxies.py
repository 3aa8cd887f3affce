"""Real clients through real proxies: round robin, no stickiness, bodies passed on or collected first, and replicas that
are replaced one after the other while the uploads are on their way.

The proxies run the files of deploy/. Every file is compared by its sha256.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.end_to_end import clients_page, other_clients, tus_js
from tests.end_to_end.balancer import Balancer
from tests.end_to_end.clients import MIB, TUS, Acknowledged
from tests.end_to_end.clients_page import ClientsPage
from tests.end_to_end.proxies import KINDS
from tests.end_to_end.stage import SPEED, Stage
from tests.end_to_end.tus_js import TusJs, check_answers

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

NO_NODE, NO_PAGE = tus_js.missing() or other_clients.missing(), clients_page.missing()
in_node = pytest.mark.skipif(NO_NODE is not None, reason=str(NO_NODE))
in_chromium = pytest.mark.skipif(NO_PAGE is not None, reason=str(NO_PAGE))
through_each = pytest.mark.parametrize("kind", KINDS)
through_both = pytest.mark.parametrize("kind", ["nginx", "haproxy"])

# Both of tus-js-client's builds are used in these ways. No size is a multiple of a chunk's (see test_tus_js_client.py).
MODES: Mapping[str, Mapping[str, object]] = {
    "sequential": {"chunkSize": MIB},
    "whole": {},
    "override": {"chunkSize": 2 * MIB, "overridePatchMethod": True},
    "creation-with-upload": {"chunkSize": 2 * MIB, "uploadDataDuringCreation": True},
    "deferred": {"chunkSize": 2 * MIB, "asStream": True, "uploadLengthDeferred": True},
}
SIZE = 7 * MIB + 1234


# ---- while replicas roll over ---------------------------------------------------------------------------------------


@in_node
@through_each
async def test_tus_js_client_in_node_and_tuspy_and_curl_while_replicas_roll_over(stage: Stage, kind: str) -> None:
    async with Balancer([stage.proxy(kind)], SPEED) as network, AsyncExitStack() as started:
        endpoint = f"{network.url}/files"
        uploads: dict[Path, TusJs] = {}
        for mode, options in MODES.items():
            source = stage.source(f"node {kind} {mode}", SIZE)
            upload = TusJs(endpoint, source, metadata={"filename": source.name}, **options)
            uploads[source] = await started.enter_async_context(upload)
        by_tuspy, checked, by_curl = (stage.source(f"{who} {kind}", SIZE) for who in ("tuspy", "tuspy sha1", "curl"))
        others = {
            by_tuspy: asyncio.create_task(other_clients.tuspy(endpoint, by_tuspy, 3 * MIB)),
            checked: asyncio.create_task(other_clients.tuspy(endpoint, checked, MIB, checksums=True)),
            by_curl: asyncio.create_task(other_clients.curl(endpoint, by_curl, 2 * MIB)),
        }

        async def unfinished() -> bool:
            return not all([*(upload.finished for upload in uploads.values()), *(it.done() for it in others.values())])

        await stage.roll(network, SIZE * (len(uploads) + len(others)), unfinished)
        for source, upload in uploads.items():
            await stage.arrived(source, await upload.succeeds())
            upload.check_answers()
        for source, path in others.items():
            await stage.arrived(source, await path)


@in_chromium
@through_each
async def test_tus_js_client_and_uppy_in_chromium_while_replicas_roll_over(
    stage: Stage, page: ClientsPage, kind: str
) -> None:
    sources = {mode: stage.source(f"chromium {kind} {mode}", SIZE) for mode in MODES}
    of_uppy = [stage.source(f"uppy {kind} {number}", SIZE // 2) for number in (1, 2)]
    everything = [*sources.values(), *of_uppy]
    async with Balancer([stage.proxy(kind)], SPEED) as network:
        await page.choose(*everything)
        for mode, source in sources.items():
            await page.begin(source, f"{network.url}/files", **MODES[mode])
        await page.begin_with_uppy(of_uppy, f"{network.url}/files", chunkSize=MIB)

        async def unfinished() -> bool:
            return any([(await page.told(source))["state"] == "running" for source in everything])

        await stage.roll(network, SIZE * (len(sources) + 1), unfinished)
        for source in everything:
            await stage.arrived(source, await page.succeeds(source))
            check_answers((await page.told(source))["answers"], Acknowledged())


# ---- what pages do besides ------------------------------------------------------------------------------------------


@in_chromium
@through_both
async def test_an_upload_goes_on_after_the_page_was_loaded_again(stage: Stage, page: ClientsPage, kind: str) -> None:
    source = stage.source(f"reloaded {kind}", SIZE)
    remembered = {"storeFingerprintForResuming": True, "chunkSize": 2 * MIB}
    async with Balancer([stage.proxy(kind)], SPEED) as network:
        await page.choose(source)
        await page.begin(source, f"{network.url}/files", **remembered)
        await page.sent(source, 5 * MIB)
        before = await page.told(source)
        await page.reload()
        # The page has forgotten everything but its local storage; its user chooses the file again.
        await page.choose(source)
        await page.begin(source, f"{network.url}/files", resume=True, **remembered)
        path = await page.succeeds(source)
    after = await page.told(source)
    assert after["resumed"] == before["url"] == after["url"]
    assert [answer["method"] for answer in after["answers"]].count("POST") == 0
    first = after["answers"][0]
    assert (first["method"], first["status"]) == ("HEAD", 200)
    assert first["offset"] >= 4 * MIB, "two chunks were acknowledged before"
    await stage.arrived(source, path)


@in_chromium
@through_both
async def test_a_terminated_upload_is_gone_and_leaves_no_bytes(stage: Stage, page: ClientsPage, kind: str) -> None:
    source = stage.source(f"terminated {kind}", SIZE)
    async with Balancer([stage.proxy(kind)], SPEED) as network:
        await page.choose(source)
        await page.begin(source, f"{network.url}/files", chunkSize=MIB)
        await page.sent(source, 2 * MIB)
        await page.abort(source, terminate=True)
        told = await page.told(source)
        assert (told["answers"][-1]["method"], told["answers"][-1]["status"]) == ("DELETE", 204)
        assert (await stage.client.ask("HEAD", told["url"], TUS)).status == 404
    await stage.swept(told["url"])
    assert not (stage.replicas.data / source.name).exists()


# ---- what is only there when the service offers it ------------------------------------------------------------------


@in_node
@in_chromium
@through_both
async def test_parallel_parts_become_one_file(stage: Stage, page: ClientsPage, kind: str) -> None:
    if "concatenation" not in stage.announced:
        pytest.skip("this service does not announce concatenation, which parallelUploads needs")
    await both_builds_upload(stage, page, kind, "parallel", {"parallelUploads": 3, "chunkSize": MIB})


# The interop version by which the service must know the drafts that tus-js-client names so.
DRAFTS = {"ietf-draft-03": "5", "ietf-draft-05": "6"}


@in_node
@in_chromium
@through_both
@pytest.mark.parametrize("protocol", DRAFTS)
async def test_an_upload_by_the_ietf_draft(stage: Stage, page: ClientsPage, kind: str, protocol: str) -> None:
    version = DRAFTS[protocol]
    if not await stage.speaks_draft(version):
        pytest.skip(f"this service does not speak interop version {version} of the draft ({protocol})")
    await both_builds_upload(stage, page, kind, protocol, {"protocol": protocol, "chunkSize": 2 * MIB})


async def both_builds_upload(
    stage: Stage, page: ClientsPage, kind: str, mode: str, options: Mapping[str, object]
) -> None:
    in_page, in_node = (stage.source(f"{where} {kind} {mode}", SIZE) for where in ("chromium", "node"))
    endpoint = f"{stage.proxy(kind).url}/files"
    await page.choose(in_page)
    await page.begin(in_page, endpoint, **options)
    async with TusJs(endpoint, in_node, metadata={"filename": in_node.name}, **options) as upload:
        await stage.arrived(in_node, await upload.succeeds())
    await stage.arrived(in_page, await page.succeeds(in_page))


# ---- the proxies' own part ------------------------------------------------------------------------------------------


@through_each
async def test_requests_go_round_the_replicas_and_a_client_cannot_move_location(stage: Stage, kind: str) -> None:
    proxy, names = stage.proxy(kind), set()
    for _ in range(6):
        answer = await stage.client.ask(
            "POST",
            # A session token would be as long.
            f"{proxy.url}/files?{'x' * 8192}",
            {
                **TUS,
                "Upload-Length": "0",
                # Believed, these would lead the client elsewhere; replicas do trust this proxy.
                "X-Forwarded-Prefix": "/elsewhere",
                "Forwarded": "host=elsewhere.example",
                "X-Forwarded-Host": "elsewhere.example",
                # Nearly as long as it may be.
                "Upload-Metadata": f"filename YWFh,note {'YWFh' * 2000}",
            },
        )
        assert answer.status == 201, answer
        assert answer.headers["Location"].startswith("/files/")
        names |= {log.name for log in await stage.who_served(answer.headers["X-Request-ID"])}
    assert names == {replica.name for replica in stage.replicas.all}


@through_both
async def test_below_a_prefix_that_the_proxy_takes_off_location_has_it_again(stage: Stage, kind: str) -> None:
    """As the comments of the two files say it."""
    changes = {
        "nginx": {
            "location / {": "location /storage/ {",
            "proxy_pass http://replicas;": "proxy_pass http://replicas/;",
            'X-Forwarded-Prefix "";': "X-Forwarded-Prefix /storage;",
        },
        "haproxy": {
            "    #   http-request set-header X-Forwarded-Prefix": "    http-request set-header X-Forwarded-Prefix",
            "    #   http-request replace-path": "    http-request replace-path",
        },
    }
    async with stage.another_proxy(kind, changes[kind]) as proxy:
        source = stage.source(f"prefix {kind}", 5 * MIB)
        path = await other_clients.curl(f"{proxy.url}/storage/files", source, 2 * MIB)
        assert path.startswith("/storage/files/")
        await stage.arrived(source, path.removeprefix("/storage"))


@through_both
async def test_while_no_replica_can_be_reached_clients_are_told_to_wait(stage: Stage, kind: str) -> None:
    async with stage.another_proxy(kind, {}, down=True) as proxy:
        # tus-js-client would start over from byte 0 at any other answer to HEAD.
        for method, status in (("HEAD", 423), ("PATCH", 503), ("POST", 503)):
            answer = await stage.client.ask(method, f"{proxy.url}/files/x", TUS)
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, "*")
