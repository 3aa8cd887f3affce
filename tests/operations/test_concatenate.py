"""Joining parts, step by step: what is shared, who goes on, what ends it. (What dies when: `simulation`.)"""

import asyncio
from dataclasses import replace

import pytest

from storage_proxy.core.concatenation import PARTS_MAX
from storage_proxy.core.errors import (
    Draining,
    PartHasNoFile,
    PartsUnfinished,
    PartUnusable,
    PublishFailed,
    Refused,
    ShareFault,
    SizeExceeded,
    UploadGone,
    UploadNotFound,
)
from storage_proxy.core.events import Event, UploadClosed, UploadCreated, UploadExpired, UploadPublished
from storage_proxy.core.manifest import Final, Manifest, Order, Part, Phase, Piece, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.append import append
from storage_proxy.operations.concatenate import concatenate
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.describe import describe, look_up, look_up_for_head
from storage_proxy.operations.download import download
from storage_proxy.operations.reap import reap
from storage_proxy.operations.reception import Append
from storage_proxy.operations.terminate import terminate
from storage_proxy.operations.verify import verify
from storage_proxy.store import layout
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import AGES, SMALL, VOLUME, ListedBody, Replica

HELLO, WORLD = b"hello", b" world"


@pytest.fixture
def share() -> SimulatedShare:
    return SimulatedShare()


@pytest.fixture
def replica(share: SimulatedShare) -> Replica:
    return Replica(share, "one")


async def part(replica: Replica, content: bytes, *, sent: int | None = None, length: int | None = -1) -> UploadId:
    upload = new_upload_id(replica.service, VOLUME)
    told = len(content) if length == -1 else length
    target = Target(VOLUME, upload.key)
    await create(replica.service, upload, Wanted(target, told, Order.SEQUENTIAL, Policy.KEEP_BOTH, partial=True))
    if content[:sent]:
        await send(replica, upload, 0, content[:sent])
    return upload


async def send(replica: Replica, upload: UploadId, offset: int, body: bytes, length: int | None = None) -> Manifest:
    return (await append(replica.service, upload, Append(offset, len(body), length), ListedBody([body]))).manifest


async def join(replica: Replica, *parts: UploadId, name: str = "file", policy: Policy = Policy.KEEP_BOTH) -> Manifest:
    upload = new_upload_id(replica.service, VOLUME)
    wanted = Wanted(Target(VOLUME, name), None, Order.SEQUENTIAL, policy)
    return await concatenate(replica.service, upload, wanted, "final;x", parts)


def data_files(share: SimulatedShare, upload: UploadId) -> list[str]:
    names = [path.rpartition("/")[2] for path in share.tree() if upload.key in path]
    return [name for name in names if layout.kind_of(name) in layout.DATA]


def inodes(share: SimulatedShare) -> dict[str, int]:
    return {path: inode.number for path, inode in share._each("", share.root)}


# ---- whole parts ----------------------------------------------------------------------------------------------------


async def test_whole_parts_are_published_as_one_file_before_the_answer(share: SimulatedShare, replica: Replica) -> None:
    manifest = await join(replica, await part(replica, HELLO), await part(replica, WORLD))
    assert (manifest.phase, manifest.length, share.target_bytes("file")) == (Phase.PUBLISHED, 11, HELLO + WORLD)
    heard = [event for event in replica.listener.events if isinstance(event, Event)]
    told = [type(event) for event in heard if event.upload == manifest.upload]
    assert told[0] is UploadCreated
    assert told[-1] is UploadPublished
    assert told.count(UploadClosed) == 1


async def test_nobody_else_has_the_published_file(share: SimulatedShare, replica: Replica) -> None:
    only = await part(replica, HELLO)
    await join(replica, only, name="one")
    await join(replica, only, name="two")
    numbers = list(inodes(share).values())
    assert len(set(numbers)) == len(numbers), "whoever writes to one file would change another"
    assert share.target_bytes("one") == share.target_bytes("two") == HELLO


async def test_a_link_is_made_and_not_a_byte_copied_before_the_final_upload_has_its_parts(
    share: SimulatedShare, replica: Replica
) -> None:
    parts = [await part(replica, HELLO), await part(replica, WORLD)]
    await replica.rest()
    calls: list[str] = []
    share.after_call = lambda name, operation, paths: calls.append(operation)
    manifest = await replica.volume.run(lambda: gathered(replica, parts))
    assert manifest.phase is Phase.CLOSED
    assert "copy" not in calls
    assert calls.count("stage") == 0
    sources = {number for path, number in inodes(share).items() if any(each.key in path for each in parts)}
    assert {inodes(share)[layout.within(manifest.upload.key, name)] for name in manifest.files} <= sources


