import dataclasses
import json
import logging
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from aiohttp import web

from storage_proxy.core import errors
from storage_proxy.core.errors import Contended, Corrupt, Refused, StorageProxyError, Unavailable
from storage_proxy.server import problems
from storage_proxy.server.problems import PROBLEMS, Row, http_problem, incident, level, problem

FAMILIES = (Refused, Contended, Unavailable, Corrupt)
LEAVES = sorted((leaf for family in FAMILIES for leaf in family.__subclasses__()), key=lambda leaf: leaf.__name__)

SAMPLES: dict[Any, Any] = {
    str: "text",
    int: 7,
    float: 1.5,
    bool: True,
    int | None: 7,
    tuple[str, ...]: ("one", "two"),
}


def sample(leaf: type[StorageProxyError]) -> StorageProxyError:
    hints = get_type_hints(leaf)
    return leaf(**{field.name: SAMPLES[hints[field.name]] for field in dataclasses.fields(leaf)})


def test_each_leaf_has_exactly_one_row_and_no_row_is_without_a_leaf() -> None:
    assert set(PROBLEMS) == set(LEAVES)
    text = Path(problems.__file__).read_text()
    for leaf in LEAVES:
        assert text.count(f"errors.{leaf.__name__}: Row(") == 1


def test_no_two_problems_have_the_same_type() -> None:
    slugs = [row.slug for row in PROBLEMS.values()]
    assert len(set(slugs)) == len(slugs)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_each_leaf_is_answered_by_a_problem_with_its_sentence_and_facts(leaf: type[StorageProxyError]) -> None:
    error = sample(leaf)
    answer = problem(error, "PATCH")
    assert answer.content_type == "application/problem+json"
    assert isinstance(answer.body, bytes)
    body = json.loads(answer.body)
    assert answer.status == PROBLEMS[leaf].status == body.pop("status")
    assert body.pop("type") == f"urn:storage-proxy:problem:{PROBLEMS[leaf].slug}"
    assert body.pop("title") == PROBLEMS[leaf].title
    assert body.pop("detail") == str(error)
    facts = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(error).items()}
    assert body == facts


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_what_passes_is_tried_again_by_browsers_and_what_does_not_is_not(leaf: type[StorageProxyError]) -> None:
    row = PROBLEMS[leaf]
    tried_again = row.status >= 500 or row.status in (409, 423)
    if issubclass(leaf, Contended | Unavailable):
        assert tried_again
        assert row.retry_after is not None
    elif issubclass(leaf, Refused):
        assert 400 <= row.status < 500
        assert row.retry_after is None


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_head_says_423_for_all_that_passes_and_for_nothing_else(leaf: type[StorageProxyError]) -> None:
    answer = problem(sample(leaf), "HEAD")
    if issubclass(leaf, Contended | Unavailable):
        assert answer.status == 423
        assert int(answer.headers["Retry-After"]) > 0
    else:
        assert answer.status == PROBLEMS[leaf].status != 423


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (errors.OffsetMismatch(expected=3, received=9), "Upload-Offset", "3"),
        (errors.ChunkConflict(start=1, end=2, prefix=4), "Upload-Offset", "4"),
        (errors.AppendSuperseded(prefix=5), "Upload-Offset", "5"),
        (errors.PiecesExhausted(reason="are 9 already", prefix=6), "Upload-Offset", "6"),
        (errors.BodyStalled(idle_seconds=1, committed=8), "Upload-Offset", "8"),
        (errors.VersionUnsupported("0.1", ("1.0.0",)), "Tus-Version", "1.0.0"),
        (errors.ChecksumUnknown("x", ("sha1", "sha256")), "Tus-Checksum-Algorithm", "sha1,sha256"),
        (errors.MethodUnsupported("BREW", ("GET", "HEAD")), "Allow", "GET, HEAD"),
        (errors.RangeUnsatisfiable(10), "Content-Range", "bytes */10"),
        (errors.KeyMissing(), "WWW-Authenticate", "Bearer"),
        (errors.MediaTypeUnsupported("a/b", "c/d"), "Accept-Patch", "c/d"),
    ],
)
def test_some_problems_say_in_a_header_what_clients_look_for_there(
    error: StorageProxyError, header: str, value: str
) -> None:
    assert problem(error, "PATCH").headers[header] == value


@pytest.mark.parametrize("leaf", [errors.UploadNotFound, errors.UploadGone])
def test_what_is_not_there_has_no_offset(leaf: type[StorageProxyError]) -> None:
    assert "Upload-Offset" not in problem(sample(leaf), "HEAD").headers


@pytest.mark.parametrize(
    ("family", "expected"),
    [(Refused, logging.INFO), (Contended, logging.INFO), (Unavailable, logging.WARNING), (Corrupt, logging.ERROR)],
)
def test_the_log_is_as_loud_as_the_one_who_must_act_needs(family: type[StorageProxyError], expected: int) -> None:
    assert {level(sample(leaf)) for leaf in family.__subclasses__()} == {expected}


def test_an_incident_on_head_may_pass_like_everything_else_there() -> None:
    assert incident("abc", "PATCH").status == 500
    assert incident("abc", "HEAD").status == 423
    assert "abc" in (incident("abc", "PATCH").text or "")


def test_text_that_no_utf8_has_does_not_fail_the_answer() -> None:
    answer = problem(errors.TargetNotAllowed(path="\udc80", reason="it is not valid Unicode"), "POST")
    assert b"\\udc80" in (answer.body if isinstance(answer.body, bytes) else b"")


def test_aiohttps_own_refusals_become_problems() -> None:
    answer = http_problem(web.HTTPMethodNotAllowed("PUT", ["GET", "POST"]))
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,POST")
    assert answer.content_type == "application/problem+json"


def test_a_row_is_what_it_says() -> None:
    assert PROBLEMS[errors.ChecksumMismatch] == Row(460, "checksum-mismatch", "Checksum mismatch")
