"""The operator's page in a real browser, beside a replica that works."""

import asyncio
import os
from urllib.parse import urlsplit

import pytest

from tests.end_to_end import chromium, seen_by_all
from tests.end_to_end.chromium import Chromium, Tab
from tests.end_to_end.clients import BYTES, MIB, TUS, Client, OpenPatch
from tests.end_to_end.replicas import MANAGER_SECRET, Replica, Replicas
from tests.end_to_end.seen_by_all import Way, in_every_way

pytestmark = pytest.mark.skipif(chromium.missing() is not None, reason=str(chromium.missing()))

LENGTH = 1000
ROWS = "[...document.querySelectorAll('#rows tr')]"


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
    return f"{ROWS}.find(row => row.textContent.includes('{name}'))"


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


async def test_the_list_goes_on_page_by_page_and_keeps_what_was_asked_for(
    browser: Chromium, replica: Replica, client: Client
) -> None:
    await asyncio.gather(*(client.create(replica.url, 5, filename=f"file-{number}") for number in range(70)))
    page = await enter(browser, replica)
    await page.until("document.querySelector('#source').textContent.startsWith('Only what')")
    await page.until(f"{ROWS}.length === 50")
    await page.click("#more")
    await page.until(f"{ROWS}.length === 70")
    await page.until("document.querySelector('#more').hidden")
    # An event has the list loaded again, and as much of it as was there.
    await client.create(replica.url, 5, filename="one more")
    await page.until(row("one more"))
    assert await page.evaluate(f"{ROWS}.length") == 71


async def test_two_loads_at_once_show_each_upload_once(browser: Chromium, replica: Replica, client: Client) -> None:
    await asyncio.gather(*(client.create(replica.url, 5, filename=f"file-{number}") for number in range(70)))
    page = await enter(browser, replica)
    await page.until(f"{ROWS}.length === 50")
    # Each load ends by saying how much there is.
    await page.evaluate(
        "window.loads = 0; new MutationObserver(() => { loads += 1 })"
        ".observe(document.querySelector('#looked'), {childList: true})"
    )
    again = "document.querySelector('#filter').requestSubmit()"
    await page.evaluate(f"{again}; {again}; document.querySelector('#more').click()")
    await page.until("loads >= 3")
    names = await page.evaluate(f"{ROWS}.map(row => row.querySelector('button').textContent)")
    assert sorted(names) == sorted(f"file-{number}" for number in range(70))
    page.check_quiet()


async def test_a_part_and_an_upload_that_waits_for_parts_can_be_terminated(
    browser: Chromium, replica: Replica, client: Client
) -> None:
    url = f"{replica.url}/files"
    made = [await client.ask("POST", url, {**TUS, "Upload-Length": "4", "Upload-Concat": "partial"}) for _ in range(2)]
    whole, unfinished = (answer.headers["Location"] for answer in made)
    parts = f"final;{whole} {unfinished}"
    whole, unfinished = (urlsplit(part).path for part in (whole, unfinished))
    assert (await client.patch(replica.url, whole, 0, b"film")).status == 204
    final = await client.ask("POST", url, {**TUS, "Upload-Concat": parts, "Upload-Metadata": "filename YS5iaW4="})
    assert final.status == 201, final
    page = await enter(browser, replica)
    await page.evaluate("window.confirm = () => true")
    for phase, path in (("waiting", urlsplit(final.headers["Location"]).path), ("whole", whole)):
        name = path.rpartition("/")[2]
        await page.evaluate(
            f"(phase => {{ phase.value = {phase!r}; phase.dispatchEvent(new Event('change', {{bubbles: true}})); }})"
            "(document.querySelector('#phase'))"
        )
        await page.until(f"{ROWS}.length === 1 && {ROWS}[0].querySelector('button').dataset.upload === {name!r}")
        await page.click("#rows button")
        await page.until(f"document.querySelector('#facts').textContent.includes({name!r})")
        await page.until("!document.querySelector('#terminate').hidden", 5)
        await page.click("#terminate")
        await page.until("document.querySelector('#done').textContent === 'Terminated.'")
        assert (await client.ask("HEAD", replica.url + path, TUS)).status == 404
    page.check_quiet()


@pytest.mark.skipif(seen_by_all.WHY_NOT is not None, reason=str(seen_by_all.WHY_NOT))
@in_every_way
async def test_axe_finds_nothing_while_an_upload_arrives(
    browser: Chromium, replicas: Replicas, client: Client, way: Way
) -> None:
    # No clock promises it before the end, and so little no count of bytes.
    [replica] = await replicas.start(1, checkpoint_seconds=60)
    name = "a film with quite a long name, in a folder/of its own.mkv"
    path = await client.create(replica.url, 4 * MIB, filename=name)
    assert (await client.patch(replica.url, path, 0, os.urandom(MIB))).status == 204
    await pieces(client, replica, "short.txt", 0)
    page = await way.open(browser, f"http://127.0.0.1:{replica.manager_port}/operator")
    await way.check(page, "operator-door")
    await offer(page, MANAGER_SECRET)
    await page.until(row("a film"))
    async with await OpenPatch.begin(replica.url, path, MIB, 2 * MIB) as patch:
        await patch.send(os.urandom(MIB // 2))
        await page.evaluate(f"{row('a film')}.querySelector('button').click()")
        await page.until("document.querySelectorAll('#map .arriving').length === 1")
        await page.evaluate("document.querySelector('details:has(#extents)').open = true")
        await page.says("#extents", f"{MIB} to {MIB * 3 // 2}: arriving")
        await way.check(page, "operator")
        await page.evaluate("document.querySelector('#one').scrollIntoView()")
        await way.check(page, "operator-one")
        await patch.send(os.urandom(MIB * 3 // 2))
        assert (await patch.answer()).status == 204
    await page.says("#extents", f"0 to {3 * MIB}: there")
    page.check_quiet()
