"""`storage-proxy doctor` from end to end: words, JSON, exit status, two at once, Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from storage_proxy.adapters.doctor import examination, probes
from storage_proxy.adapters.doctor.findings import bad
from storage_proxy.adapters.doctor.scratch import Scratch
from storage_proxy.adapters.mounts import Mount
from storage_proxy.cli import main

COMMAND = [sys.executable, "-m", "storage_proxy", "doctor", "--quick"]
HOME = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _on_a_lasting_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's temporary directory is on is not what is tested here."""
    monkeypatch.setattr(examination, "mount_of", lambda root: Mount("/", "ext4", "/dev/sda1"))


def run(*words: str | Path) -> Result:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        return CliRunner().invoke(main, ["doctor", *map(str, words)], catch_exceptions=False)
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_a_plain_directory_keeps_every_promise_and_stays_empty(tmp_path: Path) -> None:
    result = run(tmp_path, "--quick")
    assert result.exit_code == 0, result.output
    assert re.findall(r"^  kept +(\d+)  ", result.stdout, re.MULTILINE) == [str(number) for number in range(1, 11)]
    assert "Hard links work" in result.stdout
    assert max(map(len, result.stdout.splitlines()[1:])) <= 80
    assert "\x1b" not in result.stdout
    assert os.listdir(tmp_path) == []


def test_json_says_what_was_seen_and_what_is_kept(tmp_path: Path) -> None:
    result = run(tmp_path, "--quick", "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["exit_status"]) == (0, 0)
    (volume,) = said["volumes"]
    assert volume["directory"] == str(tmp_path)
    assert [promise["standing"] for promise in volume["promises"]] == ["kept"] * 10
    seen = {finding["probe"]: finding for finding in volume["findings"]}
    assert seen["mount"]["facts"]["type"] == "ext4"
    assert seen["sync latency"]["facts"]["median_ms"] > 0
    assert seen["throughput"]["facts"]["mib_per_second"] > 0
    assert {finding["grade"] for finding in volume["findings"]} <= {"good", "note"}


def test_a_promise_that_is_not_kept_says_why_and_what_to_do_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(scratch: Scratch) -> object:
        return bad("link", "Hard links are not possible here (not supported).", probes.NO_LINK)

    small = tuple((name, no_links if name == "link" else probe) for name, probe in examination.SMALL)
    monkeypatch.setattr(examination, "SMALL", small)
    result = run(tmp_path, "--quick")
    assert result.exit_code == 1
    assert re.search(r"^  not kept +4  There is one history", result.stdout, re.MULTILINE)
    assert "Because: Hard links are not possible here" in result.stdout
    assert "Do: Use a file system with hard links" in result.stdout


def test_the_volumes_of_a_configuration_are_examined_with_its_settings(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    config = tmp_path / "s.toml"
    volumes = "".join(f'[volumes.{name}]\npath = "{tmp_path / name}"\n' for name in ("a", "b"))
    config.write_text(volumes + "[storage]\nsync = false\n")
    result = run("--config", config, "--quick", "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["exit_status"]) == (1, 1)
    assert [volume["directory"] for volume in said["volumes"]] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert "sync = false" in said["volumes"][0]["promises"][0]["because"]


def test_a_volume_that_cannot_be_looked_at_ends_with_3_and_the_others_are_examined(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    config = tmp_path / "s.toml"
    config.write_text(f'[volumes.x]\npath = "{tmp_path}/absent"\n[volumes.a]\npath = "{tmp_path}/a"\n')
    result = run("--config", config, "--quick")
    assert result.exit_code == 3
    assert f"Could not look at {tmp_path}/absent: It is not a directory; mount or create it." in result.stderr
    assert "What is acknowledged is durable" in result.stdout


@pytest.mark.parametrize(
    "words", [(), ("x", "--config", "y"), ("x", "--seconds", "0"), ("--config", "absent.toml"), ("x", "--nonsense")]
)
def test_wrong_usage_ends_with_2(words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2


def test_only_threads_that_can_be_left_behind_touch_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call to a hung mount never comes back; the one that waits for Ctrl-C must not make it."""
    touched: list[threading.Thread] = []

    def watched(real: Callable[..., Any], path: object, *words: Any, **named: Any) -> Any:
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(str(tmp_path)):
            touched.append(threading.current_thread())
        return real(path, *words, **named)

    for name in ("stat", "lstat", "open", "listdir"):
        monkeypatch.setattr(os, name, partial(watched, getattr(os, name)))
    assert run(tmp_path, "--quick").exit_code == 0
    assert touched != []
    assert threading.main_thread() not in touched


def test_no_partner_in_time_leaves_what_needs_one_unknown(tmp_path: Path) -> None:
    result = run(tmp_path, "--quick", "--with-partner", "--seconds", "1")
    assert result.exit_code == 3
    assert "No other doctor came within 1 s." in result.stdout


def test_two_doctors_examine_one_directory_together_and_leave_nothing(tmp_path: Path) -> None:
    words = [*COMMAND, str(tmp_path), "--with-partner", "--seconds", "60", "--json"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, cwd=HOME) for _ in range(2)]
    said = [json.loads(process.communicate(timeout=100)[0])["volumes"][0] for process in both]
    for volume in said:
        grades = {finding["probe"]: finding["grade"] for finding in volume["findings"]}
        assert {probe: grade for probe, grade in grades.items() if probe.endswith("between hosts")} == {
            "locks between hosts": "good",
            "links between hosts": "good",
            "renames between hosts": "good",
            "look-ups between hosts": "good",
        }
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_doctor_removes_what_it_made(tmp_path: Path, number: signal.Signals) -> None:
    words = [*COMMAND, str(tmp_path), "--with-partner", "--seconds", "100"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, cwd=HOME, text=True) as doctor:
        deadline = time.monotonic() + 60
        # Its first letter: it is waiting for a partner by then.
        while not list(tmp_path.glob(".uploads/doctor.*/mail.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.01)
        doctor.send_signal(number)
        assert doctor.wait(30) == 130
        assert doctor.stderr is not None
        assert "what was made was removed" in doctor.stderr.read()
    assert os.listdir(tmp_path) == []
