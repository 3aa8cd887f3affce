"""`storage-proxy verify` and `repair` from end to end, on a directory that a service has used."""

import asyncio
import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from storage_proxy.app.maintenance import open_service
from storage_proxy.cli import main
from storage_proxy.core.manifest import Order, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.create import Wanted, create
from storage_proxy.settings import embedded

CONTENT = b"some bytes"
KEY = "0123456789abcdef" * 2
ID = f"main.{KEY}"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume with one upload that is closed and not published."""
    root = tmp_path / "data"
    root.mkdir()

    async def use() -> None:
        async with open_service(embedded(root)) as service:
            volume = service.volumes["main"]
            await volume.run(volume.manifests.prepare)
            wanted = Wanted(Target("main", "file"), len(CONTENT), Order.SEQUENTIAL, Policy.REFUSE)
            await create(service, UploadId("main", KEY), wanted)
            for offset, content in ((0, CONTENT[:4]), (4, CONTENT[4:])):
                staged = volume.chunks.stage(KEY, offset)
                staged.write([content])
                volume.chunks.promise(KEY, staged, staged.snapshot(sealed=True), service.stamp())
                staged.close()

    asyncio.run(use())
    return root


def chunk(data: Path) -> Path:
    (path,) = data.glob(".uploads/*/*/chunk_4.*")
    return path


def test_a_sound_volume_ends_with_0_and_says_what_was_looked_at(data: Path) -> None:
    result = run("verify", "--data", data)
    assert result.exit_code == 0, result.output
    assert "uploads: 1 closed" in result.stdout
    assert "hashed: 2 files" in result.stdout
    assert "not published yet" in result.stdout
    assert not (data / "file").exists()


def test_damage_ends_with_1_and_is_told_in_words_and_in_json(data: Path) -> None:
    chunk(data).write_bytes(b" bites")
    result = run("verify", "--data", data)
    assert result.exit_code == 1
    assert "decide  01234567…" in result.stdout
    assert "its sha256 is" in result.stdout
    said = json.loads(run("verify", "--data", data, "--json").stdout)
    assert said["exit_status"] == 1
    assert said["volumes"]["main"]["found"][0] == {
        "upload": ID,
        "what": "differs",
        "severity": "decide",
        "sentence": f"{chunk(data).name} is not what was promised: its sha256 is another.",
        "files": [chunk(data).name],
    }
    assert run("repair", "--data", data).exit_code == 1
    assert chunk(data).read_bytes() == b" bites"


def test_repair_publishes_what_is_closed_and_says_so(data: Path) -> None:
    result = run("repair", "--data", data, "--upload", ID)
    assert result.exit_code == 0, result.output
    assert "It was published as 'file'." in result.stdout
    assert "Nothing is left." in result.stdout
    assert (data / "file").read_bytes() == CONTENT
    again = json.loads(run("repair", "--data", data, "--json").stdout)
    assert again["volumes"]["main"]["done"] == []


def test_repair_tries_a_failed_upload_again_on_demand(data: Path) -> None:
    (data / "file").write_bytes(b"in the way")
    assert run("repair", "--data", data).exit_code == 1
    (data / "file").unlink()
    assert run("repair", "--data", data).exit_code == 1
    assert run("repair", "--data", data, "--retry").exit_code == 0
    assert (data / "file").read_bytes() == CONTENT


def test_repair_keeps_what_the_default_settings_would_have_expired(data: Path) -> None:
    chunk(data).unlink()  # an upload that cannot be finished by this repair
    (manifest,) = data.glob(".uploads/*/*/info.json")
    text = json.loads(manifest.read_text())
    open_again = {**text, "phase": "open", "chunks": text["chunks"][:1]}
    manifest.write_text(json.dumps(open_again))
    then = time.time() - 400 * 86400
    os.utime(manifest, (then, then))
    result = run("repair", "--data", data)
    assert (result.exit_code, json.loads(manifest.read_text())) == (0, open_again), result.output


def test_a_configuration_names_the_volumes(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "s.toml"
    config.write_text(f'[volumes.main]\npath = "{data}"\n')
    assert run("verify", "--config", config).exit_code == 0
    assert run("verify", "--config", config, "--upload", f"other.{KEY}").exit_code == 2


@pytest.mark.parametrize("command", ["verify", "repair"])
def test_a_plug_in_that_is_not_installed_is_told_of_in_a_sentence(data: Path, tmp_path: Path, command: str) -> None:
    config = tmp_path / "s.toml"
    config.write_text(f'[volumes.main]\npath = "{data}"\n[hooks]\nplugins = ["nowhere"]\n')
    result = run(command, "--config", config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "hooks.plugins: no installed package has an entry point 'nowhere'" in result.stderr


@pytest.mark.parametrize("command", ["verify", "repair"])
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--data", "{data}", "--upload", "nonsense"), 2, "is no upload's id"),
        (("--data", "{data}", "--config", "x"), 2, "--data is for a directory without --config"),
        (("--config", "absent.toml"), 2, "absent.toml: cannot be read"),
        (("--data", "{data}", "--upload", f"main.{'f' * 32}"), 3, "There is no upload"),
        (("--data", "{data}/nowhere"), 3, "there is no .uploads in"),
    ],
)
def test_what_cannot_be_done_ends_with_a_sentence(
    data: Path, command: str, words: tuple[str, ...], code: int, sentence: str
) -> None:
    result = run(command, *(word.format(data=data) for word in words))
    assert result.exit_code == code
    assert sentence in result.stderr
    assert "Traceback" not in result.output
