"""How chunks become the one file of an upload: what can be folded next, and what the manifest is afterwards.

Rules: those of `transitions.py`, whose table has the phases. Only a sealed chunk becomes the file as it is, for nobody
writes to it any more; all others are copied, and so is everything that a final upload has from its parts: their files
may be other uploads' as well, so they are read, never written to, and never published, where people could change them.
"""

from dataclasses import dataclass, replace

from storage_proxy.core.extents import Extent
from storage_proxy.core.manifest import Assembly, Chunk, Manifest, Phase

FOLDABLE = (Phase.OPEN, Phase.WHOLE, Phase.CLOSED)


@dataclass(frozen=True, slots=True)
class Fold:
    """Bytes to copy from a chunk file to their place in the assembly file."""

    source: str
    source_offset: int
    extent: Extent


def adoptable(manifest: Manifest) -> Chunk | None:
    """The sealed chunk at offset 0 that may become the assembly file as it is: nobody writes to it any more."""
    if manifest.assembly is not None or manifest.final is not None:
        return None
    sealed = [chunk for chunk in manifest.chunks if chunk.offset == 0 and chunk.sealed and chunk.length > 0]
    return max(sealed, key=lambda chunk: chunk.length, default=None)


def next_folds(manifest: Manifest, size_max: int) -> tuple[Fold, ...]:
    """What can be copied next, in order, without a gap and about `size_max` bytes at the most.

    The last chunk of the prefix is left alone while a writer may still be adding to it: once it is sealed it may turn
    out to need no copy, and its writer must find its file where it is.
    """
    through = manifest.assembled
    closed = manifest.phase in (Phase.CLOSED, Phase.WHOLE)
    prefix = manifest.prefix
    folds: list[Fold] = []
    room = size_max
    for chunk in sorted(manifest.chunks, key=lambda held: (held.offset, -held.extent.end)):
        if chunk.offset > through or room <= 0:
            break
        if chunk.extent.end <= through or not (chunk.sealed or closed or chunk.extent.end < prefix):
            continue
        end = min(chunk.extent.end, through + room)
        folds.append(Fold(chunk.file, through - chunk.offset, Extent(through, end)))
        room -= end - through
        through = end
    return tuple(folds)


def may_be_folded(manifest: Manifest) -> bool:
    """Whether there is anything to do: one file that still grows is none of it."""
    return adoptable(manifest) is not None or bool(next_folds(manifest, 1))


def adopt(manifest: Manifest, file: str) -> Manifest:
    """Let a sealed chunk at offset 0 be the assembly file: no byte is copied."""
    chunk = adoptable(manifest)
    if chunk is None or chunk.file != file or manifest.phase not in FOLDABLE:
        return manifest
    return folded(manifest, Assembly(file, chunk.length))


def begin_assembly(manifest: Manifest, file: str) -> Manifest:
    """Let an empty file be the assembly file. Who finds another there uses that one."""
    if manifest.assembly is not None or manifest.phase not in FOLDABLE:
        return manifest
    if file in manifest.condemned:
        return manifest
    return replace(manifest, assembly=Assembly(file, 0))


def fold(manifest: Manifest, file: str, through: int) -> Manifest:
    """The assembly file holds, synced, everything below `through`."""
    assembly = manifest.assembly
    if manifest.phase not in FOLDABLE or assembly is None or assembly.file != file:
        return manifest
    if through <= assembly.through:
        return manifest
    assert through <= manifest.prefix, "folded what was never promised"
    return folded(manifest, Assembly(file, through))


def folded(manifest: Manifest, assembly: Assembly) -> Manifest:
    left = tuple(
        chunk
        for chunk in manifest.chunks
        if chunk.extent.end > assembly.through and chunk.file != assembly.file and chunk.length > 0
    )
    return replace(manifest, assembly=assembly, chunks=left)


def whole_file(manifest: Manifest) -> str | None:
    """The one file that holds every byte of a closed upload, or of a whole part, and that nobody writes to any more;
    None: not yet."""
    if manifest.assembly is not None:
        return manifest.assembly.file if manifest.assembly.through == manifest.length else None
    chunk = adoptable(manifest)
    return chunk.file if chunk is not None and chunk.length == manifest.length else None