def gathered(replica: Replica, parts: list[UploadId]) -> Manifest:
    upload = new_upload_id(replica.service, VOLUME)
    final = Final("final;x", tuple(Piece(each.key) for each in parts))
    wanted = Manifest(
        upload, 0, Phase.WAITING, None, Order.SEQUENTIAL, Policy.KEEP_BOTH, Target(VOLUME, "file"), final=final
    )
    replica.volume.manifests.create(wanted)
    return replica.volume.joining.gather(upload.key, 1000, replica.service.stamp()).manifest


async def test_parts_may_end_once_they_are_joined_and_be_joined_again_until_then(
    share: SimulatedShare, replica: Replica
) -> None:
    first, second = await part(replica, HELLO), await part(replica, WORLD)
    await join(replica, first, second, name="one")
    await join(replica, second, first, second, name="two")
    for each in (first, second):
        await terminate(replica.service, each)
    assert share.target_bytes("one") == HELLO + WORLD
    assert share.target_bytes("two") == WORLD + HELLO + WORLD
    with pytest.raises(UploadNotFound):
        await join(replica, first)


async def test_a_part_of_pieces_and_checkpoints_is_one_file_before_it_is_joined(
    share: SimulatedShare, replica: Replica
) -> None:
    content = bytes(range(250))
    upload = await part(replica, content, sent=100)
    await append(replica.service, upload, Append(100, 150), ListedBody([content[100:170], content[170:]]))
    manifest = await join(replica, upload, upload)
    assert manifest.phase is Phase.PUBLISHED
    assert share.target_bytes("file") == content * 2


async def test_no_byte_at_all_is_a_file_too(share: SimulatedShare, replica: Replica) -> None:
    nothing = await part(replica, b"")
    assert (await look_up(replica.service, nothing)).phase is Phase.WHOLE
    assert (await join(replica, nothing)).phase is Phase.PUBLISHED
    assert share.target_bytes("file") == b""
    await join(replica, nothing, await part(replica, HELLO), nothing, name="other")
    assert share.target_bytes("other") == HELLO


async def test_a_name_that_is_taken_reaches_the_client_that_joins(share: SimulatedShare, replica: Replica) -> None:
    share.plant_file("file", b"old")
    with pytest.raises(PublishFailed):
        await join(replica, await part(replica, HELLO), policy=Policy.REFUSE)
    assert share.target_bytes("file") == b"old"


# ---- parts themselves -----------------------------------------------------------------------------------------------


async def test_a_whole_part_is_at_its_length_for_whoever_asks_and_has_no_file(replica: Replica) -> None:
    upload = await part(replica, HELLO)
    manifest = await look_up(replica.service, upload)
    assert (manifest.phase, manifest.prefix, manifest.length) == (Phase.WHOLE, 5, 5)
    assert manifest.expires_at is not None
    assert (await send(replica, upload, 5, b"")).phase is Phase.WHOLE
    with pytest.raises(Refused):
        await send(replica, upload, 5, b"!")
    with pytest.raises(PartHasNoFile):
        await download(replica.service, upload)


async def test_a_part_goes_sooner_once_a_file_has_its_bytes(share: SimulatedShare, replica: Replica) -> None:
    joined, other = await part(replica, HELLO), await part(replica, WORLD)
    await join(replica, joined)
    await replica.rest()
    manifest = await replica.service.read(joined)
    assert manifest.part == Part(joined=True)
    assert manifest.expires_at == replica.clock.now() + AGES.joined
    share.now += AGES.joined + 1
    assert await reap(replica.service, replica.volume)
    assert (await replica.service.read(joined)).phase is Phase.EXPIRED
    assert data_files(share, joined) == []
    assert (await replica.service.read(other)).phase is Phase.WHOLE
    share.now += AGES.open
    assert await reap(replica.service, replica.volume)
    assert (await replica.service.read(other)).phase is Phase.EXPIRED


# ---- what cannot be joined ------------------------------------------------------------------------------------------


