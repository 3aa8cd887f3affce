"""Create a final upload, which joins parts: what they hold, one after the other, becomes one file.

The recipe:
    1. read each part, refuse what can never be joined, and what is known to be too long
    2. make the final upload durable; it waits for the bytes of its parts, in whatever state these are
    3. leave word with the parts that are not whole, so that whoever completes one carries the final upload on
    4. take in the parts that are, by links of its own (`store/joining.py`): from then on they may end
    5. if those were all, wait for the file to be published, for a limited time

Everything after 2 is done by whoever meets the upload, should this replica die. Should the share fail before 4, the
final upload is terminated: its client hears of the trouble, and makes another.
"""

from functools import partial

from storage_proxy.core import concatenation
from storage_proxy.core.concatenation import PARTS_MAX
from storage_proxy.core.errors import Contended, Draining, PartUnusable, SizeExceeded, StorageProxyError, Unavailable
from storage_proxy.core.events import UploadCreated
from storage_proxy.core.manifest import Final, Manifest, Phase, Piece, UploadId
from storage_proxy.core.transitions import refusal
from storage_proxy.operations.create import Wanted, permitted
from storage_proxy.operations.finish import finish
from storage_proxy.operations.service import Service
from storage_proxy.operations.terminate import terminate

ENDED = (Phase.TERMINATED, Phase.EXPIRED)


async def concatenate(
    service: Service, upload: UploadId, wanted: Wanted, text: str, parts: tuple[UploadId, ...]
) -> Manifest:
    """`text` is Upload-Concat as it came. What is given back may still wait, or be on its way to its target."""
    if service.draining.is_set():
        raise Draining()
    if len(parts) > PARTS_MAX:
        raise PartUnusable(part=str(parts[PARTS_MAX]), reason=f"an upload joins {PARTS_MAX} at the most")
    found = {part: await _look_at(service, upload, part) for part in dict.fromkeys(parts)}
    pieces = tuple(Piece(part.key, found[part].length) for part in parts)
    known, size_max = sum(piece.length or 0 for piece in pieces), service.limits.upload_bytes_max
    if known > size_max:
        # M: the final length is the sum of the parts', and no longer than others may be.
        raise SizeExceeded(size=known, size_max=size_max)
    created = await _create(service, upload, wanted, Final(text, pieces))
    for part, manifest in found.items():
        if manifest.phase is Phase.OPEN:
            await _leave_word(service, part, upload)
    try:
        return await finish(service, upload)
    except Contended:
        # It is created and goes on by itself; a refusal would make the client create it once more.
        return created
    except Unavailable as trouble:
        await _require_taken(service, upload, found, trouble)
        return created


async def _require_taken(
    service: Service, upload: UploadId, found: dict[UploadId, Manifest], trouble: Unavailable
) -> None:
    """Once it is told of, a client may end its parts: those that are whole must be taken in, or it is taken back."""
    try:
        lacking = concatenation.lacking(await service.read(upload))
        if all(found[UploadId(upload.volume, key)].phase is Phase.OPEN for key in lacking):
            return
        await terminate(service, upload)
    except StorageProxyError:
        return  # it cannot be taken back: then it is told of, and goes on by itself
    raise trouble


async def _look_at(service: Service, upload: UploadId, part: UploadId) -> Manifest:
    if part.volume != upload.volume:
        reason = f"it is on volume {part.volume!r}, and the upload is to be on {upload.volume!r}; name one in both"
        raise PartUnusable(part=str(part), reason=reason)
    manifest = await service.read(part)
    if manifest.phase in ENDED and (error := refusal(manifest)) is not None:
        raise error
    if (unusable := concatenation.unusable(manifest)) is not None:
        raise PartUnusable(part=str(part), reason=unusable)
    return manifest


async def _create(service: Service, upload: UploadId, wanted: Wanted, final: Final) -> Manifest:
    volume, stamp = service.volume(upload), service.stamp()
    manifest = Manifest(
        upload=upload,
        revision=0,
        phase=Phase.WAITING,
        length=concatenation.length_of(final.pieces),
        order=wanted.order,
        policy=wanted.policy,
        target=wanted.target,
        metadata=wanted.metadata,
        declared=wanted.declared,
        final=final,
        created_at=stamp.now,
        changed_at=stamp.now,
    )
    if wanted.asker is not None:
        manifest = await permitted(service, manifest, wanted.asker)
    created = await volume.run(partial(volume.manifests.create, manifest))
    service.tell(UploadCreated(upload, length=created.length, target=created.target.path))
    return created


async def _leave_word(service: Service, part: UploadId, upload: UploadId) -> None:
    volume = service.volume(part)
    try:
        async with service.turn(part):
            await volume.run(
                partial(volume.manifests.change, part.key, partial(concatenation.await_by, key=upload.key))
            )
    except StorageProxyError:
        return  # then the janitor carries it on, or who asks for it
