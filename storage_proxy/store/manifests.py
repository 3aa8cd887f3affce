"""Create, read, change: the one door to `info.json`.

Rules: nobody else opens that file. Every look-up in an upload's directory that must be fresh follows a refresh. A
change waits for the upload's lock, for a limited time, and is safe without it (`store/fence.py`); one that hardly
anybody can be in the way of does without it at first. These functions block; they run in `Workers`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from storage_proxy.core.errors import ShareFault, UploadBusy, UploadNotFound
from storage_proxy.core.events import FenceContended
from storage_proxy.core.manifest import Manifest, UploadId
from storage_proxy.core.notices import Note, nobody
from storage_proxy.ports import (
    Entropy,
    Filesystem,
    HeldLock,
    LinkInTheWay,
    Listener,
    LockTimeout,
    NameMissing,
    NameTaken,
    Region,
)
from storage_proxy.store import fence, info_json, layout
from storage_proxy.store.fence import Linked, Version
from storage_proxy.store.new_names import under_new_name

V = TypeVar("V")

Transition = Callable[[Manifest], Manifest]

# A change that meets another writer at every turn gives up; under the lock one turn is the rule, two are rare.
STEPS_MAX = 400

# Texts of uploads full of holes are larger, and of those only the last few are worth their memory.
SMALL_BYTES_MAX = 16 << 10
REMEMBERED_BYTES_MAX = 2 << 20


@dataclass(frozen=True, slots=True)
class Change:
    """What a change did; `before is after` when there was nothing to do."""

    before: Manifest
    after: Manifest
    conflicts: int = 0
    helped: int = 0

    @property
    def removable(self) -> frozenset[str]:
        """The files that the manifest needed before and no longer needs."""
        return self.before.files - self.after.files


class Manifests:
    def __init__(
        self,
        filesystem: Filesystem,
        volume: str,
        entropy: Entropy,
        lock_wait_seconds: float,
        note: Note = nobody,
        listener: Listener | None = None,
    ) -> None:
        """`note` adds to each change what others are to be told of it."""
        self._filesystem = filesystem
        self._note = note
        self._listener = listener
        self._volume = volume
        self._entropy = entropy
        self._lock_wait_seconds = lock_wait_seconds

    def prepare(self) -> None:
        """Make the service's own directory of a volume that is new to it. LinkInTheWay: it is not a directory."""
        made = self._filesystem.make_directory(layout.ROOT)
        # By the look-up that follows no links: a planted one would lead all uploads out of the volume.
        if not self._filesystem.inspect_target(layout.ROOT).is_directory:
            raise LinkInTheWay(layout.ROOT)
        if made:
            self._filesystem.sync_directory(layout.VOLUME_ROOT)

    def create(self, manifest: Manifest) -> Manifest:
        """Make a new upload durable: its directory, then its first manifest."""
        key = manifest.upload.key
        first = self._note(None, replace(manifest, revision=1))

        def write(staged: str) -> None:
            self._filesystem.create_durably(layout.within(key, staged), info_json.render(first, staged))

        try:
            if self._filesystem.make_directory(layout.shard(key)):
                self._filesystem.sync_directory(layout.ROOT)
            self._filesystem.make_directory(layout.directory(key))
            staged, _ = under_new_name(self._entropy, layout.staged_name, write)
            self._filesystem.rename(layout.within(key, staged), layout.manifest(key))
            self._filesystem.sync_directory(layout.directory(key))
            self._filesystem.sync_directory(layout.shard(key))
        except NameMissing:
            # Stopped for so long that the janitor took the half-made directory for a dead replica's.
            raise ShareFault(operation="create", reason="the new upload's directory was swept") from None
        return first

    def read(self, key: str) -> Manifest:
        """The newest manifest that outlives a loss of power."""
        return self._perform(self._performer(key), fence.read()).value

    def change(self, key: str, transition: Transition, seen: Manifest | None = None, *, durably: bool = True) -> Change:
        """Do a transition on the newest manifest and make the result durable.

        `seen`: what this replica has read or written a moment ago. Where the transition would change it, the change
        begins with it, without a look at the share and without the lock: as a writer that has been stopped since its
        first look, and whose lock is gone, does. Mostly it stands still, and that saves a third of the calls; if not,
        the fence says so, and the change is done again in the usual way.

        Not `durably`: a loss of power may still take it back, though it was told. What is on disk stays in order.
        """

        def noted(manifest: Manifest) -> Manifest:
            after = transition(manifest)
            return after if after is manifest else self._note(manifest, after)

        foreseen = None if seen is None else _foreseen(noted, seen)

        def step(manifest: Manifest) -> Manifest:
            return foreseen if foreseen is not None and manifest is seen else noted(manifest)

        with ExitStack() as held:
            performer = self._performer(key)
            if foreseen is not None and seen is not None:
                performer.begin_with(seen, lambda: held.enter_context(self._turn(key)))
            else:
                held.enter_context(self._turn(key))
            done = self._perform(performer, fence.change(step, durably=durably))
        before, after = done.before.value, done.after.value
        if after is not before:
            after = replace(after, revision=done.after.revision)
        if self._listener is not None and (done.lost or done.helped):
            self._listener.hear(FenceContended(self._id(key), done.lost, done.helped))
        return Change(before, after, done.lost, done.helped)

    def claim_notices(self, key: str) -> HeldLock | None:
        """The right to deliver an upload's notices; None: somebody is at it."""
        try:
            return self._filesystem.lock(layout.lock(key), Region.NOTICES, 0.0)
        except (LockTimeout, NameMissing):
            return None

    def _turn(self, key: str) -> AbstractContextManager[None]:
        try:
            return self._filesystem.lock(layout.lock(key), Region.MANIFEST, self._lock_wait_seconds)
        except LockTimeout:
            # Its holder stands still, or died in a way that its share has not noticed (NFS 3 never does). The lock
            # makes conflicts rare, the fence makes them harmless: going on is safe, waiting for ever is not an option.
            return nullcontext()
        except NameMissing:
            raise UploadNotFound(upload=str(self._id(key))) from None

    def _id(self, key: str) -> UploadId:
        return UploadId(self._volume, key)

    # ---- doing the steps of a dialogue ------------------------------------------------------------------------------

    def _performer(self, key: str) -> "Performer":
        return Performer(self._filesystem, self._id(key), self._entropy)

    def _perform(self, performer: "Performer", dialogue: fence.Dialogue[V]) -> V:
        answer: Any = None
        for _ in range(STEPS_MAX):
            try:
                step = dialogue.send(answer)
            except StopIteration as end:
                result: V = end.value
                return result
            try:
                answer = performer.do(step)
            except NameMissing:
                # Every single name may be missing, and is asked for so; what is missing here is the directory.
                raise UploadNotFound(upload=str(performer.upload)) from None
            except BaseException:
                performer.tidy()
                raise
        performer.tidy()
        raise UploadBusy()


