"""The suite as strangers get it: built, installed where nothing else is, and pointed at a server."""

import asyncio
import json
import re
import subprocess
import sys
import venv
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from storage_proxy.app import build
from tests.conformance.running import all_clauses
from tests.server.proxy import Served, settings_for

SUITE = Path(__file__).parent
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the suite, and not even pip besides. Nothing is downloaded: what builds
    it is here already."""
    home = tmp_path_factory.mktemp("installed")
    _run(*PIP, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(home), str(SUITE))
    (wheel,) = home.glob("*.whl")
    venv.create(home / "venv", with_pip=False)
    programs = home / "venv" / "bin"
    _run(
        sys.executable, "-m", "pip", "--python", str(programs / "python"), *PIP[3:], "install", "--no-index", str(wheel)
    )
    return programs


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    server: TestServer = Served(build(settings_for(tmp_path)), skip_url_asserts=True)
    await server.start_server()
    yield str(server.make_url("/files"))
    await server.close()


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=SUITE.parent, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_that_is_installed_explains_itself(installed: Path) -> None:
    text = _run(str(installed / "tus-conformance"), "--help")
    assert text.startswith("usage: tus-conformance ")
    assert all(option in text for option in ("--url", "--extensions", "--json"))


def test_what_is_installed_has_every_clause_and_no_more_than_it_needs(installed: Path) -> None:
    lines = _run(str(installed / "tus-conformance"), "--list").splitlines()
    assert [line.split()[0] for line in lines] == [clause.id for clause in all_clauses()]
    found = _run(str(installed / "python"), "-c", "import tus_conformance; print(*tus_conformance.__path__)").strip()
    names = {path.name for path in Path(found).rglob("*.py")}
    assert "side_by_side.py" in names
    assert names & {path.name for path in SUITE.glob("test_*.py")} == set()
    assert names & {"defects.py", "liars.py", "model.py"} == set()


async def test_the_command_that_is_installed_judges_a_server(installed: Path, url: str, tmp_path: Path) -> None:
    written = tmp_path / "found.json"
    process = await asyncio.create_subprocess_exec(
        installed / "tus-conformance",
        *("--url", url, "--extensions", "creation,termination", "--json", str(written)),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    results = json.loads(written.read_text())["results"]
    assert len(results) == len(all_clauses())
    kept = {result["extension"] for result in results if result["verdict"] == "pass"}
    assert {"core", "interruption", "creation", "termination"} <= kept
    assert "All " in text.splitlines()[-1]
    table = _run(str(installed / "python"), "-m", "tus_conformance.side_by_side", f"it={written}", f"again={written}")
    counted = re.search(r"^\| \*\*TUS 1.0\*\* \| \*\*(\d+) / (\d+)\*\* \| ", table, re.MULTILINE)
    assert counted is not None
    assert counted[1] == counted[2] == str(sum(result["verdict"] == "pass" for result in results))
    assert "ietf" not in table, "what was not asked for has no row"
