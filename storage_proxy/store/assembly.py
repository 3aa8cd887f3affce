"""Fold chunks into one file, verify, publish by one atomic step.

Rules: every step can be repeated by any replica after a crash, and done by two at once: folding writes the same bytes
to the same place, and names are changed only by calls of which one can win. A byte is removed only after the manifest,
durably, no longer needs it there. `publishing` is committed before the target is touched, `published` after the
target's directory is synced and the assembly file's own name is gone: so a name that is gone means that the step was
done, and a replica that wakes late finds nothing to publish again. These functions block; they run in `Workers`.
"""

from dataclasses import dataclass
from functools import partial

from storage_proxy.core import folding, transitions
from storage_proxy.core.errors import PromisedBytesMissing, ShareFault, TargetNotAllowed, UploadNotFound
from storage_proxy.core.folding import Fold
from storage_proxy.core.manifest import Digest, Manifest, Phase, Policy, Publication
from storage_proxy.core.target import Target
from storage_proxy.core.transitions import Stamp
from storage_proxy.ports import (
    Entropy,
    Filesystem,
    HeldLock,
    LinkInTheWay,
    LockTimeout,
    NameMissing,
    NameRefused,
    NameTaken,
    Region,
)
from storage_proxy.store import layout
from storage_proxy.store.manifests import Change, Manifests
from storage_proxy.store.new_names import under_new_name

# How much is copied between two syncs: the most that a crash makes somebody copy again.
FOLD_BYTES_MAX = 64 << 20

# Each was free when it was looked at, and taken when it was to be.
NAMES_TRIED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Folded:
    manifest: Manifest
    copied: int
    more: bool
    """another step may find more to do"""


