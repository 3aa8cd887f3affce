"""Everything that can happen to an upload: pure functions from manifest to manifest.

What a request meets in which phase (a dash: it cannot come to that; `=`: nothing changes, which is success):

    verb \\ phase    OPEN     WHOLE     WAITING  CLOSED   PUBLISHING  PUBLISHED  FAILED     TERMINATED  EXPIRED
    declare_length  OPEN*    =         403      busy     busy        =          failed     not found   gone
    commit          OPEN*    = or 409  403      busy     busy        = or 409   failed     not found   gone
                    (busy: not to the append whose own checkpoint closed the upload)
    fold, adopt     OPEN     WHOLE     =        CLOSED   =           =          =          =           =
    announce        -        -         -        PUBLISHING           =          =          =           =
    refute          -        -         -        FAILED   =           =          =          =           =
    publish         -        -         -        -        PUBLISHED   =          PUBLISHED  not found   gone
    fail            -        -         -        FAILED   FAILED      =          =          =           =
    retry           =        =         =        =        =           =          CLOSED     =           =
    terminate       TERMINATED         TERMINATED        busy        TERMINATED TERMINATED not found   gone
    expire          EXPIRED  EXPIRED   =        =        =           =          =          =           =

    announce: only with every declared digest found to be the file's; refute: only with one found to be another

    (*) when the committed prefix has become the length: CLOSED, with `commit_and_announce` PUBLISHING; a part WHOLE
    A final upload starts as WAITING; what happens to it there is in `concatenation.py`. 403 is what appends to it get
    in every phase but the last two. `fold` and `adopt` are in `folding.py`.

Rules: applied twice, a transition is the same as applied once; when it has nothing to change it returns the very same
object; it never looks at a clock (`Stamp` is handed in) and never at bytes (what must be compared, it asks for by
`NeedsComparison`). A promised byte never changes and the prefix never shrinks: each function keeps that by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from storage_proxy.core import digests, extents
from storage_proxy.core.errors import (
    AppendSuperseded,
    FinalTakesNoBytes,
    LengthExceeded,
    LengthInconsistent,
    NotYetPublished,
    OffsetMismatch,
    PartsUnfinished,
    PiecesExhausted,
    PublishFailed,
    Refused,
    SizeExceeded,
    StorageProxyError,
    TargetNotAllowed,
    UploadGone,
    UploadNotFound,
)
from storage_proxy.core.extents import Coverage, Extent
from storage_proxy.core.folding import folded, whole_file
from storage_proxy.core.manifest import SHA_256, Assembly, Chunk, Digest, Manifest, Phase, Publication
from storage_proxy.core.target import Target

# A manifest is rewritten at each commit, so its size is bounded; only any-order uploads full of holes come near.
CHUNKS_MAX = 10_000

# Pieces may hold this much more than twice the upload's size: once in chunks, once folded, and a window.
OVERLAP_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a change happens, and until when an open upload lives from then on."""

    now: float
    expires_at: float | None = None
    sliding: bool = True
    """whether a change gives an upload its time anew"""

    def until(self, told: float | None) -> float | None:
        return self.expires_at if self.sliding or told is None else told


class NeedsComparison(Exception):
    """The chunk overlaps promised bytes: whether they are the same must be looked up before it can be committed."""

    def __init__(self, manifest: Manifest, overlapping: Coverage) -> None:
        super().__init__(overlapping)
        self.manifest = manifest
        self.overlapping = overlapping


# What a transition raises: the newest manifest itself has said no, and nothing was begun.
SAID_NO = (Refused, NotYetPublished)


