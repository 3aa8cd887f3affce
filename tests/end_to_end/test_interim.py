"""104 (Upload Resumption Supported) on its way: straight to tus-js-client in Node and in Chromium, and through proxies.

What docs/ietf-draft.md says of each proxy is what it was seen to do here.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end import clients_page, other_clients, proxies, tus_js
from tests.end_to_end.clients import MIB, sha256
from tests.end_to_end.clients_page import ClientsPage
from tests.end_to_end.proxies import Kind, Proxy, haproxy_cfg, nginx_conf
from tests.end_to_end.replicas import Replicas, until
from tests.end_to_end.stage import Stage
from tests.end_to_end.tap import Tap
from tests.end_to_end.tus_js import TusJs

NO_NODE, NO_PAGE = tus_js.missing(), clients_page.missing()
NO_CURL = other_clients.missing()

SIZE = 5 * MIB + 1234
PROTOCOLS = ("ietf-draft-03", "ietf-draft-05")


# ---- without a proxy ------------------------------------------------------------------------------------------------


def check(tap: Tap) -> None:
    """The creation is answered by both, on one connection and in this order."""
    statuses = tap.statuses
    assert 104 in statuses, statuses
    assert statuses[statuses.index(104) + 1] == 201, statuses


@pytest.mark.skipif(NO_NODE is not None, reason=str(NO_NODE))
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_tus_js_client_in_node_is_told_by_104_and_goes_on(stage: Stage, protocol: str) -> None:
    source = stage.source(f"104 node {protocol}", SIZE)
    async with Tap(stage.replicas.all[0]) as tap:
        metadata = {"filename": source.name}
        async with TusJs(f"{tap.url}/files", source, metadata=metadata, protocol=protocol) as upload:
            await stage.arrived(source, await upload.succeeds())
        check(tap)


@pytest.mark.skipif(NO_PAGE is not None, reason=str(NO_PAGE))
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_tus_js_client_in_chromium_is_told_by_104_and_goes_on(
    stage: Stage, page: ClientsPage, protocol: str
) -> None:
    source = stage.source(f"104 chromium {protocol}", SIZE)
    async with Tap(stage.replicas.all[0]) as tap:
        await page.choose(source)
        await page.begin(source, f"{tap.url}/files", protocol=protocol)
        await stage.arrived(source, await page.succeeds(source))
        check(tap)


# ---- through proxies, `interim_responses = "always"` ----------------------------------------------------------------

SPOKEN_10: Mapping[str, str] = {
    "            proxy_http_version 1.1; ": "            proxy_http_version 1.0; ",
    '            proxy_set_header Connection "";  # this': "            # this",
}
WAYS = {
    "haproxy": Kind("haproxy", haproxy_cfg, {}),
    "nginx, 1.0": Kind("nginx", nginx_conf, SPOKEN_10),
    "nginx, 1.1": Kind("nginx", nginx_conf, {}),
}


@asynccontextmanager
async def way(name: str, replicas: Replicas, home: Path) -> AsyncIterator[Proxy]:
    if (why_not := proxies.missing(WAYS[name].program) or NO_CURL) is not None:
        pytest.skip(why_not)
    proxy = Proxy(name, WAYS[name], await replicas.start(1, interim_responses="always"), home)
    try:
        await proxy.start()
        yield proxy
    finally:
        proxy.stop()


async def statuses_of_an_upload(proxy: Proxy, source: Path, seconds: int = 30) -> list[str]:
    """As curl was told them, without "100 Continue"."""
    said = {"Upload-Draft-Interop-Version": "6", "Upload-Complete": "?1"}
    said["Content-Disposition"] = 'inline; filename="whole.bin"'
    headers = [word for name, value in said.items() for word in ("-H", f"{name}: {value}")]
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "-i", "--max-time", str(seconds), "-T", str(source), *headers, f"{proxy.url}/files"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    told, _ = await process.communicate()
    statuses = [line.split()[1] for line in told.decode().splitlines() if line.startswith("HTTP/1.1 ")]
    return [status for status in statuses if status != "100"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source.bin"
    source.write_bytes(bytes(3 * MIB))
    return source


async def test_haproxy_passes_104_on(replicas: Replicas, tmp_path: Path, source: Path) -> None:
    async with way("haproxy", replicas, tmp_path) as proxy:
        statuses = await statuses_of_an_upload(proxy, source)
    assert statuses[0] == "104"
    assert statuses[-1] == "201"
    assert sha256(replicas.data / "whole.bin") == sha256(source)


async def test_nginx_that_speaks_1_0_gets_none(replicas: Replicas, tmp_path: Path, source: Path) -> None:
    async with way("nginx, 1.0", replicas, tmp_path) as proxy:
        statuses = await statuses_of_an_upload(proxy, source)
    assert statuses == ["201"]
    assert sha256(replicas.data / "whole.bin") == sha256(source)


async def test_nginx_that_speaks_1_1_takes_104_for_the_answer(replicas: Replicas, tmp_path: Path, source: Path) -> None:
    """Why `interim_responses` is not "always"; an nginx that can do better changes docs/ietf-draft.md."""
    async with way("nginx, 1.1", replicas, tmp_path) as proxy:
        # curl on HTTP/1.1 may take no notice: the answer proper is in the body of what nginx answers.
        await statuses_of_an_upload(proxy, source, seconds=5)
        assert "PUT /files 104 " in await until("nginx has logged it", partial(logged, proxy))


async def logged(proxy: Proxy) -> str | None:
    lines = [line for line in proxy.log.read_text().splitlines() if " PUT " in line]
    return lines[-1] if lines else None
