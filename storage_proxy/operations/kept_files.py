"""Chunk files that stay open between the requests of one client, so that a file sent in pieces is written only once.

A request that begins where the last one ended goes on in the file of the last one, as if it were its next checkpoint.
At the end the one file is the whole upload: nothing is folded, and no byte is written twice. See decision 0012.

Rules: only the file that begins at 0, of a sequential upload; only while the newest manifest says that it ends where
this replica stopped writing, and that it is the last; only as long as every write, sync and commit of it went well.
While it is kept its record is not *sealed*, so that nobody adopts a file that may still grow. Whoever lets it go seals
it: after a pause, when the upload went on elsewhere, at the end of the process. A replica that dies leaves it
unsealed: then its promised bytes are copied, as those of an append that was cut off.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from storage_proxy.core.errors import StorageProxyError
from storage_proxy.core.manifest import Manifest, Order, Phase, UploadId
from storage_proxy.store.chunks import StagedChunk

if TYPE_CHECKING:  # the service keeps them
    from storage_proxy.operations.service import Service, Volume

# Each is an open file on the share.
KEPT_MAX = 64

KEPT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Kept:
    volume: "Volume"
    staged: StagedChunk
    until: asyncio.TimerHandle


class KeptFiles:
    def __init__(self, service: "Service") -> None:
        self._service = service
        self._kept: dict[UploadId, _Kept] = {}

    def has_room(self) -> bool:
        """Asked before the commit: a file for which there is no room is sealed by it, and costs nothing more."""
        return len(self._kept) < KEPT_MAX and not self._service.draining.is_set()

    def take(self, upload: UploadId, offset: int) -> StagedChunk | None:
        """The file to go on in; one that ends elsewhere is let go."""
        kept = self._kept.pop(upload, None)
        if kept is None:
            return None
        kept.until.cancel()
        if kept.staged.length == offset:
            return kept.staged
        self.release(upload, kept.volume, kept.staged)
        return None

    def take_if_good(self, manifest: Manifest, offset: int) -> StagedChunk | None:
        """The same for who has read the newest manifest already."""
        upload = manifest.upload
        staged = self.take(upload, offset)
        if staged is not None and not may_go_on(manifest, staged):
            self.release(upload, self._service.volume(upload), staged)
            return None
        return staged

    def keep(self, upload: UploadId, volume: "Volume", staged: StagedChunk) -> None:
        # Two appends may have begun at 0, each with a file: the one that ends last is kept, and the other's time must
        # not run on against it.
        self.let_go(upload)
        if not self.has_room():
            self.release(upload, volume, staged)
            return
        until = asyncio.get_running_loop().call_later(KEPT_SECONDS, self.let_go, upload)
        self._kept[upload] = _Kept(volume, staged, until)

    def let_go(self, upload: UploadId) -> None:
        """Seal its record, in the background."""
        kept = self._kept.pop(upload, None)
        if kept is not None:
            kept.until.cancel()
            self.release(upload, kept.volume, kept.staged)

    async def seal(self, upload: UploadId) -> None:
        """Let it go and wait for that: before the upload is closed by something else than bytes, or is forgotten."""
        kept = self._kept.pop(upload, None)
        if kept is not None:
            kept.until.cancel()
            await self._seal(upload, kept.volume, kept.staged)

    def let_all_go(self) -> None:
        for upload in tuple(self._kept):
            self.let_go(upload)

    def release(self, upload: UploadId, volume: "Volume", staged: StagedChunk) -> None:
        """One that was taken, and is not gone on in."""
        self._service.aside(partial(self._seal, upload, volume, staged))

    async def _seal(self, upload: UploadId, volume: "Volume", staged: StagedChunk) -> None:
        record = staged.snapshot(sealed=True)
        try:
            if staged.length != staged.promised:
                return  # it holds bytes that are nobody's: whoever needs what it has promised has to copy it
            async with self._service.turn(upload):
                await volume.run(partial(volume.chunks.promise, upload.key, staged, record, self._service.stamp()))
        except StorageProxyError:
            return  # it has ended, or was folded; or it stays unsealed, and is copied
        finally:
            with suppress(StorageProxyError):
                await volume.run(staged.close)


def may_go_on(manifest: Manifest, staged: StagedChunk) -> bool:
    """Whether the newest manifest agrees with what this replica remembers of the file."""
    records = [(held.length, held.sealed) for held in manifest.chunks if held.file == staged.name]
    return manifest.phase is Phase.OPEN and manifest.prefix == staged.length and records == [(staged.length, False)]


def is_worth_keeping(manifest: Manifest, staged: StagedChunk) -> bool:
    """Whether another request may go on where this one ends, as far as can be known before its last commit."""
    sequential = manifest.order is Order.SEQUENTIAL and manifest.phase is Phase.OPEN and manifest.assembly is None
    return sequential and staged.offset == 0 and staged.clean and staged.length != manifest.length


def may_be_kept(manifest: Manifest, staged: StagedChunk) -> bool:
    """The same after that commit, which has to have gone well."""
    return staged.clean and may_go_on(manifest, staged)
