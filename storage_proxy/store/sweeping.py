"""What dead writers left behind, and uploads that have ended.

Rules: nothing is removed because it looks old; it is removed because, old or not, nobody can need it any more.
    a data file that no manifest names                first *condemned* by a fenced change: its writer, should it wake,
                                                      is refused by the same manifest
    a staged manifest of this or an older revision    its writer can no longer win that revision
    a fence of this or an older revision              it decides nothing any more
    a directory without a manifest                    its creator never told anybody its name; where there are bytes
                                                      or fences in it, a manifest has been there: that is for people
    the directory of an upload that has ended         after its marker has been kept for the set time
Age, by the share's own clock, only decides when to look. These functions block; they run in `Workers`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from storage_proxy.core import transitions
from storage_proxy.core.errors import UploadNotFound
from storage_proxy.core.manifest import Manifest, Phase
from storage_proxy.core.transitions import Stamp
from storage_proxy.ports import DirectoryNotEmpty, Filesystem, NameMissing
from storage_proxy.store import info_json, layout
from storage_proxy.store.layout import Kind
from storage_proxy.store.manifests import Manifests
from storage_proxy.store.repeats import Repeats

# What a creator may leave that died before its upload was there.
UNBORN = (Kind.STAGED_MANIFEST, Kind.LOCK, Kind.CLOCK)

ENDED = (Phase.PUBLISHED, Phase.TERMINATED, Phase.EXPIRED)


@dataclass(frozen=True, slots=True)
class Ages:
    """How long, in seconds, each is left alone."""

    open: float
    published: float
    ended: float
    orphans: float
    notices: float = 3 * 86400.0
    """how much longer the record of an ended upload is kept while somebody has still to be told of it"""
    joined: float = 3600.0
    """a part whose bytes a published file has"""
    sliding: bool = True
    """whether `open` counts from an upload's last change; else from its creation"""


@dataclass(frozen=True, slots=True)
class Tended:
    manifest: Manifest | None
    expired: bool = False
    reaped: bool = False
    swept: tuple[str, ...] = ()


