"""A file that stays open between requests: when the next one goes on in it, and when it must not."""

import asyncio
import hashlib
from collections.abc import Callable, Generator, Sequence

import pytest

from storage_proxy.core.errors import BodyBrokenOff, ChecksumMismatch, ShareFault, ShareStalled, StorageProxyError
from storage_proxy.core.manifest import Manifest, Order, Phase, UploadId
from storage_proxy.operations import kept_files, reception
from storage_proxy.operations.append import append
from storage_proxy.operations.finish import carry_on
from storage_proxy.operations.reception import Append
from storage_proxy.operations.terminate import terminate
from storage_proxy.ports import BodyBroken
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import ListedBody, Replica
from storage_proxy.testing.system import InlineWorkers
from storage_proxy.wire.checksums import Checksum
from tests.operations.test_append import CONTENT, data_files, hang, opened, send

ORDINARY, AT_HAND = False, True


@pytest.fixture
def share() -> SimulatedShare:
    return SimulatedShare()


@pytest.fixture
def replica(share: SimulatedShare) -> Replica:
    return Replica(share, "one")


async def piece(replica: Replica, upload: UploadId, start: int, end: int, at_hand: bool = ORDINARY) -> Manifest:
    body = ListedBody([CONTENT[start:end]], at_hand=at_hand)
    return (await append(replica.service, upload, Append(start, end - start), body)).manifest


async def manifest(replica: Replica, upload: UploadId) -> Manifest:
    return await replica.service.read(upload)


def calls_of(share: SimulatedShare, operation: str) -> Callable[[], int]:
    count, before = 0, share.before_call

    def watch(replica: str, called: str, paths: tuple[str, ...]) -> None:
        nonlocal count
        count += called == operation
        if before is not None:
            before(replica, called, paths)

    share.before_call = watch
    return lambda: count


@pytest.mark.parametrize("at_hand", [ORDINARY, AT_HAND])
async def test_a_file_sent_in_pieces_is_written_once(share: SimulatedShare, replica: Replica, at_hand: bool) -> None:
    upload = await opened(replica)
    copied, staged = calls_of(share, "copy"), calls_of(share, "stage")
    for start in range(0, 200, 20):
        assert len(data_files(share)) <= 1
        done = await piece(replica, upload, start, start + 20, at_hand)
    assert done.phase is Phase.PUBLISHED
    assert (staged(), copied()) == (1, 0)
    assert share.target_bytes("file") == CONTENT


class Torrent:
    """A body that its writer receives, and of which more comes meanwhile than was there."""

    count = 1

    def __init__(self, content: bytes) -> None:
        self._content = content

    def at_hand(self, size_max: int) -> None:
        return None

    async def batch(self, size: int, seconds: float) -> "Torrent | tuple[()]":
        return self if self._content else ()

    def received(self, most: int) -> Generator[Sequence[bytes], None, None]:
        content, self._content = self._content, b""
        yield (content,)


async def test_a_client_that_was_fast_in_its_last_request_gets_help_from_the_first_byte_of_the_next(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "FAST_BYTES_MIN", 10)
    helped: list[int] = []

    def side_by_side(work: Callable[[], None], help: Callable[[], object]) -> None:
        helped.append(start)
        work()

    monkeypatch.setattr(InlineWorkers, "side_by_side", staticmethod(side_by_side))
    upload = await opened(replica)
    for start, helps in ((0, []), (50, [50]), (100, [50, 100])):
        await append(replica.service, upload, Append(start, 50), Torrent(CONTENT[start : start + 50]))
        assert helped == helps


async def test_both_lanes_go_on_in_each_others_file(share: SimulatedShare, replica: Replica) -> None:
    upload = await opened(replica)
    staged = calls_of(share, "stage")
    for number, start in enumerate(range(0, 200, 20)):
        await piece(replica, upload, start, start + 20, at_hand=number % 3 == 1)
    assert staged() == 1
    assert share.target_bytes("file") == CONTENT


async def test_a_file_that_may_grow_is_not_adopted_and_one_that_was_let_go_is(
    share: SimulatedShare, replica: Replica
) -> None:
    upload = await opened(replica)
    kept = (await piece(replica, upload, 0, 100)).chunks[0]
    assert not kept.sealed
    await carry_on(Replica(share, "other").service, upload)
    assert (await manifest(replica, upload)).assembly is None
    replica.service.kept.let_go(upload)
    await replica.rest()
    assert (await manifest(replica, upload)).chunks[0].sealed
    await carry_on(Replica(share, "other").service, upload)
    after = await manifest(replica, upload)
    assert after.assembly is not None
    assert after.assembly.file == kept.file


