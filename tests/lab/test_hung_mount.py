"""A mount that hangs: what is asked of it is answered in bounded time, everything else goes on, and it heals."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from io import BytesIO

import aiohttp
import pytest

from tests.lab.conftest import Findings
from tests.lab.laboratory import SHARE, V42, Laboratory
from tests.lab.service import Replica, all_ready, start_all, stop_all
from tests.lab.swarm import BYTES, Answer, Swarm, Upload

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

# share_stall_seconds + lock_wait_seconds of the lab's settings, and a little.
BOUND_SECONDS = 13.0
HEAL_SECONDS = 60.0
OTHER_VOLUME_SECONDS = 3.0
QUESTIONS_AT_ONCE = 40
"""more than the volume has threads"""


class Patient(Swarm):
    """Waits for an answer for as long as it takes."""

    async def timed(self, method: str, path: str, headers: dict[str, str], data: bytes = b"") -> tuple[float, Answer]:
        begun = time.monotonic()
        async with self._session.request(
            method,
            self.urls[0] + path,
            headers={"Tus-Resumable": "1.0.0", **headers},
            data=BytesIO(data),
            timeout=aiohttp.ClientTimeout(60),
        ) as got:
            answer = Answer(got.status, got.headers, await got.read())
        return time.monotonic() - begun, answer


async def _cut(laboratory: Laboratory) -> Callable[[], None]:
    laboratory.clients["A"].cut()
    return laboratory.clients["A"].mend


async def _server_off(laboratory: Laboratory) -> Callable[[], None]:
    laboratory.server.power_off()

    def back() -> None:
        laboratory.server.start()
        laboratory.server.ready()

    return back


@pytest.mark.parametrize("hang", [_cut, _server_off], ids=["client cut off", "server off"])
async def test_a_hung_mount_takes_only_its_own_uploads_along(
    laboratory: Laboratory, findings: Findings, hang: Callable[[Laboratory], Awaitable[Callable[[], None]]]
) -> None:
    directory = f"hung-{secrets.token_hex(4)}"
    laboratory.server.check("mkdir", f"{SHARE}/{directory}")
    replica = Replica(laboratory.clients["A"], f"{V42.path}/{directory}")
    await asyncio.to_thread(start_all, [replica])
    await all_ready([replica])
    client = Patient([replica.url], 1)
    try:
        upload = Upload("slow.bin", secrets.token_bytes(600_000))
        await client.create(upload, "sequential")
        await client.patch_until_taken(upload, 0, upload.content[:300_000])
        assert upload.floor == 300_000
        mend = await hang(laboratory)
        try:
            await _everything_is_answered(client, upload, findings)
        finally:
            begun = time.monotonic()
            await asyncio.to_thread(mend)
        back = time.monotonic() - begun
        ready = await all_ready([replica])
        findings.row("ready again after the mount was mended", "", f"{ready:.1f} s (mending took {back:.1f} s)")
        begun = time.monotonic()
        async with asyncio.timeout(HEAL_SECONDS):
            offset = await client.stands_at(upload)
            assert offset >= upload.floor == 300_000
            while offset < len(upload.content):
                # A server that was off gives no locks for as long as its lease: until then this is told to come again.
                await client.patch(upload, offset, upload.content[offset:])
                offset = await client.stands_at(upload)
        findings.row("the upload finished, after that", "204", f"{time.monotonic() - begun:.1f} s")
    finally:
        await client.close()
        await asyncio.to_thread(stop_all, [replica])
    digest = laboratory.server.check("sha256sum", f"{SHARE}/{directory}/slow.bin").split()[0]
    assert digest == upload.sha256


async def _everything_is_answered(client: Patient, upload: Upload, findings: Findings) -> None:
    hung = asyncio.gather(
        *(client.timed("HEAD", upload.path, {}) for _ in range(QUESTIONS_AT_ONCE)),
        client.timed("PATCH", upload.path, {**BYTES, "Upload-Offset": "300000"}, upload.content[300_000:]),
        client.timed("POST", "/files", {"Upload-Length": "5"}),
    )
    others: list[float] = []
    live: list[float] = []
    while not hung.done() or len(others) < 5:
        begun = time.monotonic()
        fresh = Upload(f"quick-{len(others)}.bin", secrets.token_bytes(50_000))
        await client.create(fresh, "sequential", volume="local")
        answer = await client.patch(fresh, 0, fresh.content)
        assert answer is not None
        assert answer.status == 204, answer
        others.append(time.monotonic() - begun)
        await asyncio.sleep(0.1)
        took, alive = await client.timed("GET", "/health/live", {})
        assert alive.status == 200
        live.append(took)
    answers = await hung
    later = [await client.timed("HEAD", upload.path, {}) for _ in range(5)]
    took, ready = await client.timed("GET", "/health/ready", {})
    findings.title("A mount that hangs", "asked", "answered", "slowest")
    heads = answers[:QUESTIONS_AT_ONCE]
    findings.row(f"HEAD, {len(heads)} at once", _statuses(heads), _slowest(heads))
    findings.row("PATCH", *_one(answers[-2]))
    findings.row("POST", *_one(answers[-1]))
    findings.row("HEAD, once it is known", _statuses(later), _slowest(later))
    findings.row("/health/ready", ready.status, f"{took:.1f} s")
    findings.row(f"{len(others)} uploads to the other volume meanwhile", "204", f"{max(others):.1f} s")
    findings.row("/health/live meanwhile", "200", f"{max(live):.2f} s")
    assert {answer.status for _, answer in (*heads, *later)} == {423}
    assert {answers[-1][1].status, answers[-2][1].status} <= {423, 503}
    assert max(seconds for seconds, _ in (*answers, *later)) < BOUND_SECONDS
    assert ready.status == 503
    assert max(others) < OTHER_VOLUME_SECONDS


def _statuses(answers: list[tuple[float, Answer]]) -> str:
    return ", ".join(sorted({str(answer.status) for _, answer in answers}))


def _slowest(answers: list[tuple[float, Answer]]) -> str:
    return f"{max(seconds for seconds, _ in answers):.1f} s"


def _one(answered: tuple[float, Answer]) -> tuple[str, str]:
    return f"{answered[1].status} {answered[1].problem}", f"{answered[0]:.1f} s"
