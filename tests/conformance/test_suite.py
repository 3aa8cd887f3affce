"""The suite judges our own server, and is judged itself: each clause must be able to fail."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from storage_proxy.app import SERVICE, build
from storage_proxy.core.manifest import UploadId
from storage_proxy.operations.describe import look_up
from tests.conformance.defects import MUTATIONS as OF_TUS
from tests.conformance.ietf_defects import MUTATIONS as OF_THE_DRAFT
from tests.conformance.liars import Liar, liars
from tests.conformance.model import serving
from tests.conformance.mutations import Mutation, plant
from tests.conformance.registry import EXTENSIONS, GROUPS, Result, Verdict
from tests.conformance.reporting import COLUMNS, as_text
from tests.conformance.running import NOTHING, all_clauses, ask_offer, judge
from tests.conformance.subject import Terms, metadata, parsed_metadata
from tests.server.proxy import Served, settings_for

ROOT = Path(__file__).parents[2]
MUTATIONS = (*OF_TUS, *OF_THE_DRAFT)

# What is not judged in the second that the ordinary run has for it, and why; it is judged in a test of its own.
TAKES_LONG = {
    "interruption.idle-closed": "a stalled body was not ended within ",
    "expiration.gone": "uploads expire after ",
}

Serve = Callable[[web.Application], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start an application, and tell where uploads are created."""
    servers: list[TestServer] = []

    async def start(application: web.Application) -> str:
        server = Served(application, skip_url_asserts=True)
        servers.append(server)
        await server.start_server()
        return str(server.make_url("/files"))

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
def ours(tmp_path: Path) -> web.Application:
    return build(settings_for(tmp_path))


async def _judged(
    url: str, ids: tuple[str, ...] | None = None, seconds: float = 20.0, patience: float = 1.0
) -> list[Result]:
    terms = Terms(url, seconds=seconds, patience=patience)
    clauses = [clause for clause in all_clauses() if ids is None or clause.id in ids]
    return await judge(terms, await ask_offer(terms), clauses=clauses)


def _told(results: list[Result]) -> list[str]:
    return [f"{result.clause.id}: {result.verdict}, {result.detail}" for result in results]


# ---- our server -----------------------------------------------------------------------------------------------------


async def test_our_server_keeps_every_clause_that_it_announces(ours: web.Application, serve: Serve) -> None:
    results = await _judged(await serve(ours))
    assert _told([result for result in results if result.verdict in (Verdict.FAIL, Verdict.ERROR)]) == []
    # Named one by one: an extension that is no longer announced, or a draft that is no longer recognised, is skipped
    # with all of its clauses, and nothing would fail.
    skipped = {result.clause.id: result.detail for result in results if result.verdict is Verdict.SKIPPED}
    assert skipped.keys() == TAKES_LONG.keys()
    assert [id for id, reason in TAKES_LONG.items() if not skipped[id].startswith(reason)] == []
    assert [result.clause.id for result in results] == [clause.id for clause in all_clauses()]


async def test_what_takes_long_by_design_is_judged_with_patience(tmp_path: Path, serve: Serve) -> None:
    hasty = {"expiry": {"open": 3.0, "sweep_every": 1.0}, "limits": {"body_idle_seconds": 1.0}}
    url = await serve(build(settings_for(tmp_path, **hasty)))
    results = await _judged(url, tuple(TAKES_LONG), patience=20.0)
    assert _told([result for result in results if result.verdict is not Verdict.PASS]) == []
    assert len(results) == len(TAKES_LONG)


async def test_the_command_judges_a_server_by_its_address(ours: web.Application, serve: Serve, tmp_path: Path) -> None:
    written = tmp_path / "found.json"
    options = ("--url", await serve(ours), "--only", "core.head", "--json", str(written), "--header", "X-Any: thing")
    code, text = await _command(*options)
    assert code == 0, text
    found = json.loads(written.read_text())
    assert found["exit_status"] == 0
    assert {result["verdict"] for result in found["results"]} == {"pass"}
    assert {result["extension"] for result in found["results"]} == {"core"}
    assert max(map(len, text.splitlines())) <= COLUMNS


async def test_the_command_fails_for_a_server_that_breaks_a_clause(serve: Serve) -> None:
    code, text = await _command("--url", await serve(liars()[0].application()), "--only", "core.head", "--timeout", "2")
    assert code == 1
    assert "FAIL  MUST   core.head.offset-always" in text
    assert max(map(len, text.splitlines())) <= COLUMNS


