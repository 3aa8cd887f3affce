"""As a new user would: a clean clone, `make run`, a browser, one large file, and a replica that dies on the way.

`make first-gib` runs it: it installs from the registries and writes 3 GiB, so no other run does. What is committed is
what is tried.
"""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end import processes, upload_page
from tests.end_to_end.balancer import Balancer
from tests.end_to_end.chromium import Chromium
from tests.end_to_end.clients import MIB, sha256
from tests.end_to_end.replicas import ROOT, STOP_SECONDS, Port, environment, until
from tests.end_to_end.upload_page import receiving, sent, state

TOOLS = ("git", "make", "npm")
WHY_NOT = (
    ("only `make first-gib` does it" if os.environ.get("STORAGE_PROXY_GIB") != "1" else None)
    or upload_page.WHY_NOT
    or next((f"{tool} is not on the path" for tool in TOOLS if shutil.which(tool) is None), None)
    or (None if (ROOT / ".git").exists() else "there is no repository here to clone")
)
pytestmark = [pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)), pytest.mark.timeout(1800)]

SIZE = 1024 * MIB
SPEED = 40 * MIB
INSTALL_SECONDS = 600.0
UPLOAD_SECONDS = 600.0

# What a make that runs this would hand down to those it starts.
OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VIRTUAL_ENV")


class Made:
    """One `make run` in a terminal of its own."""

    def __init__(self, name: str, clone: Path, data: Path) -> None:
        self.name = name
        self._port = Port()
        self._clone = clone
        self._data = data
        self._log = clone.with_name(f"{name}.log")
        self._make: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port.number}"

    def launch(self) -> None:
        arguments = f"ARGS=--data {self._data} --listen 127.0.0.1:{self._port.number}"
        with self._log.open("ab") as log:
            self._make = subprocess.Popen(
                ["make", "run", arguments],
                cwd=self._clone,
                env={name: value for name, value in environment().items() if name not in OF_MAKE},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def start(self) -> None:
        self.launch()
        async with aiohttp.ClientSession() as session:
            await until(f"{self.name} is ready", lambda: self._is_ready(session), INSTALL_SECONDS)

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        assert self._make is not None
        assert self._make.poll() is None, f"{self.name} ended:\n{self._log.read_text()}"
        try:
            async with session.get(f"{self.url}/health/ready", timeout=aiohttp.ClientTimeout(5)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def kill(self) -> None:
        """SIGKILL to the service; make then says so and ends."""
        assert self._make is not None
        [service] = processes.children(self._make.pid)
        os.kill(service, signal.SIGKILL)
        assert await asyncio.to_thread(self._make.wait, STOP_SECONDS) != 0
        self._make = None

    def stop(self) -> None:
        if self._make is not None:
            # The group is its own (start_new_session), and has this id as long as the leader was not waited for.
            os.killpg(self._make.pid, signal.SIGKILL)
            self._make.wait(STOP_SECONDS)
        self._port.close()


@pytest.fixture
async def terminals(tmp_path: Path) -> AsyncIterator[list[Made]]:
    clone = tmp_path / "storage-proxy"
    command = ["git", "clone", "--quiet", str(ROOT), str(clone)]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=120)
    both = [Made(name, clone, tmp_path / "data") for name in ("the first", "the second")]
    yield both
    for terminal in both:
        terminal.stop()
    # Gigabytes, and a whole environment.
    for left in (clone, tmp_path / "data"):
        await asyncio.to_thread(shutil.rmtree, left)


def large_file(path: Path) -> Path:
    """Bytes of chance at the beginning of each MiB, and a hole behind them: no two MiB are the same."""
    chance = random.Random(SIZE)
    with path.open("wb") as file:
        for start in range(0, SIZE, MIB):
            file.seek(start)
            file.write(chance.randbytes(4096))
        file.truncate(SIZE)
    return path


async def test_a_new_user_uploads_a_gibibyte_while_a_replica_is_killed(
    terminals: list[Made], browser: Chromium, tmp_path: Path
) -> None:
    source = large_file(tmp_path / "large.bin")
    begun = time.monotonic()
    for terminal in terminals:
        await terminal.start()
    installed = time.monotonic()
    async with Balancer(terminals, SPEED) as balancer:
        tab = await browser.tab(f"{balancer.url}/")
        chosen = time.monotonic()
        await tab.choose("#files", [source])
        await sent(tab, source.name, 40)
        victim: Made = await receiving(balancer)
        await victim.kill()
        killed = time.monotonic()
        await victim.start()
        back = time.monotonic()
        await state(tab, source.name, "done", UPLOAD_SECONDS)
        done = time.monotonic()
        tab.check_quiet()
        assert balancer.cut > 0, "nobody noticed anything of the kill"
    assert await asyncio.to_thread(sha256, tmp_path / "data" / source.name) == await asyncio.to_thread(sha256, source)
    source.unlink()
    print(f"\nfirst GiB, {datetime.now(UTC):%Y-%m-%d}: {installed - begun:.0f} s from the clone to two replicas")
    print(f"  {done - chosen:.0f} s in the browser, at {SPEED // MIB} MiB/s at the most; sha256 compared")
    print(f"  SIGKILL to {victim.name} after {killed - chosen:.0f} s, back {back - killed:.1f} s later")