async def test_what_is_no_part_of_this_volume_is_refused_before_anything_is_made(
    share: SimulatedShare, replica: Replica
) -> None:
    whole = new_upload_id(replica.service, VOLUME)
    await create(replica.service, whole, Wanted(Target(VOLUME, "whole"), 5, Order.SEQUENTIAL, Policy.KEEP_BOTH))
    final = (await join(replica, await part(replica, HELLO))).upload
    await replica.rest()
    before = share.tree()
    for bad, sentence in (
        (whole, "Upload-Concat: partial"),
        (final, "Upload-Concat: partial"),
        (UploadId("other", "a" * 32), "on volume 'other'"),
    ):
        with pytest.raises(PartUnusable, match=sentence):
            await join(replica, await part(replica, b""), bad)
    with pytest.raises(UploadNotFound):
        await join(replica, UploadId(VOLUME, "a" * 32))
    with pytest.raises(PartUnusable, match=str(PARTS_MAX)):
        await join(replica, *[UploadId(VOLUME, "a" * 32)] * (PARTS_MAX + 1))
    assert {path for path in share.tree() if path.count("/") == 0} == {path for path in before if path.count("/") == 0}


async def test_parts_that_are_too_long_together_are_refused(share: SimulatedShare) -> None:
    replica = Replica(share, "one", limits=replace(SMALL, upload_bytes_max=10))
    first, second = await part(replica, HELLO), await part(replica, WORLD)
    with pytest.raises(SizeExceeded):
        await join(replica, first, second)
    unknown = await part(replica, WORLD, sent=3, length=None)
    waiting = await join(replica, first, unknown)
    await send(replica, unknown, 3, WORLD[3:], length=6)
    await replica.rest()
    with pytest.raises(UploadGone, match="11 bytes"):
        await look_up_for_head(replica.service, waiting.upload)


async def test_a_replica_that_stops_makes_no_final_upload(replica: Replica) -> None:
    upload = await part(replica, HELLO)
    replica.service.draining.set()
    with pytest.raises(Draining):
        await join(replica, upload)


# ---- waiting --------------------------------------------------------------------------------------------------------


async def test_it_waits_and_tells_its_length_as_soon_as_that_is_known(replica: Replica) -> None:
    first, second = await part(replica, HELLO, sent=3), await part(replica, WORLD, sent=2, length=None)
    final = (await join(replica, first, second)).upload
    manifest = await look_up_for_head(replica.service, final)
    assert (manifest.phase, manifest.length) == (Phase.WAITING, None)
    with pytest.raises(PartsUnfinished) as refused:
        await look_up(replica.service, final)
    assert (refused.value.parts, refused.value.unfinished) == (2, 2)
    await send(replica, second, 2, WORLD[2:4], length=6)
    assert (await look_up_for_head(replica.service, final)).length == 11


async def test_the_replica_that_completes_the_last_part_carries_the_final_upload_on(
    share: SimulatedShare, replica: Replica
) -> None:
    first, second = await part(replica, HELLO, sent=3), await part(replica, WORLD, sent=2)
    final = (await join(replica, first, second)).upload
    await replica.rest()
    other, third = Replica(share, "other"), Replica(share, "third")
    await send(other, second, 2, WORLD[2:])
    await other.rest()
    assert (await replica.service.read(final)).phase is Phase.WAITING
    assert len(data_files(share, final)) == 1, "the part that is whole is taken"
    await terminate(third.service, second)
    await send(third, first, 3, HELLO[3:])
    # Nobody asks for the final upload.
    await third.rest()
    assert share.target_bytes("file") == HELLO + WORLD


async def test_news_of_a_part_is_not_missed_by_work_that_is_under_way(replica: Replica) -> None:
    looks: list[int] = []
    upload = UploadId(VOLUME, "a" * 32)
    go_on = asyncio.Event()

    async def look() -> None:
        looks.append(len(looks))
        await go_on.wait()

    replica.service.in_background(upload, look)
    await asyncio.sleep(0)
    replica.service.in_background_anew(upload, look)
    replica.service.in_background_anew(upload, look)
    await asyncio.sleep(0)
    assert looks == [0]
    go_on.set()
    await replica.rest()
    assert looks == [0, 1]


