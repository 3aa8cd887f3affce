"""Hand out the finished file, as long as the one that was published still stands under its name."""

import asyncio

from storage_proxy.core.errors import NotFinished, PartHasNoFile, ShareStalled, UploadGone
from storage_proxy.core.manifest import Manifest, Phase, UploadId
from storage_proxy.operations.describe import look_up
from storage_proxy.operations.service import Service
from storage_proxy.ports import LinkInTheWay, NameMissing, OpenTarget


async def download(service: Service, upload: UploadId) -> tuple[Manifest, OpenTarget]:
    """The caller closes the file."""
    manifest = await look_up(service, upload)
    publication = manifest.publication
    if manifest.part is not None:
        raise PartHasNoFile(upload=str(upload))
    if manifest.phase is not Phase.PUBLISHED or publication is None:
        raise NotFinished(prefix=manifest.prefix, length=manifest.length)
    gone = UploadGone(upload=str(upload), reason="its file was moved, replaced or removed after it was published")
    volume = service.volume(upload)
    try:
        async with asyncio.timeout(volume.stall_seconds):
            target = await volume.filesystem.open_target(publication.path)
    except (NameMissing, LinkInTheWay):
        raise gone from None
    except TimeoutError:
        raise ShareStalled(volume=volume.name, seconds=volume.stall_seconds) from None
    if target.entry.inode != publication.inode:
        await target.close()
        raise gone
    return manifest, target