def refusal(manifest: Manifest) -> StorageProxyError | None:
    """Why this upload takes no more bytes, and has no offset to tell, in its phase; None when it does."""
    match manifest.phase:
        case Phase.WAITING:
            pieces = manifest.final.pieces if manifest.final else ()
            return PartsUnfinished(parts=len(pieces), unfinished=sum(not piece.taken for piece in pieces))
        case Phase.CLOSED | Phase.PUBLISHING:
            return NotYetPublished(assembled=manifest.assembled, length=manifest.length or 0)
        case Phase.FAILED:
            return PublishFailed(reason=manifest.reason or "")
        case Phase.TERMINATED:
            return UploadNotFound(upload=str(manifest.upload))
        case Phase.EXPIRED:
            return UploadGone(upload=str(manifest.upload), reason=manifest.reason or "it was not finished in time")
        case Phase.OPEN | Phase.WHOLE | Phase.PUBLISHED:
            return None


def is_unfinished(manifest: Manifest) -> bool:
    """Work is left that any replica can do, without the client."""
    if manifest.phase is Phase.WHOLE:
        return bool(manifest.length) and whole_file(manifest) is None
    return manifest.phase in (Phase.WAITING, Phase.CLOSED, Phase.PUBLISHING)


def _require_alive(manifest: Manifest) -> None:
    if (error := refusal(manifest)) is not None:
        raise error


def _require_fillable(manifest: Manifest) -> None:
    # M: a final upload takes no bytes, whatever else is to be said of it.
    if manifest.final is not None and manifest.phase not in (Phase.TERMINATED, Phase.EXPIRED):
        raise FinalTakesNoBytes(upload=str(manifest.upload))
    _require_alive(manifest)


# ---- appending ------------------------------------------------------------------------------------------------------


def admit(manifest: Manifest, offset: int, body_length: int | None, size_max: int, *, any_order: bool) -> None:
    """Refuse an append before its body is read, where that can be known."""
    _require_fillable(manifest)
    # First: TUS demands 409 for a wrong offset whatever else is wrong.
    if not any_order and offset != manifest.prefix:
        raise OffsetMismatch(expected=manifest.prefix, received=offset)
    reached = offset + (body_length or 0)
    if manifest.length is not None:
        if offset > manifest.length or reached > manifest.length:
            raise LengthExceeded(length=manifest.length, reached=max(offset, reached))
    elif reached > size_max:
        raise SizeExceeded(size=reached, size_max=size_max)


def declare_length(manifest: Manifest, length: int, size_max: int, stamp: Stamp) -> Manifest:
    """Tell the length of an upload that was created without one."""
    _require_fillable(manifest)
    if manifest.length is not None:
        if manifest.length != length:
            raise LengthInconsistent(known=manifest.length, declared=length)
        return manifest
    if length > size_max:
        raise SizeExceeded(size=length, size_max=size_max)
    if manifest.coverage and manifest.coverage[-1].end > length:
        raise LengthInconsistent(known=manifest.coverage[-1].end, declared=length)
    return _touched(replace(manifest, length=length), stamp)


def choose_subdirectory(manifest: Manifest, subdirectory: str, target: Target, stamp: Stamp) -> Manifest:
    """A session's `dst_dir`: the first append that names one decides, later ones must agree."""
    _require_alive(manifest)
    if manifest.subdirectory == subdirectory:
        return manifest
    if manifest.subdirectory is not None:
        raise TargetNotAllowed(path=subdirectory, reason=f"this upload goes to {manifest.subdirectory!r} already")
    return _touched(replace(manifest, subdirectory=subdirectory, target=target), stamp)


def commit_and_announce(
    manifest: Manifest,
    chunk: Chunk,
    inode: int,
    stamp: Stamp,
    *,
    promised: int = 0,
    agreed: Iterable[Extent] = (),
) -> Manifest:
    """`commit`; and where that closes the upload with this one chunk as its whole file, `announce` in the same step."""
    after = commit(manifest, chunk, stamp, promised=promised, agreed=agreed)
    if after is manifest or after.phase is not Phase.CLOSED or whole_file(after) != chunk.file:
        return after
    return announce(after, chunk.file, Publication(after.target.path, inode))


