"""A share without room: what cannot be stored is refused in words, what was promised stays, and it heals.

Two ways to run out of it: the server's disk is full (ENOSPC), and the account that the server writes for has used up
its quota (EDQUOT).
"""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.lab.conftest import Findings
from tests.lab.guests import Guest
from tests.lab.laboratory import SHARE, V42, Laboratory, Mount
from tests.lab.service import Replica, all_ready, start_all, stop_all
from tests.lab.swarm import BYTES, Answer, Swarm, Upload

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

ACCOUNT = 1000
BALLAST = f"{SHARE}/ballast"
QUOTA_DIRECTORY = f"{SHARE}/quota"
QUOTA = Mount("/mnt/quota", "vers=4.2,nosharecache", "quota")
TRIES = 4
SIZE = 3_000_000


@dataclass(frozen=True)
class FullDisk:
    """ENOSPC."""

    mount = V42
    quota = False

    def prepare(self, server: Guest) -> None:
        return None

    def fill(self, server: Guest) -> None:
        script = (
            f"fallocate -l $(($(stat -f -c '%a * %S' {SHARE}) - 4194304)) {BALLAST}; cat /dev/zero >>{BALLAST}; sync"
        )
        server.run(["sh", "-c", script], seconds=120)

    def make_room(self, server: Guest) -> None:
        server.check("rm", "-f", BALLAST)


@dataclass(frozen=True)
class UsedUpQuota:
    """EDQUOT."""

    mount = QUOTA
    quota = True

    def prepare(self, server: Guest) -> None:
        server.check("mkdir", "-p", QUOTA_DIRECTORY)
        server.check("chown", str(ACCOUNT), QUOTA_DIRECTORY)
        # NFS 4 looks for an export of its own only where something is mounted.
        server.check("mount", "--bind", QUOTA_DIRECTORY, QUOTA_DIRECTORY)
        said = f"rw,sync,no_subtree_check,fsid=7,all_squash,anonuid={ACCOUNT},anongid={ACCOUNT}"
        server.check("exportfs", "-o", said, f"*:{QUOTA_DIRECTORY}")

    def fill(self, server: Guest) -> None:
        self._limit(server, "1m")

    def make_room(self, server: Guest) -> None:
        self._limit(server, "0")

    def _limit(self, server: Guest, size: str) -> None:
        server.check("xfs_quota", "-x", "-c", f"limit -u bhard={size} {ACCOUNT}", SHARE)


@contextmanager
def filled(server: Guest, way: FullDisk | UsedUpQuota) -> Iterator[None]:
    way.fill(server)
    try:
        yield
    finally:
        way.make_room(server)


@pytest.mark.parametrize("way", [FullDisk(), UsedUpQuota()], ids=["disk", "quota"])
async def test_without_room_nothing_is_lost_and_with_room_it_heals(
    laboratory: Laboratory, findings: Findings, way: FullDisk | UsedUpQuota
) -> None:
    server = laboratory.server
    way.prepare(server)
    laboratory.mount(way.mount, ("A", "B"))
    base = f"{SHARE}/{way.mount.below}".rstrip("/")
    directory = f"full-{secrets.token_hex(4)}"
    server.check("install", "-d", "-o", str(ACCOUNT), f"{base}/{directory}")
    replicas = [Replica(laboratory.clients[name], f"{way.mount.path}/{directory}") for name in "AB"]
    await asyncio.to_thread(start_all, replicas)
    await all_ready(replicas)
    client = Swarm([replica.url for replica in replicas], 1)
    try:
        uploads = [Upload(f"{number}.bin", secrets.token_bytes(SIZE)) for number in range(TRIES)]
        for upload in uploads:
            await client.create(upload, "sequential")
            await client.patch_until_taken(upload, 0, upload.content[:100_000])
            assert upload.floor == 100_000
        findings.title(f"A share without room ({type(way).__doc__})", "asked", "answered")
        with filled(server, way):
            refused = [await client.patch(upload, 100_000, upload.content[100_000:]) for upload in uploads]
            findings.row("PATCH of 2.9 MB", _told(refused))
            created = await client.ask("POST", "/files", {"Upload-Length": "5"})
            findings.row("POST", _told([created]))
            for answer in refused:
                assert answer is not None
                assert answer.status == 507, answer
                assert answer.headers["Retry-After"]
                assert (b'"quota": true' in answer.body) is way.quota, answer.body
            heads = [await client.ask("HEAD", upload.path, {}) for upload in uploads]
            findings.row("HEAD", _told(heads))
            for upload, answer in zip(uploads, heads, strict=True):
                assert answer is not None
                assert answer.status == 423 or int(answer.headers["Upload-Offset"]) >= upload.floor
        for upload in uploads:
            offset = await client.stands_at(upload)
            assert offset >= upload.floor
            while offset < SIZE:
                answer = await client.ask(
                    "PATCH", upload.path, {**BYTES, "Upload-Offset": str(offset)}, upload.content[offset:]
                )
                assert answer is not None
                assert answer.status in (204, 423, 507), answer
                offset = await client.stands_at(upload)
        findings.row("with room again", f"{len(uploads)} of {len(uploads)} finished from where they stood")
    finally:
        await client.close()
        await asyncio.to_thread(stop_all, replicas)
    said = server.check("sh", "-c", f"cd {base}/{directory} && sha256sum *.bin")
    assert {line.split()[1]: line.split()[0] for line in said.splitlines()} == {
        each.name: each.sha256 for each in uploads
    }


def _told(answers: list[Answer | None]) -> str:
    assert all(answer is not None for answer in answers)
    return ", ".join(sorted({f"{answer.status} {answer.problem}".strip() for answer in answers if answer is not None}))
