"""Say how far an upload is. Whoever asks about one that is closed and not published carries it on."""

from storage_proxy.core.manifest import Manifest, UploadId
from storage_proxy.core.transitions import refusal
from storage_proxy.operations.finish import UNFINISHED, carry_on
from storage_proxy.operations.service import Service


async def describe(service: Service, upload: UploadId) -> Manifest:
    """The manifest, whatever its phase."""
    manifest = await service.read(upload)
    if manifest.phase in UNFINISHED:
        carry_on(service, upload)
    return manifest


async def look_up(service: Service, upload: UploadId) -> Manifest:
    """The manifest of an upload that has an offset to tell; refuses in every other phase."""
    manifest = await describe(service, upload)
    if (error := refusal(manifest)) is not None:
        raise error
    return manifest
