"""Readiness over a real mount whose server stands still: a FUSE file system that is stopped by its process id."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import aiohttp
import pytest

from tests.end_to_end.clients import BYTES, TUS, Client
from tests.end_to_end.replicas import Replica, Replicas, until

QUICK_SECONDS = 1.0


@pytest.fixture
def mounted(replicas: Replicas) -> Iterator[int]:
    """The process that serves the replicas' directory."""
    if shutil.which("bindfs") is None:
        pytest.skip("bindfs is not on the path; install it (on Debian: apt install bindfs)")
    below = replicas.home / "below"
    below.mkdir()
    words = ["bindfs", "-f", str(below), str(replicas.data)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not replicas.data.is_mount():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.skip(f"a FUSE file system cannot be mounted here: {process.communicate()[1].decode().strip()}")
        time.sleep(0.01)
    yield process.pid
    # A replica's threads that hang end only when the mount comes back or goes away.
    process.send_signal(signal.SIGCONT)
    replicas.stop()
    subprocess.run(["umount", "--lazy", str(replicas.data)], check=True)
    process.wait(20)
    assert process.stderr is not None
    process.stderr.close()


async def asked(replica: Replica, path: str = "/health/ready") -> tuple[int, dict[str, object], float]:
    begun = time.monotonic()
    async with aiohttp.ClientSession() as session, session.get(f"{replica.url}{path}") as answer:
        return answer.status, await answer.json(), time.monotonic() - begun


async def test_ready_is_told_at_once_while_the_mount_hangs_and_again_when_it_is_back(
    replicas: Replicas, mounted: int, client: Client
) -> None:
    (replica,) = await replicas.start(1)
    os.kill(mounted, signal.SIGSTOP)

    async def unready() -> bool:
        status, told, seconds = await asked(replica)
        assert seconds < QUICK_SECONDS, told
        return status == 503

    await until("the hung mount is found out", unready, 30)
    for _ in range(20):
        status, told, seconds = await asked(replica)
        assert (status, told["status"]) == (503, "not ready")
        assert "main" in str(told["volumes"])
        assert "has not answered" in str(told["volumes"])
        assert seconds < QUICK_SECONDS
        assert (await asked(replica, "/health/live"))[0] == 200
    os.kill(mounted, signal.SIGCONT)

    async def ready() -> bool:
        return (await asked(replica))[0] == 200

    await until("ready again", ready, 30)
    path = await client.create(replica.url, 5, filename="after")
    await client.ask("PATCH", replica.url + path, {**TUS, **BYTES, "Upload-Offset": "0"}, b"hello")
    assert (replicas.data / "after").read_bytes() == b"hello"
