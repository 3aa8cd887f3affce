"""What an append does besides its bytes: checkpoints, bounds, takeover, endings. (What dies when: `simulation`.)"""

import asyncio
import hashlib
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import pytest

from storage_proxy.core.errors import (
    AppendsExhausted,
    AppendSuperseded,
    BodyBrokenOff,
    BodyStalled,
    ChecksumMismatch,
    ChunkConflict,
    Draining,
    LengthExceeded,
    ShareStalled,
    StorageProxyError,
)
from storage_proxy.core.events import ChunkCommitted, ChunkDiscarded
from storage_proxy.core.manifest import SHA_256, Digest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.append import append
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.describe import look_up
from storage_proxy.operations.reception import Append
from storage_proxy.ports import Body, BodyBroken, BodyIdle, BodyStopped, Unread
from storage_proxy.store import chunks, layout
from storage_proxy.store.chunks import StagedChunk
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import SMALL, VOLUME, ListedBody, Replica
from storage_proxy.testing.system import InlineWorkers
from storage_proxy.wire.checksums import Checksum

T = TypeVar("T")

CONTENT = bytes(range(200))

# Only a test that is going to fail ever waits so long.
PATIENCE_SECONDS = 5.0


class SteeredBody:
    """A body whose batches a test hands over one by one."""

    def __init__(self) -> None:
        self.batches: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    def at_hand(self, size_max: int) -> None:
        return None

    async def batch(self, size: int, seconds: float) -> Sequence[bytes]:
        piece = await self.batches.get()
        if isinstance(piece, Exception):
            raise piece
        return [piece] if piece else []


class Unhurried:
    """What seemed to be there, and what came when it was received: more of it, or less."""

    def __init__(self, count: int, pieces: Sequence[bytes]) -> None:
        self.count = count
        self._pieces = pieces

    def received(self, most: int) -> Generator[Sequence[bytes], None, None]:
        for piece in self._pieces:
            yield (piece,)


class UnreadBody:
    """A body that the thread which writes it receives."""

    def __init__(self, *batches: Unhurried) -> None:
        self._batches = list(batches)

    def at_hand(self, size_max: int) -> None:
        return None

    async def batch(self, size: int, seconds: float) -> Sequence[bytes] | Unread:
        return self._batches.pop(0) if self._batches else []


class _Watched(list[bytes]):
    """A batch of which can be told whether anybody holds it still."""


class ForgottenBody:
    """A body whose second batch comes when nobody holds the first one any more."""

    def __init__(self) -> None:
        self._first: weakref.ref[_Watched] | None = None
        self._forgotten = asyncio.Event()

    def at_hand(self, size_max: int) -> None:
        return None

    async def batch(self, size: int, seconds: float) -> Sequence[bytes]:
        if self._first is None:
            batch = _Watched([CONTENT])
            self._first = weakref.ref(batch, lambda _: self._forgotten.set())
            return batch
        await self._forgotten.wait()
        return []


async def opened(replica: Replica, order: Order = Order.SEQUENTIAL, length: int | None = len(CONTENT)) -> UploadId:
    upload = new_upload_id(replica.service, VOLUME)
    await create(replica.service, upload, Wanted(Target(VOLUME, "file"), length, order, Policy.KEEP_BOTH))
    return upload


async def send(replica: Replica, upload: UploadId, offset: int, body: Body, **more: object) -> int:
    return (await append(replica.service, upload, Append(offset, **more), body)).offset  # type: ignore[arg-type]


class Hanging(InlineWorkers):
    """Of a mount that hangs at one call: that is given up on, and comes true when the mount wakes."""

    def __init__(self, name: str, calls_before: int, wakes: bool) -> None:
        self._name = name
        self._calls_before = calls_before
        self._wakes = wakes
        self._late: list[Callable[[], object]] = []

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        if self._wakes:
            self.wake()
        if getattr(getattr(work, "func", None), "__name__", "") == self._name:
            self._calls_before -= 1
            if self._calls_before == -1:
                self._late.append(work)
                raise ShareStalled(volume=VOLUME, seconds=seconds)
        return await super().run(work, seconds)

    def wake(self) -> None:
        while self._late:
            with suppress(StorageProxyError):
                self._late.pop()()


def hang(replica: Replica, name: str, calls_before: int = 0, *, wakes: bool) -> Hanging:
    """At the call after so many of this function; `wakes`: as soon as there is another call."""
    workers = Hanging(name, calls_before, wakes)
    replica.service.volumes = {VOLUME: replace(replica.volume, workers=workers)}
    return workers


