"""A body that came along with its request becomes promised bytes, and its file, in one trip to a thread.

The recipe is that of `append.py`, step for step; but nothing in it has to wait for the network, so all of it is one
piece of blocking work: read, admit, stage, write, promise, publish. Small uploads live from this: seven trips between
the event loop and threads, and the fight for the interpreter that goes with them, cost more than the work itself.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from storage_proxy.core import transitions
from storage_proxy.core.errors import NotYetPublished, ShareStalled, StorageProxyError
from storage_proxy.core.manifest import Chunk, Manifest, Order, Phase, UploadId
from storage_proxy.core.transitions import Stamp
from storage_proxy.operations.commits import tell_commit
from storage_proxy.operations.finish import carry_on, go_on, require_published, tell_published
from storage_proxy.operations.kept_files import is_worth_keeping, may_be_kept, may_go_on
from storage_proxy.operations.service import Service, Volume
from storage_proxy.ports import total
from storage_proxy.store.chunks import StagedChunk
from storage_proxy.store.manifests import Change

# More than this does not wait in a request's buffers; see `read_bufsize` in `server/requests.py`.
AT_HAND_BYTES_MAX = 512 << 10


@dataclass(frozen=True, slots=True)
class _Done:
    record: Chunk
    change: Change
    kept: StagedChunk | None
    """open still: the next request may go on in it"""
    published: Change | None
    """how publishing ended, where the commit had announced it and nothing stood in its way"""


async def append_at_hand(service: Service, upload: UploadId, offset: int, pieces: Sequence[bytes]) -> Manifest:
    volume = service.volume(upload)
    count, began = total(pieces), service.clock.monotonic()
    with service.receiving(upload, offset) as receiving, service.undurable.holding(count):
        receiving.received = count
        kept = service.kept.take(upload, offset)
        keep = service.kept.has_room()
        size_max = service.limits.upload_bytes_max
        work = partial(_work, volume, upload, offset, pieces, size_max, service.stamp(), kept, keep=keep)
        done: _Done | None = None
        abandoned = False
        try:
            async with service.turn(upload):
                done = await volume.run(work)
        except NotYetPublished:
            carry_on(service, upload)
            raise
        except (ShareStalled, asyncio.CancelledError):
            abandoned = True
            raise
        finally:
            if done is not None and done.kept is not None:
                service.kept.keep(upload, volume, done.kept)
            elif kept is not None and abandoned:
                # A thread may still be at it, or come to it: nobody can say what the file will be.
                volume.workers.abandon(kept.close)
            elif kept is not None:
                service.kept.release(upload, volume, kept)
    manifest = done.change.after
    tell_commit(service, done.record, done.change, count, service.clock.monotonic() - began)
    if done.published is not None:
        return require_published(tell_published(service, done.published, manifest.changed_at))
    return await go_on(service, manifest)


# ---- in a thread -----------------------------------------------------------------------------------------------------


def _work(
    volume: Volume,
    upload: UploadId,
    offset: int,
    pieces: Sequence[bytes],
    size_max: int,
    stamp: Stamp,
    kept: StagedChunk | None,
    *,
    keep: bool,
) -> _Done:
    manifest = volume.manifests.read(upload.key)
    transitions.admit(manifest, offset, total(pieces), size_max, any_order=manifest.order is Order.ANY)
    going_on = kept is not None and may_go_on(manifest, kept)
    staged = kept if kept is not None and going_on else volume.chunks.stage(upload.key, offset, manifest.declared)
    stays = False
    try:
        record, change = _promise(volume, manifest, staged, pieces, stamp, keep=keep)
        stays = keep and may_be_kept(change.after, staged)
    finally:
        if not stays:
            staged.close()
    return _Done(record, change, staged if stays else None, _published(volume, change, stamp))


def _promise(
    volume: Volume, manifest: Manifest, staged: StagedChunk, pieces: Sequence[bytes], stamp: Stamp, *, keep: bool
) -> tuple[Chunk, Change]:
    key = manifest.upload.key
    try:
        staged.write(pieces)
        record = staged.snapshot(sealed=not (keep and is_worth_keeping(manifest, staged)))
        change = volume.chunks.promise(key, staged, record, stamp, manifest)
    except StorageProxyError:
        # All or nothing, so nothing; where a fence may yet promise the file, it stays.
        _discard_if_possible(volume, key, staged)
        raise
    if record.file not in change.after.files:
        volume.chunks.discard(key, staged)
    return record, change


def _discard_if_possible(volume: Volume, key: str, staged: StagedChunk) -> None:
    try:
        volume.chunks.discard(key, staged)
    except StorageProxyError:
        return  # the first failure is what the client has to hear; the file is left to the sweeper


def _published(volume: Volume, change: Change, stamp: Stamp) -> Change | None:
    if change.after.phase is not Phase.PUBLISHING:
        return None
    try:
        return volume.assembly.publish_announced(change.after, stamp)
    except StorageProxyError:
        return None  # the bytes are promised: `finish` tries again, and tells of it
