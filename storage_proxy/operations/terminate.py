"""Forget an upload at its client's wish. A file that was published stays: it belongs to the volume."""

from functools import partial

from storage_proxy.core import transitions
from storage_proxy.core.events import UploadTerminated
from storage_proxy.core.manifest import UploadId
from storage_proxy.operations.service import Service


async def terminate(service: Service, upload: UploadId) -> None:
    """The tombstone is durable before a byte is removed; an append that is on its way is refused by it."""
    volume = service.volume(upload)
    async with service.turn(upload):
        change = await volume.run(
            partial(volume.manifests.change, upload.key, partial(transitions.terminate, stamp=service.stamp()))
        )
    service.tell(UploadTerminated(upload, prefix=change.before.prefix))
    await volume.run(partial(volume.sweeping.clear, upload.key, change.removable))
