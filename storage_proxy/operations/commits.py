"""What a commit of received bytes tells, whichever way they came in."""

from storage_proxy.core.events import ChunkCommitted, ChunkDiscarded, UploadClosed
from storage_proxy.core.manifest import Chunk, Phase
from storage_proxy.operations.service import Service
from storage_proxy.store.manifests import Change


def tell_commit(service: Service, record: Chunk, change: Change, fresh: int, seconds: float) -> None:
    """`fresh`: how many bytes no earlier commit of this append had promised."""
    upload, before, after = change.after.upload, change.before, change.after
    if before is after and record.file not in after.files:
        service.tell(ChunkDiscarded(upload, record.offset, record.length, reason="it adds nothing"))
    else:
        committed = ChunkCommitted(upload, record.offset, record.length, after.prefix, record.sealed, fresh, seconds)
        service.tell(committed)
    if before.phase is Phase.OPEN and after.phase in (Phase.CLOSED, Phase.PUBLISHING, Phase.WHOLE):
        service.tell(UploadClosed(upload, length=after.length or 0))
