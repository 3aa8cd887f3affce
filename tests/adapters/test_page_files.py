import sys
from pathlib import Path

import pytest

from storage_proxy.adapters import page_files
from storage_proxy.server.page_routes import FACTS_HERE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "a_package_with_a_page"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    monkeypatch.setattr(page_files, "PACKAGE", package.name)
    return package


def test_all_that_was_built_is_read_by_its_path(package: Path) -> None:
    (package / "page" / "assets").mkdir(parents=True)
    (package / "page" / "index.html").write_bytes(b"<p>")
    (package / "page" / "assets" / "a.js").write_bytes(b"1")
    assert page_files.read_page() == {"index.html": b"<p>", "assets/a.js": b"1"}


def test_what_was_not_built_is_nothing(package: Path) -> None:
    assert page_files.read_page() == {}


def test_the_page_says_where_it_wants_to_be_told_about_the_service() -> None:
    assert (ROOT / "web" / "index.html").read_bytes().count(FACTS_HERE) == 1
