"""Tidiness as a test: sizes, names, docstrings, and nothing that only one machine understands."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "storage_proxy"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")])

LINES_MAX = 400
TEST_LINES_MAX = 600  # one suite for every implementation of a port is one file
FUNCTION_LINES_MAX = 80

# Names that say nothing about what is inside, so that anything may end up there.
EMPTY_NAMES = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}

# Spelled in parts, so that this file does not find itself.
MACHINE_PATHS = re.compile(
    "|".join(["/wor" + r"k/(?:main|shared)", r"\.\./sha" + "red", "/ro" + r"ot/\.", "/ho" + r"me/[a-z]"])
)
OTHER_ROOTS = ("bench", "config", "deploy", "docs", "web", ".ci")
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".json",
    ".js",
    ".mjs",
    ".ts",
    ".html",
    ".css",
    ".yml",
    ".yaml",
    ".sh",
    ".cfg",
    "",
}
NOT_OURS = {"node_modules", "__pycache__", "dist"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def texts() -> Iterator[Path]:
    for root in (PACKAGE, ROOT / "tests", *(ROOT / other for other in OTHER_ROOTS)):
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix in TEXT and not NOT_OURS & set(path.parts):
                yield path
    # In a second work tree of one repository, `.git` is a file.
    mine = (path for path in sorted(ROOT.iterdir()) if path.is_file() and path.name != ".git")
    yield from (path for path in mine if path.suffix in TEXT)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=name)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= (LINES_MAX if path.is_relative_to(PACKAGE) else TEST_LINES_MAX)


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=name)
def test_a_function_fits_a_screen(path: Path) -> None:
    sizes = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions(path)}
    assert {function: lines for function, lines in sizes.items() if lines > FUNCTION_LINES_MAX} == {}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)) or (path.name == "__init__.py" and not text.strip())


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_name_says_what_is_inside(path: Path) -> None:
    words = {word for part in path.relative_to(PACKAGE).with_suffix("").parts for word in part.split("_")}
    assert words & EMPTY_NAMES == set()


def test_the_tests_name_their_rooms_as_the_package_does() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    others = {"bench", "conformance", "contracts", "end_to_end", "lab", "simulation", "fuzz", "clients"}
    strange = [path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name not in rooms | others]
    assert [folder for folder in strange if not folder.startswith(("_", "."))] == []


def test_nothing_mentions_the_machine_it_was_written_on() -> None:
    found = [
        f"{name(path)}: {hit[0]}" for path in texts() if (hit := MACHINE_PATHS.search(path.read_text(errors="replace")))
    ]
    assert found == []
