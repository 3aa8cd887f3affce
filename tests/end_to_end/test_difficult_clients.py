"""Clients that hang up, send too much, trickle, fall silent, or aim outside the volume: over real connections."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.clients import BYTES, MIB, TUS, Client, OpenPatch, records, tidy
from tests.end_to_end.replicas import Replicas

pytestmark = pytest.mark.timeout(90)

KIB = 1 << 10


def some_bytes(count: int) -> bytes:
    return random.Random(count).randbytes(count)


# ---- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [True, False], ids=["with a length", "chunked"])
async def test_what_arrived_before_a_client_hung_up_is_found_on_the_other_replica(
    replicas: Replicas, client: Client, declared: bool
) -> None:
    a, b = await replicas.start(2)
    data = some_bytes(8 * MIB)
    path = await client.create(a.url, len(data), filename="hung-up.bin")
    sent = 3 * MIB + 17
    async with await OpenPatch.begin(a.url, path, 0, len(data) if declared else None) as upload:
        await upload.send(data[:sent])
        await upload.hang_up()
    assert await client.reaches(b.url, path, sent) == sent
    await client.finish([b.url, a.url], path, data)
    assert (replicas.data / "hung-up.bin").read_bytes() == data
    await tidy(replicas.data, ["hung-up.bin"])


async def test_a_body_that_is_announced_too_long_is_refused_before_it_is_sent(
    replicas: Replicas, client: Client
) -> None:
    a, b = await replicas.start(2)
    data = some_bytes(3 * MIB)
    path = await client.create(a.url, len(data), filename="full.bin")
    assert (await client.patch(b.url, path, 0, data[:MIB])).status == 204
    async with await OpenPatch.begin(a.url, path, MIB, 2 * MIB + 1) as upload:
        # Not a byte of it was sent.
        assert (await upload.answer()).status == 413
    assert await client.offset(b.url, path) == MIB
    await client.finish([b.url], path, data)
    assert (replicas.data / "full.bin").read_bytes() == data
    await tidy(replicas.data, ["full.bin"])


async def test_a_body_that_turns_out_too_long_is_refused_and_nothing_acknowledged_is_lost(
    replicas: Replicas, client: Client
) -> None:
    a, b = await replicas.start(2)
    data = some_bytes(3 * MIB)
    path = await client.create(a.url, len(data), filename="full.bin")
    assert (await client.patch(b.url, path, 0, data[:MIB])).status == 204
    async with await OpenPatch.begin(a.url, path, MIB, None) as upload:
        await upload.send_what_is_taken(data[MIB:] + b"one byte more, and then some")
        answer = await upload.answer()
    assert answer.status == 413
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    # What a checkpoint had promised of it may stay, but the upload was not closed by it.
    assert MIB <= await client.offset(b.url, path) < len(data)
    assert (await client.status(b.url, path))["phase"] == "open"
    await client.finish([b.url], path, data)
    assert (replicas.data / "full.bin").read_bytes() == data
    await tidy(replicas.data, ["full.bin"])


async def test_the_bytes_of_a_trickling_client_show_on_the_other_replica_within_the_checkpoint_time(
    replicas: Replicas, client: Client
) -> None:
    a, b = await replicas.start(2, checkpoint_seconds=0.5)
    data = some_bytes(40 * KIB)
    path = await client.create(a.url, len(data), filename="trickled.bin")
    async with await OpenPatch.begin(a.url, path, 0, len(data)) as upload:
        for offset in range(0, 30 * KIB, 10 * KIB):
            await upload.send(data[offset : offset + 10 * KIB])
            began = time.monotonic()
            await client.reaches(b.url, path, offset + 10 * KIB)
            # The rest is room for a busy machine.
            assert time.monotonic() - began < 0.5 + 4
        await upload.send(data[30 * KIB :])
        assert (await upload.answer()).status == 204
    assert (replicas.data / "trickled.bin").read_bytes() == data
    await tidy(replicas.data, ["trickled.bin"])


async def test_a_body_that_falls_silent_is_ended_and_what_it_brought_is_kept(
    replicas: Replicas, client: Client
) -> None:
    a, b = await replicas.start(2, body_idle_seconds=1, checkpoint_seconds=60)
    data = some_bytes(2 * MIB)
    path = await client.create(a.url, len(data), filename="silent.bin")
    async with await OpenPatch.begin(a.url, path, 0, len(data)) as upload:
        await upload.send(data[: 300 * KIB])
        answer = await upload.answer()
        # One that clients try again, with what to go on from.
        assert (answer.status, answer.offset) == (503, 300 * KIB)
    assert await client.offset(b.url, path) == 300 * KIB
    await client.finish([b.url], path, data)
    assert (replicas.data / "silent.bin").read_bytes() == data
    await tidy(replicas.data, ["silent.bin"])


# ---- names ----------------------------------------------------------------------------------------------------------


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.fixture
def outside(tmp_path: Path, replicas: Replicas) -> Path:
    """A directory that the volume has links to: one to the directory, one to a file, one that leads to nothing yet."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim.txt").write_bytes(b"nobody may touch this")
    (replicas.data / "directory").symlink_to(outside)
    (replicas.data / "file").symlink_to(outside / "victim.txt")
    (replicas.data / "nothing").symlink_to(outside / "new.txt")
    (replicas.data / "folder").mkdir()
    (replicas.data / "folder" / "climb").symlink_to("../../outside")
    return outside


