"""`make run` where npm is missing, too old, or fails: it says so in one line, and the service runs all the same."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not on the path (on Debian: apt install make)")

NO_NPM = (
    "no upload page at /: there is no npm with Node 20.19, 22.12 or newer on the path (on Debian: apt install npm);"
    " everything else works\n"
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What make looks at: installed already, so that nothing is fetched; the page is not built."""
    clone = tmp_path / "clone"
    (clone / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", clone)
    for lists in ("web", "tests/end_to_end"):
        (clone / lists).mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / lists / name, clone / lists)
    for name in ("pyproject.toml", "constraints.txt", ".venv/bin/python", ".venv/.installed-run"):
        (clone / name).touch()
    program(clone / ".venv" / "bin" / "storage-proxy", 'echo "served with: $*"')
    return clone


def program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def make(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """With nothing on the path but what the test has put there."""
    assert MAKE is not None
    only = {"PATH": str(clone.parent / "path"), "HOME": os.environ.get("HOME", "/")}
    return subprocess.run([MAKE, *words], cwd=clone, env=only, capture_output=True, text=True, check=False, timeout=30)


def test_without_npm_one_line_says_so_and_the_service_runs(clone: Path) -> None:
    done = make(clone, "run", "ARGS=--listen 127.0.0.1:1")
    assert (done.stdout, done.stderr, done.returncode) == (f"{NO_NPM}served with: serve --listen 127.0.0.1:1\n", "", 0)


def test_an_npm_whose_node_is_too_old_is_as_good_as_none(clone: Path) -> None:
    program(clone.parent / "path" / "npm", "exit 1")
    program(clone.parent / "path" / "node", "exit 1")
    done = make(clone, "run")
    assert (done.stdout, done.stderr, done.returncode) == (f"{NO_NPM}served with: serve\n", "", 0)


def test_an_npm_that_fails_is_told_of_and_the_service_runs(clone: Path) -> None:
    program(clone.parent / "path" / "npm", "echo the registry does not answer >&2; exit 1")
    program(clone.parent / "path" / "node", "exit 0")
    done = make(clone, "run")
    assert done.stdout.endswith("the upload page could not be built; everything else works\nserved with: serve\n")
    assert "the registry does not answer" in done.stderr
    assert done.returncode == 0
