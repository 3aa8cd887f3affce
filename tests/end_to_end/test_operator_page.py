"""The operator's page in a real browser, beside a replica that works."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.end_to_end import chromium
from tests.end_to_end.chromium import Chromium, Tab
from tests.end_to_end.clients import BYTES, TUS, Client
from tests.end_to_end.replicas import MANAGER_SECRET, Replica, Replicas

pytestmark = pytest.mark.skipif(chromium.missing() is not None, reason=str(chromium.missing()))

LENGTH = 1000


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Chromium]:
    async with Chromium(tmp_path / "profile") as browser:
        yield browser


@pytest.fixture
async def replica(replicas: Replicas) -> Replica:
    (replica,) = await replicas.start(1)
    return replica


async def offer(page: Tab, key: str) -> None:
    """As a person without a mouse does: the field has the focus, and Enter sends it."""
    await page.until("document.activeElement.id === 'key'")
    await page.type(key)
    await page.press("Enter")


async def enter(browser: Chromium, replica: Replica) -> Tab:
    page = await browser.tab(f"http://127.0.0.1:{replica.manager_port}/operator")
    await offer(page, MANAGER_SECRET)
    await page.until("!document.querySelector('#view').hidden")
    return page


async def pieces(client: Client, replica: Replica, name: str, *offsets: int) -> str:
    """An upload of which a hundred bytes are there at each offset."""
    path = await client.create(replica.url, LENGTH, filename=name)
    for offset in offsets:
        headers = {**TUS, **BYTES, "Upload-Offset": str(offset), "Upload-Order": "any"}
        answer = await client.ask("PATCH", replica.url + path, headers, os.urandom(100))
        assert answer.status == 204, answer
    return path


def row(name: str) -> str:
    return f"[...document.querySelectorAll('#rows tr')].find(row => row.textContent.includes('{name}'))"


async def test_a_wrong_key_is_refused_and_the_right_one_is_kept_until_it_is_forgotten(
    browser: Chromium, replica: Replica
) -> None:
    page = await browser.tab(f"http://127.0.0.1:{replica.manager_port}/operator")
    await offer(page, "another")
    await page.says("#refused", "not the manager")
    await offer(page, MANAGER_SECRET)
    await page.until("document.querySelector('#volumes').textContent.includes('ready')")
    await page.reload()
    await page.until("document.querySelector('#volumes').textContent.includes('ready')")
    assert MANAGER_SECRET not in await page.evaluate("location.href + document.documentElement.outerHTML")
    await page.click("#forget")
    await page.reload()
    await page.until("!document.querySelector('#door').hidden")


async def test_an_upload_is_seen_to_grow_piece_by_piece_and_is_terminated(
    browser: Chromium, replica: Replica, client: Client
) -> None:
    page = await enter(browser, replica)
    await page.until("document.querySelector('#source').textContent.startsWith('Only what')")
    path = await pieces(client, replica, "<b>film</b>.mkv", 0)
    # Nobody pressed a key: the event has brought it.
    await page.until(row("<b>film</b>.mkv"))
    assert "10 %" in await page.evaluate(f"{row('film')}.textContent")
    await page.evaluate(f"{row('film')}.querySelector('button').focus()")
    await page.press("Enter")
    await page.until("document.activeElement.id === 'one'")
    assert await page.evaluate("document.querySelectorAll('#map .there').length") == 1
    answer = await client.ask("PATCH", replica.url + path, {**TUS, **BYTES, "Upload-Offset": "100"}, os.urandom(100))
    assert answer.status == 204
    await page.until("document.querySelector('#extents').textContent.includes('0 to 200: there')")
    await page.press("Escape")
    await page.until("document.querySelector('#one').hidden && document.activeElement.tagName === 'BUTTON'")
    await page.press("Enter")
    await page.until("!document.querySelector('#terminate').hidden && !document.querySelector('#one').hidden")
    await page.evaluate("window.confirm = () => true")
    await page.click("#terminate")
    await page.until("document.querySelector('#done').textContent === 'Terminated.'")
    assert (await client.ask("HEAD", replica.url + path, TUS)).status == 404
    page.check_quiet()


async def test_a_failed_upload_says_why_and_is_finished_once_that_is_mended(
    browser: Chromium, replicas: Replicas, replica: Replica, client: Client
) -> None:
    (replicas.data / "taken").write_bytes(b"")
    path = await client.create(replica.url, 4, filename="taken/film.mkv")
    await client.ask("PATCH", replica.url + path, {**TUS, **BYTES, "Upload-Offset": "0"}, b"film")
    page = await enter(browser, replica)
    await page.evaluate(
        "(phase => { phase.value = 'failed'; phase.dispatchEvent(new Event('change', {bubbles: true})); })"
        "(document.querySelector('#phase'))"
    )
    await page.until(row("taken/film.mkv"))
    await page.evaluate(f"{row('film')}.querySelector('button').click()")
    await page.until("document.querySelector('#facts').textContent.includes('stands in the way')")
    await page.click("#finish")
    await page.until("document.querySelector('#done').textContent.includes('stands in the way')")
    (replicas.data / "taken").unlink()
    await page.click("#finish")
    await page.until("document.querySelector('#done').textContent === 'Finished.'")
    assert (replicas.data / "taken" / "film.mkv").read_bytes() == b"film"


async def test_the_list_goes_on_page_by_page(browser: Chromium, replica: Replica, client: Client) -> None:
    await asyncio.gather(*(client.create(replica.url, 5, filename=f"file-{number}") for number in range(70)))
    page = await enter(browser, replica)
    await page.until("document.querySelectorAll('#rows tr').length === 50")
    await page.click("#more")
    await page.until("document.querySelectorAll('#rows tr').length === 70")
    await page.until("document.querySelector('#more').hidden")


async def test_both_colours_are_readable(browser: Chromium, replica: Replica) -> None:
    page = await enter(browser, replica)
    found = {}
    for scheme in ("light", "dark"):
        await page.prefer(scheme)
        found[scheme] = await page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        ink, ground = (sum(map(int, colour[4:-1].split(","))) for colour in found[scheme])
        assert abs(ink - ground) > 450, found
    assert found["light"] != found["dark"]
