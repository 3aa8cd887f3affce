"""The page of results: its tables add up to the clauses that there are, and it is what the command makes."""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bench import builds
from bench.servers import Server
from tests.conformance import side_by_side
from tests.conformance.peers import BEGIN, END, OURS, PAGE, PEERS, Judged, Watched, rendered, replaced
from tests.conformance.registry import GROUPS, Result, Verdict
from tests.conformance.reporting import as_json
from tests.conformance.running import NOTHING, all_clauses

COUNT = re.compile(
    r"(?P<kept>\d+) / (?P<judged>\d+)(?: \(\d+ SHOULD\))?(?:, (?P<skipped>\d+) skipped)?(?:, (?P<open>\d+) not judged)?"
)
TOLD = dict.fromkeys(("date", "commit", "kernel", "processor", "python", "go", "node", "rust", "haproxy"), "x")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def _made() -> str:
    page = PAGE.read_text()
    return page[page.index(BEGIN) : page.index(END)]


def _counts() -> dict[str, list[str]]:
    """group -> its cells, of the table of the page"""
    rows = [_cells(line) for line in _made().splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows if row[0] in GROUPS}


def _added_up(cell: str) -> int:
    counted = COUNT.fullmatch(cell)
    assert counted is not None, cell
    return sum(int(counted[name] or 0) for name in ("judged", "skipped", "open"))


def test_what_the_page_counts_are_the_clauses_that_there_are() -> None:
    wanted = Counter(clause.extension for clause in all_clauses())
    counts = _counts()
    assert list(counts) == list(GROUPS)
    for group, cells in counts.items():
        assert {_added_up(cell) for cell in cells if cell != side_by_side.NOTHING} == {wanted[group]}, group


def test_this_service_keeps_all_that_the_page_counts() -> None:
    kept = [COUNT.fullmatch(cells[0]) for cells in _counts().values()]
    assert [found[0] for found in kept if found is not None and found["kept"] != found["judged"]] == []
    assert sum(int(found["kept"]) for found in kept if found is not None) > 390


def test_the_page_is_of_the_versions_that_are_built_here() -> None:
    assert [version for version in (builds.TUSD, builds.TUS_NODE_SERVER, builds.RUSTUS) if version not in _made()] == []


def test_a_page_is_made_of_what_was_found() -> None:
    results = [Result(clause, Verdict.PASS, "", 1.0) for clause in all_clauses()]
    results[0] = replace(results[0], verdict=Verdict.FAIL, detail="what came from http://127.0.0.1:1234/files")
    results[1] = replace(results[1], verdict=Verdict.SKIPPED)
    found = as_json("http://127.0.0.1:8080/files", NOTHING, results)
    made = rendered(TOLD, [Judged(OURS, found), Judged(PEERS[0], found, 2, "TypeError: x")], {"rustus": "no cargo"})
    core = sum(clause.extension == "core" for clause in all_clauses())
    cell = f"{core - 2} / {core - 1}, 1 skipped"
    assert f"| core | {cell} | {cell} |" in made.splitlines()
    assert "**not kept**: what came from http://127.0.0.1:PORT/files" in made
    assert "tusd ended by itself 2 times (`TypeError: x`)" in made
    assert "Left out: rustus (no cargo)." in made
    assert "by storage-proxy, tusd; not by none." in made
    assert "--listen 127.0.0.1:PORT" in made
    assert replaced(f"before {BEGIN} old {END} after", made) == f"before {made} after"


@pytest.mark.timeout(60)
def test_a_server_that_ends_is_started_again_on_its_port_and_counted(tmp_path: Path) -> None:
    # It serves one connection, which is the one that finds out that it serves, and dies of it.
    dies = (
        "import socket, sys\nsocket.create_server(('127.0.0.1', int(sys.argv[1]))).accept()\nraise TypeError('closed')"
    )
    server = Server("dies", lambda: [sys.executable, "-c", dies], lambda data, port: [str(port)], "1")
    (tmp_path / "data").mkdir()
    watched = Watched(server, tmp_path / "data")
    try:
        for ends in (1, 2):
            watched._processes[0].wait(20)
            watched.look()
            assert watched.ends == ends
        watched._processes[0].wait(20)
        assert watched.last_error() == "TypeError: closed"
    finally:
        watched.stop()


def test_the_command_is_there() -> None:
    done = subprocess.run(
        ["make", "-n", "conformance"], cwd=PAGE.parents[1], capture_output=True, text=True, check=False
    )
    assert "-m tests.conformance.peers" in done.stdout
