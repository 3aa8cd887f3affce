"""Many clients, three replicas on three kernels, one share, and faults at random from a printed seed.

LAB_SEED repeats a run's choices (not its timing), LAB_SWARM_SECONDS makes it longer.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Sequence
from statistics import median

import pytest

from tests.end_to_end.balancer import Balancer
from tests.lab.conftest import Findings
from tests.lab.faults import Faults
from tests.lab.guests import Guest
from tests.lab.laboratory import SHARE, V3, V42, Laboratory, Mount, together
from tests.lab.service import Replica, all_ready, start_all, stop_all
from tests.lab.swarm import Swarm, Upload

SECONDS = float(os.environ.get("LAB_SWARM_SECONDS", "90"))
SEED = int(os.environ.get("LAB_SEED") or secrets.randbelow(1 << 32))
AT_ONCE = 5
FINISH_SECONDS = 120.0

pytestmark = [pytest.mark.lab, pytest.mark.timeout(int(SECONDS * 2 + 600))]

# Over NFS 3 a lock outlives a client machine that was powered off, unless that machine tells the server so when it has
# booted. These guests keep nothing to tell it by: with "3" an upload may stay closed for ever, with "3-nolock" none.
V3_NOLOCK = Mount("/mnt/v3nolock", "vers=3,nolock,lookupcache=none,nosharecache")
MOUNTS = {"4.2": V42, "3": V3, "3-nolock": V3_NOLOCK}


@pytest.mark.parametrize("version", os.environ.get("LAB_VERSIONS", "4.2").split())
async def test_no_acknowledged_byte_is_lost_whatever_happens(
    laboratory: Laboratory, findings: Findings, version: str
) -> None:
    mount = MOUNTS[version]
    laboratory.mount(mount)
    directory = f"swarm-{secrets.token_hex(4)}"
    laboratory.server.check("mkdir", f"{SHARE}/{directory}")
    replicas = [Replica(guest, f"{mount.path}/{directory}") for guest in laboratory.clients.values()]
    begun = time.monotonic()
    try:
        await asyncio.to_thread(start_all, replicas)
        await all_ready(replicas)
        faults = Faults(laboratory, replicas, SEED)
        async with Balancer(replicas) as balancer:
            # Half of the requests through a load balancer, the others to replicas of the client's own choice.
            swarm = Swarm([*(replica.url for replica in replicas), *[balancer.url] * len(replicas)], SEED)
            try:
                await _upload_through(swarm, faults)
                uploading = time.monotonic() - begun
                await _no_replica_is_stuck(swarm, replicas)
            finally:
                tell(findings, version, swarm, faults, time.monotonic() - begun)
                await swarm.close()
            assert set(balancer.served) == {replica.name for replica in replicas}
            findings.row("requests through the load balancer", balancer.served.total())
        assert set(faults.fired.kinds) == set(faults.kinds), "a fault that never fired proves nothing"
        await asyncio.to_thread(_every_file_is_there, laboratory, mount, directory, swarm.uploads)
        events = [await asyncio.to_thread(replica.events) for replica in replicas]
        findings.row("events in the logs", sum_up(events))
        for replica in replicas:
            for line in await asyncio.to_thread(replica.incidents):
                findings.row(f"incident in {replica.name}", line)
        await asyncio.to_thread(stop_all, replicas)
        left = await _reap_everything(laboratory, mount, directory)
        findings.row("leftovers after reaping", left)
        findings.row("files compared by sha256, each on the server and on a client", len(swarm.uploads))
        findings.row("seconds of uploading", f"{uploading:.0f}")
        assert left == 0
    finally:
        await asyncio.to_thread(_end, replicas)


async def _upload_through(swarm: Swarm, faults: Faults) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        uploading = tasks.create_task(swarm.upload_until(stop, AT_ONCE))
        firing = tasks.create_task(faults.fire_until(SECONDS))
        await firing
        stop.set()
        await asyncio.wait_for(uploading, FINISH_SECONDS)
    assert all(upload.done for upload in swarm.uploads)


async def _no_replica_is_stuck(swarm: Swarm, replicas: Sequence[Replica]) -> None:
    for replica in replicas:
        alone = Swarm([replica.url], SEED)
        try:
            upload = await asyncio.wait_for(alone.one(f"last-{replica.name}.bin", 200_000), 30)
            for old in swarm.uploads[-20:]:
                offset = await asyncio.wait_for(alone.head(old), 30)
                assert offset == len(old.content), f"{replica.name} says {offset} of {old.name}"
            swarm.uploads.append(upload)
        finally:
            await alone.close()


# ---- afterwards -----------------------------------------------------------------------------------------------------


def _every_file_is_there(laboratory: Laboratory, mount: Mount, directory: str, uploads: Sequence[Upload]) -> None:
    expected = {upload.name: upload.sha256 for upload in uploads}
    reader = laboratory.clients["B"]
    for where, guest in ((f"{SHARE}/{directory}", laboratory.server), (f"{mount.path}/{directory}", reader)):
        assert _digests(guest, where) == expected, f"other files on {guest.name} than were acknowledged"


def _digests(guest: Guest, directory: str) -> dict[str, str]:
    said = guest.check("sh", "-c", f"cd {directory} && find . -maxdepth 1 -type f -exec sha256sum {{}} +", seconds=180)
    found = (line.split(maxsplit=1) for line in said.splitlines())
    return {name.removeprefix("./"): digest for digest, name in found}


async def _reap_everything(laboratory: Laboratory, mount: Mount, directory: str) -> int:
    """What is left in the service's own directory once everything has been allowed to expire."""
    janitor = Replica(laboratory.clients["A"], f"{mount.path}/{directory}", open="2s", ended="1s", orphans="1s")
    await asyncio.to_thread(janitor.start)
    try:
        await all_ready([janitor])
        deadline = time.monotonic() + 90
        while True:
            # What the janitor removes meanwhile is no failure.
            look = f"find {SHARE}/{directory}/.uploads -mindepth 2 2>/dev/null || true"
            left = (await asyncio.to_thread(laboratory.server.check, "sh", "-c", look)).splitlines()
            if not left or time.monotonic() > deadline:
                return len(left)
            await asyncio.sleep(1)
    finally:
        await asyncio.to_thread(janitor.stop)


