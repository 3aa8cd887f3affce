"""The upload page in a real browser, against real replicas that are killed meanwhile.

Rules: a test does what a person does (drops, clicks, keys) and looks at what a person sees; then it compares the files
byte for byte. Nothing that the page's own policy refuses, and no exception in it, goes unnoticed.
"""

import asyncio
import json
import os
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from storage_proxy.adapters.page_files import read_page
from storage_proxy.adapters.posix_locks import take_lock
from storage_proxy.ports import Region
from tests.end_to_end import chromium
from tests.end_to_end.balancer import Balancer
from tests.end_to_end.chromium import Chromium, Tab
from tests.end_to_end.clients import MIB, TUS, Client, leftovers, records, sha256, tidy
from tests.end_to_end.replicas import Port, Replica, Replicas, until

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
WHY_NOT = (
    chromium.missing()
    or (None if read_page() else "the upload page is not built; `make page` does it")
    or (None if AXE.is_file() else "axe-core is not installed; `make test` does it")
)
pytestmark = [
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
    pytest.mark.timeout(120),
]

SPEED = 12 * MIB

# Where to leave pictures of the page for people to look at, if anywhere.
PICTURES = Path(os.environ["STORAGE_PROXY_PICTURES"]) if "STORAGE_PROXY_PICTURES" in os.environ else None

# What the page keeps for a later visit.
REMEMBERED = """\
indexedDB.databases().then(([{name}]) => new Promise((resolve) => {
  indexedDB.open(name).onsuccess = ({target: {result: database}}) => {
    database.transaction('uploads').objectStore('uploads').getAll().onsuccess = ({target}) => {
      database.close()
      resolve(target.result.map(({url, path}) => ({url: new URL(url).pathname, path})))
    }
  }
}))"""


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Chromium]:
    async with Chromium(tmp_path / "profile") as browser:
        yield browser