class Assembly:
    def __init__(self, filesystem: Filesystem, manifests: Manifests, entropy: Entropy) -> None:
        self._filesystem = filesystem
        self._manifests = manifests
        self._entropy = entropy

    def claim(self, key: str, seconds: float) -> HeldLock | None:
        """The right to assemble, so that no two do the same work; None: somebody is at it."""
        try:
            return self._filesystem.lock(layout.lock(key), Region.ASSEMBLY, seconds)
        except (LockTimeout, NameMissing):
            return None

    # ---- folding ----------------------------------------------------------------------------------------------------

    def fold(self, key: str) -> Folded:
        """One bounded step: adopt a chunk as the assembly file, begin one, or copy what comes next."""
        manifest = self._manifests.read(key)
        if manifest.phase not in folding.FOLDABLE or folding.whole_file(manifest) is not None:
            return Folded(manifest, 0, more=False)
        if (chunk := folding.adoptable(manifest)) is not None:
            change = self._change(key, partial(folding.adopt, file=chunk.file))
            return Folded(change.after, 0, more=True)
        folds = folding.next_folds(manifest, FOLD_BYTES_MAX)
        if manifest.assembly is None:
            # An upload without a byte becomes a file without a byte.
            if not folds and not (manifest.phase is Phase.CLOSED and manifest.length == 0):
                return Folded(manifest, 0, more=False)
            return Folded(self._begin(key), 0, more=bool(folds))
        if not folds:
            return Folded(manifest, 0, more=False)
        return self._copy(manifest, folds)

    def _begin(self, key: str) -> Manifest:
        def make(name: str) -> None:
            self._filesystem.stage(layout.within(key, name)).close()

        try:
            name, _ = under_new_name(self._entropy, layout.assembly_name, make)
        except NameMissing:
            raise UploadNotFound(upload=key) from None
        change = self._manifests.change(key, partial(folding.begin_assembly, file=name))
        if change.after.assembly is None or change.after.assembly.file != name:
            self._remove(key, name)
        return change.after

    def _copy(self, manifest: Manifest, folds: tuple[Fold, ...]) -> Folded:
        key = manifest.upload.key
        assert manifest.assembly is not None
        file = manifest.assembly.file
        path = layout.within(key, file)
        copied = 0
        try:
            for fold in folds:
                source = layout.within(key, fold.source)
                done = self._filesystem.copy(source, fold.source_offset, path, fold.extent.start, fold.extent.length)
                if done != fold.extent.length:
                    raise PromisedBytesMissing(
                        upload=str(manifest.upload),
                        file=fold.source,
                        reason=f"it ends {fold.extent.length - done} early",
                    )
                copied += done
            self._filesystem.sync(path)
        except NameMissing:
            return self._overtaken(manifest, folds)
        through = folds[-1].extent.end
        change = self._change(key, partial(folding.fold, file=file, through=through))
        return Folded(change.after, copied, more=True)

    def _overtaken(self, manifest: Manifest, folds: tuple[Fold, ...]) -> Folded:
        """A file is gone: right if another replica has folded it meanwhile, a loss if the manifest still stands."""
        now = self._manifests.read(manifest.upload.key)
        if now.revision == manifest.revision:
            raise PromisedBytesMissing(
                upload=str(manifest.upload), file=folds[0].source, reason="it, or the assembly file, is gone"
            )
        return Folded(now, 0, more=True)

    def _change(self, key: str, transition: "partial[Manifest]") -> Change:
        change = self._manifests.change(key, transition)
        for name in change.removable:
            self._remove(key, name)
        return change

    def _remove(self, key: str, name: str) -> None:
        try:
            self._filesystem.remove(layout.within(key, name))
        except NameMissing:
            return

    # ---- publishing -------------------------------------------------------------------------------------------------

    def publish(self, key: str, stamp: Stamp, computed: tuple[Digest, ...] = ()) -> Manifest:
        """Carry a whole assembly file to its target; from whatever point another replica has left it at."""
        return self.publish_announced(self._manifests.read(key), stamp, computed).after

    def publish_announced(self, manifest: Manifest, stamp: Stamp, computed: tuple[Digest, ...] = ()) -> Change:
        """The same for a manifest that was just read or written: an old one does no harm, its names are gone.

        `computed`: of the whole file, where digests were declared. Without them a closed upload stays as it is. The
        last change, and nothing changed where it was another replica that ended it."""
        step = Change(manifest, manifest)
        if manifest.phase is Phase.CLOSED and (file := folding.whole_file(manifest)) is not None:
            step = self._announce(manifest, file, attempt=0, computed=computed)
        for _ in range(NAMES_TRIED_MAX):
            manifest = step.after
            if manifest.phase is not Phase.PUBLISHING:
                return step
            step = self._publish_once(manifest, stamp)
        return self.fail(manifest, f"{NAMES_TRIED_MAX} names like {manifest.target.path!r} were taken", stamp)

    def refute(self, manifest: Manifest, stamp: Stamp, computed: tuple[Digest, ...]) -> Change:
        """Fail a closed upload whose file was found to have another digest than was declared."""
        transition = partial(transitions.refute, computed=computed, stamp=stamp)
        if transition(manifest) is manifest:
            return Change(manifest, manifest)
        return self._manifests.change(manifest.upload.key, transition)

    def _announce(
        self,
        manifest: Manifest,
        file: str,
        attempt: int,
        computed: tuple[Digest, ...] = (),
        taken: Publication | None = None,
    ) -> Change:
        """`taken`: by somebody else's file; it was announced before."""
        key = manifest.upload.key
        try:
            entry = self._filesystem.inspect(layout.within(key, file))
        except NameMissing:
            now = self._manifests.read(key)
            if now.revision == manifest.revision:
                raise PromisedBytesMissing(upload=str(manifest.upload), file=file, reason="it is gone") from None
            return Change(now, now)
        if entry.size != manifest.length:
            raise PromisedBytesMissing(
                upload=str(manifest.upload),
                file=file,
                reason=f"it has {entry.size} bytes, not {manifest.length}",
            )
        path = manifest.target.numbered(attempt).path
        publication = Publication(path, entry.inode, attempt)
        transition = partial(transitions.announce, file=file, publication=publication, computed=computed)
        if taken is not None:
            transition = partial(_unless_gone_on, taken=taken, announce=transition)
        return self._manifests.change(key, transition)

    def _publish_once(self, manifest: Manifest, stamp: Stamp) -> Change:
        key = manifest.upload.key
        publication = manifest.publication
        assert publication is not None and manifest.assembly is not None
        source = layout.within(key, manifest.assembly.file)
        try:
            if manifest.policy is Policy.REPLACE:
                self._filesystem.rename_target(source, publication.path)
            else:
                self._filesystem.link_target(source, publication.path)
        except NameMissing:
            return self._already_consumed(manifest, publication, stamp)
        except LinkInTheWay:
            return self.fail(manifest, f"a symbolic link or a file stands in the way of {publication.path!r}", stamp)
        except NameRefused as refused:
            remedy = "send the file under another one, or change the share and finish the upload"
            return self.fail(manifest, f"the share takes no name {publication.path!r} ({refused}); {remedy}", stamp)
        except NameTaken:
            if manifest.policy is Policy.REPLACE:
                return self.fail(manifest, f"{publication.path!r} is a directory", stamp)
            if not self._is_ours(publication):
                return self._taken(manifest, publication, stamp)
        self._sync_target(publication)
        if manifest.policy is not Policy.REPLACE:
            # Not synced by itself: the names of one directory become durable in order, this one before the record.
            self._remove(key, manifest.assembly.file)
        return self._record(manifest, publication, stamp)

    def _record(self, manifest: Manifest, publication: Publication, stamp: Stamp) -> Change:
        transition = partial(transitions.publish, publication=publication, stamp=stamp)
        # Everything it says is durable, and a loss of power that takes the record back leaves `publishing`, from which
        # any replica finds the file at its target and records it again.
        return self._manifests.change(manifest.upload.key, transition, seen=manifest, durably=False)

    def _sync_target(self, publication: Publication) -> None:
        try:
            self._filesystem.sync_target(publication.path)
        except NameMissing:
            return  # somebody has moved the directory away already, with our file in it: published it was

    def _is_ours(self, publication: Publication) -> bool:
        try:
            return self._filesystem.inspect_target(publication.path).inode == publication.inode
        except (NameMissing, LinkInTheWay):
            return False

    def _taken(self, manifest: Manifest, publication: Publication, stamp: Stamp) -> Change:
        if manifest.policy is Policy.REFUSE:
            return self.fail(manifest, f"a file {publication.path!r} exists already", stamp)
        assert manifest.assembly is not None
        try:
            attempt = self._free_after(manifest.target, publication.attempt)
            return self._announce(manifest, manifest.assembly.file, attempt, taken=publication)
        except TargetNotAllowed as error:
            return self.fail(manifest, f"{error.path!r}: {error.reason}", stamp)

    def _free_after(self, target: Target, taken: int) -> int:
        """A number whose name is free: the next one, or, of many in a row that are taken, the first behind the row.

        An announcement is dear and a look is cheap, so looks double their step and then halve it. What they find is
        advice: the link decides."""
        step = 1
        while self._stands(target.numbered(taken + step).path):
            taken, step = taken + step, step * 2
        free = taken + step
        while free - taken > 1:
            middle = (taken + free) // 2
            taken, free = (middle, free) if self._stands(target.numbered(middle).path) else (taken, middle)
        return free

    def _stands(self, path: str) -> bool:
        try:
            self._filesystem.inspect_target(path)
        except (NameMissing, LinkInTheWay, ShareFault):
            return False  # what is wrong with it, the link will say
        return True

    def _already_consumed(self, manifest: Manifest, publication: Publication, stamp: Stamp) -> Change:
        """The assembly file's name is gone: the step was done, by us before a crash or by another replica."""
        now = self._manifests.read(manifest.upload.key)
        if now.revision != manifest.revision:
            return Change(now, now)
        if self._is_ours(publication):
            self._sync_target(publication)
            return self._record(manifest, publication, stamp)
        return self.fail(
            manifest,
            f"it had been put to {publication.path!r}, but another file, or none, stands there now",
            stamp,
        )

    def fail(self, manifest: Manifest, reason: str, stamp: Stamp) -> Change:
        """Give publishing up, and keep the bytes."""
        return self._manifests.change(manifest.upload.key, partial(transitions.fail, reason=reason, stamp=stamp))


def _unless_gone_on(manifest: Manifest, taken: Publication, announce: "partial[Manifest]") -> Manifest:
    """Another replica that has gone on to another name may have put the file there already: then that one stands."""
    return announce(manifest) if manifest.publication == taken else manifest
