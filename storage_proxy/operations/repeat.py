"""A creation that may be sent again: by its Idempotency-Key a client that lost the answer finds its upload.

The recipe:
    1. look for the key's record; the upload it stands for is the answer, if the request is the same
    2. make a new upload, durable and open, of which nobody knows yet
    3. claim the key for it; who comes second forgets his upload and goes to 1
    4. an upload without a byte is closed only now, so that no second one is ever published

There is no state "in progress": until 3 nothing was created, after it everything is. A crash between 2 and 3 leaves
an upload that expires. The key lives as long as the record of its upload; later it is a new one.
"""

from dataclasses import replace
from functools import partial

from storage_proxy.core.errors import (
    IdempotencyKeyReused,
    NotYetPublished,
    StorageProxyError,
    UploadBusy,
    UploadGone,
    UploadNotFound,
)
from storage_proxy.core.manifest import Manifest, Phase, Repeat, UploadId
from storage_proxy.core.transitions import refusal
from storage_proxy.operations.create import Wanted, create, declare_length, finish_empty, new_upload_id
from storage_proxy.operations.describe import describe
from storage_proxy.operations.service import Service
from storage_proxy.operations.terminate import terminate

# A second turn finds the record of him who came first; a third is for one that was removed in between.
TURNS_MAX = 5


async def create_once(service: Service, upload: UploadId, wanted: Wanted) -> Manifest:
    """As `create`, or what the same request created before: `Manifest.upload` says which."""
    if wanted.repeat is None:
        return await create(service, upload, wanted)
    volume = service.volume(upload)
    open_first = replace(wanted, length=wanted.length or None)
    for _ in range(TURNS_MAX):
        if (found := await _find(service, upload.volume, wanted.repeat)) is not None:
            return await _complete(service, found, wanted)
        made = await create(service, upload, open_first)
        if await volume.run(partial(volume.repeats.claim, made)):
            return await _complete(service, made, wanted)
        await _forget(service, upload)
        upload = new_upload_id(service, upload.volume)
    raise UploadBusy()


async def _find(service: Service, volume_name: str, repeat: Repeat) -> Manifest | None:
    volume = service.volumes[volume_name]
    first = await volume.run(partial(volume.repeats.find, repeat.name))
    if first is None or first.repeat is None:
        return None
    if first.repeat.fingerprint != repeat.fingerprint:
        raise IdempotencyKeyReused()
    try:
        manifest = await describe(service, first.upload)
    except UploadNotFound:
        await volume.run(partial(volume.repeats.release, repeat.name, first.upload.key))
        return None
    if manifest.phase in (Phase.TERMINATED, Phase.EXPIRED):
        # Not made anew: its client has ended it, or has been away for longer than it may.
        how = "terminated" if manifest.phase is Phase.TERMINATED else "not finished in time"
        raise UploadGone(upload=str(first.upload), reason=f"it was {how}; for a new one send another Idempotency-Key")
    if manifest.phase is Phase.FAILED and (error := refusal(manifest)) is not None:
        raise error
    return manifest


async def _complete(service: Service, manifest: Manifest, wanted: Wanted) -> Manifest:
    if wanted.length != 0 or manifest.phase is not Phase.OPEN:
        return manifest
    try:
        closed = await declare_length(service, manifest, 0)
    except NotYetPublished:
        # The same request, through another replica, was a moment faster.
        closed = await service.read(manifest.upload)
    return await finish_empty(service, closed)


async def _forget(service: Service, upload: UploadId) -> None:
    """Nobody knows it."""
    try:
        await terminate(service, upload)
    except StorageProxyError:
        return  # then it expires
