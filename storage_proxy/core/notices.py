"""What others are to be told of an upload, kept in its manifest until they have been told.

Rules: a notice is made by the very change it tells of, so it is exactly as durable as the fact; it leaves the manifest
only by `delivered`, after its receiver has taken it. So nothing is forgotten, whatever dies; something may be told
twice (`number` tells a receiver so); and of one upload everything is told in order. What is made without anybody to
tell costs nothing: `nobody` makes none.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from storage_proxy.core.manifest import Manifest, Notice, Phase


class Told(StrEnum):
    """The kinds of notices, by the names that tusd's users know where the meaning is the same."""

    CREATED = "post-create"
    RECEIVED = "post-receive"
    """more of the prefix is durable; of several that wait, only the newest is told"""
    PUBLISHED = "post-finish"
    FAILED = "post-fail"
    TERMINATED = "post-terminate"
    EXPIRED = "post-expire"


OF_PHASE = {
    Phase.PUBLISHED: Told.PUBLISHED,
    Phase.FAILED: Told.FAILED,
    Phase.TERMINATED: Told.TERMINATED,
    Phase.EXPIRED: Told.EXPIRED,
}

Note = Callable[[Manifest | None, Manifest], Manifest]


def nobody(before: Manifest | None, after: Manifest) -> Manifest:
    return after


@dataclass(frozen=True, slots=True)
class Noting:
    """Called with what a change found (None: it created the upload) and what it makes of it."""

    wanted: frozenset[Told]

    def __call__(self, before: Manifest | None, after: Manifest) -> Manifest:
        for kind in self._happened(before, after):
            after = _noted(after, kind)
        return after

    def _happened(self, before: Manifest | None, after: Manifest) -> list[Told]:
        happened = []
        if before is None:
            happened.append(Told.CREATED)
        elif after.phase not in (Phase.TERMINATED, Phase.EXPIRED) and after.prefix > before.prefix:
            happened.append(Told.RECEIVED)
        if (before is None or before.phase is not after.phase) and after.phase in OF_PHASE:
            happened.append(OF_PHASE[after.phase])
        return [kind for kind in happened if kind in self.wanted]


def _noted(manifest: Manifest, kind: Told) -> Manifest:
    notice = Notice(manifest.notices_made + 1, kind, manifest.changed_at, manifest.prefix)
    waiting = manifest.notices
    if kind is Told.RECEIVED and waiting and waiting[-1].kind == Told.RECEIVED:
        waiting = waiting[:-1]
    return replace(manifest, notices=(*waiting, notice), notices_made=notice.number)


def delivered(manifest: Manifest, number: int) -> Manifest:
    """Its receiver has taken this notice."""
    left = tuple(notice for notice in manifest.notices if notice.number != number)
    return manifest if len(left) == len(manifest.notices) else replace(manifest, notices=left)