async def test_an_upload_that_went_on_elsewhere_gets_no_byte_more_in_the_old_file(
    share: SimulatedShare, replica: Replica
) -> None:
    upload, other = await opened(replica), Replica(share, "other")
    old = (await piece(replica, upload, 0, 50)).chunks[0]
    assert (await piece(other, upload, 50, 100)).chunks[-1].sealed, "it cannot become the whole upload's file"
    now = await piece(replica, upload, 100, 150)
    await replica.rest()
    assert all(chunk.length == 50 for chunk in now.chunks if chunk.file == old.file)
    await piece(other, upload, 150, 200)
    assert share.target_bytes("file") == CONTENT


@pytest.mark.parametrize("at_hand", [ORDINARY, AT_HAND])
async def test_what_this_replica_remembers_is_not_believed(
    share: SimulatedShare, replica: Replica, at_hand: bool
) -> None:
    """The file ends at the right place, and is not the one that the manifest names there."""
    upload = await opened(replica)
    old = (await piece(replica, upload, 0, 50)).chunks[0]
    held = replica.service.kept._kept[upload]
    await piece(Replica(share, "other"), upload, 50, 100)
    held.staged.length = 100
    now = await piece(replica, upload, 100, 150, at_hand)
    assert max(chunk.length for chunk in now.chunks if chunk.file != old.file) == 50
    await replica.rest()
    await piece(replica, upload, 150, 200)
    assert share.target_bytes("file") == CONTENT