async def until(come: Callable[[], bool]) -> None:
    """Nothing here takes time: what is to come has come after a few turns of the event loop."""
    for _ in range(1000):
        if come():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


def data_files(share: SimulatedShare) -> list[str]:
    names = (path.rpartition("/")[2] for path in share.tree())
    return [name for name in names if layout.kind_of(name) in (layout.Kind.CHUNK, layout.Kind.ASSEMBLY)]


def committed(replica: Replica) -> list[tuple[int, bool]]:
    return [(event.length, event.sealed) for event in replica.listener.events if isinstance(event, ChunkCommitted)]


@pytest.fixture
def share() -> SimulatedShare:
    return SimulatedShare()


@pytest.fixture
def replica(share: SimulatedShare) -> Replica:
    return Replica(share, "one")


async def test_a_checkpoint_is_seen_by_another_replica_while_the_body_goes_on(
    share: SimulatedShare, replica: Replica
) -> None:
    other = Replica(share, "other")
    upload, body = await opened(replica), SteeredBody()
    sending = asyncio.ensure_future(send(replica, upload, 0, body))
    for start in (0, 70, 140):
        await body.batches.put(CONTENT[start : start + 70])
    await until(lambda: len(committed(replica)) >= 2)
    assert (await look_up(other.service, upload)).prefix >= 70
    await body.batches.put(b"")
    assert await sending == len(CONTENT)
    assert share.target_bytes("file") == CONTENT


async def test_time_alone_makes_a_checkpoint_of_a_trickle(share: SimulatedShare, replica: Replica) -> None:
    upload, body = await opened(replica), SteeredBody()
    sending = asyncio.ensure_future(send(replica, upload, 0, body))
    await body.batches.put(b"\x00")
    await until(lambda: data_files(share) != [])
    assert not committed(replica)
    replica.clock.advance(SMALL.checkpoint_seconds)
    await body.batches.put(b"\x01")
    await until(lambda: bool(committed(replica)))
    assert (await look_up(replica.service, upload)).prefix >= 1
    await body.batches.put(BodyBroken())
    with pytest.raises(BodyBrokenOff):
        await sending


@pytest.mark.parametrize(
    ("ending", "error"), [(BodyBroken(), BodyBrokenOff), (BodyIdle(30), BodyStalled), (BodyStopped(), Draining)]
)
async def test_what_arrived_is_kept_however_the_body_ends(
    replica: Replica, ending: Exception, error: type[Exception]
) -> None:
    upload = await opened(replica)
    with pytest.raises(error):
        await send(replica, upload, 0, ListedBody([CONTENT[:30]], ending))
    assert (await look_up(replica.service, upload)).prefix == 30


async def test_undurable_bytes_of_the_process_are_bounded_by_early_checkpoints(share: SimulatedShare) -> None:
    limits = replace(SMALL, checkpoint_bytes=1 << 30, undurable_bytes_max=25)
    replica = Replica(share, "one", limits=limits)
    upload = await opened(replica)
    await send(replica, upload, 0, ListedBody([CONTENT[start : start + 20] for start in range(0, 200, 20)]))
    assert len(committed(replica)) > 3
    assert replica.service.undurable.held == 0


async def test_bytes_of_an_append_that_failed_are_no_longer_counted(replica: Replica) -> None:
    upload = await opened(replica)
    with pytest.raises(LengthExceeded):
        await send(replica, upload, 0, ListedBody([CONTENT, b"too much"]))
    assert replica.service.undurable.held == 0
    assert replica.service.appends == 0


async def test_too_long_a_body_is_refused_as_a_whole_and_leaves_nothing(
    share: SimulatedShare, replica: Replica
) -> None:
    upload = await opened(replica)
    with pytest.raises(LengthExceeded):
        await send(replica, upload, 0, ListedBody([CONTENT, b"x"]))
    assert (await look_up(replica.service, upload)).prefix == 0
    assert data_files(share) == []


async def test_a_replica_takes_no_more_bodies_than_its_limit(share: SimulatedShare) -> None:
    replica = Replica(share, "one", limits=replace(SMALL, appends_max=1))
    first, second = await opened(replica), await opened(replica)
    body = SteeredBody()
    sending = asyncio.ensure_future(send(replica, first, 0, body))
    await until(lambda: replica.service.appends > 0)
    with pytest.raises(AppendsExhausted):
        await send(replica, second, 0, ListedBody([CONTENT]))
    await body.batches.put(BodyBroken())
    with pytest.raises(BodyBrokenOff):
        await sending
    assert await send(replica, second, 0, ListedBody([CONTENT])) == len(CONTENT)


