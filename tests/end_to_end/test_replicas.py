"""Several replicas on one directory, held by the hand: each test says who gets which bytes, and who dies when."""

import asyncio
import os
import random
import signal
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest

from storage_proxy.adapters.posix_locks import PosixHeldLock, take_lock
from storage_proxy.ports import Region
from tests.end_to_end import processes
from tests.end_to_end.balancer import Balancer
from tests.end_to_end.clients import MIB, TUS, Answer, Client, OpenPatch, records, tidy
from tests.end_to_end.replicas import Replica, Replicas, until

pytestmark = pytest.mark.timeout(90)

KIB = 1 << 10


def some_bytes(count: int) -> bytes:
    return random.Random(count).randbytes(count)


def directory_of(data: Path, path: str) -> Path:
    """Where the service keeps a plain upload."""
    key = path.rpartition(".")[2]
    return data / ".uploads" / key[:2] / key


def phase_of(data: Path, path: str) -> str:
    key = path.rpartition(".")[2]
    return next(str(record["phase"]) for record in records(data) if record["key"] == key)


async def exists(path: Path) -> bool:
    return os.access(path, os.F_OK)


# ---- sessions -------------------------------------------------------------------------------------------------------


async def test_chunks_of_a_session_in_any_order_through_all_replicas_at_once_become_the_file(
    replicas: Replicas, client: Client
) -> None:
    started = await replicas.start(3)
    data = some_bytes(10 * MIB + 333)
    manager = f"http://127.0.0.1:{started[0].manager_port}"
    path = await client.open_session(manager, "folder", "deep/er/file.bin", len(data))
    size = 384 * KIB
    chunks = [(offset, data[offset : offset + size]) for offset in range(0, len(data), size)]
    # Every fifth chunk is fired three times at once.
    fired = [chunk for index, chunk in enumerate(chunks) for _ in range(3 if index % 5 == 0 else 1)]
    random.Random(7).shuffle(chunks)
    fired.sort(key=lambda chunk: chunks.index(chunk))
    async with Balancer(started) as balancer:
        places = asyncio.Semaphore(4)

        async def send(offset: int, chunk: bytes) -> None:
            async with places:
                await client.patch_until_taken(balancer.url, path, offset, chunk)
                await client.head(balancer.url, path)

        await asyncio.gather(*(send(*chunk) for chunk in fired))
        assert set(balancer.served) == {replica.name for replica in started}
    for replica in started:
        assert await client.reaches(replica.url, path, len(data)) == len(data)
    status = await client.status(started[1].url, path)
    assert (status["status"], status["committed_offset"], status["missing_ranges"]) == ("completed", len(data), [])
    assert (replicas.data / "folder/deep/er/file.bin").read_bytes() == data
    await tidy(replicas.data, ["folder/deep/er/file.bin"])


async def test_the_same_chunk_three_times_at_once_is_one_chunk_and_all_three_succeed(
    replicas: Replicas, client: Client
) -> None:
    a, b, c = await replicas.start(3)
    data = some_bytes(3 * MIB)
    path = await client.open_session(f"http://127.0.0.1:{b.manager_port}", "folder", "file.bin", len(data))
    for offset in (MIB, 0):
        chunk = data[offset : offset + MIB]
        answers = await asyncio.gather(*(client.patch(each.url, path, offset, chunk) for each in (a, b, c)))
        assert [answer.status for answer in answers] == [204, 204, 204]
    status = await client.status(c.url, path)
    assert status["committed_offset"] == 2 * MIB
    assert status["missing_ranges"] == [{"offset": 2 * MIB, "length": MIB}]
    await client.patch_until_taken(a.url, path, 2 * MIB, data[2 * MIB :])
    assert (replicas.data / "folder/file.bin").read_bytes() == data
    await tidy(replicas.data, ["folder/file.bin"])


