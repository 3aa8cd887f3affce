"""The front door: who gets the page, who the facts, and what the answers say of themselves."""

import gzip
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from storage_proxy.app import wiring
from storage_proxy.server.page_routes import FACTS_HERE, POLICY
from tests.server.proxy import Proxy, Start, problem

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
INDEX = b"<!doctype html><meta " + FACTS_HERE + b"><title>Upload</title>" + b" " * 200
SCRIPT = b"console.log('" + b"x" * 500 + b"')"
BUILT = {
    "index.html": INDEX,
    "assets/index-Abc1.js": SCRIPT,
    "assets/index-Abc1.css": b"a{}",
    "assets/i.svg": b"<svg/>",
}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "read_page", lambda: BUILT)


def facts_in(page: str) -> Mapping[str, object]:
    told = re.search(r'name="service" content="(.*?)"', page)
    assert told is not None
    facts: Mapping[str, object] = json.loads(html.unescape(told[1]))
    return facts


@pytest.mark.usefixtures("built")
async def test_a_browser_gets_the_page_with_a_policy_that_lets_nothing_else_in(proxy: Proxy) -> None:
    answer = await proxy.client.get("/", headers=BROWSER)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Accept" in answer.headers["Vary"]
    assert facts_in(await answer.text()) == {"volumes": ["main"], "needsKey": False, "linkedSeconds": 86400}


@pytest.mark.usefixtures("built")
async def test_caches_are_told_all_that_an_answer_depends_on(start: Start) -> None:
    proxy = await start(cors={"origins": ["https://app.example.org"]})
    for headers, path, depends in (
        (BROWSER, "/", "Accept, Accept-Encoding, Origin"),
        ({}, "/", "Accept, Origin"),
        ({}, "/assets/index-Abc1.js", "Accept-Encoding, Origin"),
        ({}, "/nothing", "Origin"),
    ):
        assert (await proxy.client.get(path, headers=headers)).headers.getall("Vary") == [depends]


@pytest.mark.usefixtures("built")
async def test_the_page_knows_the_volumes_the_usual_one_first_and_whether_there_is_a_key(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    volumes = {"other": {"path": tmp_path / "other"}}
    proxy = await start(volumes=volumes, files={"volume": "other"}, access={"keys": ("the-secret-key-0123",)})
    page = await (await proxy.client.get("/", headers=BROWSER)).text()
    assert facts_in(page) == {"volumes": ["other", "main"], "needsKey": True, "linkedSeconds": 86400}
    assert "the-secret" not in page


@pytest.mark.usefixtures("built")
async def test_everybody_else_gets_the_facts(proxy: Proxy) -> None:
    for accept in ("*/*", "application/json", ""):
        answer = await proxy.client.get("/", headers={"Accept": accept})
        assert (await answer.json())["files"] == "/files"
        assert answer.headers["Vary"] == "Accept"


@pytest.mark.usefixtures("built")
async def test_assets_are_kept_for_ever_and_packed_for_who_can_unpack(proxy: Proxy) -> None:
    plain = await proxy.client.get("/assets/index-Abc1.js", headers={"Accept-Encoding": "identity"})
    assert (plain.status, await plain.read()) == (200, SCRIPT)
    assert plain.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert plain.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert plain.headers["Vary"] == "Accept-Encoding"
    raw = await proxy.raw(
        "GET /assets/index-Abc1.js HTTP/1.1\nHost: test\nAccept-Encoding: gzip, br\nConnection: close\n"
    )
    status, headers = await raw.head()
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert gzip.decompress(await raw.rest()) == SCRIPT
    await raw.close()
    icon = await proxy.client.get("/assets/i.svg")
    assert icon.headers["Content-Type"] == "image/svg+xml"


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("path", ["/assets/other.js", "/assets/..%2findex.html", "/assets/", "/index.html"])
async def test_nothing_else_is_served(proxy: Proxy, path: str) -> None:
    await problem(await proxy.client.get(path), 404, "about:blank")


@pytest.mark.usefixtures("built")
async def test_under_a_prefix_the_page_is_found_without_its_last_slash_too(start: Start) -> None:
    proxy = await start(server={"base_path": "/storage"})
    for path in ("/", "/storage/", "/storage"):
        answer = await proxy.client.get(path, headers=BROWSER)
        assert (answer.status, answer.url.path) == (200, "/storage/" if "s" in path else "/")
    assert (await proxy.client.get("/storage/assets/index-Abc1.js")).status == 200


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("sections", [{"page": {"enabled": False}}, {"files": {"enabled": False}}])
async def test_turned_off_there_is_no_page(start: Start, sections: dict[str, object]) -> None:
    proxy = await start(**sections)
    await problem(await proxy.client.get("/", headers=BROWSER), 404, "about:blank")
    await problem(await proxy.client.get("/assets/index-Abc1.js"), 404, "about:blank")
    assert (await proxy.client.get("/")).status == 200


async def test_a_page_that_was_not_built_says_so_and_what_to_do(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "read_page", dict)
    proxy = await start()
    answer = await proxy.client.get("/", headers=BROWSER)
    assert answer.status == 404
    assert "make page" in await answer.text()
    assert (await proxy.client.get("/")).status == 200