def _foreseen(transition: Transition, seen: Manifest) -> Manifest | None:
    """What the transition makes of it; None where only the newest manifest may answer: a refusal, or nothing to do."""
    try:
        after = transition(seen)
    except Exception:
        return None
    return None if after is seen else after


def _parse(text: bytes, upload: UploadId) -> Version[Manifest]:
    manifest = info_json.parse(text, upload)
    return Version(manifest.revision, manifest)


# A text that is read again means the same again: each request reads one two or three times.
_parsed_small = lru_cache(maxsize=256)(_parse)
_parsed_large = lru_cache(maxsize=4)(_parse)


def _parsed(text: bytes, upload: UploadId) -> Version[Manifest]:
    if len(text) <= SMALL_BYTES_MAX:
        return _parsed_small(text, upload)
    return _parsed_large(text, upload) if len(text) <= REMEMBERED_BYTES_MAX else _parse(text, upload)


class Performer:
    """Does one dialogue's steps on the share."""

    def __init__(self, filesystem: Filesystem, upload: UploadId, entropy: Entropy) -> None:
        self._filesystem = filesystem
        self.upload = upload
        self._entropy = entropy
        self._seen: Manifest | None = None
        self._take_turn: Callable[[], object] | None = None
        self._staged: str | None = None
        """staged by this dialogue and linked nowhere yet, as far as we know"""

    def begin_with(self, seen: Manifest, take_turn: Callable[[], object]) -> None:
        """Answer the first `Read` with this, and take the upload's turn only when another writer was first."""
        self._seen, self._take_turn = seen, take_turn

    def do(self, step: fence.Step) -> Any:
        key = self.upload.key
        match step:
            case fence.Read():
                return self._read()
            case fence.ReadFence(revision):
                return self._read_fence(revision)
            case fence.Stage(version):
                return self._stage(version)
            case fence.Link(staged, revision):
                return self._link(staged, revision)
            case fence.CountLinks(staged):
                return self._count_links(staged)
            case fence.Install(staged):
                self._quietly(self._filesystem.rename, layout.within(key, staged), layout.manifest(key))
            case fence.SyncNames():
                self._filesystem.sync_directory(layout.directory(key))
            case fence.RemoveStaged(staged):
                if self._take_turn is not None:
                    # Another writer was first, so there is one: from now on in turn.
                    take_turn, self._take_turn = self._take_turn, None
                    take_turn()
                self._quietly(self._filesystem.remove, layout.within(key, staged))
            case fence.RemoveFence(revision):
                self._quietly(self._filesystem.remove, layout.fence(key, revision))
        return None

    def tidy(self) -> None:
        """After trouble: a staged file that nobody can have linked is rubbish; any other is left to the sweeper."""
        if self._staged is not None:
            try:
                self._filesystem.remove(layout.within(self.upload.key, self._staged))
            except Exception:  # the share is in trouble already; the sweeper comes by later
                return

    def _read(self) -> Version[Manifest]:
        if self._seen is not None:
            seen, self._seen = self._seen, None
            return Version(seen.revision, seen)
        key = self.upload.key
        self._filesystem.refresh(layout.directory(key))
        return _parsed(self._filesystem.read(layout.manifest(key)), self.upload)

    def _read_fence(self, revision: int) -> str | None:
        try:
            text = self._filesystem.read(layout.fence(self.upload.key, revision))
        except NameMissing:
            return None
        return info_json.staged_of(text, self.upload)

    def _stage(self, version: Version[Manifest]) -> str:
        manifest = replace(version.value, revision=version.revision)

        def write(staged: str) -> None:
            self._staged = staged
            text = info_json.render(manifest, staged)
            self._filesystem.create_durably(layout.within(self.upload.key, staged), text)

        return under_new_name(self._entropy, layout.staged_name, write)[0]

    def _link(self, staged: str, revision: int) -> Linked:
        key = self.upload.key
        self._staged = None
        try:
            self._filesystem.link(layout.within(key, staged), layout.fence(key, revision))
        except NameTaken:
            return Linked.TAKEN
        except NameMissing:
            return Linked.STAGED_MISSING
        return Linked.YES

    def _count_links(self, staged: str) -> int:
        try:
            return self._filesystem.inspect(layout.within(self.upload.key, staged)).links
        except NameMissing:
            return 0

    def _quietly(self, change: Callable[..., None], *paths: str) -> None:
        try:
            change(*paths)
        except NameMissing:
            return
