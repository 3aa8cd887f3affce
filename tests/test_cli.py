"""The command line: what is handed to the app, what a person is told, and with which exit code."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from storage_proxy.cli import main, serving
from storage_proxy.settings import Settings

KEY = "a-key-that-is-long-enough"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What `serve` hands over, instead of a server."""
    handed: list[Settings] = []
    monkeypatch.setitem(sys.modules, "storage_proxy.app", SimpleNamespace(run=handed.append))
    return handed


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(main, words, catch_exceptions=False)


def test_serve_without_anything_serves_data_here_on_loopback(served: list[Settings], tmp_path: Path) -> None:
    assert run("serve").exit_code == 0
    assert [str(settings.server.listen) for settings in served] == ["127.0.0.1:8080"]
    assert served[0].volumes["main"].path == tmp_path / "data"


def test_the_options_go_before_the_environment(served: list[Settings], tmp_path: Path) -> None:
    words = ("serve", "--listen", "[::1]:9000", "--data", "elsewhere", "--workers", "3")
    assert run(*words, STORAGE_PROXY_SERVER__WORKERS="2", STORAGE_PROXY_SERVER__LISTEN="127.0.0.1:1").exit_code == 0
    assert str(served[0].server.listen) == "[::1]:9000"
    assert served[0].server.workers == 3
    assert served[0].volumes["main"].path == tmp_path / "elsewhere"


def test_a_file_is_served_without_the_tour(served: list[Settings], tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[volumes.big]\npath = "/srv"\n')
    result = run("serve", "--config", "s.toml", "--workers", "2")
    assert (result.exit_code, result.stdout) == (0, "")
    assert list(served[0].volumes) == ["big"]
    assert served[0].server.workers == 2


def test_the_tour_fits_a_screen_and_says_what_is_served_and_where_the_data_is(
    served: list[Settings], tmp_path: Path
) -> None:
    tour = run("serve", "--listen", "127.0.0.1:9000").stdout
    assert len(tour.splitlines()) < 15
    assert "http://127.0.0.1:9000/files" in tour
    assert str(tmp_path / "data") in tour
    assert [word for word in ("curl -sD- -X POST", "curl -X PATCH", "cat ") if word not in tour] == []


def test_the_tour_names_the_page_where_there_is_one(served: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    line = "Open http://127.0.0.1:8080/ in a browser and drop files there."
    monkeypatch.setattr(serving, "read_page", lambda: {"index.html": b""})
    assert line in run("serve").stdout.splitlines()
    assert "Open" not in run("serve", STORAGE_PROXY_PAGE__ENABLED="false").stdout
    monkeypatch.setattr(serving, "read_page", dict)
    assert "Open" not in run("serve").stdout


def test_the_tour_never_shows_the_key(served: list[Settings]) -> None:
    tour = run("serve", STORAGE_PROXY_ACCESS__KEYS=KEY).stdout
    assert "Authorization: Bearer YOUR-KEY" in tour
    assert KEY not in tour


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("serve", "--listen", "nowhere"), 'command line: server.listen: found "nowhere", expected host:port'),
        (("serve", "--listen", "0.0.0.0:80"), "access.open_to_everyone = true"),
        (("serve", "--workers", "0"), "command line: server.workers: found 0, expected at least 1"),
        (("serve", "--config", "absent.toml"), "absent.toml: cannot be read: No such file or directory"),
        (("config", "check", "absent.toml"), "absent.toml: cannot be read: No such file or directory"),
        (("config", "check", "bad.toml"), "bad.toml: server.worker: unknown key; did you mean workers?"),
        (("serve", "--config", "bad.toml"), "bad.toml: server.worker: unknown key; did you mean workers?"),
        (("serve", "--config", "bad.toml", "--data", "x"), "--data is for serving without --config"),
        (("serve", "--workers", "many"), "Invalid value for '--workers'"),
    ],
)
def test_wrong_settings_end_with_code_2_and_a_sentence_instead_of_a_traceback(
    served: list[Settings], tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "bad.toml").write_text('[server]\nworker = 1\n[volumes.main]\npath = "/srv"\n')
    result = run(*words)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert (result.stdout, served) == ("", [])


def test_config_check_says_ok_and_starts_nothing(served: list[Settings], tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('[volumes.main]\npath = "/srv"\n')
    result = run("config", "check", "good.toml")
    assert (result.exit_code, result.stdout, served) == (0, "good.toml: ok\n", [])


def test_config_check_looks_for_the_plug_ins_as_serve_does(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[volumes.main]\npath = "/srv"\n[hooks]\nplugins = ["nowhere"]\n')
    result = run("config", "check", "s.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "s.toml: hooks.plugins: no installed package has an entry point 'nowhere'" in result.stderr


def test_config_check_judges_the_environment_too(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('[volumes.main]\npath = "/srv"\n')
    result = run("config", "check", "good.toml", STORAGE_PROXY_SERVER__WORKERS="many")
    assert result.exit_code == 2
    assert "environment variable STORAGE_PROXY_SERVER__WORKERS" in result.stderr


def test_python_m_is_the_same_command() -> None:
    words = [sys.executable, "-m", "storage_proxy", "--version"]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60, cwd=Path(__file__).parents[1])
    assert said.stdout == "storage-proxy, version 0.1.0\n"
