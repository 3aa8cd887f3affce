"""Forget an upload. A file that was published stays: it belongs to the volume."""

from functools import partial

from storage_proxy.core import transitions
from storage_proxy.core.events import UploadTerminated
from storage_proxy.core.manifest import UploadId
from storage_proxy.operations.permission import require_permission
from storage_proxy.operations.service import Service
from storage_proxy.ports import Asked, Asker


async def terminate(service: Service, upload: UploadId, asker: Asker | None = None) -> None:
    """The tombstone is durable before a byte is removed; an append that is on its way is refused by it.

    `asker`: the client whose wish it is, which others may refuse; None: an operator's or our own, which nobody may."""
    volume = service.volume(upload)
    if asker is not None and service.hooks.wants(Asked.TERMINATION):
        await require_permission(service, Asked.TERMINATION, await service.read(upload), asker)
    # Removed while it is open, its file would keep a name over NFS.
    await service.kept.seal(upload)
    async with service.turn(upload):
        change = await volume.run(
            partial(volume.manifests.change, upload.key, partial(transitions.terminate, stamp=service.stamp()))
        )
    service.tell(UploadTerminated(upload, prefix=change.before.prefix))
    await volume.run(partial(volume.sweeping.clear, upload.key, change.removable))