async def test_the_command_does_not_call_a_server_conformant_that_it_cannot_reach(unused_tcp_port: int) -> None:
    code, text = await _command("--url", f"http://127.0.0.1:{unused_tcp_port}/files", "--timeout", "1")
    assert code == 3
    assert "no connection" in text


async def _command(*options: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.conformance", *options),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


# ---- a model of the protocol ----------------------------------------------------------------------------------------


async def test_every_clause_can_be_kept_by_one_server() -> None:
    async with serving() as url:
        results = await _judged(url)
    assert _told([result for result in results if result.verdict in (Verdict.FAIL, Verdict.ERROR)]) == []
    skipped = {result.clause.id for result in results if result.verdict is Verdict.SKIPPED}
    # The model does not speak the IETF draft.
    assert {id for id in skipped if not id.startswith("ietf-")} == set(TAKES_LONG)


# ---- defects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.defect)
async def test_a_planted_defect_is_found(mutation: Mutation, ours: web.Application, serve: Serve) -> None:
    async def offset_of(request: web.Request) -> int:
        return (await look_up(ours[SERVICE], UploadId.parse(request.match_info["upload"]))).prefix

    plant(ours, mutation, offset_of)
    results = await _judged(await serve(ours), mutation.caught_by)
    assert len(results) == len(set(mutation.caught_by))
    # A server that breaks down altogether would be found by any clause.
    assert _told([result for result in results if result.verdict is not Verdict.FAIL or result.unanswered]) == []


@pytest.mark.parametrize("liar", liars(), ids=lambda liar: liar.defect)
async def test_a_liar_is_found_out(liar: Liar, serve: Serve) -> None:
    # One after the other: "joins once" is about the order of requests.
    url = await serve(liar.application())
    results = await _judged(url, liar.caught_by, seconds=1.0)
    assert len(results) == len(set(liar.caught_by))
    # A server that breaks down altogether would be found by any clause.
    assert _told([result for result in results if result.verdict is not Verdict.FAIL or result.unanswered]) == []


def test_every_clause_has_a_defect_that_it_is_there_for() -> None:
    planted = {name for mutation in MUTATIONS for name in mutation.caught_by}
    found = planted | {name for liar in liars() for name in liar.caught_by}
    waits_long = {"interruption.idle-closed"}  # it only ever says that a server was too patient for it
    assert {clause.id for clause in all_clauses()} - found == waits_long


# ---- the suite itself -----------------------------------------------------------------------------------------------


def test_every_clause_names_its_place_and_says_what_it_demands() -> None:
    for clause in all_clauses():
        assert clause.extension in GROUPS
        assert set(clause.needs) <= set(EXTENSIONS)
        assert clause.section
        assert clause.text.endswith(".")


def test_the_suite_stands_on_its_own() -> None:
    own = [path for path in Path(__file__).parent.rglob("*.py") if not path.name.startswith("test_")]
    assert len(own) > 10
    assert [path.name for path in own if "storage_proxy" in path.read_text()] == []


async def test_what_is_not_announced_is_skipped_unless_it_is_asked_for(serve: Serve) -> None:
    url = await serve(Liar("creates only", (), "creation").application())
    clauses = [clause for clause in all_clauses() if clause.id == "termination.success-204"]
    terms = Terms(url, seconds=2.0)
    offer = await ask_offer(terms)
    assert [result.verdict for result in await judge(terms, offer, clauses=clauses)] == [Verdict.SKIPPED]
    asked = await judge(terms, offer, ("creation", "termination"), clauses)
    assert [result.verdict for result in asked] == [Verdict.FAIL]


def test_a_table_fits_its_columns() -> None:
    results = [Result(clause, Verdict.FAIL, "what was sent and what came " * 20, 1.0) for clause in all_clauses()]
    text = as_text("http://127.0.0.1:8080/files", NOTHING, results)
    assert max(map(len, text.splitlines())) <= COLUMNS


@pytest.mark.parametrize("text", ["a", "a ", "a YQ==", "a YQ==,b", "a YQ==, b Yg=="])
def test_metadata_that_is_well_formed_is_read(text: str) -> None:
    assert parsed_metadata(text) is not None


@pytest.mark.parametrize("text", ["", ",", "a YQ==,", "a YQ", "a YQ==,a Yg==", "a YQ== YQ=="])
def test_metadata_that_is_malformed_is_not(text: str) -> None:
    assert parsed_metadata(text) is None


def test_metadata_that_was_written_can_be_read() -> None:
    assert parsed_metadata(metadata(name="ü", nothing="")) == {"name": "ü".encode(), "nothing": b""}
