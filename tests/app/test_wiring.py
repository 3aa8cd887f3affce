import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import structlog
from aiohttp import web

from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.app import SERVICE, CannotStart, build, processes, wiring
from storage_proxy.app.volumes import ages_of
from storage_proxy.core.target import Layout
from storage_proxy.settings import Settings
from storage_proxy.store.sweeping import Ages
from tests.server.proxy import TUS, Client, settings_for, until


def test_what_the_settings_say_arrives_where_it_counts(tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path,
        volumes={"other": {"path": tmp_path / "other", "layout": "backend-ai"}},
        limits={"upload_bytes_max": 11, "appends_max": 12, "undurable_bytes_max": 130, "closer_wait_seconds": 14,
                "lock_wait_seconds": 15, "share_stall_seconds": 16},
        checkpoints={"bytes": 17, "seconds": 18},
        expiry={"open": 19, "sliding": False, "joined": 20, "published": 21, "ended": 22, "orphans": 23},
        hooks={"give_up": 24},
    )  # fmt: skip
    service = build(settings)[SERVICE]
    limits = service.limits
    assert (limits.upload_bytes_max, limits.appends_max, limits.undurable_bytes_max) == (11, 12, 130)
    assert (limits.closer_wait_seconds, limits.lock_wait_seconds, limits.share_stall_seconds) == (14, 15, 16)
    assert (limits.checkpoint_bytes, limits.checkpoint_seconds) == (17, 18)
    assert {name: volume.layout for name, volume in service.volumes.items()} == {
        "main": Layout.PLAIN,
        "other": Layout.BACKEND_AI,
    }
    ages = Ages(open=19, sliding=False, joined=20, published=21, ended=22, orphans=23, notices=24)
    assert ages_of(settings) == ages
    stamp, joined = service.stamp(), service.stamp_of_joined()
    assert (stamp.expires_at, stamp.sliding) == (stamp.now + 19, False)
    assert joined.expires_at == joined.now + 20


async def test_a_volume_that_hangs_at_the_start_holds_up_no_other(
    aiohttp_client: Callable[..., Awaitable[Client]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, healthy, back = tmp_path / "hung", tmp_path / "healthy", threading.Event()
    make_directory = PosixFilesystem.make_directory
    make_two(hung, healthy)

    def hang(self: PosixFilesystem, path: str) -> bool:
        if self._root == str(hung):
            back.wait(60)
        return make_directory(self, path)

    monkeypatch.setattr(PosixFilesystem, "make_directory", hang)
    # So long that the healthy one is not taken for a hanging one on a busy machine.
    monkeypatch.setattr("storage_proxy.app.wiring.START_SECONDS", 2.0)
    try:
        with structlog.testing.capture_logs() as lines:
            client = await aiohttp_client(build(settings_for(healthy, volumes={"slow": {"path": hung}})))
        assert [line["volume"] for line in lines if line["event"] == "volume_hangs"] == ["slow"]
        assert (await client.post("/files", headers={**TUS, "Upload-Length": "0"})).status == 201
    finally:
        back.set()


async def test_a_volume_that_hung_at_the_start_is_looked_at_when_it_answers(
    aiohttp_client: Callable[..., Awaitable[Client]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `.uploads` may be a link that would lead every upload out of the volume."""
    hung, healthy, elsewhere, back = tmp_path / "hung", tmp_path / "healthy", tmp_path / "elsewhere", threading.Event()
    make_directory = PosixFilesystem.make_directory
    make_two(hung, healthy, elsewhere)
    (hung / ".uploads").symlink_to(elsewhere)

    def hang(self: PosixFilesystem, path: str) -> bool:
        if self._root == str(hung):
            back.wait(60)
        return make_directory(self, path)

    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(PosixFilesystem, "make_directory", hang)
    monkeypatch.setattr(wiring, "START_SECONDS", 0.1)
    monkeypatch.setattr(wiring, "LATE_SECONDS", 0.01)
    monkeypatch.setattr(os, "kill", lambda pid, number: ended.append((pid, number)))

    async def has_ended() -> bool:
        return bool(ended)

    with structlog.testing.capture_logs() as lines:
        app = build(settings_for(healthy, volumes={"slow": {"path": hung}}))
        await aiohttp_client(app)
        assert ended == []
        back.set()
        await until(has_ended)
    assert ended == [(os.getpid(), signal.SIGTERM)]
    (line,) = [line for line in lines if line["event"] == "volume_refused"]
    assert (line["volume"], "move it away" in line["detail"]) == ("slow", True)
    assert app[wiring.REFUSED] == [line["detail"]]


async def test_a_replica_that_refuses_a_volume_late_ends_as_one_that_could_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a sentence and not with 0: whoever restarts it must know that it has failed."""

    def build_and_refuse(settings: Settings) -> web.Application:
        app = build(settings)

        async def refuse(app: web.Application) -> None:
            app[wiring.REFUSED].append("its .uploads is a link")
            os.kill(os.getpid(), signal.SIGTERM)

        app.on_startup.append(refuse)
        return app

    monkeypatch.setattr(processes, "build", build_and_refuse)
    with pytest.raises(CannotStart, match="is a link"):
        await asyncio.wait_for(processes._serve(settings_for(tmp_path, server={"listen": "127.0.0.1:0"})), 30)


async def test_a_janitor_that_dies_is_told_of(
    aiohttp_client: Callable[..., Awaitable[Client]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("storage_proxy.app.wiring.reap_for_ever", die)
    with structlog.testing.capture_logs() as lines:
        await aiohttp_client(build(settings_for(tmp_path)))
        await asyncio.sleep(0)
    assert "janitor_died" in [line["event"] for line in lines]


async def test_a_file_in_place_of_our_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".uploads").write_text("")
    runner = web.AppRunner(build(settings_for(tmp_path)))
    with pytest.raises(CannotStart, match=r"volumes\.main\.path.*move it away"):
        await runner.setup()
    await runner.cleanup()


async def test_a_share_that_cannot_keep_a_promise_is_refused_unless_that_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "start_up_faults", lambda root: ["Links do not work. Mount it so that they do."])
    runner = web.AppRunner(build(settings_for(tmp_path)))
    with pytest.raises(CannotStart, match=r"Links do not work.*storage-proxy doctor.*accept_faults"):
        await runner.setup()
    await runner.cleanup()
    accepted = web.AppRunner(build(settings_for(tmp_path, storage={"accept_faults": True})))
    await accepted.setup()
    await accepted.cleanup()


def make_two(*directories: Path) -> None:
    for directory in directories:
        directory.mkdir()