def commit(
    manifest: Manifest, chunk: Chunk, stamp: Stamp, *, promised: int = 0, agreed: Iterable[Extent] = ()
) -> Manifest:
    """Promise the chunk's bytes, the first `promised` of which an earlier commit of the same file had promised.

    `agreed`: overlaps that were compared and found equal (which stays true, for promised bytes never change). A
    chunk that adds nothing leaves the manifest as it is.
    """
    known = next((held for held in manifest.chunks if held.file == chunk.file), None)
    done = max(promised, known.length if known else 0)
    if manifest.phase in (Phase.CLOSED, Phase.PUBLISHING) and done >= chunk.length > 0:
        # Its own checkpoint was the one that closed the upload, and the end of the body adds nothing; or this very
        # change was decided and carried through by another replica, which then closed the upload.
        return manifest
    _require_fillable(manifest)
    if manifest.length is not None and chunk.extent.end > manifest.length:
        raise LengthExceeded(length=manifest.length, reached=chunk.extent.end)
    if manifest.phase is Phase.OPEN and chunk.file in manifest.condemned:
        raise AppendSuperseded(prefix=manifest.prefix)
    if manifest.assembly is not None and manifest.assembly.file == chunk.file:
        return manifest
    fresh = Extent(chunk.offset + min(done, chunk.length), chunk.extent.end)
    if known is None and any(_same(held, chunk) for held in manifest.chunks):
        return manifest
    undecided = extents.subtract(extents.overlap(manifest.coverage, fresh), agreed)
    if undecided:
        raise NeedsComparison(manifest, undecided)
    if not extents.gaps(manifest.coverage, fresh):
        # Nothing new. A record that is there may still learn that its writer is done with the file.
        if known is None or known.sealed or not chunk.sealed or known.length != chunk.length:
            return manifest
    elif promised and known is None:
        # The file was folded and removed since: its name promises nothing any more, whatever a write to it says.
        raise AppendSuperseded(prefix=manifest.prefix)
    others = tuple(held for held in manifest.chunks if held is not known)
    _require_place(manifest, others, chunk)
    return _touched(
        replace(
            manifest,
            chunks=tuple(sorted((*others, chunk), key=lambda held: (held.offset, held.file))),
            received=manifest.received + (known is None),
        ),
        stamp,
    )


def _require_place(manifest: Manifest, others: tuple[Chunk, ...], chunk: Chunk) -> None:
    """What overlaps is stored more than once, until it is folded; a client may not make the share hold it for ever."""
    if len(others) >= CHUNKS_MAX:
        raise PiecesExhausted(reason=f"are {CHUNKS_MAX} already", prefix=manifest.prefix)
    held = manifest.assembled + chunk.length + sum(other.length for other in others)
    reach = max(chunk.extent.end, *(extent.end for extent in manifest.coverage)) if others else chunk.extent.end
    if held > 2 * (manifest.length or reach) + OVERLAP_BYTES_MAX:
        raise PiecesExhausted(reason="overlap too much", prefix=manifest.prefix)


def _same(held: Chunk, chunk: Chunk) -> bool:
    return (held.offset, held.length, held.sha256) == (chunk.offset, chunk.length, chunk.sha256)


def _touched(manifest: Manifest, stamp: Stamp) -> Manifest:
    phase = manifest.phase
    if phase is Phase.OPEN and manifest.prefix == manifest.length:
        phase = Phase.CLOSED if manifest.part is None else Phase.WHOLE
    return replace(
        manifest,
        phase=phase,
        changed_at=stamp.now,
        expires_at=None if phase is Phase.CLOSED else stamp.until(manifest.expires_at),
    )


def condemn(manifest: Manifest, files: Iterable[str], stamp: Stamp) -> Manifest:
    """Name chunk files of writers that seem dead, before they are swept; one that the manifest needs never is."""
    condemned = frozenset(files) - manifest.files - frozenset(manifest.condemned)
    if not condemned:
        return manifest
    # `changed_at` and `expires_at` stay: sweeping is no sign of the client's life.
    return replace(manifest, condemned=tuple(sorted((*manifest.condemned, *condemned))))


