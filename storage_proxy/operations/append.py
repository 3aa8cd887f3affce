"""One request body at one offset becomes promised bytes.

The recipe:
    1. read the manifest, refuse what can be refused before the body is read
    2. stage a file of this append's own; no lock is held while the body streams into it
    3. receive: reading the next bytes, hashing and writing the last ones, and committing what is due go on side by side
    4. checkpoint: every so many bytes or seconds, sync and commit what is there, so that any replica's HEAD tells of it
    5. at the end (the body's, the client's, or this replica's) commit what arrived; with Upload-Checksum all or nothing
    6. if that closed the upload, wait for its file to be published

Steps 2 to 5 are `reception.py`. A body that is there already takes the same ones in one trip to a thread:
`append_at_hand.py`.

Takeover needs no step: a newer append is admitted at once, and this one finds at its next commit that its bytes are
covered. After an error of the share the staged file is left alone, because a fence may yet promise it.
"""

from dataclasses import dataclass

from storage_proxy.core import transitions
from storage_proxy.core.errors import LengthExceeded
from storage_proxy.core.manifest import Manifest, Order, Phase, UploadId
from storage_proxy.operations.append_at_hand import AT_HAND_BYTES_MAX, append_at_hand
from storage_proxy.operations.create import choose_subdirectory, declare_length
from storage_proxy.operations.finish import carry_on, go_on
from storage_proxy.operations.reception import Append, Reception
from storage_proxy.operations.service import Service
from storage_proxy.ports import Body, total


@dataclass(frozen=True, slots=True)
class Appended:
    offset: int
    """request offset + received bytes, as clients expect in the answer"""
    manifest: Manifest


async def append(service: Service, upload: UploadId, wanted: Append, body: Body) -> Appended:
    if wanted.length is None and wanted.subdirectory is None and wanted.checksum is None and not wanted.closes:
        pieces = body.at_hand(AT_HAND_BYTES_MAX)
        if pieces is not None:
            manifest = await append_at_hand(service, upload, wanted.offset, pieces)
            return Appended(offset=wanted.offset + total(pieces), manifest=manifest)
    manifest = await service.read(upload)
    if manifest.phase in (Phase.CLOSED, Phase.PUBLISHING):
        carry_on(service, upload)
    transitions.admit(
        manifest,
        wanted.offset,
        wanted.body_length,
        service.limits.upload_bytes_max,
        any_order=manifest.order is Order.ANY,
    )
    if wanted.subdirectory is not None and wanted.subdirectory[0] != manifest.subdirectory:
        manifest = await choose_subdirectory(service, manifest, *wanted.subdirectory)
    if wanted.length is not None and wanted.length != manifest.length:
        reached = wanted.offset + (wanted.body_length or 0)
        if reached > wanted.length:
            raise LengthExceeded(length=wanted.length, reached=reached)
        if wanted.length == wanted.offset:
            # The upload is closed by its length alone.
            await service.kept.seal(upload)
        manifest = await declare_length(service, manifest, wanted.length)
    received = 0
    if wanted.body_length != 0:
        with service.receiving(upload, wanted.offset) as receiving:
            reception = await Reception.begin(service, manifest, wanted, body)
            try:
                manifest = await reception.run()
            finally:
                receiving.received = reception.taken - reception.had
            received = reception.chunk.length - reception.had
    if wanted.closes and manifest.phase is Phase.OPEN:
        # The body may have been empty, and the file that of the request before.
        await service.kept.seal(upload)
        manifest = await declare_length(service, manifest, wanted.offset + received)
    return Appended(offset=wanted.offset + received, manifest=await go_on(service, manifest))
