"""Each example of the pages for people, run as it stands there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end import chromium, clients_page
from tests.end_to_end.replicas import ROOT, environment
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


@pytest.mark.skipif(clients_page.missing() is not None, reason=str(clients_page.missing()))
async def test_the_example_of_tus_js_client_uploads_a_file_from_a_page(service: Service, tmp_path: Path) -> None:
    [example] = examples("clients.md", "js", "Browser")
    library, _, script = here(example, service).partition("\n")
    assert library == 'import { Upload } from "tus-js-client";'
    # What a page with that library has, and a file that was chosen.
    chosen = 'const file = new File([new Uint8Array(3000000).fill(7)], "photo.raw"); const { Upload } = tus;'
    home = tmp_path / "page"
    home.mkdir()
    async with (
        clients_page.page_server(home) as address,
        chromium.Chromium(tmp_path / "profile") as browser,
    ):
        tab = await browser.tab(address)
        ended = (
            "upload.options.onSuccess = ((told) => () => { told(); window.ended = true; })(upload.options.onSuccess);"
        )
        await tab.evaluate(f"(async () => {{ {chosen} {script} {ended} }})()")
        await tab.until("window.ended === true")
        await tab.close()
    assert (service.data / "photo.raw").read_bytes() == bytes([7]) * 3_000_000


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


def test_each_command_that_a_page_names_exists() -> None:
    pages = "\n".join(page.read_text() for page in [ROOT / "README.md", *DOCS.glob("*.md")])
    named = set(re.findall(r"storage-proxy ((?:config )?[a-z]+)(?=[ `\n])", pages))
    for command in sorted(named - {"serves"}):
        done = subprocess.run(
            [sys.executable, "-m", "storage_proxy", *command.split(), "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0, command
