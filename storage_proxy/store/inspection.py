"""Look at what lies in `.uploads` without changing anything: names no pattern knows, files no manifest names, and
whether what a manifest promises is there.

Rules: nothing here writes, locks or removes. A replica may be at the same upload: names are listed before the manifest
is read, so that a file which is newer than the listing is never called missing its manifest; what looks wrong is looked
at again by the caller against a fresh manifest. These functions block; they run in `Workers`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from storage_proxy.core.errors import ShareFault, StorageProxyError
from storage_proxy.core.manifest import Manifest, Phase, Publication
from storage_proxy.ports import Entry, Filesystem, LinkInTheWay, NameMissing
from storage_proxy.store import info_json, layout
from storage_proxy.store.layout import Kind
from storage_proxy.store.manifests import Manifests

T = TypeVar("T")

# Not of the store's making and nobody's trouble: a doctor at work, and what an NFS client keeps of a file that was
# removed while it was open.
_PASSING = re.compile(r"doctor\.[0-9a-f]{32}|\.nfs[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Inspected:
    """One upload's directory; `manifest` is None where there is none, or it cannot be read."""

    manifest: Manifest | None
    corrupt: StorageProxyError | None = None
    """why the manifest that is there cannot be read"""
    data: tuple[str, ...] = ()
    """data files that no manifest names"""
    staged: tuple[str, ...] = ()
    """manifests on their way and fences, of any age"""
    strange: tuple[str, ...] = ()
    """names that are not the service's"""


class Inspection:
    def __init__(self, filesystem: Filesystem, manifests: Manifests) -> None:
        self._filesystem = filesystem
        self._manifests = manifests

    # ---- the volume -------------------------------------------------------------------------------------------------

    def keys(self) -> list[str]:
        """NameMissing: the service has never been here."""
        shards = [name for name in self._filesystem.list(layout.ROOT) if layout.is_shard(name)]
        return sorted(name for shard in shards for name in self._names(f"{layout.ROOT}/{shard}") if layout.is_key(name))

    def keys_after(self, after: str) -> Iterator[str]:
        """In order, listing no more than is asked for. NameMissing as above."""
        shards = sorted(name for name in self._filesystem.list(layout.ROOT) if layout.is_shard(name))
        for shard in shards:
            if shard >= after[:2]:
                yield from sorted(
                    name for name in self._names(f"{layout.ROOT}/{shard}") if layout.is_key(name) and name > after
                )

    def strange_names(self) -> list[str]:
        """What lies in `.uploads`, or between it and the uploads, and was not made by the service."""
        strange: list[str] = []
        for name in self._names(layout.ROOT):
            path = f"{layout.ROOT}/{name}"
            if layout.is_shard(name):
                below = self._names(path)
                strange += [f"{path}/{key}" for key in below if not (layout.is_key(key) and key.startswith(name))]
            elif path == layout.REPEATS:
                strange += self._strange_repeats()
            elif (
                not _PASSING.fullmatch(name)
                and path not in (layout.JANITOR_LOCK, layout.PROBE_LOCK, layout.NOTES)
                and layout.kind_of(name) is not Kind.CLOCK
            ):
                strange.append(path)
        return strange

    def _strange_repeats(self) -> list[str]:
        paths = [f"{layout.REPEATS}/{shard}" for shard in self._names(layout.REPEATS)]
        known = [path for path in paths if layout.is_shard(path.rpartition("/")[2])]
        below = [(path, name) for path in known for name in self._names(path)]
        odd = [f"{path}/{name}" for path, name in below if not layout.is_repeat(name)]
        return [*(path for path in paths if path not in known), *odd]

    # ---- one upload -------------------------------------------------------------------------------------------------

    def inspect(self, key: str) -> Inspected | None:
        """None: the directory is gone."""
        try:
            names = self._filesystem.list(layout.directory(key))
        except NameMissing:
            return None
        kinds = {name: layout.kind_of(name) for name in names}
        staged = tuple(name for name in names if kinds[name] in (Kind.STAGED_MANIFEST, Kind.FENCE))
        strange = tuple(name for name in names if kinds[name] is None and not _PASSING.fullmatch(name))
        data = tuple(name for name in names if kinds[name] in layout.DATA)
        if Kind.MANIFEST not in kinds.values():
            return Inspected(None, None, data, staged, strange)
        try:
            manifest = self._manifests.read(key)
        except ShareFault:
            raise
        except StorageProxyError as error:
            return Inspected(None, error, data, staged, strange)
        return Inspected(manifest, None, tuple(name for name in data if name not in manifest.files), staged, strange)

    def read(self, key: str) -> Manifest:
        return self._manifests.read(key)

    def directory(self, key: str) -> Entry | None:
        return self._there(partial(self._filesystem.inspect, layout.directory(key)))

    def entry(self, key: str, name: str) -> Entry | None:
        """None: there is no such file."""
        return self._there(partial(self._filesystem.inspect, layout.within(key, name)))

    def piece(self, key: str, name: str, offset: int, length: int) -> bytes | None:
        """None: there is no such file."""
        return self._there(partial(self._filesystem.read_at, layout.within(key, name), offset, length))

    def published(self, publication: Publication) -> Entry | None:
        """What stands under the name of a published file; None: nothing, or something that is no file."""
        try:
            return self._filesystem.inspect_target(publication.path)
        except (NameMissing, LinkInTheWay):
            return None

    def published_piece(self, publication: Publication, offset: int, length: int) -> bytes | None:
        """None: another file, or none, has its name."""
        try:
            return self._filesystem.read_target_at(publication.path, publication.inode, offset, length)
        except (NameMissing, LinkInTheWay):
            return None

    def newest_revision(self, key: str, names: Iterable[str]) -> int:
        """The highest revision that a staged manifest or a fence is about."""
        texts = (self._there(partial(self._filesystem.read, layout.within(key, name))) for name in names)
        return max((info_json.revision_of(text) for text in texts if text is not None), default=0)

    def _there(self, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except NameMissing:
            return None

    def _names(self, directory: str) -> list[str]:
        try:
            return self._filesystem.list(directory)
        except NameMissing:
            return []


def expected(manifest: Manifest) -> dict[str, int]:
    """Each data file that the manifest needs, and how many bytes at least must be in it."""
    files = {chunk.file: chunk.length for chunk in manifest.chunks}
    pieces = manifest.final.pieces if manifest.final is not None else ()
    files |= {piece.file: piece.length or 0 for piece in pieces if piece.file is not None}
    if manifest.assembly is not None:
        files[manifest.assembly.file] = max(manifest.assembly.through, files.get(manifest.assembly.file, 0))
    if manifest.phase is Phase.PUBLISHING and manifest.assembly is not None:
        # Its name may be gone already: whether it went to the target is asked there.
        del files[manifest.assembly.file]
    return files
