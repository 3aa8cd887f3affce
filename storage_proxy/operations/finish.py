"""Gather parts, assemble and publish: carry an upload on, from wherever any replica has left it.

Rules: the work runs in the background of one replica and survives the request that asked for it. Whoever meets an
upload that is unfinished (a request, the janitor, start-up) calls `carry_on`. Two replicas at it at once
waste work and harm nothing (`store/assembly.py`).
"""

import asyncio
from functools import partial

from storage_proxy.core import concatenation, folding
from storage_proxy.core.errors import HookRefused, UploadNotFound
from storage_proxy.core.events import AssemblyAdvanced, PublishRefused, UploadClosed, UploadExpired, UploadPublished
from storage_proxy.core.manifest import Digest, Manifest, Phase, UploadId
from storage_proxy.core.transitions import is_unfinished, refusal
from storage_proxy.operations.permission import require_permission
from storage_proxy.operations.service import Service, Volume
from storage_proxy.ports import Asked, HeldLock
from storage_proxy.store.joining import Gathered
from storage_proxy.store.manifests import Change
from storage_proxy.store.whole_file import NOTHING

# A step copies at most `FOLD_BYTES_MAX`, and by hand where the share cannot: nobody waits for it but its own task.
FOLD_STALL_SECONDS = 600.0

UNFINISHED = (Phase.CLOSED, Phase.PUBLISHING)


async def finish(service: Service, upload: UploadId, announced: Manifest | None = None) -> Manifest:
    """Carry a closed upload on and wait for it, for a limited time. `announced`: by a change of our own, just now."""
    deadline = service.clock.monotonic() + service.limits.closer_wait_seconds
    while True:
        work = carry_on(service, upload, announced)
        done, _ = await asyncio.wait([work], timeout=max(0.0, deadline - service.clock.monotonic()))
        manifest = work.result() if done else await service.read(upload)
        # The work that was found running may have been folding only, and may have looked just before the close.
        if not done or manifest.phase is not Phase.OPEN:
            return require_published(manifest)


def require_published(manifest: Manifest) -> Manifest:
    if (error := refusal(manifest)) is not None:
        raise error
    return manifest


def carry_on(service: Service, upload: UploadId, announced: Manifest | None = None) -> "asyncio.Task[Manifest]":
    if announced is not None:
        return service.in_background(upload, partial(_publish, service, service.volume(upload), announced))
    return service.in_background(upload, partial(_assemble_and_publish, service, upload))


def assemble_if_behind(service: Service, manifest: Manifest) -> None:
    """Let the assembly file follow the prefix, so that nothing but a short tail is left at the close."""
    prefix = manifest.prefix  # computed from all pieces, of which there may be thousands
    waiting = sum(chunk.offset < prefix for chunk in manifest.chunks)
    lag = prefix - manifest.assembled
    if manifest.phase is not Phase.OPEN or not folding.may_be_folded(manifest):
        return
    if lag >= service.limits.fold_lag_bytes or waiting >= service.limits.fold_lag_chunks:
        carry_on(service, manifest.upload)


def carry_on_part(service: Service, manifest: Manifest) -> None:
    """A part is whole: let it become one file, and those go on that have waited for it."""
    if is_unfinished(manifest):
        carry_on(service, manifest.upload)
    for key in manifest.part.awaited_by if manifest.part is not None else ():
        final = UploadId(manifest.upload.volume, key)
        # Who is at it may have looked at this part before it was whole.
        service.in_background_anew(final, partial(_assemble_and_publish, service, final))


async def go_on(service: Service, manifest: Manifest) -> Manifest:
    """After a change of its bytes: finish it if it is closed, or do what else is to be done with what is there."""
    if manifest.phase in (Phase.CLOSED, Phase.PUBLISHING):
        announced = manifest if manifest.phase is Phase.PUBLISHING else None
        return await finish(service, manifest.upload, announced)
    if manifest.phase is Phase.WHOLE:
        carry_on_part(service, manifest)
    else:
        assemble_if_behind(service, manifest)
    return manifest


async def _assemble_and_publish(service: Service, upload: UploadId) -> Manifest:
    volume = service.volume(upload)
    claim = await _claim(service, volume, upload)
    if claim is None:
        # Another replica is at it.
        return await _watch(service, upload)
    try:
        return await _fold_and_publish(service, volume, upload)
    finally:
        volume.workers.abandon(claim.release)


async def _fold_and_publish(service: Service, volume: Volume, upload: UploadId) -> Manifest:
    manifest, digests = await _fold(service, volume, upload)
    if manifest.phase is Phase.WAITING:
        manifest = await gather(service, upload)
        if manifest.phase is Phase.CLOSED:
            manifest, digests = await _fold(service, volume, upload)
    return await _publish(service, volume, manifest, digests) if manifest.phase in UNFINISHED else manifest


async def gather(service: Service, upload: UploadId) -> Manifest:
    """Let a final upload take the parts that are whole."""
    while (step := await gather_once(service, upload)).more:
        for key in step.unfolded:
            await carry_on(service, UploadId(upload.volume, key))
    return step.manifest


