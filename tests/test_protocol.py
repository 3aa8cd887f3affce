"""docs/protocol.md and docs/ietf-draft.md say what the conformance suite says, and name what is there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_proxy.server.cors import ANSWER_HEADERS, REQUEST_HEADERS
from tests.conformance.registry import GROUPS
from tests.conformance.running import all_clauses

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/protocol.md").read_text()
DRAFT_PAGE = (ROOT / "docs/ietf-draft.md").read_text()

TUS = [group for group in GROUPS if not group.startswith("ietf-")]

CLAUSE = re.compile(r"^\| `([\w.-]+)` \| (MUST|SHOULD) \| (.+?) \| `[^`]+\.py::[^`]+` \| `[^`]+\.py::test_[^`]+` \|$")
DRAFT_CLAUSE = re.compile(
    r"^\| `([\w-]+)` \| (MUST|SHOULD) \| (\d)(?:-(\d))? \| (.+?) \| `[^`]+\.py::[^`]+` \| `[^`]+\.py::test_[^`]+` \|$"
)
NAMED = re.compile(r"`([a-z_/0-9]+\.py)(?:::([\w.]+))?`")
OF_THE_PROTOCOL = re.compile(r"(Tus|Upload|Repr|Want|Idempotency|X-Backend|X-HTTP)-")


def _clauses_of_the_page() -> list[tuple[str, ...]]:
    """group, id, level and sentence of each row, in the order of the page"""
    group = ""
    rows: list[tuple[str, ...]] = []
    for line in PAGE.splitlines():
        if line.startswith("### "):
            group = line.removeprefix("### ")
        elif (row := CLAUSE.match(line)) is not None:
            rows.append((group, *row.groups()))
    return rows


def _names(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix + node.name
            case ast.ClassDef():
                yield prefix + node.name
                yield from _names(node.body, f"{prefix}{node.name}.")
            case ast.Assign():
                yield from (prefix + target.id for target in node.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name


def test_every_clause_of_the_suite_is_on_the_page_once_and_in_its_words() -> None:
    clauses = [clause for clause in all_clauses() if clause.extension in TUS]
    assert len(clauses) > 150
    wanted = [(clause.extension, clause.id, str(clause.level), clause.text) for clause in clauses]
    assert _clauses_of_the_page() == wanted


def test_every_clause_of_the_draft_is_on_its_page_once_with_its_versions_and_in_its_words() -> None:
    clauses = [clause for clause in all_clauses() if clause.extension not in TUS]
    assert len(clauses) > 200
    wanted = [
        (f"{clause.extension}.{clause.id.partition('.')[2]}", str(clause.level), clause.text) for clause in clauses
    ]
    told: list[tuple[str, str, str]] = []
    for line in DRAFT_PAGE.splitlines():
        if (row := DRAFT_CLAUSE.match(line)) is not None:
            name, level, first, last, text = row.groups()
            versions = range(int(first), int(last or first) + 1)
            told += [(f"ietf-interop-{version}.{name}", level, text) for version in versions]
    assert sorted(told) == sorted(wanted)


@pytest.mark.parametrize(("file", "name"), sorted({*NAMED.findall(PAGE), *NAMED.findall(DRAFT_PAGE)}))
def test_what_the_page_names_is_there(file: str, name: str) -> None:
    is_test = Path(file).name.startswith("test_")
    path = ROOT / file if file.startswith("tests/") else ROOT / ("tests" if is_test else "storage_proxy") / file
    assert path.is_file()
    assert not name or name in set(_names(ast.parse(path.read_text()).body))
    assert not is_test or not name or name.startswith("test_")


def test_every_header_of_the_protocol_is_explained() -> None:
    headers = {header for header in (*REQUEST_HEADERS, *ANSWER_HEADERS) if OF_THE_PROTOCOL.match(header)}
    assert len(headers) > 15
    assert {header for header in headers if not re.search(rf"`{header}\b", PAGE)} == set()
