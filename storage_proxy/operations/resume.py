"""Finish an upload because a person says so: what would go on by itself goes on now, what had failed is tried again.

Rules: nothing is forced. An upload that lacks bytes stays open, one that has ended stays ended, and whatever made it
fail must be mended first, or it fails again; its bytes stay in any case.
"""

from functools import partial

from storage_proxy.core import transitions
from storage_proxy.core.errors import NotFinished
from storage_proxy.core.events import PublishRetried
from storage_proxy.core.manifest import Manifest, Phase, UploadId
from storage_proxy.operations.finish import finish
from storage_proxy.operations.service import Service


async def resume(service: Service, upload: UploadId) -> Manifest:
    """The published manifest. NotFinished: bytes are missing, or it is a part, which stays one. PublishFailed: again.
    NotYetPublished: it takes time."""
    manifest = await service.read(upload)
    if manifest.phase is Phase.PUBLISHED:
        return manifest
    if manifest.phase is Phase.FAILED:
        volume = service.volume(upload)
        async with service.turn(upload):
            retry = partial(transitions.retry, stamp=service.stamp())
            manifest = (await volume.run(partial(volume.manifests.change, upload.key, retry))).after
        service.tell(PublishRetried(upload))
    if manifest.phase in (Phase.OPEN, Phase.WHOLE, Phase.WAITING):
        raise NotFinished(prefix=manifest.prefix, length=manifest.length)
    return await finish(service, upload)