async def test_the_janitor_carries_on_what_nobody_asks_for(share: SimulatedShare, replica: Replica) -> None:
    first = await part(replica, HELLO, sent=3)
    final = (await join(replica, first)).upload
    # As if its replica had died before it left word.
    part_of_it = await replica.service.read(first)
    assert part_of_it.part == Part(awaited_by=(final.key,))
    replica.volume.manifests.change(first.key, lambda manifest: replace(manifest, part=Part()))
    await send(replica, first, 3, HELLO[3:])
    await replica.rest()
    assert share.target_bytes("file") is None
    assert await reap(replica.service, replica.volume)
    await replica.rest()
    assert share.target_bytes("file") == HELLO


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("terminated", "it was terminated"),
        ("expired", "it was not finished in time"),
        ("buried", "nothing is left of it"),
    ],
)
async def test_a_part_that_ends_before_it_is_whole_ends_the_final_upload_with_its_name(
    share: SimulatedShare, replica: Replica, how: str, why: str
) -> None:
    whole, lost = await part(replica, HELLO), await part(replica, WORLD, sent=2)
    final = (await join(replica, whole, lost)).upload
    if how == "terminated":
        await terminate(replica.service, lost)
    for _ in range(0 if how == "terminated" else 1 if how == "expired" else 3):
        share.now += AGES.open + 1
        assert await reap(replica.service, replica.volume)
    with pytest.raises(UploadGone) as caught:
        await look_up_for_head(replica.service, final)
    assert str(caught.value) == f"The upload {final} is gone: its part {lost.key} is gone: {why}. Create a new one."
    assert data_files(share, final) == []
    ended = [event for event in replica.listener.events if isinstance(event, UploadExpired) and event.upload == final]
    assert len(ended) == 1


async def test_what_was_taken_is_safe_while_the_others_are_waited_for(share: SimulatedShare, replica: Replica) -> None:
    whole, slow = await part(replica, HELLO), await part(replica, WORLD, sent=2)
    final = (await join(replica, whole, slow)).upload
    for offset in (2, 3, 4):
        share.now += AGES.open - 1
        await send(replica, slow, offset, WORLD[offset : offset + 1])
        assert await reap(replica.service, replica.volume)
        await replica.rest()
    assert data_files(share, whole) == []
    await send(replica, slow, 5, WORLD[5:])
    await replica.rest()
    assert (await describe(replica.service, final)).phase is Phase.PUBLISHED
    assert share.target_bytes("file") == HELLO + WORLD


async def test_a_link_that_the_janitor_took_for_rubbish_is_made_again(share: SimulatedShare, replica: Replica) -> None:
    """A link is as old as the file it is to: a janitor may see it before the manifest names it."""
    upload = await part(replica, HELLO)
    await replica.rest()
    share.now += AGES.orphans + 1
    janitor = Replica(share, "janitor")
    tended: list[str] = []

    def tend(name: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "link" and name == "one" and layout.kind_of(paths[1].rpartition("/")[2]) is layout.Kind.PART:
            share.after_call = None
            key = paths[1].split("/")[2]
            sweeping = janitor.volume.sweeping
            tended.extend(sweeping.tend(key, sweeping.share_time(), replica.service.stamp()).swept)

    share.after_call = tend
    manifest = await join(replica, upload)
    assert [layout.kind_of(name) for name in tended] == [layout.Kind.PART]
    assert manifest.phase is Phase.PUBLISHED
    assert share.target_bytes("file") == HELLO


async def test_trouble_before_the_parts_are_taken_is_told_and_leaves_nothing(
    share: SimulatedShare, replica: Replica
) -> None:
    upload = await part(replica, HELLO)
    await replica.rest()

    def strike(name: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "link" and layout.kind_of(paths[1].rpartition("/")[2]) is layout.Kind.PART:
            raise ShareFault(operation="link", reason="EIO")

    share.before_call = strike
    with pytest.raises(ShareFault):
        await join(replica, upload)
    share.before_call = None
    assert await reap(replica.service, replica.volume)
    await replica.rest()
    assert share.target_bytes("file") is None, "the client makes another one"
    assert (await join(replica, upload)).phase is Phase.PUBLISHED


async def test_verify_does_not_hash_what_nobody_has_a_digest_of(share: SimulatedShare, replica: Replica) -> None:
    parts = [await part(replica, HELLO), await part(replica, WORLD, sent=2)]
    waiting = (await join(replica, *parts)).upload
    manifest = await replica.volume.run(lambda: gathered(replica, parts[:1]))
    assert manifest.phase is Phase.CLOSED
    report = await verify(replica.service, replica.volume, 1e9)
    assert [found.what for found in report.discoveries if found.upload in (waiting, manifest.upload)] == ["unfinished"]
    (link,) = data_files(share, waiting)
    replica.filesystem.remove(layout.within(waiting.key, link))
    report = await verify(replica.service, replica.volume, 1e9, only=waiting)
    assert [found.what for found in report.discoveries] == ["missing"]