async def test_nothing_goes_on_in_a_file_whose_write_failed(share: SimulatedShare, replica: Replica) -> None:
    upload = await opened(replica)
    await piece(replica, upload, 0, 50)

    def fail(name: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "staged.write":
            raise ShareFault(operation="write", reason="EIO")

    for at_hand in (ORDINARY, AT_HAND):
        share.before_call = fail
        with pytest.raises(StorageProxyError):
            await piece(replica, upload, 50, 100, at_hand)
        share.before_call = None
        await replica.rest()
        assert upload not in replica.service.kept._kept
    await piece(replica, upload, 50, 200)
    assert share.target_bytes("file") == CONTENT


async def test_a_body_that_may_be_thrown_away_has_a_file_of_its_own(share: SimulatedShare, replica: Replica) -> None:
    upload = await opened(replica)
    await piece(replica, upload, 0, 50)
    copied, staged = calls_of(share, "copy"), calls_of(share, "stage")
    wrong = Checksum("sha1", hashlib.sha1(b"", usedforsecurity=False).digest())
    with pytest.raises(ChecksumMismatch):
        await send(replica, upload, 50, ListedBody([CONTENT[50:100]]), checksum=wrong)
    done = await piece(replica, upload, 50, 200)
    assert done.phase is Phase.PUBLISHED
    assert (staged(), copied()) == (1, 0)
    assert share.target_bytes("file") == CONTENT


async def test_a_body_that_breaks_off_is_gone_on_with_in_the_same_file(share: SimulatedShare, replica: Replica) -> None:
    upload = await opened(replica)
    staged = calls_of(share, "stage")
    await piece(replica, upload, 0, 50)
    for broken in (ListedBody([CONTENT[50:70]], BodyBroken()), ListedBody([], BodyBroken())):
        with pytest.raises(StorageProxyError):
            await send(replica, upload, (await manifest(replica, upload)).prefix, broken)
    assert (await manifest(replica, upload)).prefix == 70
    await piece(replica, upload, 70, 200)
    assert staged() == 1
    assert share.target_bytes("file") == CONTENT


async def test_no_more_files_are_kept_than_set(
    share: SimulatedShare, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_files, "KEPT_MAX", 2)
    uploads = [await opened(replica) for _ in range(3)]
    for upload in uploads:
        await piece(replica, upload, 0, 10)
    assert [(await manifest(replica, upload)).chunks[0].sealed for upload in uploads] == [False, False, True]
    for upload in uploads:
        await piece(replica, upload, 10, 200)
    await replica.rest()
    assert sorted(path for path in share.tree() if path.startswith("file")) == ["file", "file (1)", "file (2)"]


async def test_a_second_file_of_one_upload_lets_the_first_go(share: SimulatedShare, replica: Replica) -> None:
    upload, kept = await opened(replica), replica.service.kept
    first, second = (replica.volume.chunks.stage(upload.key, 0) for _ in range(2))
    for staged in (first, second):
        staged.write([b"?"])
    kept.keep(upload, replica.volume, first)
    until = kept._kept[upload].until
    kept.keep(upload, replica.volume, second)
    assert until.cancelled()
    assert kept._kept[upload].staged is second
    await replica.rest()
    with pytest.raises(ShareFault, match="closed"):
        first.sync()
    second.sync()
    kept.let_all_go()
    await replica.rest()


async def test_a_pause_seals_the_file(share: SimulatedShare, replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_files, "KEPT_SECONDS", 0.0)
    upload = await opened(replica)
    await piece(replica, upload, 0, 10)
    while replica.service.kept._kept:
        await replica.rest()
        await asyncio.sleep(0)
    await replica.rest()
    assert (await manifest(replica, upload)).chunks[0].sealed


async def test_the_end_of_the_process_seals_what_is_kept(share: SimulatedShare, replica: Replica) -> None:
    upload = await opened(replica)
    await piece(replica, upload, 0, 10)
    await replica.service.settle(5.0)
    assert (await manifest(replica, upload)).chunks[0].sealed


async def test_only_sequential_uploads_keep_a_file(share: SimulatedShare, replica: Replica) -> None:
    upload = await opened(replica, Order.ANY)
    assert (await piece(replica, upload, 0, 10)).chunks[0].sealed
    upload = await opened(replica)
    await piece(replica, upload, 0, 10)
    await Replica(share, "other").service.settle(0.0)
    assert not (await manifest(replica, upload)).chunks[0].sealed


async def test_a_forgotten_upload_leaves_no_file_open(share: SimulatedShare, replica: Replica) -> None:
    upload = await opened(replica)
    await piece(replica, upload, 0, 10)
    await terminate(replica.service, upload)
    assert data_files(share) == []
    assert not [path for path in share.tree() if ".nfs" in path]


async def test_a_file_with_bytes_that_nobody_promised_is_never_sealed(share: SimulatedShare, replica: Replica) -> None:
    """A thread may have been given up on in the middle of a write."""
    upload = await opened(replica)
    await piece(replica, upload, 0, 10)
    replica.service.kept._kept[upload].staged.write([b"?"])
    replica.service.kept.let_go(upload)
    await replica.rest()
    assert [(chunk.length, chunk.sealed) for chunk in (await manifest(replica, upload)).chunks] == [(10, False)]


async def test_an_upload_that_is_closed_by_its_length_alone_needs_no_copy(
    share: SimulatedShare, replica: Replica
) -> None:
    upload = await opened(replica, length=None)
    copied = calls_of(share, "copy")
    await piece(replica, upload, 0, 100)
    await piece(replica, upload, 100, 200)
    await append(replica.service, upload, Append(200, body_length=0, length=200), ListedBody([]))
    assert copied() == 0
    assert share.target_bytes("file") == CONTENT


async def test_a_file_that_a_hung_request_may_still_reach_is_left_unsealed(
    share: SimulatedShare, replica: Replica
) -> None:
    """Sealed, it would be adopted, and written to when the mount wakes."""
    upload = await opened(replica)
    await piece(replica, upload, 0, 50, AT_HAND)
    hanging = hang(replica, "_work", wakes=False)
    with pytest.raises(ShareStalled):
        await piece(replica, upload, 50, 100, AT_HAND)
    hanging.wake()
    await replica.rest()
    assert [chunk.sealed for chunk in (await manifest(replica, upload)).chunks] == [False]
    assert upload not in replica.service.kept._kept
    await piece(replica, upload, (await manifest(replica, upload)).prefix, 200)
    assert share.target_bytes("file") == CONTENT


async def test_nothing_goes_on_in_a_file_that_a_hung_write_may_still_reach(
    share: SimulatedShare, replica: Replica
) -> None:
    """Also when the client goes while the write hangs: then that is what ends the body."""
    upload = await opened(replica)
    hanging = hang(replica, "_write", calls_before=1, wakes=False)
    with pytest.raises(BodyBrokenOff):
        await send(replica, upload, 0, ListedBody([CONTENT[:30], CONTENT[30:60]], BodyBroken()))
    assert [(chunk.length, chunk.sealed) for chunk in (await manifest(replica, upload)).chunks] == [(30, False)]
    assert upload not in replica.service.kept._kept
    hanging.wake()
    await piece(replica, upload, 30, 200)
    assert share.target_bytes("file") == CONTENT


@pytest.mark.parametrize("before", [0, 50, 200], ids=["all of it", "the rest", "nothing"])
async def test_a_body_that_tells_by_its_end_how_long_the_upload_is_is_written_once(
    share: SimulatedShare, replica: Replica, before: int
) -> None:
    upload = await opened(replica, length=None)
    copied = calls_of(share, "copy")
    if before:
        await piece(replica, upload, 0, before)
    body = ListedBody([CONTENT[start : start + 50] for start in range(before, 200, 50)])
    done = await append(replica.service, upload, Append(before, closes=True), body)
    assert (done.offset, done.manifest.phase) == (200, Phase.PUBLISHED)
    assert copied() == 0
    assert replica.service.kept._kept == {}
    assert share.target_bytes("file") == CONTENT


async def test_an_empty_body_of_unknown_length_that_tells_the_uploads_needs_no_copy(
    share: SimulatedShare, replica: Replica
) -> None:
    upload = await opened(replica, length=None)
    copied = calls_of(share, "copy")
    await piece(replica, upload, 0, 200)
    done = await append(replica.service, upload, Append(200, length=200), ListedBody([]))
    assert done.manifest.phase is Phase.PUBLISHED
    assert copied() == 0
