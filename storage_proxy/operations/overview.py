"""What a person sees of uploads, in the browser as from the terminal: many page by page, or one of them closely.

Rules: nothing is changed, and nothing is remembered. A page costs at most `READS_MAX` manifests however many uploads
there are; it ends where it ends, and the next one begins after the last upload looked at. Uploads come in the order of
their keys, which is no order of age: to sort by age all of them would have to be read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from storage_proxy.core import extents
from storage_proxy.core.errors import Corrupt, UploadNotFound
from storage_proxy.core.extents import Extent
from storage_proxy.core.manifest import Manifest, Phase, UploadId
from storage_proxy.operations.service import Service, Volume
from storage_proxy.ports import NameMissing
from storage_proxy.store import layout
from storage_proxy.store.inspection import Inspection
from storage_proxy.store.layout import Kind

READS_MAX = 200


@dataclass(frozen=True, slots=True)
class Listed:
    upload: UploadId
    manifest: Manifest | None
    problem: str | None = None
    """why there is no manifest"""


@dataclass(frozen=True, slots=True)
class Page:
    uploads: tuple[Listed, ...]
    after: str | None
    """where the next page begins; None: there is none"""
    looked_at: int


@dataclass(frozen=True, slots=True)
class Arriving:
    """Bytes in the file of an append that are not promised yet; of any replica's, as far as the share shows them."""

    extent: Extent
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class Closely:
    manifest: Manifest
    arriving: tuple[Arriving, ...]


Wanted = Callable[[Manifest], bool]


def wanted(phases: tuple[Phase, ...] = (), idle_seconds_min: float = 0.0, now: float = 0.0) -> Wanted:
    """No phase named: every one. `idle_seconds_min`: since the last change."""

    def is_wanted(manifest: Manifest) -> bool:
        idle = idle_seconds_min <= 0 or now - manifest.changed_at >= idle_seconds_min
        return idle and (not phases or manifest.phase in phases)

    return is_wanted


# ---- many -----------------------------------------------------------------------------------------------------------


async def browse(volume: Volume, after: str, count: int, wanted: Wanted, reads_max: int = READS_MAX) -> Page:
    """`after`: nothing, or what the page before said. An upload whose manifest cannot be read is always listed."""
    return await volume.run(partial(_browse, volume, after, count, wanted, reads_max))


def _browse(volume: Volume, after: str, count: int, wanted: Wanted, reads_max: int) -> Page:
    found: list[Listed] = []
    last, looked = after, 0
    for key in Inspection(volume.filesystem, volume.manifests).keys_after(after):
        if len(found) == count or looked == reads_max:
            return Page(tuple(found), last, looked)
        last, looked = key, looked + 1
        upload = UploadId(volume.name, key)
        try:
            manifest = volume.manifests.read(key)
        except UploadNotFound:
            continue  # being created, or just gone
        except Corrupt as error:
            found.append(Listed(upload, None, str(error)))
            continue
        if wanted(manifest):
            found.append(Listed(upload, manifest))
    return Page(tuple(found), None, looked)


# ---- one ------------------------------------------------------------------------------------------------------------


async def look_closely(service: Service, upload: UploadId) -> Closely:
    volume = service.volume(upload)
    return await volume.run(partial(_look, volume, upload))


def _look(volume: Volume, upload: UploadId) -> Closely:
    # The names before the manifest: what is promised in between is not shown as arriving.
    try:
        names = volume.filesystem.list(layout.directory(upload.key))
    except NameMissing:
        names = []
    manifest = volume.manifests.read(upload.key)
    if manifest.phase is not Phase.OPEN:
        return Closely(manifest, ())
    now = volume.sweeping.share_time()
    chunks = [name for name in names if layout.kind_of(name) is Kind.CHUNK and name not in manifest.condemned]
    found = [_arriving(volume, manifest, name, now) for name in sorted(chunks, key=layout.chunk_offset)]
    return Closely(manifest, tuple(arriving for arriving in found if arriving is not None))


def _arriving(volume: Volume, manifest: Manifest, name: str, now: float) -> Arriving | None:
    try:
        entry = volume.filesystem.inspect(layout.within(manifest.upload.key, name))
    except NameMissing:
        return None
    start = layout.chunk_offset(name)
    promised = next((chunk.length for chunk in manifest.chunks if chunk.file == name), 0)
    if entry.size <= promised or (manifest.assembly is not None and manifest.assembly.file == name):
        return None
    return Arriving(Extent(start + promised, start + entry.size), max(0.0, now - entry.modified))


# ---- in plain values ------------------------------------------------------------------------------------------------


def summary(listed: Listed, now: float) -> dict[str, Any]:
    manifest = listed.manifest
    if manifest is None:
        return {"upload": str(listed.upload), "phase": "unreadable", "problem": listed.problem}
    promised = sum(extent.length for extent in manifest.coverage)
    return {
        "upload": str(manifest.upload),
        "phase": manifest.phase.value,
        "length": manifest.length,
        "offset": manifest.prefix,
        "promised": promised,
        "assembled": manifest.assembled,
        "target": manifest.publication.path if manifest.publication else manifest.target.path,
        "created_at": manifest.created_at,
        "changed_at": manifest.changed_at,
        "expires_at": manifest.expires_at,
        "age_seconds": round(max(0.0, now - manifest.created_at), 3),
        "idle_seconds": round(max(0.0, now - manifest.changed_at), 3),
        "reason": manifest.reason,
    }


def details(closely: Closely, now: float) -> dict[str, Any]:
    """`there`, `arriving` and `missing` are [start, end] with the end left out, as in the manifest's chunks."""
    manifest = closely.manifest
    return {
        **summary(Listed(manifest.upload, manifest), now),
        "revision": manifest.revision,
        "order": manifest.order.value,
        "policy": manifest.policy.value,
        "metadata": manifest.metadata,
        "pieces": len(manifest.chunks),
        "there": _pairs(manifest.coverage),
        "arriving": [
            {"start": each.extent.start, "end": each.extent.end, "idle_seconds": round(each.idle_seconds, 3)}
            for each in closely.arriving
        ],
        "missing": _pairs(manifest.missing) if manifest.phase is Phase.OPEN else [],
    }


def _pairs(coverage: extents.Coverage) -> list[list[int]]:
    return [[extent.start, extent.end] for extent in coverage]
