"""A body that came along with its request becomes promised bytes, and its file, in one trip to a thread.

The recipe is that of `append.py`, step for step; but nothing in it has to wait for the network, so all of it is one
piece of blocking work: read, admit, stage, write, promise, publish. Small uploads live from this: seven trips between
the event loop and threads, and the fight for the interpreter that goes with them, cost more than the work itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from storage_proxy.core import transitions
from storage_proxy.core.errors import StorageProxyError
from storage_proxy.core.manifest import Chunk, Manifest, Order, Phase, UploadId
from storage_proxy.core.transitions import Stamp
from storage_proxy.operations.service import Volume
from storage_proxy.ports import total
from storage_proxy.store.chunks import StagedChunk
from storage_proxy.store.manifests import Change

# More than this does not wait in a request's buffers; see `read_bufsize` in `server/requests.py`.
AT_HAND_BYTES_MAX = 512 << 10


@dataclass(frozen=True, slots=True)
class Done:
    record: Chunk
    change: Change
    published: Manifest | None
    """how publishing ended, where the commit had announced it and nothing stood in its way"""


def append_at_hand(
    volume: Volume, upload: UploadId, offset: int, pieces: Sequence[bytes], size_max: int, stamp: Stamp
) -> Done:
    """Blocks. What it raises, `append` raises."""
    manifest = volume.manifests.read(upload.key)
    transitions.admit(manifest, offset, total(pieces), size_max, any_order=manifest.order is Order.ANY)
    staged = volume.chunks.stage(upload.key, offset)
    try:
        record, change = _promise(volume, manifest, staged, pieces, stamp)
    finally:
        staged.close()
    return Done(record, change, _published(volume, change, stamp))


def _promise(
    volume: Volume, manifest: Manifest, staged: StagedChunk, pieces: Sequence[bytes], stamp: Stamp
) -> tuple[Chunk, Change]:
    key = manifest.upload.key
    try:
        staged.write(pieces)
        record = staged.snapshot(sealed=True)
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


def _published(volume: Volume, change: Change, stamp: Stamp) -> Manifest | None:
    if change.after.phase is not Phase.PUBLISHING:
        return None
    try:
        return volume.assembly.publish_announced(change.after, stamp)
    except StorageProxyError:
        return None  # the bytes are promised: `finish` tries again, and tells of it
