"""One body on its way to being promised: steps 2 to 5 of the recipe in `append.py`.

Rules: two batches are in memory, no more; writing, and making durable, go on while the next one comes in. However it
ends, what arrived is committed if it may be. After an error of the share the staged file is left alone, because a fence
may yet promise it; where one of its calls hangs, it is not sealed either, because it may yet grow.
"""

import asyncio
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from storage_proxy.core import transitions
from storage_proxy.core.errors import (
    AppendSuperseded,
    BodyBrokenOff,
    BodyStalled,
    ChecksumMismatch,
    Draining,
    LengthExceeded,
    ShareStalled,
    SizeExceeded,
    StorageProxyError,
)
from storage_proxy.core.manifest import Chunk, Manifest, Order
from storage_proxy.core.target import Target
from storage_proxy.operations.commits import tell_commit
from storage_proxy.operations.kept_files import is_worth_keeping, may_be_kept
from storage_proxy.operations.relay import Relay
from storage_proxy.operations.service import Service, Volume
from storage_proxy.ports import Body, BodyBroken, BodyIdle, BodyStopped, Unread, total
from storage_proxy.store import digests
from storage_proxy.store.chunks import StagedChunk
from storage_proxy.store.manifests import Change
from storage_proxy.wire.checksums import Checksum

# What passes to a thread at a time: large enough that the hop does not show, small enough to stay in the cache.
BATCH_BYTES = 1 << 20

Batch = Sequence[bytes] | Unread

# A client that sends so much while a batch is received keeps its thread busy; more of them need no help to be so.
FAST_BYTES_MIN = 2 << 20
HELPED_APPENDS_MAX = 2


@dataclass(frozen=True, slots=True)
class Append:
    """What a request says about its body."""

    offset: int
    body_length: int | None = None
    length: int | None = None
    """the upload's length, where this request is the one to tell it"""
    checksum: Checksum | Callable[[], Checksum] | None = None
    """of the body; or who tells it when the body has ended, and may refuse to"""
    subdirectory: tuple[str, Target] | None = None
    closes: bool = False
    """the upload ends where this body ends, wherever that turns out to be"""
    progress: Callable[[int], None] | None = None
    """told the committed prefix at each checkpoint"""