# ---- publishing -----------------------------------------------------------------------------------------------------


def announce(manifest: Manifest, file: str, publication: Publication, computed: Iterable[Digest] = ()) -> Manifest:
    """Say, before it is done, which file will stand under which name, so that any replica can carry it through.

    `computed`: from that very file. Nothing is announced whose declared digests are not all found to be right.
    """
    if manifest.phase is Phase.CLOSED:
        found = digests.found(manifest, file, computed)
        if whole_file(manifest) != file or not digests.are_right(manifest, found):
            return manifest
        manifest = replace(folded(manifest, Assembly(file, manifest.length or 0)), sha256=found.get(SHA_256))
    elif manifest.phase is not Phase.PUBLISHING:
        return manifest
    elif manifest.publication is not None and manifest.publication.attempt >= publication.attempt:
        return manifest
    return replace(manifest, phase=Phase.PUBLISHING, publication=publication)


def refute(manifest: Manifest, computed: Iterable[Digest], stamp: Stamp) -> Manifest:
    """A digest that was declared is not the whole file's: it is not published, and its bytes stay."""
    file = whole_file(manifest)
    if manifest.phase is not Phase.CLOSED or file is None:
        return manifest
    reason = digests.difference(manifest, digests.found(manifest, file, computed))
    return manifest if reason is None else fail(manifest, reason, stamp)


def publish(manifest: Manifest, publication: Publication, stamp: Stamp) -> Manifest:
    """The file stands under this name, durably. True also for one that another replica had given up."""
    if manifest.phase is Phase.PUBLISHED:
        return manifest
    if manifest.phase in (Phase.TERMINATED, Phase.EXPIRED):
        _require_alive(manifest)
    return replace(
        manifest,
        phase=Phase.PUBLISHED,
        publication=publication,
        chunks=(),
        assembly=None,
        reason=None,
        condemned=(),
        changed_at=stamp.now,
        expires_at=None,
    )


def fail(manifest: Manifest, reason: str, stamp: Stamp) -> Manifest:
    """Publishing met something that trying again cannot mend."""
    if manifest.phase not in (Phase.CLOSED, Phase.PUBLISHING):
        return manifest
    return replace(manifest, phase=Phase.FAILED, reason=reason, changed_at=stamp.now)


def retry(manifest: Manifest, stamp: Stamp) -> Manifest:
    """An operator has mended what stood in the way."""
    if manifest.phase is not Phase.FAILED:
        return manifest
    # The digest that was found may be what stood in the way: the file is read anew.
    return replace(manifest, phase=Phase.CLOSED, reason=None, publication=None, sha256=None, changed_at=stamp.now)


# ---- ending ---------------------------------------------------------------------------------------------------------


def terminate(manifest: Manifest, stamp: Stamp) -> Manifest:
    """Forget the upload. A file that was published stays where it is: it belongs to the volume now."""
    if manifest.phase in (Phase.TERMINATED, Phase.EXPIRED, Phase.PUBLISHING):
        _require_alive(manifest)
    return ended(manifest, Phase.TERMINATED, stamp)


def expire(manifest: Manifest, stamp: Stamp) -> Manifest:
    """An open upload expires, and a part; every other one has all its bytes, and those are never thrown away."""
    return ended(manifest, Phase.EXPIRED, stamp) if manifest.phase in (Phase.OPEN, Phase.WHOLE) else manifest


def ended(manifest: Manifest, phase: Phase, stamp: Stamp) -> Manifest:
    final = manifest.final and manifest.final.without_files()
    return replace(
        manifest,
        phase=phase,
        chunks=(),
        assembly=None,
        final=final,
        condemned=(),
        changed_at=stamp.now,
        expires_at=None,
    )
