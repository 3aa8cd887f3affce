"""Each example of the pages for people, run as it stands there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.end_to_end import chromium, clients_page
from tests.end_to_end.chromium import Tab
from tests.end_to_end.clients import Client, records
from tests.end_to_end.replicas import ROOT, environment, until
from tests.end_to_end.serving import serving
from tests.end_to_end.test_first_steps import Service, paste, service

__all__ = ["service"]  # the fixture of the first steps: `serve` in an empty directory

DOCS = ROOT / "docs"
THERE = "http://127.0.0.1:8080"

pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is needed; install it"),
    pytest.mark.timeout(60),
]


def examples(page: str, language: str, heading: str = "") -> list[str]:
    text = (DOCS / page).read_text()
    part = text.partition(f"\n## {heading}")[2].partition("\n## ")[0] if heading else text
    return re.findall(rf"```{language}\n(.*?)```", part, re.DOTALL)


def here(example: str, service: Service) -> str:
    """The examples are for ./data on port 8080."""
    data = service.data.parent / "data"
    if not data.exists():
        data.symlink_to(service.data)
    return example.replace(THERE, service.url)


def test_getting_started_does_what_it_says(service: Service) -> None:
    said = paste(here("\n".join(examples("getting-started.md", "sh")), service), service.data.parent)
    assert b"upload-offset: 3000000" in said.lower()
    assert (service.data / "photo.raw").stat().st_size == 3_000_000


def test_the_script_that_goes_on_until_all_is_there_does_so(service: Service) -> None:
    [script] = examples("clients.md", "sh", "curl and scripts")
    sent = service.data.parent / "photo.raw"
    sent.write_bytes(bytes(range(256)) * 9000)
    assert b"is there" in paste(here(script, service), service.data.parent)
    assert (service.data / "photo.raw").read_bytes() == sent.read_bytes()


def test_two_halves_in_the_wrong_order_become_the_file(service: Service) -> None:
    [lines] = examples("clients.md", "sh", "One file over several connections")
    said = paste(here(lines, service), service.data.parent)
    assert b'"missing_ranges": [{"offset": 0, "length": 5}]' in said
    assert said.endswith(b"helloworld")


# The first PATCH is broken off by curl itself after a second, with the connection.
BROKEN_ONCE = """
curl() {
  case "$*" in
    *PATCH*) echo "$*" >> patches; [ "$(wc -l < patches)" -gt 1 ] || set -- --max-time 1 --limit-rate 200K "$@" ;;
  esac
  command curl "$@"
}
"""


def test_the_script_that_goes_on_until_all_is_there_goes_on_after_a_lost_connection(service: Service) -> None:
    [script] = examples("clients.md", "sh", "curl and scripts")
    sent = service.data.parent / "photo.raw"
    sent.write_bytes(os.urandom(3_000_000))
    assert b"is there" in paste(BROKEN_ONCE + here(script, service), sent.parent)
    offsets = re.findall(r"Upload-Offset: (\d+)", (sent.parent / "patches").read_text())
    assert offsets[0] == "0"
    assert 0 < int(offsets[1]) < 3_000_000
    assert (service.data / "photo.raw").read_bytes() == sent.read_bytes()


# ---- in a browser ---------------------------------------------------------------------------------------------------

in_a_browser = pytest.mark.skipif(clients_page.missing() is not None, reason=str(clients_page.missing()))

# What a page has from its user: a file that was chosen, the same one each time.
FILE = 'const file = new File([new Uint8Array(3000000).fill(7)], "photo.raw", { lastModified: 1 });'
# And how the test hears that it is over.
TOLD = "upload.options.onSuccess = ((told) => () => { told(); window.ended = upload.url; })(upload.options.onSuccess);"


@asynccontextmanager
async def page(home: Path) -> AsyncIterator[Tab]:
    """One with tus-js-client and Uppy, from another origin than the service."""
    (home / "page").mkdir()
    async with clients_page.page_server(home / "page") as address, chromium.Chromium(home / "profile") as browser:
        tab = await browser.tab(address)
        yield tab
        await tab.close()


def as_a_page_runs_it(example: str, service: Service, more: str = "") -> str:
    library, _, script = here(example, service).partition("\n")
    assert library == 'import { Upload } from "tus-js-client";'
    return f"(async () => {{ {FILE} const {{ Upload }} = tus; {script} {more} }})()"


def check_photo(service: Service) -> None:
    assert (service.data / "photo.raw").read_bytes() == bytes([7]) * 3_000_000


@in_a_browser
async def test_the_example_of_tus_js_client_uploads_a_file_from_a_page(service: Service, tmp_path: Path) -> None:
    [example] = examples("clients.md", "js", "Browser")
    async with page(tmp_path) as tab:
        await tab.evaluate(as_a_page_runs_it(example, service, TOLD))
        await tab.until("window.ended !== undefined")
        assert "log: 100 %" in tab.said
    check_photo(service)


@in_a_browser
async def test_the_example_of_tus_js_client_goes_on_with_what_an_earlier_page_has_begun(
    service: Service, tmp_path: Path, client: Client
) -> None:
    [example] = examples("clients.md", "js", "Browser")
    until_a_third = """
        upload.options.chunkSize = 1000000;
        upload.options.onChunkComplete = () => { upload.abort(); window.begun = upload.url; };"""
    watched = "window.asked = []; upload.options.onBeforeRequest = (asked) => window.asked.push(asked.getMethod());"
    async with page(tmp_path) as tab:
        await tab.evaluate(as_a_page_runs_it(example, service, until_a_third))
        begun = await tab.until("window.begun")
        assert await client.offset("", begun) == 1_000_000
        await tab.reload()
        await tab.evaluate(as_a_page_runs_it(example, service, watched + TOLD))
        assert await tab.until("window.ended") == begun
        assert await tab.evaluate("window.asked") == ["HEAD", "PATCH"]
        assert await tab.evaluate("Object.keys(localStorage)") == []  # removeFingerprintOnSuccess
    check_photo(service)
    assert len(records(service.data)) == 1


@in_a_browser
async def test_the_example_of_the_readme_uploads_a_file_from_a_page(service: Service, tmp_path: Path) -> None:
    [example] = re.findall(r"```js\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    async with page(tmp_path) as tab:
        await tab.evaluate(as_a_page_runs_it(example, service))

        async def said() -> bool:
            return "log: done" in tab.said

        await until("the page says done", said)
    check_photo(service)


@in_a_browser
async def test_the_line_for_uppy_uploads_a_file_from_a_page(service: Service, tmp_path: Path) -> None:
    [line] = re.findall(r"^Uppy: `(uppy\.use\(.*\))`\.$", (DOCS / "clients.md").read_text(), re.MULTILINE)
    around = (
        "const uppy = new Uppy.Uppy(); const {{ Tus }} = Uppy; {line}; uppy.addFile({{ name: file.name, data: file }})"
    )
    script = around.format(line=here(line, service))
    async with page(tmp_path) as tab:
        result = await tab.evaluate(
            f"(async () => {{ {FILE} {script}; const told = await uppy.upload(); return told.successful.length }})()"
        )
        assert result == 1, tab.said
    check_photo(service)


# ---- in Python ------------------------------------------------------------------------------------------------------


def test_the_example_of_tuspy_uploads_a_file(service: Service) -> None:
    pytest.importorskip("tusclient", reason="tuspy is not installed; `make test` does it")
    [example] = examples("clients.md", "python", "Python")
    sent = service.data.parent / "photo.raw"
    sent.write_bytes(bytes(range(256)) * 9000)
    command = [sys.executable, "-c", here(example, service)]
    done = subprocess.run(
        command, cwd=sent.parent, env=environment(), capture_output=True, text=True, timeout=40, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(service.url)
    assert (service.data / "photo.raw").read_bytes() == sent.read_bytes()


# ---- getting started ------------------------------------------------------------------------------------------------


def test_make_run_serves_and_prints_three_commands(tmp_path: Path) -> None:
    blocks = re.findall(r"```\n(.*?)```", (DOCS / "getting-started.md").read_text(), re.DOTALL)
    assert blocks[0] == "make run\n"
    # It would install what is not there, or is older than its reasons; that `make test` has done.
    quiet = {**environment(), "MAKEFLAGS": ""}
    asked = subprocess.run(["make", "--question", ".venv/.installed-run"], cwd=ROOT, env=quiet, check=False)
    if asked.returncode != 0:
        pytest.skip("`make run` would install something first; `make test` does that")
    words = [*shlex.split(blocks[0])[1:], f"ARGS=--data {shlex.quote(str(tmp_path / 'data'))}"]
    with serving(words, tmp_path, {"MAKEFLAGS": ""}, program=["make"]) as served:
        told = [line for line in served.said.splitlines() if re.match(r"  (at=|curl|cat) ?", line)]
        assert len(told) == 3
        assert f"storage-proxy serves {served.url}/files" in served.said


def test_each_target_of_make_that_a_page_names_exists() -> None:
    pages = "\n".join(page.read_text() for page in [ROOT / "README.md", *DOCS.glob("*.md")])
    named = set(re.findall(r"^make ([a-z-]+)", pages, re.MULTILINE)) | set(re.findall(r"`make ([a-z-]+)", pages))
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"run", "test", "check"} <= named <= made


async def test_a_second_process_on_the_same_directory_goes_on_with_the_uploads_of_the_first(
    service: Service, tmp_path: Path, client: Client
) -> None:
    [command] = examples("getting-started.md", "", "Several replicas")
    name, *words = shlex.split(here(command, service))
    assert name == ".venv/bin/storage-proxy"
    with serving(words, tmp_path, {"PYTHONPATH": str(ROOT)}, cwd=tmp_path) as second:
        path = await client.create(service.url, 10, filename="note.txt")
        assert (await client.patch(service.url, path, 0, b"hello")).status == 204
        assert await client.offset(second.url, path) == 5
        assert (await client.patch(second.url, path, 5, b"world")).status == 204
    assert (service.data / "note.txt").read_bytes() == b"helloworld"


def test_each_command_that_a_page_names_exists() -> None:
    pages = "\n".join(page.read_text() for page in [ROOT / "README.md", *DOCS.glob("*.md")])
    named = set(re.findall(r"(?:^|`)storage-proxy ((?:config )?[a-z]+)(?=[ `\n])", pages, re.MULTILINE))
    assert {"serve", "doctor", "verify", "config check"} <= named
    for command in sorted(named):
        done = subprocess.run(
            [sys.executable, "-m", "storage_proxy", *command.split(), "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0, command