async def gather_once(service: Service, upload: UploadId) -> Gathered:
    volume = service.volume(upload)
    work = partial(volume.joining.gather, upload.key, service.limits.upload_bytes_max, service.stamp())
    step = await volume.workers.run(work, FOLD_STALL_SECONDS)
    if step.waited and step.manifest.phase is Phase.EXPIRED:
        service.tell(UploadExpired(upload, prefix=0))
    elif step.waited:
        service.tell(UploadClosed(upload, length=step.manifest.length or 0))
    return step


async def _claim(service: Service, volume: Volume, upload: UploadId) -> HeldLock | None:
    return await volume.run(partial(volume.assembly.claim, upload.key, 0.0))


async def _fold(service: Service, volume: Volume, upload: UploadId) -> tuple[Manifest, tuple[Digest, ...]]:
    """Fold what can be folded, and let the declared digests follow; those of the last step are the whole file's."""
    while True:
        step = await volume.workers.run(partial(volume.assembly.fold, upload.key), FOLD_STALL_SECONDS)
        if step.copied:
            service.tell(AssemblyAdvanced(upload, through=step.manifest.assembled, copied=step.copied))
        hashed = NOTHING
        if step.manifest.declared:
            hashed = await volume.workers.run(partial(volume.whole_files.hash_on, step.manifest), FOLD_STALL_SECONDS)
        if not step.more and not hashed.more:
            return step.manifest, hashed.digests


async def _publish(service: Service, volume: Volume, manifest: Manifest, digests: tuple[Digest, ...] = ()) -> Manifest:
    step = Change(manifest, manifest)
    if manifest.declared:
        # Before anybody is asked: a file that is not the one that was meant is nobody's to allow.
        step = await volume.run(partial(volume.assembly.refute, manifest, service.stamp(), digests))
    if step.after.phase in UNFINISHED:
        step = await _publish_if_permitted(service, volume, step.after, digests)
    if step.after.phase not in UNFINISHED:
        volume.whole_files.forget(manifest)
    return tell_published(service, step, manifest.changed_at)


async def _publish_if_permitted(
    service: Service, volume: Volume, manifest: Manifest, digests: tuple[Digest, ...]
) -> Change:
    try:
        if manifest.phase is Phase.CLOSED:
            await require_permission(service, Asked.PUBLISHING, manifest, None)
    except HookRefused as refused:
        reason = str(refused).removesuffix(".")
        return await volume.run(partial(volume.assembly.fail, manifest, reason, service.stamp()))
    return await volume.run(partial(volume.assembly.publish_announced, manifest, service.stamp(), digests))


def tell_published(service: Service, step: Change, closed_at: float) -> Manifest:
    """How publishing has ended, by whoever has ended it: two may be at it. `closed_at`: when the last byte was
    committed."""
    manifest, upload = step.after, step.after.upload
    if step.after is step.before:
        return manifest
    if manifest.phase is Phase.PUBLISHED and manifest.publication is not None:
        seconds = max(0.0, manifest.changed_at - closed_at)
        service.tell(UploadPublished(upload, manifest.publication.path, manifest.length or 0, seconds))
        spare_parts(service, manifest)
    elif manifest.phase is Phase.FAILED:
        service.tell(PublishRefused(upload, reason=manifest.reason or ""))
    return manifest


def spare_parts(service: Service, manifest: Manifest) -> None:
    """The parts of a published file are kept for a while only. Should this replica die here, for as long as others."""
    pieces = manifest.final.pieces if manifest.final is not None else ()
    for key in dict.fromkeys(piece.key for piece in pieces):
        part = UploadId(manifest.upload.volume, key)
        service.in_background(part, partial(_spare, service, part))


async def _spare(service: Service, part: UploadId) -> None:
    volume = service.volume(part)
    transition = partial(concatenation.spare, stamp=service.stamp_of_joined())
    try:
        async with service.turn(part):
            await volume.run(partial(volume.manifests.change, part.key, transition))
    except UploadNotFound:
        return  # it has gone already


async def _watch(service: Service, upload: UploadId) -> Manifest:
    """Look, with growing pauses, until the other replica is through, or its claim is free, or nothing moves any more.

    Then its holder stands still, or died in a way that its share has not noticed (NFS 3 never does). The claim only
    saves work, so the work is done without it.
    """
    volume = service.volume(upload)
    moved_at, revision, pause = service.clock.monotonic(), 0, 0.02
    while True:
        manifest = await service.read(upload)
        if not is_unfinished(manifest):
            return manifest
        if manifest.revision != revision:
            moved_at, revision = service.clock.monotonic(), manifest.revision
        elif service.clock.monotonic() - moved_at >= service.limits.claim_wait_seconds:
            return await _fold_and_publish(service, volume, upload)
        if (claim := await _claim(service, volume, upload)) is not None:
            volume.workers.abandon(claim.release)
            return await _assemble_and_publish(service, upload)
        await asyncio.sleep(pause)
        pause = min(pause * 2, 1.0)