async def test_a_newer_append_is_taken_at_once_and_the_older_one_ends_at_its_next_checkpoint(
    share: SimulatedShare, replica: Replica
) -> None:
    other = Replica(share, "other")
    upload, hung = await opened(replica), SteeredBody()
    older = asyncio.ensure_future(send(replica, upload, 0, hung))
    await hung.batches.put(CONTENT[:70])
    await until(lambda: bool(committed(replica)))
    with pytest.raises(BodyBrokenOff):
        await send(other, upload, 70, ListedBody([CONTENT[70:150]], BodyBroken()))
    await hung.batches.put(CONTENT[70:140])
    with pytest.raises(AppendSuperseded):
        await older
    assert (await look_up(other.service, upload)).prefix == 150


async def test_bytes_in_any_order_become_durable_before_their_turn_to_be_promised(
    share: SimulatedShare, replica: Replica
) -> None:
    """Many write to such an upload at once, and would wait for each other's bytes."""
    upload, called = await opened(replica, Order.ANY), list[str]()
    share.before_call = lambda replica, operation, paths: called.append(operation)
    async with replica.service.turn(upload):
        sending = asyncio.ensure_future(send(replica, upload, 0, ListedBody([CONTENT])))
        await until(lambda: "staged.sync" in called)
    assert await sending == len(CONTENT)


async def test_a_checksum_is_all_or_nothing(share: SimulatedShare, replica: Replica) -> None:
    upload = await opened(replica)
    right, wrong = hashlib.sha1(CONTENT).digest(), hashlib.sha1(b"other").digest()  # noqa: S324 - the wire's own
    with pytest.raises(ChecksumMismatch):
        await send(replica, upload, 0, ListedBody([CONTENT]), checksum=Checksum("sha1", wrong))
    with pytest.raises(BodyBrokenOff):
        await send(replica, upload, 0, ListedBody([CONTENT[:150]], BodyBroken()), checksum=Checksum("sha1", right))
    assert (await look_up(replica.service, upload)).prefix == 0
    assert data_files(share) == []
    assert await send(replica, upload, 0, ListedBody([CONTENT]), checksum=Checksum("sha1", right)) == len(CONTENT)
    assert share.target_bytes("file") == CONTENT


async def test_other_bytes_are_refused_and_the_same_ones_are_a_success(share: SimulatedShare, replica: Replica) -> None:
    upload = await opened(replica, Order.ANY)
    await send(replica, upload, 50, ListedBody([CONTENT[50:100]]))
    with pytest.raises(ChunkConflict) as refused:
        await send(replica, upload, 60, ListedBody([b"?" * 20]))
    assert (refused.value.start, refused.value.prefix) == (60, 0)
    files = data_files(share)
    await send(replica, upload, 50, ListedBody([CONTENT[50:100]]))
    await send(replica, upload, 60, ListedBody([CONTENT[60:80]]))
    assert data_files(share) == files
    assert sum(isinstance(event, ChunkDiscarded) for event in replica.listener.events) == 2


async def test_a_late_duplicate_of_a_published_upload_is_compared_with_its_file(
    share: SimulatedShare, replica: Replica
) -> None:
    upload = await opened(replica, Order.ANY)
    await send(replica, upload, 0, ListedBody([CONTENT]))
    assert await send(replica, upload, 50, ListedBody([CONTENT[50:60]])) == 60
    with pytest.raises(ChunkConflict):
        await send(replica, upload, 50, ListedBody([b"?" * 10]))
    share.unplant("file")
    with pytest.raises(ChunkConflict):
        await send(replica, upload, 50, ListedBody([CONTENT[50:60]]))


async def test_an_empty_append_may_declare_the_length_and_so_finish_the_upload(
    share: SimulatedShare, replica: Replica
) -> None:
    upload = await opened(replica, length=None)
    await send(replica, upload, 0, ListedBody([CONTENT]))
    done = await append(
        replica.service, upload, Append(len(CONTENT), body_length=0, length=len(CONTENT)), ListedBody([])
    )
    assert done.manifest.phase is Phase.PUBLISHED
    assert share.target_bytes("file") == CONTENT


