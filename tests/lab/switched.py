"""The store with one of its three safeguards switched off, to show what each of them is for; and one that can be
stopped between two steps.

Rules: nothing here is a setting of the product. A safeguard is switched off by overriding the one method that is it.
"""

import os
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, TypeVar

from storage_proxy.adapters.errno_answers import asking
from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.core.manifest import Manifest
from storage_proxy.ports import HeldLock, Region
from storage_proxy.store import fence, layout
from storage_proxy.store.fence import Outcome, Version
from storage_proxy.store.manifests import Change, Manifests, Performer, Transition

V = TypeVar("V")

NEVER = ""


class _NoLock:
    """Held by everybody at once, as after the loss of every lock."""

    def release(self) -> None:
        return None

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class LocklessFilesystem(PosixFilesystem):
    def lock(self, path: str, region: Region, seconds: float) -> HeldLock:
        return _NoLock()


class FreshlessFilesystem(PosixFilesystem):
    """Believes what its mount remembers of a directory."""

    def refresh(self, directory: str) -> None:
        return None

    def link(self, source: str, name: str) -> None:
        # The product's own opens the directory first, which is a refresh as well.
        with asking("link"):
            os.link(self._at(source), self._at(name), follow_symlinks=False)


class FreshlessLocklessFilesystem(FreshlessFilesystem, LocklessFilesystem):
    pass


def filesystem_of(lock: bool, refresh: bool) -> type[PosixFilesystem]:
    return {
        (True, True): PosixFilesystem,
        (True, False): FreshlessFilesystem,
        (False, True): LocklessFilesystem,
        (False, False): FreshlessLocklessFilesystem,
    }[lock, refresh]


class SteppingManifests(Manifests):
    """Calls `stop` right before one step of its next change; a second step of a kind is called "<kind> again"."""

    _step = NEVER

    def stop_before(self, step: str, stop: Callable[[], None]) -> None:
        self._step, self._stop = step, stop

    def _perform(self, performer: Performer, dialogue: fence.Dialogue[V]) -> V:
        return super()._perform(performer, self._stopping(dialogue))

    def _stopping(self, dialogue: fence.Dialogue[V]) -> Generator[fence.Step, Any, V]:
        seen: set[str] = set()
        answer: Any = None
        while True:
            try:
                step = dialogue.send(answer)
            except StopIteration as end:
                result: V = end.value
                return result
            name = type(step).__name__
            name = f"{name} again" if name in seen else name
            seen.add(name)
            if name == self._step:
                self._step = NEVER
                self._stop()
            answer = yield step


class UnfencedManifests(SteppingManifests):
    """The usual way: under the lock read, write a new file, rename it over the old one."""

    def change(self, key: str, transition: Transition, seen: Manifest | None = None, *, durably: bool = True) -> Change:
        with self._filesystem.lock(layout.lock(key), Region.MANIFEST, self._lock_wait_seconds):
            done = self._perform(self._performer(key), _replaced(transition))
        return Change(done.before.value, done.after.value)


def _replaced(transition: Callable[[V], V]) -> fence.Dialogue[Outcome[V]]:
    current: Version[V] = yield fence.Read()
    value = transition(current.value)
    if value is current.value:
        return Outcome(current, current)
    wanted = Version(current.revision + 1, value)
    staged: str = yield fence.Stage(wanted)
    yield fence.Install(staged)
    yield fence.SyncNames()
    return Outcome(current, wanted)
