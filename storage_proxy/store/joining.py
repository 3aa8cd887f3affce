"""Take parts into a final upload: a link of its own to each part's one file, so that nothing is copied here.

Rules: only the file of a part that is whole is linked; nobody writes to it any more (`core/concatenation.py`). A link
is made before the fenced change that promises it, in the directory that this change syncs, which makes the names
durable in order. A link that no manifest names is rubbish: removed by who made it, as long as it is certain that no
fence promises it, and by the sweeper otherwise. Any number of replicas may do this at once: one link of each part is
taken. These functions block; they run in `Workers`.
"""

from dataclasses import dataclass
from functools import partial

from storage_proxy.core import concatenation
from storage_proxy.core.concatenation import Found
from storage_proxy.core.errors import PromisedBytesMissing, UploadNotFound
from storage_proxy.core.folding import whole_file
from storage_proxy.core.manifest import Manifest, Phase
from storage_proxy.core.transitions import Stamp
from storage_proxy.ports import Entropy, Filesystem, NameMissing, NameTaken
from storage_proxy.store import layout
from storage_proxy.store.manifests import Change, Manifests


@dataclass(frozen=True, slots=True)
class Gathered:
    manifest: Manifest
    unfolded: tuple[str, ...] = ()
    """parts that are whole, but not in one file yet"""
    more: bool = False
    """another step may find more to do"""
    waited: bool = False
    """it was this step that ended the waiting"""


class Joining:
    def __init__(self, filesystem: Filesystem, manifests: Manifests, entropy: Entropy) -> None:
        self._filesystem = filesystem
        self._manifests = manifests
        self._entropy = entropy

    def gather(self, key: str, size_max: int, stamp: Stamp) -> Gathered:
        """Take every part that can be taken now."""
        manifest = self._manifests.read(key)
        if manifest.phase is not Phase.WAITING:
            return Gathered(manifest)
        parts: dict[str, Manifest] = {}
        for part in concatenation.lacking(manifest):
            found, reason = self._look_at(part)
            if found is None:
                return self._forsake(manifest, f"its part {part} is gone: {reason}", stamp)
            parts[part] = found
        learnt = {part: self._found(key, found) for part, found in parts.items()}
        change = self._take(key, learnt, size_max, stamp)
        left = [parts[part] for part in concatenation.lacking(change.after) if part in parts]
        unfolded = tuple(
            part.upload.key for part in left if part.phase is Phase.WHOLE and not concatenation.is_ready(part)
        )
        return Gathered(change.after, unfolded, any(part.phase is Phase.WHOLE for part in left), _has_waited(change))

    def _look_at(self, part: str) -> tuple[Manifest | None, str]:
        try:
            manifest = self._manifests.read(part)
        except UploadNotFound:
            return None, "nothing is left of it"
        reason = concatenation.unusable(manifest)
        return (manifest, "") if reason is None else (None, reason)

    def _forsake(self, manifest: Manifest, reason: str, stamp: Stamp) -> Gathered:
        key = manifest.upload.key
        change = self._manifests.change(key, partial(concatenation.forsake, reason=reason, stamp=stamp))
        self._remove(key, change.removable)
        return Gathered(change.after, waited=_has_waited(change))

    def _found(self, key: str, part: Manifest) -> Found:
        file = whole_file(part) if concatenation.is_ready(part) else None
        return Found(part.length, None if file is None else self._link(key, part, file))

    def _link(self, key: str, part: Manifest, file: str) -> str | None:
        """The name of a new link; None: the part has ended meanwhile, which the next look will see."""
        name = layout.part_name(self._entropy.token())
        try:
            self._filesystem.link(layout.within(part.upload.key, file), layout.within(key, name))
        except NameTaken:
            # The share repeated a request whose first answer was lost: nobody else can have this name.
            return name
        except NameMissing:
            self._manifests.read(key)  # UploadNotFound: it is the final upload that is gone
            now, _ = self._look_at(part.upload.key)
            if now is not None and now.revision == part.revision:
                raise PromisedBytesMissing(upload=str(part.upload), file=file, reason="it is gone") from None
            return None
        return name

    def _take(self, key: str, found: dict[str, Found], size_max: int, stamp: Stamp) -> Change:
        transition = partial(concatenation.take, found=found, size_max=size_max, stamp=stamp)
        change = self._manifests.change(key, transition)
        ours = frozenset(each.file for each in found.values() if each.file is not None)
        self._remove(key, (ours | change.removable) - change.after.files)
        return change

    def _remove(self, key: str, names: frozenset[str]) -> None:
        for name in names:
            try:
                self._filesystem.remove(layout.within(key, name))
            except NameMissing:
                continue


def _has_waited(change: Change) -> bool:
    return change.before.phase is Phase.WAITING and change.after.phase is not Phase.WAITING
