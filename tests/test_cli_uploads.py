"""`storage-proxy uploads` from end to end, on directories that a service has used."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from storage_proxy.app.maintenance import open_service
from storage_proxy.cli import main
from storage_proxy.cli.extent_map import ARRIVING, MISSING, PARTLY, THERE, WIDTH, drawn
from storage_proxy.cli.tables import size, span
from storage_proxy.core.errors import PublishFailed
from storage_proxy.core.manifest import Order, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.append import append
from storage_proxy.operations.create import Wanted, create
from storage_proxy.operations.reception import Append
from storage_proxy.settings import embedded
from storage_proxy.testing.replicas import ListedBody

HALF, DONE, FAILED = (f"main.{digit * 32}" for digit in "123")
NOWHERE = f"main.{'f' * 32}"
CONTENT = b"0123456789"
UNREACHABLE = "http://127.0.0.1:1/"


def run(*words: str | Path, said: str | None = None) -> Result:
    return CliRunner().invoke(main, ["uploads", *map(str, words)], input=said, catch_exceptions=False)


def told(*words: str | Path, code: int = 0) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume with an upload half done, one published, and one that failed for a file in its way."""
    root = tmp_path / "data"
    root.mkdir()
    (root / "taken").write_bytes(b"")

    async def use() -> None:
        async with open_service(embedded(root)) as service:
            volume = service.volumes["main"]
            await volume.run(volume.manifests.prepare)
            for identity, name, offset, content in (
                (HALF, "half.bin", 6, CONTENT[6:8]),
                (DONE, "done.bin", 0, CONTENT),
                (FAILED, "taken/failed.bin", 0, CONTENT),
            ):
                upload = UploadId.parse(identity)
                wanted = Wanted(Target("main", name), len(CONTENT), Order.ANY, Policy.REFUSE)
                await create(service, upload, wanted)
                try:
                    await append(service, upload, Append(offset, len(content)), ListedBody([content]))
                except PublishFailed:
                    assert identity == FAILED

    asyncio.run(use())
    return root


def test_all_are_listed_for_people_and_for_scripts(data: Path) -> None:
    result = run("list", "--data", data)
    assert result.exit_code == 0
    for words in (
        f"open       20 %   10 B  0 s ago  half.bin\n{' ' * 33}{HALF}",
        "published  100 %",
        DONE,
        "stands in the",
    ):
        assert words in result.stdout
    rows = told("list", "--data", data)["uploads"]
    assert {row["upload"]: row["phase"] for row in rows} == {HALF: "open", DONE: "published", FAILED: "failed"}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--phase", "failed"), [FAILED]),
        (("--phase", "failed", "--phase", "open"), [HALF, FAILED]),
        (("--older-than", "1h"), []),
        (("--limit", "2"), [HALF, DONE]),
        (("--volume", "main"), [HALF, DONE, FAILED]),
    ],
)
def test_what_is_asked_for_is_listed(data: Path, words: tuple[str, ...], found: list[str]) -> None:
    assert [row["upload"] for row in told("list", "--data", data, *words)["uploads"]] == found


def test_a_list_of_nothing_says_so(data: Path) -> None:
    assert run("list", "--data", data, "--older-than", "2d").stdout == "There are none.\n"


def test_one_is_shown_with_its_map(data: Path) -> None:
    result = run("show", "--data", data, HALF)
    assert result.exit_code == 0
    assert "6 to 8   there" in result.stdout
    assert "8 to 10  missing" in result.stdout
    assert f"[{MISSING * 38}" in result.stdout
    facts = told("show", "--data", data, HALF)
    assert (facts["there"], facts["missing"], facts["offset"]) == ([[6, 8]], [[0, 6], [8, 10]], 0)


def test_a_failed_one_is_finished_once_its_reason_is_mended(data: Path) -> None:
    first = run("finish", "--data", data, FAILED)
    assert first.exit_code == 1
    assert "stands in the way" in first.stdout.replace("\n", " ").replace("          ", "")
    (data / "taken").unlink()
    second = run("finish", "--data", data, FAILED)
    assert second.exit_code == 0
    assert "It is published as 'taken/failed.bin'." in second.stdout
    assert (data / "taken" / "failed.bin").read_bytes() == CONTENT
    assert told("finish", "--data", data, FAILED)["uploads"][0]["done"] is True


def test_of_several_each_is_told_and_one_that_cannot_be_finished_ends_with_1(data: Path) -> None:
    done = told("finish", "--data", data, HALF, DONE, NOWHERE, code=1)["uploads"]
    assert [(each["upload"], each["done"]) for each in done] == [(HALF, False), (DONE, True), (NOWHERE, False)]
    assert done[0]["sentence"] == "Bytes are missing: it stands at byte 0 of 10."
    assert done[2]["sentence"] == "There is no such upload."
    assert told("show", "--data", data, HALF)["phase"] == "open"