async def test_a_draining_replica_takes_no_new_body(replica: Replica) -> None:
    upload = await opened(replica)
    replica.service.draining.set()
    with pytest.raises(Draining):
        await send(replica, upload, 0, ListedBody([CONTENT]))


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_a_body_whose_checksum_comes_last_is_promised_as_a_whole_or_not_at_all(
    replica: Replica, algorithm: str
) -> None:
    """Also when it is so long that others would have been committed on the way."""
    upload = await opened(replica)
    batches = [CONTENT[start : start + 50] for start in range(0, len(CONTENT), 50)]
    asked: list[int] = []

    def told(content: bytes) -> Callable[[], Checksum]:
        def tell() -> Checksum:
            asked.append((replica.volume.manifests.read(upload.key)).prefix)
            return Checksum(algorithm, hashlib.new(algorithm, content).digest())

        return tell

    for content, refused in ((CONTENT[::-1], True), (CONTENT, False)):
        sending = append(replica.service, upload, Append(0, checksum=told(content)), ListedBody(batches))
        if refused:
            with pytest.raises(ChecksumMismatch):
                await sending
            assert (await replica.service.read(upload)).prefix == 0
        else:
            assert (await sending).manifest.phase is Phase.PUBLISHED
    assert asked == [0, 0], "nothing is promised before"


async def test_what_has_been_written_is_not_held_until_the_next_bytes_come(replica: Replica) -> None:
    upload = await opened(replica)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await send(replica, upload, 0, ForgottenBody()) == len(CONTENT)


@pytest.mark.parametrize("first", [150, 40, 100], ids=["more than there was", "less than there was", "just that"])
async def test_what_a_writer_receives_counts_and_not_what_seemed_to_be_there(first: int) -> None:
    # A checkpoint on the way would look again by itself.
    replica = Replica(SimulatedShare(), "one", limits=replace(SMALL, checkpoint_bytes=1 << 20))
    upload = await opened(replica)
    rest = len(CONTENT) - first
    # Of what was told of the first batch and did not come, the second one tells again.
    body = UnreadBody(Unhurried(100, [CONTENT[:first]]), Unhurried(rest, [CONTENT[first:]]))
    assert await send(replica, upload, 0, body, body_length=len(CONTENT)) == len(CONTENT)
    assert (await replica.service.read(upload)).phase is Phase.PUBLISHED
    assert replica.service.undurable.held == 0


async def test_less_than_seemed_to_be_there_is_committed_in_time_though_all_had_seemed_to_be() -> None:
    """The kernel had woken us too early; from then on nothing comes."""
    replica = Replica(SimulatedShare(), "one", limits=replace(SMALL, checkpoint_bytes=40))
    upload, silent = await opened(replica), asyncio.Event()

    class Quiet(UnreadBody):
        async def batch(self, size: int, seconds: float) -> Sequence[bytes] | Unread:
            if not self._batches:
                await silent.wait()
            return await super().batch(size, seconds)

    body = Quiet(Unhurried(len(CONTENT), [CONTENT[:40]]))
    sending = asyncio.ensure_future(send(replica, upload, 0, body, body_length=len(CONTENT)))
    await until(lambda: committed(replica) == [(40, False)])
    silent.set()
    assert await sending == 40


@pytest.mark.parametrize(
    ("length", "body_length"),
    [(len(CONTENT), None), (None, len(CONTENT))],
    ids=["the upload's last byte", "the body's"],
)
async def test_nobody_looks_at_the_clock_while_only_the_end_of_the_body_is_missing(
    replica: Replica, monkeypatch: pytest.MonkeyPatch, length: int | None, body_length: int | None
) -> None:
    """Its checkpoint would be due, and is not to be made: looking again and again would burn the event loop."""
    upload, body = await opened(replica, length=length), SteeredBody()
    sending = asyncio.ensure_future(send(replica, upload, 0, body, body_length=body_length))
    await body.batches.put(CONTENT[:30])
    await until(lambda: replica.service.undurable.received == 30)
    replica.clock.advance(SMALL.checkpoint_seconds)
    await body.batches.put(CONTENT[30:])
    await until(lambda: replica.service.undurable.received == len(CONTENT))
    looks, monotonic = 0, replica.clock.monotonic

    def look() -> float:
        nonlocal looks
        looks += 1
        return monotonic()

    monkeypatch.setattr(replica.clock, "monotonic", look)
    for _ in range(100):
        await asyncio.sleep(0)
    assert looks == 0
    await body.batches.put(b"")
    assert await sending == len(CONTENT)
    assert not committed(replica)[:-1]