class Sweeping:
    def __init__(self, filesystem: Filesystem, manifests: Manifests, repeats: Repeats, ages: Ages) -> None:
        self._filesystem = filesystem
        self._manifests = manifests
        self._ages = ages
        self._repeats = repeats

    def keys(self) -> Iterator[str]:
        """Every upload of the volume."""
        for shard in self._names(layout.ROOT):
            if layout.is_shard(shard):
                yield from (name for name in self._names(f"{layout.ROOT}/{shard}") if layout.is_key(name))

    def share_time(self) -> float:
        return self._filesystem.share_time(layout.ROOT)

    def sweep_clocks(self, now: float) -> None:
        """What a replica has left that died while it read the share's clock."""
        for name in self._names(layout.ROOT):
            path = f"{layout.ROOT}/{name}"
            if layout.kind_of(name) is Kind.CLOCK and self._is_old(path, now):
                self._remove(path)

    def tend(self, key: str, now: float, stamp: Stamp) -> Tended:
        """Expire, sweep or bury one upload, whichever it is time for. `now` is the share's."""
        names = self._names(layout.directory(key))
        if Kind.MANIFEST not in map(layout.kind_of, names):
            return Tended(None, swept=self._sweep_unborn(key, names, now))
        try:
            manifest = self._manifests.read(key)
            # After the read: it is this version's age or a later one's, which is younger, never an earlier one's.
            age = now - self._filesystem.inspect(layout.manifest(key)).modified
        except (NameMissing, UploadNotFound):
            return Tended(None)
        if manifest.phase in ENDED:
            kept = self._ages.published if manifest.phase is Phase.PUBLISHED else self._ages.ended
            if manifest.notices:
                # Who is to be told of the end has not been told; the record waits for that, too, but not for ever.
                kept += self._ages.notices
            if age > kept:
                if manifest.repeat is not None:
                    # Before its upload: a record that stands for nothing would be left for ever.
                    self._repeats.release(manifest.repeat.name, key)
                return Tended(manifest, reaped=self._bury(key))
        if self._is_overdue(manifest, age, now, stamp):
            return self._expire(key, manifest, stamp)
        return Tended(manifest, swept=self._sweep(key, manifest, names, now, stamp))

    def clear(self, key: str, names: frozenset[str]) -> None:
        for name in names:
            self._remove(layout.within(key, name))

    def _is_overdue(self, manifest: Manifest, age: float, now: float, stamp: Stamp) -> bool:
        if manifest.phase not in (Phase.OPEN, Phase.WHOLE):
            return False
        if manifest.part is not None and manifest.part.joined:
            return age > self._ages.joined
        if self._ages.sliding or manifest.expires_at is None:
            return age > self._ages.open
        # Told by a replica's clock: it is over when it is by the share's clock, too.
        return min(now, stamp.now) > manifest.expires_at

    # ---- one upload -------------------------------------------------------------------------------------------------

    def _expire(self, key: str, seen: Manifest, stamp: Stamp) -> Tended:
        def expire_unless_changed(manifest: Manifest) -> Manifest:
            # An append may have come in since the age was read: then it is not old any more.
            return transitions.expire(manifest, stamp) if manifest.revision == seen.revision else manifest

        change = self._manifests.change(key, expire_unless_changed)
        self.clear(key, change.removable)
        return Tended(change.after, expired=change.after is not change.before)

    def _sweep(self, key: str, manifest: Manifest, names: list[str], now: float, stamp: Stamp) -> tuple[str, ...]:
        rubbish = [name for name in names if self._is_outdated(key, manifest, name, now)]
        orphans = [name for name in names if self._is_orphan(key, manifest, name, now)]
        if orphans:
            after = self._manifests.change(key, partial(transitions.condemn, files=orphans, stamp=stamp)).after
            orphans = [name for name in orphans if name not in after.files]
        for name in (*rubbish, *orphans):
            self._remove(f"{layout.directory(key)}/{name}")
        return tuple(sorted((*rubbish, *orphans)))

    def _is_orphan(self, key: str, manifest: Manifest, name: str, now: float) -> bool:
        if layout.kind_of(name) not in layout.DATA or name in manifest.files:
            return False
        # One that is condemned already was left by a sweeper that died before the removal.
        return name in manifest.condemned or self._is_old(f"{layout.directory(key)}/{name}", now)

    def _is_outdated(self, key: str, manifest: Manifest, name: str, now: float) -> bool:
        path = f"{layout.directory(key)}/{name}"
        match layout.kind_of(name):
            case Kind.CLOCK:
                return self._is_old(path, now)
            case Kind.FENCE | Kind.STAGED_MANIFEST:
                if not self._is_old(path, now):
                    return False
                try:
                    text = self._filesystem.read(path)
                except NameMissing:
                    return False
                return info_json.revision_of(text) <= manifest.revision
        return False

    def _sweep_unborn(self, key: str, names: list[str], now: float) -> tuple[str, ...]:
        directory = layout.directory(key)
        if not self._is_old(directory, now) or any(layout.kind_of(name) not in UNBORN for name in names):
            return ()
        self._bury(key)
        return tuple(names)

    def _bury(self, key: str) -> bool:
        """Remove the directory, the manifest last: a crash on the way leaves an upload that has still ended."""
        directory = layout.directory(key)
        ours = [name for name in self._names(directory) if layout.kind_of(name) is not None]
        for name in sorted(ours, key=lambda name: layout.kind_of(name) is Kind.MANIFEST):
            self._remove(f"{directory}/{name}")
        try:
            self._filesystem.remove_directory(directory)
        except NameMissing:
            return True
        except DirectoryNotEmpty:
            return False  # a file still open somewhere keeps its name over NFS; the next round comes by
        return True

    # ---- asking the share -------------------------------------------------------------------------------------------

    def _names(self, directory: str) -> list[str]:
        try:
            return self._filesystem.list(directory)
        except NameMissing:
            return []

    def _is_old(self, path: str, now: float) -> bool:
        try:
            return now - self._filesystem.inspect(path).modified > self._ages.orphans
        except NameMissing:
            return False

    def _remove(self, path: str) -> None:
        try:
            self._filesystem.remove(path)
        except NameMissing:
            return
