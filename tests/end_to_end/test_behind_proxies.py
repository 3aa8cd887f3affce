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
through_all = pytest.mark.parametrize("kind", ["nginx", "haproxy", "traefik"])

# Both of tus-js-client's builds are used in these ways. No size is a multiple of a chunk's (see test_tus_js_client.py).
MODES: Mapping[str, Mapping[str, object]] = {
    "sequential": {"chunkSize": MIB},
    "whole": {},
    "override": {"chunkSize": 2 * MIB, "overridePatchMethod": True},
    "creation-with-upload": {"chunkSize": 2 * MIB, "uploadDataDuringCreation": True},
    "deferred": {"chunkSize": 2 * MIB, "asStream": True, "uploadLengthDeferred": True},
    "parallel": {"chunkSize": MIB, "parallelUploads": 3},
    "ietf-draft-03": {"chunkSize": 2 * MIB, "protocol": "ietf-draft-03"},
    "ietf-draft-05": {"chunkSize": 2 * MIB, "protocol": "ietf-draft-05"},
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

        await stage.roll(network, kind, SIZE * (len(uploads) + len(others)), unfinished)
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

        await stage.roll(network, kind, SIZE * (len(sources) + 1), unfinished)
        for source in everything:
            await stage.arrived(source, await page.succeeds(source))
            check_answers((await page.told(source))["answers"], Acknowledged())


# ---- aborted on the way ---------------------------------------------------------------------------------------------


@in_chromium
@pytest.mark.parametrize(("kind", "first"), [*((kind, "cut short") for kind in KINDS), ("haproxy", "aborted")])
async def test_an_upload_goes_on_after_the_page_was_loaded_again(
    stage: Stage, page: ClientsPage, kind: str, first: str
) -> None:
    source = stage.source(f"{first} and reloaded {kind}", SIZE)
    remembered = {"storeFingerprintForResuming": True, "chunkSize": 2 * MIB}
    async with Balancer([stage.proxy(kind)], SPEED) as network:
        await page.choose(source)
        await page.begin(source, f"{network.url}/files", **remembered)
        await page.sent(source, 5 * MIB)
        if first == "aborted":
            await page.abort(source, terminate=False)
        before = await page.told(source)
        await page.reload()
        # The page has forgotten everything but its local storage; its user chooses the file again.
        await page.choose(source)
        await page.begin(source, f"{network.url}/files", resume=True, **remembered)
        path = await page.succeeds(source)
    after = await page.told(source)
    assert after["resumed"] == before["url"] == after["url"]
    assert [answer["method"] for answer in after["answers"]].count("POST") == 0
    first_answer = after["answers"][0]
    assert (first_answer["method"], first_answer["status"]) == ("HEAD", 200)
    assert first_answer["offset"] >= 4 * MIB, "two chunks were acknowledged before"
    await stage.arrived(source, path)


@in_node
@in_chromium
@through_each
async def test_a_terminated_upload_is_gone_and_leaves_no_bytes(stage: Stage, page: ClientsPage, kind: str) -> None:
    of_page, of_node = (stage.source(f"terminated {where} {kind}", SIZE) for where in ("chromium", "node"))
    async with Balancer([stage.proxy(kind)], SPEED) as network:
        endpoint = f"{network.url}/files"
        await page.choose(of_page)
        await page.begin(of_page, endpoint, chunkSize=MIB)
        async with TusJs(endpoint, of_node, metadata={"filename": of_node.name}, chunkSize=MIB) as upload:
            await upload.sent(2 * MIB)
            await upload.abort(terminate=True)
        await page.sent(of_page, 2 * MIB)
        await page.abort(of_page, terminate=True)
        for source, answers in (
            (of_page, (await page.told(of_page))["answers"]),
            (of_node, upload.all("answer")),
        ):
            last = answers[-1]
            assert (last["method"], last["status"]) == ("DELETE", 204)
            assert (await stage.client.ask("HEAD", last["url"], TUS)).status == 404
            await stage.swept(last["url"])
            assert not (stage.replicas.data / source.name).exists()


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


@through_all
async def test_below_a_prefix_that_the_proxy_takes_off_location_has_it_again(stage: Stage, kind: str) -> None:
    """As the comments of their files say it."""
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
        "traefik": {
            "      rule: PathPrefix(`/`)\n": "      rule: PathPrefix(`/storage`)\n",
            "      middlewares: [believe-nobody, pages-may-read, again]\n": (
                "      middlewares: [believe-nobody, pages-may-read, again, below]\n"
            ),
            "told-to-wait, again]\n": "told-to-wait, again, below]\n",
            "    # below:": "    below:",
            "    #   stripPrefix:": "      stripPrefix:",
            "    #     prefixes:": "        prefixes:",
        },
    }
    async with stage.another_proxy(kind, changes[kind]) as proxy:
        source = stage.source(f"prefix {kind}", 5 * MIB)
        path = await other_clients.curl(f"{proxy.url}/storage/files", source, 2 * MIB)
        assert path.startswith("/storage/files/")
        assert await stage.client.offset(proxy.url, path) == 5 * MIB
        await stage.arrived(source, path.removeprefix("/storage"))


@through_all
async def test_while_no_replica_can_be_reached_clients_are_told_to_wait(stage: Stage, kind: str) -> None:
    async with stage.another_proxy(kind, {}, down=True) as proxy:
        # Clients repeat a request at any 5xx; but tus-js-client would start over from byte 0 if HEAD were answered so.
        again = {502, 503} if kind == "traefik" else {503}
        for method, statuses in (("HEAD", {423}), ("PATCH", again), ("POST", again)):
            answer = await stage.client.ask(method, f"{proxy.url}/files/x", TUS)
            assert answer.status in statuses, (method, answer)
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
