"""The upload page in a real browser, against real replicas that are killed meanwhile.

Rules: a test does what a person does (drops, clicks, keys) and looks at what a person sees; then it compares the files
byte for byte. Nothing that the page's own policy refuses, and no exception in it, goes unnoticed.
"""

import asyncio
import shutil
from pathlib import Path

import pytest

from storage_proxy.adapters.posix_locks import take_lock
from storage_proxy.ports import Region
from tests.end_to_end.balancer import Balancer
from tests.end_to_end.chromium import Chromium, Tab
from tests.end_to_end.clients import MIB, TUS, Client, leftovers, records, sha256, tidy
from tests.end_to_end.replicas import Port, Replica, Replicas, until
from tests.end_to_end.upload_page import (
    REMEMBERED,
    WHY_NOT,
    button,
    creations,
    random_file,
    receiving,
    row,
    sent,
    state,
    the_upload,
)

pytestmark = [pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)), pytest.mark.timeout(120)]

SPEED = 12 * MIB

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


@pytest.mark.parametrize("paused", [False, True], ids=["at once", "after a pause"])
async def test_a_file_that_may_still_be_read_goes_on_by_itself_after_a_reload(
    replicas: Replicas, browser: Chromium, paused: bool
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
        if paused:
            await tab.evaluate(f"{button('kept.bin', 'Pause')}.click()")
            await tab.until(f"{REMEMBERED}.then(found => found[0].paused)")
            # It is not over before it is remembered that it goes on.
            balancer.hold_after(MIB)
            await tab.until(button("kept.bin", "Resume"))
            await tab.evaluate(f"{button('kept.bin', 'Resume')}.click()")
            await tab.until(f"{REMEMBERED}.then(found => !found[0].paused)", 10)
        await tab.reload()
        balancer.go_on()
        await state(tab, "kept.bin", "done")
        tab.check_quiet()
    assert creations(replicas) == 1
    assert (replicas.data / "kept.bin").read_bytes() == b"\7" * (16 * MIB)


async def test_files_are_dropped_and_a_folder_is_chosen_and_speed_and_time_left_are_told(
    replicas: Replicas, browser: Chromium, tmp_path: Path
) -> None:
    long, short = random_file(tmp_path / "long.bin", 16 * MIB), random_file(tmp_path / "short.txt", 700)
    inside = random_file(tmp_path / "trip" / "day 1" / "a.jpg", 900)
    started = await replicas.start(1)
    async with Balancer(started, SPEED / 3) as balancer:
        tab = await browser.tab(f"{balancer.url}/")
        await tab.drop([long, short])
        await tab.choose("#folder", [tmp_path / "trip"])
        told = f"{row('long.bin')}?.querySelector('.state').innerText"
        await tab.until(rf"/^\d+ % of 17 MB · [\d.]+ MB\/s · \d+ seconds? left$/.test({told})")
        assert "MB/s" in await tab.text("#summary-pace")
        await tab.until("document.querySelector('#summary').innerText === '3 files uploaded'")
        tab.check_quiet()
    for source in (long, short, inside):
        assert sha256(replicas.data / source.relative_to(tmp_path)) == sha256(source)


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
