"""The upload page for everybody: by keyboard, by touch, by ear, in both colours, on a phone; and whoever lacks the key.

Rules: as in `test_page.py`.
"""

from pathlib import Path

import pytest

from storage_proxy.adapters.posix_locks import take_lock
from storage_proxy.ports import Region
from tests.end_to_end import seen_by_all, upload_page
from tests.end_to_end.balancer import Balancer
from tests.end_to_end.chromium import Chromium
from tests.end_to_end.clients import MIB, Client, sha256
from tests.end_to_end.replicas import Replicas
from tests.end_to_end.seen_by_all import Way, in_every_way
from tests.end_to_end.upload_page import button, random_file, sent, state

WHY_NOT = upload_page.WHY_NOT or seen_by_all.WHY_NOT
pytestmark = [pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)), pytest.mark.timeout(120)]

SPEED = 6 * MIB


async def test_all_of_it_can_be_done_with_the_keyboard(
    replicas: Replicas, client: Client, browser: Chromium, tmp_path: Path
) -> None:
    source = random_file(tmp_path / "long.bin", 16 * MIB)
    started = await replicas.start(1)
    async with Balancer(started, SPEED) as balancer:
        tab = await browser.tab(f"{balancer.url}/")
        # The system's own dialog is not ours to operate; that of an input can be answered.
        await tab.evaluate("window.showOpenFilePicker = undefined")
        await tab.answer_file_dialogs([source])
        focused = "document.activeElement.textContent"

        async def tab_to(label: str) -> None:
            for _ in range(12):
                await tab.press("Tab")
                if await tab.evaluate(focused) == label:
                    return
            raise AssertionError(f"{label} cannot be reached by Tab")

        await tab_to("Choose files")
        await tab.press("Enter")
        await sent(tab, "long.bin", 20)
        await tab_to("Pause")
        await tab.press("Space")
        await state(tab, "long.bin", "paused")
        # The same button, now with the opposite meaning: the focus stays.
        assert await tab.evaluate(focused) == "Resume"
        await tab.press("Enter")
        await state(tab, "long.bin", "done")
        await tab.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }")
        while await tab.evaluate(focused) != "Copy link":
            await tab.press("Tab", shift=True)
        await tab.press("Enter")
        await tab.says("#news", "Link copied.")
        assert (await client.ask("GET", await tab.evaluate("window.copied"))).body == source.read_bytes()
        tab.check_quiet()


async def test_an_upload_is_made_by_touch_on_a_phone(replicas: Replicas, browser: Chromium, tmp_path: Path) -> None:
    source = random_file(tmp_path / "long.bin", 12 * MIB)
    started = await replicas.start(1)
    async with Balancer(started, SPEED) as balancer:
        tab = await Way("light", 390).open(browser, f"{balancer.url}/")
        # There are no folders to choose from, and nothing to drag.
        assert await tab.evaluate("document.querySelector('#choose-folder').hidden")
        assert "Drop" not in await tab.text("main")
        await tab.evaluate("window.showOpenFilePicker = undefined")
        await tab.answer_file_dialogs([source])
        await tab.tap("document.querySelector('#choose-files')")
        await sent(tab, "long.bin", 20)
        await tab.tap(button("long.bin", "Pause"))
        await state(tab, "long.bin", "paused")
        await tab.tap(button("long.bin", "Resume"))
        await state(tab, "long.bin", "done")
        tab.check_quiet()
    assert sha256(replicas.data / "long.bin") == sha256(source)


@in_every_way
async def test_axe_finds_nothing_while_all_goes_well(
    replicas: Replicas, browser: Chromium, tmp_path: Path, way: Way
) -> None:
    long, short = random_file(tmp_path / "long.bin", 16 * MIB), random_file(tmp_path / "short.txt", 700)
    wrong = random_file(tmp_path / "bell\a.txt", 12)
    started = await replicas.start(1)
    async with Balancer(started, SPEED * 2 / 3) as balancer:
        tab = await way.open(browser, f"{balancer.url}/")
        await way.check(tab, "empty")
        await tab.choose("#files", [long, short, wrong])
        await state(tab, "short.txt", "done")
        await sent(tab, "long.bin", 10)
        await way.check(tab, "uploading")
        await tab.evaluate(f"{button('long.bin', 'Pause')}.click()")
        await state(tab, "long.bin", "paused")
        await way.check(tab, "paused")
        await tab.reload()
        await state(tab, "long.bin", "interrupted")
        await way.check(tab, "interrupted")
        tab.check_quiet()


@in_every_way
async def test_axe_finds_nothing_while_something_is_in_the_way(
    replicas: Replicas, browser: Chromium, tmp_path: Path, way: Way
) -> None:
    key = "the-key-of-this-service"
    source = random_file(tmp_path / "long.bin", 16 * MIB)
    # The last request is not kept waiting for the end: 423.
    [replica] = await replicas.start(1, closer_wait_seconds=0.001, more=f'[access]\nkeys = "{key}"\n')
    async with Balancer([replica], SPEED) as balancer:
        tab = await way.open(browser, f"{balancer.url}/")
        await tab.choose("#files", [source])
        await tab.until("document.querySelector('#key-dialog').open")
        await way.check(tab, "key")
        await tab.click("#key-later")
        await state(tab, "long.bin", "locked")
        await way.check(tab, "locked")
        await tab.evaluate(f"{button('long.bin', 'Enter the key')}.click()")
        await tab.type(key)
        await tab.press("Enter")
        await sent(tab, "long.bin", 40)
        replica.kill()
        await state(tab, "long.bin", "again")
        await way.check(tab, "again")
        await replica.restart()
        # What came before the kill and what comes now are two files, which cannot be joined as long as this is held.
        [record] = replicas.data.glob(".uploads/*/*/info.json")
        with take_lock(str(record.with_name("lock")), Region.ASSEMBLY, 20):
            await tab.says(".state", "assembling the file", 60)
            await way.check(tab, "assembling")
        await state(tab, "long.bin", "done")
        await way.check(tab, "done")
        tab.check_quiet()