async def test_other_bytes_for_what_another_replica_has_acknowledged_are_refused_and_change_nothing(
    replicas: Replicas, client: Client
) -> None:
    a, b = await replicas.start(2)
    data = some_bytes(4 * MIB)
    path = await client.open_session(f"http://127.0.0.1:{a.manager_port}", "folder", "file.bin", len(data))
    await client.patch_until_taken(a.url, path, MIB, data[MIB : 2 * MIB])
    before = await client.status(a.url, path)
    others = bytes(byte ^ 1 for byte in data[MIB : 2 * MIB])
    # The whole chunk, a part of it, and one that begins in the gap and runs into it.
    wrong = [(MIB, others), (MIB + 100, others[100:200]), (MIB - 50, data[MIB - 50 : MIB] + others[:50])]
    for offset, chunk in wrong:
        answer = await client.patch(b.url, path, offset, chunk)
        assert answer.status == 409, answer
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert answer.offset == 0
    after = await client.status(b.url, path)
    assert {**before, "expires_at": None} == {**after, "expires_at": None}
    await client.patch_until_taken(b.url, path, 0, data[:MIB])
    await client.finish([a.url, b.url], path, data)
    assert (replicas.data / "folder/file.bin").read_bytes() == data
    await tidy(replicas.data, ["folder/file.bin"])


async def test_a_deferred_length_may_come_with_an_empty_last_patch_on_another_replica(
    replicas: Replicas, client: Client
) -> None:
    a, b = await replicas.start(2)
    data = some_bytes(2 * MIB)
    path = await client.create(a.url, None, filename="stream.bin")
    assert (await client.head(b.url, path)).headers["Upload-Defer-Length"] == "1"
    assert (await client.patch(b.url, path, 0, data)).status == 204
    answer = await client.patch(a.url, path, len(data), b"", **{"Upload-Length": str(len(data))})
    assert (answer.status, answer.offset) == (204, len(data))
    assert await client.offset(b.url, path) == len(data)
    assert (replicas.data / "stream.bin").read_bytes() == data
    await tidy(replicas.data, ["stream.bin"])


# ---- one long body --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checked", [False, True], ids=["without a checksum", "with Upload-Checksum"])
async def test_a_long_body_at_full_speed_is_taken_in_one_request_whatever_checkpoints_are_made_meanwhile(
    replicas: Replicas, client: Client, checked: bool
) -> None:
    a, b = await replicas.start(2)
    data = some_bytes(24 * MIB)
    checksum = {"Upload-Checksum": f"sha256 {b64encode(sha256(data).digest()).decode()}"} if checked else {}
    for name in ("first.bin", "second.bin"):
        path = await client.create(a.url, len(data), filename=name)
        answer = await client.patch(b.url, path, 0, data, **checksum)
        assert (answer.status, answer.headers.get("Upload-Offset")) == (204, str(len(data))), answer
        assert (replicas.data / name).read_bytes() == data
    await tidy(replicas.data, ["first.bin", "second.bin"])


# ---- takeover -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", ["the same bytes", "other bytes"])
@pytest.mark.parametrize("until_the_end", [True, False], ids=["finished meanwhile", "not finished yet"])
async def test_a_hung_connection_that_wakes_up_after_another_replica_went_on_changes_nothing(
    replicas: Replicas, client: Client, rest: str, until_the_end: bool
) -> None:
    a, b = await replicas.start(2)
    data = some_bytes(6 * MIB + 5)
    path = await client.create(a.url, len(data), filename="taken-over.bin")
    async with await OpenPatch.begin(a.url, path, 0, len(data)) as hung:
        await hung.send(data[: 2 * MIB])
        reached = await client.reaches(b.url, path, 2 * MIB)
        assert reached == 2 * MIB
        # The new request is not made to wait for the old one.
        end = len(data) if until_the_end else len(data) - MIB
        answer = await client.patch(b.url, path, reached, data[reached:end])
        assert (answer.status, answer.offset) == (204, end)
        tail = data[2 * MIB :]
        await hung.send_what_is_taken(tail if rest == "the same bytes" else bytes(byte ^ 255 for byte in tail))
        assert (await hung.answer()).status in ((204, 409) if rest == "the same bytes" else (409,))
    await client.finish([b.url, a.url], path, data)
    assert (replicas.data / "taken-over.bin").read_bytes() == data
    await tidy(replicas.data, ["taken-over.bin"])


# ---- the end of a replica -------------------------------------------------------------------------------------------


