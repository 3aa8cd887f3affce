"""Create an upload: from then on any replica can answer for it."""

from dataclasses import dataclass, replace
from functools import partial

from storage_proxy.core import transitions
from storage_proxy.core.errors import Contended, Draining, HookFailed, SizeExceeded, TargetNotAllowed, Unavailable
from storage_proxy.core.events import UploadCreated
from storage_proxy.core.manifest import Digest, Manifest, Order, Part, Phase, Policy, Repeat, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.finish import finish
from storage_proxy.operations.permission import require_permission
from storage_proxy.operations.service import Service
from storage_proxy.operations.space import room_for
from storage_proxy.ports import Asked, Asker


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks for, on either way in."""

    target: Target
    length: int | None
    order: Order
    policy: Policy
    metadata: str = ""
    asker: Asker | None = None
    """of a client's own request; a manager who opens a session has decided by himself"""
    partial: bool = False
    """a part: it is not published, and has no target of its own"""
    declared: tuple[Digest, ...] = ()
    repeat: Repeat | None = None
    """for `repeat.create_once`"""


def new_upload_id(service: Service, volume: str) -> UploadId:
    return UploadId(volume, service.entropy.token())


async def create(service: Service, upload: UploadId, wanted: Wanted) -> Manifest:
    """Make the upload durable. One without a byte is complete at once, and published; a part is whole."""
    if service.draining.is_set():
        raise Draining()
    size_max = service.limits.upload_bytes_max
    if wanted.length is not None and wanted.length > size_max:
        raise SizeExceeded(size=wanted.length, size_max=size_max)
    volume = service.volume(upload)
    stamp = service.stamp()
    empty = wanted.length == 0 and not wanted.partial
    phase = Phase.CLOSED if empty else Phase.WHOLE if wanted.length == 0 else Phase.OPEN
    manifest = Manifest(
        upload=upload,
        revision=0,
        phase=phase,
        length=wanted.length,
        order=wanted.order,
        policy=wanted.policy,
        target=wanted.target,
        metadata=wanted.metadata,
        part=Part() if wanted.partial else None,
        declared=wanted.declared,
        repeat=wanted.repeat,
        created_at=stamp.now,
        changed_at=stamp.now,
        expires_at=None if empty else stamp.expires_at,
    )
    async with room_for(service, volume, upload.key, wanted.length or 0):
        if wanted.asker is not None:
            manifest = await permitted(service, manifest, wanted.asker)
        created = await volume.run(partial(volume.manifests.create, manifest))
    service.tell(UploadCreated(upload, length=wanted.length, target=created.target.path))
    return await finish_empty(service, created) if empty else created


async def finish_empty(service: Service, created: Manifest) -> Manifest:
    """Publish an upload that has just been closed, for it has no byte."""
    try:
        return await finish(service, created.upload)
    except (Contended, Unavailable):
        # It is created and goes on by itself; a refusal would make the client create it once more.
        return created


async def permitted(service: Service, manifest: Manifest, asker: Asker) -> Manifest:
    """Who is asked may let it appear elsewhere; what he names is checked like every path."""
    verdict = await require_permission(service, Asked.CREATION, manifest, asker)
    if verdict.path is None:
        return manifest
    try:
        return replace(manifest, target=Target(manifest.upload.volume, verdict.path))
    except TargetNotAllowed as error:
        raise HookFailed(hook=Asked.CREATION, reason=f"named a path that cannot be used ({error.reason})") from None


async def declare_length(service: Service, manifest: Manifest, length: int) -> Manifest:
    """The length of an upload that was created without one, told with a later request."""
    volume = service.volume(manifest.upload)
    transition = partial(
        transitions.declare_length,
        length=length,
        size_max=service.limits.upload_bytes_max,
        stamp=service.stamp(),
    )
    still_to_come = max(0, length - manifest.prefix) if manifest.length is None else 0
    async with room_for(service, volume, manifest.upload.key, still_to_come), service.turn(manifest.upload):
        change = await volume.run(partial(volume.manifests.change, manifest.upload.key, transition))
    return change.after


async def choose_subdirectory(service: Service, manifest: Manifest, subdirectory: str, target: Target) -> Manifest:
    """The directory that a session's first append asks for."""
    volume = service.volume(manifest.upload)
    transition = partial(
        transitions.choose_subdirectory, subdirectory=subdirectory, target=target, stamp=service.stamp()
    )
    async with service.turn(manifest.upload):
        change = await volume.run(partial(volume.manifests.change, manifest.upload.key, transition))
    return change.after