class Reception:
    """Steps 2 to 5, for one body."""

    def __init__(
        self, service: Service, volume: Volume, manifest: Manifest, wanted: Append, body: Body, chunk: StagedChunk
    ) -> None:
        self.service = service
        self.volume = volume
        self.manifest = manifest
        self.wanted = wanted
        self.body = body
        self.chunk = chunk
        self.digest = digests.start(wanted.checksum.algorithm) if isinstance(wanted.checksum, Checksum) else None
        self.had = chunk.length
        """bytes of an earlier request, in whose file this one goes on"""
        self.taken = self.had
        """bytes of the file that were handed to the writer; `chunk.length` are those it has written"""
        self.durable = self.had
        """bytes of the file that a sync has covered"""
        self.good = chunk.snapshot(sealed=False)
        """what was written when no thread was at it any more"""
        self.kept = False
        """whether the next request may go on in this file"""
        self.writer_receives = False
        """whether the batch that is being written is received by its writer: then the next has to wait for it"""
        self.counted = 0
        """this append's part of the process's undurable bytes"""
        self.checkpoint_at = service.clock.monotonic()
        self.writing: asyncio.Task[None] | None = None
        self.committing: asyncio.Task[None] | None = None

    @classmethod
    async def begin(cls, service: Service, manifest: Manifest, wanted: Append, body: Body) -> "Reception":
        upload = manifest.upload
        volume = service.volume(upload)
        # A body that may yet be thrown away as a whole needs a file of its own.
        chunk = service.kept.take_if_good(manifest, wanted.offset) if wanted.checksum is None else None
        if chunk is None:
            chunk = await volume.run(partial(volume.chunks.stage, upload.key, wanted.offset, manifest.declared))
        return cls(service, volume, manifest, wanted, body, chunk)

    async def run(self) -> Manifest:
        try:
            error = await self._receive_all()
            await self._conclude(error)
            return self.manifest
        finally:
            self.service.undurable.add(-self.counted)
            if self.kept:
                self.service.kept.keep(self.manifest.upload, self.volume, self.chunk)
            else:
                self.volume.workers.abandon(self.chunk.close)

    # ---- 3. receive -------------------------------------------------------------------------------------------------

    async def _receive_all(self) -> Exception | None:
        """Receive until the body ends, or something else ends it; then nothing is in flight any more."""
        ended: Exception | None = None
        for stage in (self._receive, self._written, self._committed):
            try:
                await stage()
            except (StorageProxyError, BodyBroken, BodyIdle, BodyStopped) as error:
                ended = ended or error
                # Whatever else has ended the body: what a call that hangs has in hand is still to come.
                self.chunk.given_up = self.chunk.given_up or isinstance(error, ShareStalled)
        return ended

    async def _receive(self) -> None:
        reading = self._read_more()
        try:
            while True:
                await self._wait_for_news(reading)
                if reading.done():
                    batch = reading.result()
                    if not batch:
                        return
                    await self._take(batch)
                    reading = self._read_more()
                    # Or it would live on in this frame until the next one has come, which may take seconds.
                    del batch
                if self._checkpoint_is_due():
                    await self._checkpoint()
        finally:
            reading.cancel()

    async def _wait_for_news(self, reading: "asyncio.Task[Batch]") -> None:
        """Until there are bytes, a checkpoint is due, or one has ended: what it found may end the append; or until a
        writer that receives for itself tells how much there was: less than all may be due for a checkpoint."""
        receiving = self.writing if self.writer_receives else None
        awaited: list[asyncio.Task[Any]] = [reading]
        awaited += [task for task in (self.committing, receiving) if task is not None]
        await asyncio.wait(awaited, timeout=self._seconds_to_checkpoint(), return_when=asyncio.FIRST_COMPLETED)
        if receiving is not None and receiving.done():
            await self._written()
        if self.committing is not None and self.committing.done():
            await self._committed()

    def _read_more(self) -> "asyncio.Task[Batch]":
        # Looked up now: by the time that the task begins, a checkpoint may be waiting for the writer already.
        return asyncio.ensure_future(self._next_batch(self.writing if self.writer_receives else None))

    async def _next_batch(self, receiving: "asyncio.Task[None] | None") -> Batch:
        if receiving is not None:
            await asyncio.wait([receiving])
        return await self.body.batch(BATCH_BYTES, self.service.limits.checkpoint_seconds)

    async def _take(self, batch: Batch) -> None:
        """Hand the bytes to the writer, once it is through with the last ones: two batches are in memory, no more."""
        self.writer_receives = not isinstance(batch, Sequence)
        count = total(batch) if isinstance(batch, Sequence) else batch.count
        # First: a writer that receives for itself may have got less than there seemed to be, and what is left of it is
        # counted in this batch once more.
        await self._written()
        if self._enough_for_a_checkpoint:
            # Now, and not behind these bytes: a writer that receives for itself stops where a checkpoint is due.
            await self._checkpoint()
        self._require_room(self.chunk.offset + self.taken + count)
        self.taken += count
        self._count(count)
        self.writing = asyncio.ensure_future(self.volume.run(self._writer(batch)))

    def _require_room(self, reached: int) -> None:
        length = self.manifest.length
        if length is not None and reached > length:
            raise LengthExceeded(length=length, reached=reached)
        if reached > self.service.limits.upload_bytes_max:
            raise SizeExceeded(size=reached, size_max=self.service.limits.upload_bytes_max)

    def _writer(self, batch: Batch) -> Callable[[], None]:
        if isinstance(batch, Sequence):
            return partial(self._write, batch)
        relay = Relay(batch.received(self._bytes_to_checkpoint(batch)), (self.chunk.write_unhashed, self._hash))
        helped = self.chunk.fast and self.service.appends <= HELPED_APPENDS_MAX
        return partial(self.volume.workers.side_by_side, relay.run, relay.help) if helped else relay.run

    def _bytes_to_checkpoint(self, batch: Unread) -> int:
        if self.service.undurable.exceeded:
            return 0
        return self.service.limits.checkpoint_bytes - (self.taken - batch.count - self.durable)

    def _write(self, buffers: Sequence[bytes]) -> None:
        self.chunk.write_unhashed(buffers)
        self._hash(buffers)

    def _hash(self, buffers: Sequence[bytes]) -> None:
        self.chunk.hash(buffers)
        if self.digest is not None:
            for buffer in buffers:
                self.digest.update(buffer)

    async def _written(self) -> None:
        if self.writing is not None:
            writing, self.writing = self.writing, None
            await writing
            self.good = self.chunk.snapshot(sealed=False)
            # A writer that receives for itself may have got more, or less, than there had been.
            more = self.chunk.length - self.taken
            self._count(more)
            self.taken += more
            self.chunk.fast = more >= FAST_BYTES_MIN

    def _count(self, count: int) -> None:
        self.counted += count
        self.service.undurable.add(count)

    # ---- 4. checkpoint ----------------------------------------------------------------------------------------------

    @property
    def _nothing_falls_due(self) -> bool:
        """Whatever the time: until there is news, nobody need look again."""
        if self.taken == self.durable or self.taken - self.had == self.wanted.body_length:
            return True
        # The last byte is there, the body's end is not: too long a body must still be refused as a whole.
        return self.chunk.offset + self.taken == self.manifest.length

    @property
    def _enough_for_a_checkpoint(self) -> bool:
        return self.taken - self.durable >= self.service.limits.checkpoint_bytes

    def _seconds_to_checkpoint(self) -> float | None:
        if self._nothing_falls_due:
            return None
        due = self.checkpoint_at + self.service.limits.checkpoint_seconds
        return max(0.0, due - self.service.clock.monotonic())

    def _checkpoint_is_due(self) -> bool:
        if self._nothing_falls_due:
            return False
        return self._enough_for_a_checkpoint or self.service.undurable.exceeded or self._seconds_to_checkpoint() == 0.0

    async def _checkpoint(self) -> None:
        """Start to make durable what has been written; the body goes on meanwhile."""
        await self._committed()
        await self._written()
        if not self._checkpoint_is_due():
            # The writer has received all of the rest meanwhile.
            return
        self.checkpoint_at = self.service.clock.monotonic()
        record = self.chunk.snapshot(sealed=False)
        self.durable = record.length
        work = self._sync if self.wanted.checksum is not None else self._commit_part
        self.committing = asyncio.ensure_future(work(record))

    async def _committed(self) -> None:
        if self.committing is not None:
            committing, self.committing = self.committing, None
            await committing

    async def _sync(self, record: Chunk) -> None:
        """A body with a checksum is promised as a whole or not at all, but its bytes need not wait in memory."""
        await self.volume.run(self.chunk.sync)
        self._count(record.length - self.taken - self.counted)

    async def _commit_part(self, record: Chunk) -> None:
        change = await self._commit(record)
        if change.before is change.after and change.after.order is Order.SEQUENTIAL:
            # These bytes are promised already, by a newer append: this one's connection was given up by its client.
            raise AppendSuperseded(prefix=change.after.prefix)
        if self.wanted.progress is not None:
            self.wanted.progress(change.after.prefix)

    async def _commit(self, record: Chunk) -> Change:
        upload = self.manifest.upload
        # Of an upload that many write to at once, the manifest seen last is hardly ever the newest.
        seen = self.manifest if self.manifest.order is Order.SEQUENTIAL else None
        began, promised = self.service.clock.monotonic(), self.chunk.promised
        promise = partial(self.volume.chunks.promise_on, upload.key, self.chunk, record, self.service.stamp(), seen)
        if self.manifest.order is Order.ANY:
            # Many write to it at once: nobody's turn need wait for another one's bytes.
            await self.volume.run(self.chunk.sync)
        change: Change | None = None
        while change is None:
            # In steps: where there is much to compare, others get their turn in between.
            async with self.service.turn(upload):
                change = await self.volume.run(promise)
        self.manifest = change.after
        # What was taken since the snapshot is still undurable; all before it no longer is.
        self._count((self.taken - record.length) - self.counted)
        tell_commit(self.service, record, change, record.length - promised, self.service.clock.monotonic() - began)
        return change

    # ---- 5. conclude ------------------------------------------------------------------------------------------------

    async def _conclude(self, error: Exception | None) -> None:
        """Commit what arrived; of a body with a checksum only the whole of it, and only if it is right."""
        if isinstance(error, transitions.SAID_NO):
            await self._discard()
            raise error
        if self.wanted.checksum is not None:
            refused = self._as_answer(error) if error is not None else await self._verify(self.wanted.checksum)
            if refused is not None:
                await self._discard()
                raise refused
        if self._record(sealed=False).length == self.had:
            self.kept = self.had > 0 and self.chunk.clean and not isinstance(error, StorageProxyError)
            if not self.kept:
                await self._discard()
        elif not isinstance(error, StorageProxyError):
            # Where the upload ends with this body, nothing will go on in its file.
            goes_on = self.wanted.checksum is None and not self.wanted.closes
            await self._commit_last(keep=goes_on and self.service.kept.has_room())
        else:
            await self._save_the_good_part(error)
        if error is not None:
            raise self._as_answer(error)

    async def _commit_last(self, *, keep: bool) -> None:
        record = self._record(sealed=not (keep and is_worth_keeping(self.manifest, self.chunk)))
        try:
            change = await self._commit(record)
        except transitions.SAID_NO:
            await self._discard()
            raise
        self.kept = keep and may_be_kept(change.after, self.chunk)
        if record.file not in change.after.files:
            await self._discard()

    def _record(self, *, sealed: bool) -> Chunk:
        """Of what was written; where a thread may be at it still, of what had been before, and never sealed."""
        return self.good if self.chunk.given_up else self.chunk.snapshot(sealed=sealed)

    async def _save_the_good_part(self, error: StorageProxyError) -> None:
        """A commit failed on the way, and is worth one more try, whose failure says no more. After a write or a sync
        that failed there is nothing to be tried: that file is never synced again."""
        try:
            await self._commit_last(keep=False)
        except StorageProxyError as again:
            raise error from again

    def _as_answer(self, error: Exception) -> StorageProxyError:
        committed = self.manifest.prefix
        match error:
            case StorageProxyError():
                return error
            case BodyIdle():
                return BodyStalled(idle_seconds=error.seconds, committed=committed)
            case BodyStopped():
                return Draining()
            case _:
                return BodyBrokenOff(committed=committed)

    async def _verify(self, declared: Checksum | Callable[[], Checksum]) -> StorageProxyError | None:
        """Why the body is refused, now that all of it is here."""
        try:
            checksum = declared if isinstance(declared, Checksum) else declared()
            computed = await self._computed(checksum.algorithm)
        except StorageProxyError as error:
            return error
        if hmac.compare_digest(computed, checksum.digest):
            return None
        return ChecksumMismatch(checksum.algorithm, declared=checksum.digest.hex(), computed=computed.hex())

    async def _computed(self, algorithm: str) -> bytes:
        if self.digest is not None:
            return self.digest.digest()
        if algorithm == "sha256":
            return bytes.fromhex(self.good.sha256)
        # Which one it is was told behind the body: but for the one that is always computed, the file is read again.
        digest, through = digests.start(algorithm), 0
        while through < self.chunk.length:
            step = partial(self.volume.chunks.hash_on, self.manifest.upload.key, self.chunk, digest, through)
            through = await self.volume.run(step)
        return digest.digest()

    async def _discard(self) -> None:
        """Remove the staged file, unless a manifest has promised it."""
        await self.volume.run(partial(self.volume.chunks.discard, self.manifest.upload.key, self.chunk))