async def test_what_a_body_has_delivered_is_committed_at_sigterm_and_another_replica_goes_on(
    replicas: Replicas, client: Client
) -> None:
    # No checkpoint but by size: what is behind the first MiB is only in the memory of the replica that ends.
    a, b = await replicas.start(2, checkpoint_seconds=60, drain_seconds=6)
    data, delivered = some_bytes(5 * MIB), MIB + 500 * KIB + 7
    path = await client.create(b.url, len(data), filename="drained.bin")
    # Chunked: of a body whose length is told, what is less than a batch would stay unread until it is needed.
    async with await OpenPatch.begin(a.url, path, 0, None) as upload:
        await upload.send(data[:MIB])
        await client.reaches(b.url, path, MIB)
        await upload.send(data[MIB:delivered])

        async def everything_is_read() -> bool:
            connection = processes.server_side(a.port, upload.local_port)
            return connection is not None and connection.unread == 0

        await until("the replica has read it all", everything_is_read)
        assert await client.offset(b.url, path) < delivered, "nothing is left for the drain to do"
        a.tell_to_stop()
        answer = await upload.answer()
        assert answer.status == 503
        assert "Retry-After" in answer.headers
        assert await a.ended(6 + 2) == 0
    assert await client.offset(b.url, path) == delivered
    await client.finish([b.url], path, data)
    assert (replicas.data / "drained.bin").read_bytes() == data
    await tidy(replicas.data, ["drained.bin"])


async def close_while_nobody_can_publish(
    replicas: Replicas, client: Client, a: Replica, data: bytes, name: str
) -> tuple[str, PosixHeldLock, "asyncio.Task[Answer]"]:
    """Send all bytes to `a`, while this test holds the upload's assembly lock as another replica would."""
    path = await client.create(a.url, len(data), filename=name)
    # With a checksum it has a file of its own, in which the next request does not go on: so there is something to fold.
    checksum = f"sha256 {b64encode(sha256(data[:MIB]).digest()).decode()}"
    assert (await client.patch(a.url, path, 0, data[:MIB], **{"Upload-Checksum": checksum})).status == 204
    lock = take_lock(str(directory_of(replicas.data, path) / "lock"), Region.ASSEMBLY, 5.0)
    last = asyncio.create_task(client.patch(a.url, path, MIB, data[MIB:]))

    async def closed() -> bool:
        return phase_of(replicas.data, path) == "closed"

    await until("every byte is committed", closed)
    return path, lock, last


async def test_sigkill_after_the_last_byte_and_before_publishing_leaves_the_file_to_another_replica(
    replicas: Replicas, client: Client
) -> None:
    a, b = await replicas.start(2)
    data = some_bytes(3 * MIB + 1)
    path, lock, last = await close_while_nobody_can_publish(replicas, client, a, data, "closed.bin")
    a.kill()
    with pytest.raises(aiohttp.ClientError):
        await last
    try:
        # Complete means published: until then no offset is told.
        answer = await client.head(b.url, path)
        assert answer.status == 423
        assert "Retry-After" in answer.headers
        assert "Upload-Offset" not in answer.headers
        assert not (replicas.data / "closed.bin").exists()
    finally:
        lock.release()
    assert await client.reaches(b.url, path, len(data)) == len(data)
    assert (replicas.data / "closed.bin").read_bytes() == data
    await tidy(replicas.data, ["closed.bin"])


async def test_a_closer_that_waited_too_long_is_told_to_come_again_and_the_janitor_finishes(
    replicas: Replicas, client: Client
) -> None:
    (a,) = await replicas.start(1, closer_wait_seconds=1)
    data = some_bytes(2 * MIB + 1)
    path, lock, last = await close_while_nobody_can_publish(replicas, client, a, data, "late.bin")
    try:
        answer = await last
        assert answer.status in (423, 503)
        assert "Retry-After" in answer.headers
    finally:
        lock.release()
    # Nobody asks: the file appears all the same.
    await until("the file is there", lambda: exists(replicas.data / "late.bin"))
    assert await client.reaches(a.url, path, len(data)) == len(data)
    assert (replicas.data / "late.bin").read_bytes() == data
    await tidy(replicas.data, ["late.bin"])


