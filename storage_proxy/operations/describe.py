"""Say how far an upload is. Whoever asks about one that is unfinished carries it on."""

from storage_proxy.core.manifest import Manifest, Phase, UploadId
from storage_proxy.core.transitions import is_unfinished, refusal
from storage_proxy.operations.finish import UNFINISHED, carry_on, gather_once
from storage_proxy.operations.service import Service


async def describe(service: Service, upload: UploadId) -> Manifest:
    """The manifest, whatever its phase."""
    manifest = await service.read(upload)
    if manifest.phase is Phase.WAITING:
        # M: the length of a final upload is told as soon as its parts' are known.
        manifest = (await gather_once(service, upload)).manifest
    if is_unfinished(manifest):
        carry_on(service, upload)
    return manifest


async def look_up(service: Service, upload: UploadId) -> Manifest:
    """The manifest of an upload that has an offset to tell; refuses in every other phase."""
    manifest = await describe(service, upload)
    if (error := refusal(manifest)) is not None:
        raise error
    return manifest


async def look_up_for_head(service: Service, upload: UploadId) -> Manifest:
    """The same; but S: a final upload has an answer, without an offset, while its parts are being joined."""
    manifest = await describe(service, upload)
    joining = manifest.final is not None and manifest.phase in (Phase.WAITING, *UNFINISHED)
    if not joining and (error := refusal(manifest)) is not None:
        raise error
    return manifest