PLANTED = ("directory/new.txt", "directory/victim.txt", "file", "nothing", "folder/climb/new.txt", "folder/climb")


async def test_a_planted_link_leads_no_upload_outside_the_volume(
    replicas: Replicas, client: Client, outside: Path
) -> None:
    before = contents(outside)
    (a,) = await replicas.start(1)
    manager = f"http://127.0.0.1:{a.manager_port}"
    data = b"written by an upload"
    for name in PLANTED:
        await upload_to(client, a.url, name, data)
        for relpath, where in ((name, ""), ("new.txt", "&dst_dir=climb"), ("new.txt", "&dst_dir=../directory")):
            session = await client.open_session(manager, "folder", relpath, len(data)) + where
            answer = await client.patch(a.url, session, 0, data)
            assert answer.status in (204, 403, 422), (name, where, answer)
        assert contents(outside) == before, name
    assert all((replicas.data / name).is_symlink() for name in ("directory", "folder/climb"))


async def upload_to(client: Client, base: str, name: str, data: bytes) -> None:
    """Refused at once, or a failure that can be seen, or another name that is free."""
    answer = await client.try_to_create(base, len(data), filename="plain.txt", relativePath=name)
    assert answer.status in (201, 403), (name, answer)
    if answer.status == 403:
        return
    path = answer.headers["Location"]
    answer = await client.patch(base, path, 0, data)
    status = await client.status(base, path)
    if answer.status == 204:
        assert status["phase"] == "published", name
    else:
        assert (answer.status, status["phase"]) == (422, "failed"), (name, answer)
        assert status["reason"], name


async def test_a_link_planted_while_the_upload_is_on_its_way_leads_nowhere_either(
    replicas: Replicas, client: Client, outside: Path
) -> None:
    before = contents(outside)
    a, b = await replicas.start(2)
    data = some_bytes(MIB)
    path = await client.create(a.url, len(data), filename="x", relativePath="later/new.txt")
    assert (await client.patch(a.url, path, 0, data[:1000])).status == 204
    (replicas.data / "later").symlink_to(outside)
    answer = await client.patch(b.url, path, 1000, data[1000:])
    assert answer.status == 422, answer
    # A visible failure, and the bytes stay.
    assert (await client.status(a.url, path))["phase"] == "failed"
    assert contents(outside) == before
    assert [path.stat().st_size for path in replicas.data.rglob("*.dat")] == [MIB]


CLIMBING = ("../evil", "/etc/evil", "a/../../evil", ".uploads/evil", "..", "a//b", "a\nb", "a\0b", "x" * 300)


async def test_a_name_that_climbs_or_is_none_is_refused_at_creation(replicas: Replicas, client: Client) -> None:
    (a,) = await replicas.start(1)
    for name in CLIMBING:
        answer = await client.try_to_create(a.url, 4, filename=name)
        assert answer.status == 403, (name, answer)
        assert answer.headers["Content-Type"].startswith("application/problem+json"), name
        assert answer.json["detail"], name
    assert records(replicas.data) == []


IDS: tuple[Callable[[str], str], ...] = (
    lambda path: path + "x",
    lambda path: path.replace("main.", "other."),
    lambda path: path.replace("main.", "main.."),
    lambda path: path.replace("main.", "main/../"),
    lambda path: path.replace("main.", "main.%2e%2e%2f"),
    lambda path: path[:-1] + "%00",
    lambda path: "/files/..%2f..%2fetc%2fpasswd",
    lambda path: "/files/" + "a" * 5000,
)


async def test_an_id_that_is_none_finds_nothing(replicas: Replicas, client: Client) -> None:
    (a,) = await replicas.start(1)
    path = await client.create(a.url, 4, filename="there.txt")
    for spoil in IDS:
        async with await OpenPatch.begin(a.url, spoil(path), 0, 4) as upload:
            await upload.send(b"evil")
            assert (await upload.answer()).status == 404, spoil(path)
    assert await client.offset(a.url, path) == 0
    assert len(records(replicas.data)) == 1


# Of a page that a developer serves on this machine.
PAGE = "http://localhost:5173"

HOSTILE = {
    "Upload-Offset": ("-1", "1e3", "0x10", "٣", "1" * 40, "", "0, 0"),
    "Content-Type": ("text/plain", "", "application/offset+octet-stream-not"),
    "Upload-Checksum": ("sha1", "rot13 abc=", "sha1 !!!", "sha256 AAAA"),
    "Tus-Resumable": ("0.2.2", "2", ""),
    "Content-Encoding": ("gzip",),
    "X-HTTP-Method-Override": ("BREW",),
}


async def test_hostile_headers_are_refused_with_a_sentence_and_change_nothing(
    replicas: Replicas, client: Client
) -> None:
    (a,) = await replicas.start(1)
    path = await client.create(a.url, 4, filename="there.txt")
    for name, values in HOSTILE.items():
        for value in values:
            said = {**TUS, **BYTES, "Origin": PAGE, "Upload-Offset": "0", name: value}
            answer = await client.ask("PATCH", a.url + path, said, b"evil")
            assert answer.status in (400, 405, 412, 415), (name, value, answer)
            assert answer.json["detail"], (name, value)
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE, (name, value)
    assert await client.offset(a.url, path) == 0
    await client.finish([a.url], path, b"good")
    assert (replicas.data / "there.txt").read_bytes() == b"good"
