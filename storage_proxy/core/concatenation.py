"""What happens to a final upload while it waits for its parts, and to a part that is waited for or has been joined.

Rules: those of `transitions.py`. A final upload promises nothing of a part before it has a link of its own to the
part's one file, and from then on needs the part no more: it may be joined again, be terminated, or expire. The link is
to a file that is never written again, for only a part in phase `whole` gives one. When the last part is taken the links
become chunks, and from there on a final upload is one like any other, but that nobody can send bytes to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from storage_proxy.core.folding import whole_file
from storage_proxy.core.manifest import Chunk, Final, Manifest, Phase, Piece
from storage_proxy.core.transitions import Stamp, ended

# Each look at a final upload that waits reads the manifests of those parts that it lacks.
PARTS_MAX = 500

# More finals than this that wait for one part are found by the janitor, or when somebody asks for them.
AWAITED_BY_MAX = 16


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at one part has found."""

    length: int | None
    file: str | None = None
    """the final upload's own link to the part's file, made just now"""


# ---- the final upload -----------------------------------------------------------------------------------------------


def length_of(pieces: tuple[Piece, ...]) -> int | None:
    """M: the sum of the parts' lengths; None while one of them is not known."""
    lengths = [piece.length for piece in pieces if piece.length is not None]
    return sum(lengths) if len(lengths) == len(pieces) else None


def lacking(manifest: Manifest) -> tuple[str, ...]:
    """The parts that are not taken yet, each once."""
    pieces = manifest.final.pieces if manifest.final is not None and manifest.phase is Phase.WAITING else ()
    return tuple(dict.fromkeys(piece.key for piece in pieces if not piece.taken))


def take(manifest: Manifest, found: Mapping[str, Found], size_max: int, stamp: Stamp) -> Manifest:
    """Keep what was found out about parts. A file that was condemned meanwhile is not there any more."""
    if manifest.final is None or manifest.phase is not Phase.WAITING:
        return manifest
    pieces = tuple(_learnt(piece, found.get(piece.key), manifest.condemned) for piece in manifest.final.pieces)
    known = sum(piece.length or 0 for piece in pieces)
    if known > size_max:
        return forsake(manifest, f"its parts have {known} bytes together, and {size_max} is the limit", stamp)
    if not all(piece.taken for piece in pieces):
        if pieces == manifest.final.pieces:
            return manifest
        final = Final(manifest.final.text, pieces)
        return replace(manifest, final=final, length=length_of(pieces), changed_at=stamp.now)
    return _joined(manifest, Final(manifest.final.text, pieces), stamp)


def _learnt(piece: Piece, found: Found | None, condemned: tuple[str, ...]) -> Piece:
    if found is None or piece.taken:
        return piece
    return replace(piece, length=found.length, file=None if found.file in condemned else found.file)


def _joined(manifest: Manifest, final: Final, stamp: Stamp) -> Manifest:
    chunks: list[Chunk] = []
    through = 0
    for piece in final.pieces:
        if piece.file is not None and piece.length:
            # Sealed, and of a digest that nobody has computed.
            chunks.append(Chunk(through, piece.length, "", piece.file, sealed=True))
            through += piece.length
    return replace(
        manifest,
        phase=Phase.CLOSED,
        length=through,
        chunks=tuple(chunks),
        received=len(chunks),
        final=final.without_files(),
        changed_at=stamp.now,
        expires_at=None,
    )


def forsake(manifest: Manifest, reason: str, stamp: Stamp) -> Manifest:
    """What it lacks will never come: it ends, and tells why."""
    if manifest.phase is not Phase.WAITING:
        return manifest
    return replace(ended(manifest, Phase.EXPIRED, stamp), reason=reason)


# ---- the part -------------------------------------------------------------------------------------------------------


def unusable(manifest: Manifest) -> str | None:
    """Why this upload cannot be a part of another one, ever; None when it can. It goes into others' sentences."""
    match manifest.phase:
        case Phase.TERMINATED:
            return "it was terminated"
        case Phase.EXPIRED:
            return manifest.reason or "it was not finished in time"
    return None if manifest.part is not None else "it was created without Upload-Concat: partial"


def is_ready(manifest: Manifest) -> bool:
    """A part that can be taken: all of its bytes are in one file, or it has none."""
    return manifest.phase is Phase.WHOLE and (manifest.length == 0 or whole_file(manifest) is not None)


def await_by(manifest: Manifest, key: str) -> Manifest:
    """A final upload is to be carried on when this part is whole. No sign of its client's life, so no time moves."""
    part = manifest.part
    if part is None or manifest.phase is not Phase.OPEN or key in part.awaited_by:
        return manifest
    if len(part.awaited_by) >= AWAITED_BY_MAX:
        return manifest
    return replace(manifest, part=replace(part, awaited_by=(*part.awaited_by, key)))


def spare(manifest: Manifest, stamp: Stamp) -> Manifest:
    """A published file has this part's bytes: it is kept for a while, for those who would join it once more."""
    part = manifest.part
    if part is None or part.joined or manifest.phase is not Phase.WHOLE:
        return manifest
    return replace(manifest, part=replace(part, joined=True), changed_at=stamp.now, expires_at=stamp.expires_at)