def _end(replicas: Sequence[Replica]) -> None:
    """Whatever has happened, leave guests that the next proof can use."""
    together(replica.kill for replica in replicas if replica.pid is not None and replica.guest.runs)


def tell(findings: Findings, version: str, swarm: Swarm, faults: Faults, seconds: float) -> None:
    findings.title(f"Swarm, NFS {version}, seed {SEED}, {seconds:.0f} s", "what", "count")
    counts = swarm.counts
    for kind, number in sorted(faults.fired.kinds.items()):
        recovery = faults.fired.recovery_seconds[kind]
        findings.row(
            f"fault: {kind}", f"{number}; to recover: median {median(recovery):.1f} s, most {max(recovery):.1f} s"
        )
    done = [upload for upload in swarm.uploads if upload.done]
    findings.row("uploads finished, of", f"{len(done)} of {len(swarm.uploads)} ({_listed(counts.kinds)})")
    findings.row("bytes published", sum(len(upload.content) for upload in done))
    findings.row("bytes sent", counts.bytes_sent)
    findings.row("requests tried again", counts.retries)
    findings.row("slowest answer", f"{counts.slowest:.1f} s")
    findings.row("answers", _listed(counts.answers))
    for line in faults.fired.lines:
        findings.row("", line)


def sum_up(events: Sequence[dict[str, int]]) -> str:
    names = sorted({name for each in events for name in each})
    return _listed({name: sum(each.get(name, 0) for each in events) for name in names})


def _listed(counted: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counted.items(), key=lambda each: -each[1]))