@pytest.mark.parametrize("moment", ["at once", "the record moves", "the file appears"])
async def test_sigkill_at_any_moment_after_the_last_byte_loses_nothing_that_was_acknowledged(
    replicas: Replicas, client: Client, moment: str
) -> None:
    a, b = await replicas.start(2)
    data = some_bytes(4 * MIB + 9)
    path = await client.create(a.url, len(data), filename="killed.bin")
    first = next(record["revision"] for record in records(replicas.data))

    async def moved() -> bool:
        return any(record["revision"] > first for record in records(replicas.data))

    async with await OpenPatch.begin(a.url, path, 0, len(data)) as upload:
        await upload.send(data)
        match moment:
            case "the record moves":
                await until("a checkpoint", moved)
            case "the file appears":
                await until("published", lambda: exists(replicas.data / "killed.bin"))
        a.kill()
    await asyncio.gather(client.finish([b.url], path, data), a.restart())
    assert await client.reaches(a.url, path, len(data)) == len(data)
    assert (replicas.data / "killed.bin").read_bytes() == data
    await tidy(replicas.data, ["killed.bin"])


async def test_a_worker_of_several_that_is_killed_is_replaced_and_its_upload_goes_on(
    replicas: Replicas, client: Client
) -> None:
    (service,) = await replicas.start(1, workers=2)

    async def two_workers() -> set[int] | None:
        workers = processes.children(service.pid)
        return workers if len(workers) == 2 else None

    before = await until("two workers", two_workers)
    data = some_bytes(5 * MIB)
    path = await client.create(service.url, len(data), filename="worker.bin")
    async with await OpenPatch.begin(service.url, path, 0, len(data)) as upload:
        await upload.send(data[: 2 * MIB])
        reached = await client.reaches(service.url, path, 2 * MIB)
        connection = processes.server_side(service.port, upload.local_port)
        assert connection is not None
        (victim,) = [pid for pid in before if processes.holds(pid, connection.inode)]
        os.kill(victim, signal.SIGKILL)
        assert await upload.was_cut()

    async def replaced() -> bool:
        workers = await two_workers()
        return workers is not None and victim not in workers

    await until("the worker is replaced", replaced)
    assert await client.offset(service.url, path) == reached
    await client.finish([service.url], path, data)
    assert (replicas.data / "worker.bin").read_bytes() == data
    await tidy(replicas.data, ["worker.bin"])
    service.tell_to_stop()
    assert await service.ended(10) == 0


# ---- janitors -------------------------------------------------------------------------------------------------------


async def test_two_janitors_sweep_what_a_killed_writer_left_and_leave_the_living_alone(
    replicas: Replicas, client: Client
) -> None:
    a, b = await replicas.start(2, ended="2s")
    data = some_bytes(MIB)
    dead = await client.create(a.url, len(data), filename="dead.bin")
    alive = await client.create(a.url, len(data), filename="alive.bin")
    ended = await client.create(b.url, len(data), filename="ended.bin")

    async def staged() -> list[Path] | None:
        return sorted(directory_of(replicas.data, dead).glob("chunk_*")) or None

    async def trickle(upload: OpenPatch, begin: int, end: int) -> None:
        """Older than what counts as an orphan, but its manifest names its file."""
        for offset in range(begin, end, MIB // 4):
            await upload.send(data[offset : offset + MIB // 4])
            await client.reaches(a.url, alive, offset + MIB // 4)

    async with (
        await OpenPatch.begin(a.url, dead, 0, len(data)),
        await OpenPatch.begin(b.url, alive, 0, len(data)) as up,
    ):
        left = await until("the writer has begun", staged)
        # Before anything that may take long: a file that nobody has named yet is an orphan's after two seconds.
        await trickle(up, 0, MIB // 4)
        a.kill()
        await a.restart()
        assert (await client.ask("DELETE", a.url + ended, TUS)).status == 204
        await trickle(up, MIB // 4, len(data))
        assert (await up.answer()).status == 204

    async def swept() -> bool:
        return not any(file.exists() for file in left)

    async def buried() -> bool:
        return not directory_of(replicas.data, ended).exists()

    await until("swept", swept)
    await until("buried", buried)
    # The janitors' work is no news to the client whose writer died.
    assert await client.offset(b.url, dead) == 0
    await client.finish([a.url, b.url], dead, data)
    for name in ("dead.bin", "alive.bin"):
        assert (replicas.data / name).read_bytes() == data
    assert (await client.head(a.url, ended)).status == 404
    await tidy(replicas.data, ["dead.bin", "alive.bin"])