def test_nothing_is_terminated_unless_a_person_says_yes(data: Path) -> None:
    for said in ("n\n", ""):
        assert run("terminate", "--data", data, HALF, said=said).exit_code == 1
        assert told("show", "--data", data, HALF)["phase"] == "open"
    assert run("terminate", "--data", data, HALF, said="y\n").exit_code == 0
    assert told("show", "--data", data, HALF)["phase"] == "terminated"
    assert list((data / ".uploads").glob("11/*/*.dat")) == []
    again = told("terminate", "--data", data, "--yes", HALF, code=1)["uploads"]
    assert again[0]["sentence"] == "It is terminated already."


def test_a_published_file_outlives_its_record(data: Path) -> None:
    assert run("terminate", "--data", data, "--yes", DONE).exit_code == 0
    assert (data / "done.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("show", "--data", "{data}", "nonsense"), 2, "is no upload's id"),
        (("show", "--data", "{data}", f"other.{'1' * 32}"), 2, "names the volume 'other'"),
        (("show", "--data", "{data}", NOWHERE), 3, "There is no upload"),
        (("finish", "--data", "{data}"), 2, "Missing argument"),
        (("terminate", "--data", "{data}", "--yes", HALF, "nonsense"), 2, "is no upload's id"),
        (("list", "--data", "{data}", "--config", "x"), 2, "--data is for a directory without --config"),
        (("list", "--data", "{data}", "--volume", "other"), 2, "there is no volume 'other'"),
        (("list", "--data", "{data}", "--phase", "strange"), 2, "strange"),
        (("list", "--data", "{data}", "--older-than", "3x"), 2, "no time such as"),
        (("list", "--data", "{data}/nowhere"), 3, "there is no .uploads in"),
    ],
)
def test_what_cannot_be_done_ends_with_a_sentence(data: Path, words: tuple[str, ...], code: int, sentence: str) -> None:
    result = run(*(word.format(data=data) for word in words))
    assert (result.exit_code, result.stdout) == (code, "")
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert told("show", "--data", data, HALF)["phase"] == "open"


@pytest.mark.parametrize("command", [("list",), ("show", HALF), ("finish", FAILED), ("terminate", "--yes", HALF)])
def test_a_plug_in_that_is_not_installed_is_told_of_in_a_sentence(data: Path, command: tuple[str, ...]) -> None:
    config = data.parent / "s.toml"
    config.write_text(f'[volumes.main]\npath = "{data}"\n[hooks]\nplugins = ["nowhere"]\n')
    result = run(*command, "--config", config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "hooks.plugins: no installed package has an entry point 'nowhere'" in result.stderr


def test_the_connection_to_a_webhook_is_closed_in_the_end(data: Path) -> None:
    (data / "taken").unlink()
    config = data.parent / "s.toml"
    hooks = f'[hooks]\nurl = "{UNREACHABLE}"\nsecret = "a-secret-of-the-test"\nevents = ["pre-finish"]\n'
    config.write_text(f'[volumes.main]\npath = "{data}"\n{hooks}')
    # A process of its own: a session that nobody has closed says so when the process ends.
    words = [sys.executable, "-m", "storage_proxy", "uploads", "finish", "--config", str(config), FAILED]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done
    assert [line for line in done.stderr.splitlines() if "(pre-finish) cannot be reached" not in line] == []


# ---- the map --------------------------------------------------------------------------------------------------------


def signs(length: int | None, there: list[list[int]], arriving: list[tuple[int, int]] | None = None) -> str:
    facts = {"length": length, "there": there, "arriving": [{"start": a, "end": b} for a, b in arriving or []]}
    drawing = drawn(facts)[0]
    assert (drawing[0], drawing[-1], len(drawing)) == ("[", "]", WIDTH + 2)
    return drawing[1:-1]


def test_a_part_is_called_there_or_missing_only_if_all_of_it_is() -> None:
    assert signs(WIDTH * 10, [[0, 15], [20, 30]]) == THERE + PARTLY + THERE + MISSING * (WIDTH - 3)
    assert signs(WIDTH * 10, [[0, WIDTH * 10]]) == THERE * WIDTH
    assert signs(WIDTH * 10, [[0, WIDTH * 10 - 1]]) == THERE * (WIDTH - 1) + PARTLY
    assert signs(WIDTH * 10, []) == MISSING * WIDTH


def test_what_arrives_is_seen_beside_what_is_there() -> None:
    assert signs(WIDTH * 10, [[0, 20]], [(20, 35)]) == THERE * 2 + ARRIVING * 2 + MISSING * (WIDTH - 4)


@pytest.mark.parametrize(("length", "there"), [(0, []), (1, [[0, 1]]), (None, []), (None, [[0, 5]]), (3, [[0, 3]])])
def test_a_small_or_unknown_length_is_drawn_all_the_same(length: int | None, there: list[list[int]]) -> None:
    assert signs(length, there) == (THERE if there else MISSING) * WIDTH


@pytest.mark.parametrize(
    ("bytes", "text"), [(None, "unknown"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_are_for_people(bytes: int | None, text: str) -> None:
    assert size(bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (7200, "2 h"), (172800, "2 d")]
)
def test_times_are_for_people(seconds: float, text: str) -> None:
    assert span(seconds) == text