async def test_a_file_that_a_hung_write_may_still_reach_is_not_sealed(share: SimulatedShare, replica: Replica) -> None:
    """The write is given up on; its thread, and the commit behind it, go on when the mount wakes."""
    declared = (Digest(SHA_256, hashlib.sha256(CONTENT).hexdigest()),)
    upload = new_upload_id(replica.service, VOLUME)
    wanted = Wanted(Target(VOLUME, "file"), len(CONTENT), Order.SEQUENTIAL, Policy.REFUSE, declared=declared)
    await create(replica.service, upload, wanted)
    hang(replica, "_write", calls_before=1, wakes=True)
    with pytest.raises(ShareStalled):
        await send(replica, upload, 0, ListedBody([CONTENT[:30], CONTENT[30:60], CONTENT[60:90]]))
    await replica.rest()
    (chunk,) = (await look_up(replica.service, upload)).chunks
    (staged,) = [content for path, content in share.tree().items() if path.endswith(chunk.file)]
    assert len(staged) == 60, "the write was to come true in the end"
    assert (chunk.length, chunk.sha256, chunk.sealed) == (30, hashlib.sha256(CONTENT[:30]).hexdigest(), False)
    await send(replica, upload, 30, ListedBody([CONTENT[30:]]))
    assert (await replica.service.read(upload)).phase is Phase.PUBLISHED
    assert share.target_bytes("file") == CONTENT


async def test_what_a_hung_write_has_hashed_already_is_in_no_record(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its deadline passes when its bytes are in the file and in the hash, and not yet counted."""
    upload, in_time = await opened(replica), StagedChunk.hash

    def hash_late(chunk: StagedChunk, buffers: Sequence[bytes]) -> None:
        length, count = chunk.length, sum(map(len, buffers))
        in_time(chunk, buffers)
        if length:
            chunk.length -= count
            raise ShareStalled(volume=VOLUME, seconds=40.0)

    monkeypatch.setattr(StagedChunk, "hash", hash_late)
    with pytest.raises(ShareStalled):
        await send(replica, upload, 0, ListedBody([CONTENT[:30], CONTENT[30:60]]))
    (chunk,) = (await look_up(replica.service, upload)).chunks
    assert (chunk.length, chunk.sha256, chunk.sealed) == (30, hashlib.sha256(CONTENT[:30]).hexdigest(), False)


class CountingReads(InlineWorkers):
    """How many reads of the share are made, and how many by one call, which has a deadline."""

    def __init__(self, share: SimulatedShare) -> None:
        self.reads, self.most = 0, 0
        share.before_call = self._count

    def _count(self, replica: str, operation: str, paths: tuple[str, ...]) -> None:
        self.reads += operation == "read_at"

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        before = self.reads
        try:
            return await super().run(work, seconds)
        finally:
            self.most = max(self.most, self.reads - before)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "PIECE", 10)
    monkeypatch.setattr(chunks, "STEP_BYTES_MAX", 30)


def counting_reads(share: SimulatedShare, replica: Replica) -> CountingReads:
    workers = CountingReads(share)
    replica.service.volumes = {VOLUME: replace(replica.volume, workers=workers)}
    return workers


@pytest.mark.usefixtures("small_steps")
async def test_a_body_is_read_again_for_its_checksum_in_bounded_steps(share: SimulatedShare, replica: Replica) -> None:
    upload, reading = await opened(replica), counting_reads(share, replica)
    told = Checksum("sha1", hashlib.sha1(CONTENT).digest())  # noqa: S324 - the wire's own
    assert await send(replica, upload, 0, ListedBody([CONTENT]), checksum=lambda: told) == len(CONTENT)
    assert (reading.reads, reading.most) == (20, 3)
    assert share.target_bytes("file") == CONTENT


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("differs", [False, True], ids=["the same bytes", "others at the end"])
async def test_what_is_there_already_is_compared_in_bounded_steps(share: SimulatedShare, differs: bool) -> None:
    # Each checkpoint would be a commit of its own.
    replica = Replica(share, "one", limits=replace(SMALL, checkpoint_bytes=1 << 20))
    upload = await opened(replica, Order.ANY)
    for start in (50, 100):
        await send(replica, upload, start, ListedBody([CONTENT[start : start + 50]]))
    reading = counting_reads(share, replica)
    if differs:
        with pytest.raises(ChunkConflict) as refused:
            await send(replica, upload, 0, ListedBody([CONTENT[:149] + b"?" + CONTENT[150:]]))
        assert (refused.value.start, refused.value.end) == (140, 150)
    else:
        await send(replica, upload, 0, ListedBody([CONTENT]))
        assert share.target_bytes("file") == CONTENT
    assert (reading.reads, reading.most) == (20, 6), "of both sides"