def random_file(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def row(name: str) -> str:
    """An expression for the row of this file."""
    return f"[...document.querySelectorAll('.row')].find(r => r.querySelector('.name').innerText === {name!r})"


def button(name: str, label: str) -> str:
    return f"[...{row(name)}.querySelectorAll('button')].find(b => !b.hidden && b.textContent === {label!r})"


async def state(tab: Tab, name: str, wanted: str, seconds: float = 40.0) -> None:
    try:
        await tab.until(f"{row(name)}?.dataset.state === {wanted!r}", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; there is: {await tab.text('main')}") from None


async def sent(tab: Tab, name: str, part: int) -> None:
    """So much of it has left the page, and more is to come. (What had left for a replica that died counts until the
    next attempt has asked: then its row says that it tries again.)"""
    passing = ["waiting", "again"]
    found = await tab.until(
        f"{row(name)}?.querySelector('progress').value >= {part}"
        f" && !{json.dumps(passing)}.includes({row(name)}.dataset.state) && {row(name)}.dataset.state"
    )
    assert found == "sending", f"it was over too early: {found}"


async def the_upload(tab: Tab) -> str:
    """Where the one that is on its way lies on the service."""
    [known] = await tab.until(f"{REMEMBERED}.then(found => found.length === 1 && found)")
    return str(known["url"])


async def receiving(balancer: Balancer) -> Any:
    async def look() -> Any:
        return balancer.receiving

    return await until("a replica is receiving", look)


def creations(replicas: Replicas) -> int:
    logs = "".join(replica.log.read_text() for replica in replicas.all)
    return sum('"method": "POST"' in line and '"status": 201' in line for line in logs.splitlines())


# ---- the main path --------------------------------------------------------------------------------------------------


async def test_files_arrive_whole_while_the_replica_that_receives_them_is_killed(
    replicas: Replicas, client: Client, browser: Chromium, tmp_path: Path
) -> None:
    long, short = random_file(tmp_path / "long.bin", 24 * MIB + 5), random_file(tmp_path / "short.txt", 700)
    empty = random_file(tmp_path / "empty.txt", 0)
    started = await replicas.start(2)
    async with Balancer(started, SPEED) as balancer:
        tab = await browser.tab(f"{balancer.url}/")
        await tab.choose("#files", [long, short, empty])
        await state(tab, "short.txt", "done")
        for part in (30, 60):
            await sent(tab, "long.bin", part)
            victim: Replica = await receiving(balancer)
            victim.kill()
            balancer.hold_after(3 * MIB)
            await victim.restart()
            balancer.go_on()
        await state(tab, "long.bin", "done")
        await state(tab, "empty.txt", "done")
        assert await tab.text("#summary") == "3 files uploaded"
        assert balancer.cut + balancer.passed_over > 0, "nobody noticed anything of the kills"
        link = await tab.evaluate(f"{row('long.bin')}.querySelector('a').href")
        assert (await client.ask("GET", link)).body == long.read_bytes()
        assert creations(replicas) == 3, "one of them was begun twice"
        # What is finished needs no memory.
        assert await tab.evaluate(REMEMBERED) == []
        tab.check_quiet()
    for source in (long, short, empty):
        assert sha256(replicas.data / source.name) == sha256(source)
    await tidy(replicas.data, ["empty.txt", "long.bin", "short.txt"])


@pytest.mark.parametrize("end", ["reload", "crash"])
async def test_an_upload_goes_on_when_its_file_is_chosen_again(
    replicas: Replicas, client: Client, tmp_path: Path, end: str
) -> None:
    source = random_file(tmp_path / "long.bin", 24 * MIB + 5)
    started = await replicas.start(2)
    async with Balancer(started, SPEED) as balancer:
        async with Chromium(tmp_path / "profile") as browser:
            tab = await browser.tab(f"{balancer.url}/")
            await tab.choose("#files", [source])
            await sent(tab, "long.bin", 40)
            path = await the_upload(tab)
            await client.reaches(started[0].url, path, 4 * MIB)
            if end == "reload":
                await tab.reload()
                await goes_on(tab, source)
        if end == "crash":
            async with Chromium(tmp_path / "profile") as browser:
                await goes_on(await browser.tab(f"{balancer.url}/"), source)
        assert await client.offset(started[1].url, path) == source.stat().st_size
    assert creations(replicas) == 1, "it started over"
    assert sha256(replicas.data / "long.bin") == sha256(source)
    await tidy(replicas.data, ["long.bin"])


async def goes_on(tab: Tab, source: Path) -> None:
    await state(tab, source.name, "interrupted")
    # How far it is is asked, not remembered.
    await tab.until(f"{row(source.name)}.querySelector('progress').value > 15")
    await tab.choose("#files", [source])
    await state(tab, source.name, "done")
    tab.check_quiet()


async def test_a_file_that_may_still_be_read_goes_on_by_itself_after_a_reload(
    replicas: Replicas, browser: Chromium
) -> None:
    started = await replicas.start(1)
    async with Balancer(started, SPEED) as balancer:
        tab = await browser.tab(f"{balancer.url}/")
        # A picker cannot be operated from outside; a file of the page's own has the same kind of handle.
        handle = "navigator.storage.getDirectory().then(d => d.getFileHandle('kept.bin', {create: true}))"
        await tab.evaluate(
            f"{handle}.then(async h => {{ const w = await h.createWritable();"
            f"await w.write(new Uint8Array({16 * MIB}).fill(7)); await w.close() }})"
        )
        await tab.evaluate(f"window.showOpenFilePicker = async () => [await {handle}]")
        await tab.click("#choose-files")
        await sent(tab, "kept.bin", 30)
        await tab.reload()
        await state(tab, "kept.bin", "done")
        tab.check_quiet()
    assert creations(replicas) == 1
    assert (replicas.data / "kept.bin").read_bytes() == b"\7" * (16 * MIB)


async def test_a_folder_is_recreated_and_all_of_it_can_be_paused(
    replicas: Replicas, browser: Chromium, tmp_path: Path
) -> None:
    sizes = {"trip/day 10/ä.jpg": 6 * MIB, "trip/day 2/b.jpg": 6 * MIB, "trip/day 2/deep/c.jpg": 5, "trip/d.jpg": 9}
    for name, size in sizes.items():
        random_file(tmp_path / name, size)
    started = await replicas.start(1)
    async with Balancer(started, SPEED / 3) as balancer:
        tab = await browser.tab(f"{balancer.url}/")
        await tab.drop([tmp_path / "trip"])
        await sent(tab, "trip/day 2/b.jpg", 10)
        await tab.click("#pause-all")
        await state(tab, "trip/day 2/b.jpg", "paused")
        await state(tab, "trip/day 10/ä.jpg", "paused")
        assert await tab.evaluate("document.querySelector('#pause-all').hidden")
        await tab.click("#resume-all")
        await tab.until("document.querySelector('#summary').innerText === '4 files uploaded'")
        tab.check_quiet()
    for name in sizes:
        assert sha256(replicas.data / name) == sha256(tmp_path / name)


async def test_cancelling_removes_the_upload_from_the_service(
    replicas: Replicas, client: Client, browser: Chromium, tmp_path: Path
) -> None:
    source = random_file(tmp_path / "long.bin", 24 * MIB)
    started = await replicas.start(1)
    async with Balancer(started, SPEED / 2) as balancer:
        tab = await browser.tab(f"{balancer.url}/")
        await tab.choose("#files", [source])
        await sent(tab, "long.bin", 20)
        path = await the_upload(tab)
        await tab.evaluate(f"{button('long.bin', 'Cancel')}.focus()")
        await tab.evaluate(f"{button('long.bin', 'Cancel')}.click()")
        await tab.until("document.querySelectorAll('.row').length === 0")
        # Who works by keyboard is not thrown back to the top.
        assert await tab.evaluate("document.activeElement.id") == "choose-files"

        async def gone() -> bool:
            return (await client.ask("HEAD", started[0].url + path, TUS)).status == 404

        await until("the service has forgotten it", gone)
        assert await tab.evaluate(REMEMBERED) == []
        tab.check_quiet()

    async def swept() -> bool:
        return not leftovers(replicas.data, [])

    await until("its bytes are gone", swept)
    assert [record["phase"] for record in records(replicas.data)] == ["terminated"]


async def test_a_file_that_is_assembled_after_the_last_byte_is_waited_for(
    replicas: Replicas, browser: Chromium, tmp_path: Path
) -> None:
    source = random_file(tmp_path / "long.bin", 20 * MIB)
    # The last request is not kept waiting for the end: 423.
    first, second = await replicas.start(2, closer_wait_seconds=0.001)
    async with Balancer([first], SPEED) as balancer:
        tab = await browser.tab(f"{balancer.url}/")
        await tab.choose("#files", [source])
        await sent(tab, "long.bin", 40)
        await tab.evaluate(f"{button('long.bin', 'Pause')}.click()")
        await state(tab, "long.bin", "paused")
        # In two pieces of two replicas, so that there is something to assemble; and a share that is slow to do it.
        balancer.add(second)
        balancer.remove(first)
        [record] = replicas.data.glob(".uploads/*/*/info.json")
        with take_lock(str(record.with_name("lock")), Region.ASSEMBLY, 20):
            await tab.evaluate(f"{button('long.bin', 'Resume')}.click()")
            await tab.says(".state", "assembling the file")
        await state(tab, "long.bin", "done")
        tab.check_quiet()
    assert '"problem": "not-yet-published"' in second.log.read_text()
    assert sha256(replicas.data / "long.bin") == sha256(source)


NGINX = """\
daemon off; user root; pid {home}/pid; error_log {home}/errors; events {{}}
http {{
  access_log off;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {url}; proxy_set_header Host $http_host; }} }}
}}
"""


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not on the path (on Debian: apt install nginx)")
async def test_a_proxy_that_takes_no_large_bodies_gets_small_ones(
    replicas: Replicas, browser: Chromium, tmp_path: Path
) -> None:
    """nginx as it comes: one megabyte."""
    source = random_file(tmp_path / "long.bin", 4 * MIB)
    [replica] = await replicas.start(1)
    home, port = tmp_path / "nginx", Port()
    home.mkdir()
    (home / "conf").write_text(NGINX.format(home=home, port=port.number, url=replica.url))
    nginx = await asyncio.create_subprocess_exec("nginx", "-e", str(home / "errors"), "-c", str(home / "conf"))
    try:

        async def listens() -> bool:
            return (home / "pid").exists()

        await until("nginx listens", listens)
        tab = await browser.tab(f"http://127.0.0.1:{port.number}/")
        await tab.choose("#files", [source])
        await state(tab, "long.bin", "done")
        tab.check_quiet()
    finally:
        nginx.terminate()
        await nginx.wait()
        port.close()
    assert "intended to send too large body" in (home / "errors").read_text()
    assert creations(replicas) == 1
    assert sha256(replicas.data / "long.bin") == sha256(source)


# ---- who may, and where to ------------------------------------------------------------------------------------------


async def test_a_key_is_asked_for_once_and_refusals_are_told_in_the_words_of_the_service(
    replicas: Replicas, client: Client, browser: Chromium, tmp_path: Path
) -> None:
    key, archive = "the-key-of-this-service", tmp_path / "archive"
    archive.mkdir()
    more = f'[access]\nkeys = "{key}"\n[volumes.archive]\npath = "{archive}"\n'
    [replica] = await replicas.start(1, more=more)
    first, second = random_file(tmp_path / "first.txt", 10), random_file(tmp_path / "second.txt", 11)
    wrong = random_file(tmp_path / "bell\a.txt", 12)
    tab = await browser.tab(f"{replica.url}/")
    await tab.evaluate("document.querySelector('#volume').value = 'archive'")
    await tab.choose("#files", [first])
    await tab.until("document.querySelector('#key-dialog').open")
    await tab.type("a-wrong-key")
    await tab.press("Enter")
    await tab.says("#key-why", "The key was not accepted.")
    await tab.type(key)
    await tab.press("Enter")
    await state(tab, "first.txt", "done")
    await tab.reload()
    await tab.choose("#files", [second, wrong])
    await state(tab, "second.txt", "done")
    await tab.says(".state", "it holds a control character.")
    assert not await tab.evaluate("document.querySelector('#key-dialog').open"), "it was asked for twice"
    # A bare address does not bring the file here.
    assert await tab.evaluate(f"{row('second.txt')}.querySelector('a').hidden")
    tab.check_quiet()
    assert (archive / "first.txt").read_bytes() == first.read_bytes()
    assert (replicas.data / "second.txt").read_bytes() == second.read_bytes()


# ---- for everybody --------------------------------------------------------------------------------------------------


async def test_all_of_it_can_be_done_with_the_keyboard(
    replicas: Replicas, client: Client, browser: Chromium, tmp_path: Path
) -> None:
    source = random_file(tmp_path / "long.bin", 16 * MIB)
    started = await replicas.start(1)
    async with Balancer(started, SPEED / 2) as balancer:
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


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 390), ("dark", 390)])
async def test_axe_finds_nothing_in_any_state(
    replicas: Replicas, browser: Chromium, tmp_path: Path, scheme: str, width: int
) -> None:
    long, short = random_file(tmp_path / "long.bin", 16 * MIB), random_file(tmp_path / "short.txt", 700)
    wrong = random_file(tmp_path / "bell\a.txt", 12)
    started = await replicas.start(1)
    async with Balancer(started, SPEED / 3) as balancer:
        tab = await browser.tab(f"{balancer.url}/", width)
        await tab.prefer(scheme)

        async def check(what: str) -> None:
            if PICTURES is not None:
                name = f"{what}-{scheme}-{width}.png"
                await asyncio.to_thread((PICTURES / name).write_bytes, await tab.picture())
            await tab.evaluate(AXE.read_text())
            await tab.evaluate("document.getAnimations().forEach(animation => animation.finish())")
            found = await tab.evaluate("axe.run().then(({violations}) => violations)")
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
            # Nothing sticks out at the side.
            assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

        await check("empty")
        await tab.choose("#files", [long, short, wrong])
        await state(tab, "short.txt", "done")
        await sent(tab, "long.bin", 10)
        await check("uploading")
        await tab.evaluate(f"{button('long.bin', 'Pause')}.click()")
        await state(tab, "long.bin", "paused")
        await check("paused")
        await tab.reload()
        await state(tab, "long.bin", "interrupted")
        await check("interrupted")
        await tab.evaluate("document.querySelector('#key-dialog').showModal()")
        await check("key")
        tab.check_quiet()
