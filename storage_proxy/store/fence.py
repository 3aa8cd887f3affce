"""The fenced change: how a new version replaces an old one so that no update is ever lost.

PURE. The change is written as a dialogue: it yields one `Step` at a time, somebody else does it on a file system and
sends the answer back. `store/manifests.py` does the steps on the share; the tests do them on a model, and explore
every order in which three writers' steps can fall, each of which may stop for ever, or go on late, at any point.

How it works. Version r is the text in `info.json`. Who wants r+1 writes it to a staged file of its own, then links that
file to the name of *the fence* r+1: the link is exclusive, so at most one text can become r+1. Then it looks once more
whether r still stands (else its fence is rubbish: r+1 had been decided and cleaned up long before), and renames the
staged file onto `info.json`. Whoever finds the fence r+1 while r still stands does that rename in the owner's place.
The staged name is thereby consumed before anybody can go on to r+2, so a writer that wakes late finds nothing to
rename and can neither undo nor fork what came after it.

Under the upload's lock all this is one writer walking straight through. But a lock may be gone without notice (over
NFS it lives only as long as its lease), and a read may be stale: the lock makes conflicts rare, the fence makes them
harmless.

Every `Read` is a fresh one: the directory's cache is dropped before `info.json` is opened.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Version(Generic[V]):
    revision: int
    value: V


# ---- steps, and what is answered to each ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Read:
    """-> Version: what stands in `info.json`, found by a fresh open"""


@dataclass(frozen=True, slots=True)
class ReadFence:
    """-> str | None: the staged file that this fence names; None where there is no such fence"""

    revision: int


@dataclass(frozen=True, slots=True)
class Stage(Generic[V]):
    """-> str: the name of a new staged file that holds this version and its own name, synced"""

    version: Version[V]


class Linked(Enum):
    YES = "yes"
    TAKEN = "taken"
    """the fence is there already (or the share repeated a request whose first answer was lost)"""
    STAGED_MISSING = "staged missing"


@dataclass(frozen=True, slots=True)
class Link:
    """-> Linked: an exclusive second name for the staged file"""

    staged: str
    revision: int


@dataclass(frozen=True, slots=True)
class CountLinks:
    """-> int: how many names the staged file has; 0 when its own is gone"""

    staged: str


@dataclass(frozen=True, slots=True)
class Install:
    """-> None: rename the staged file onto `info.json`; it is no error when another replica has done so"""

    staged: str


@dataclass(frozen=True, slots=True)
class SyncNames:
    """-> None: every change of names made so far outlives a loss of power"""


@dataclass(frozen=True, slots=True)
class RemoveStaged:
    """-> None: also when it is not there"""

    staged: str


@dataclass(frozen=True, slots=True)
class RemoveFence:
    """-> None: also when it is not there"""

    revision: int


Step = Read | ReadFence | Stage[Any] | Link | CountLinks | Install | SyncNames | RemoveStaged | RemoveFence

Dialogue = Generator[Step, Any, V]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[V]):
    """`before` and `after` are the same object when the transition had nothing to change."""

    before: Version[V]
    after: Version[V]
    lost: int = 0
    """how often another writer was first"""
    helped: int = 0
    """how often another writer's decided change was carried through in its place"""


# ---- the dialogues --------------------------------------------------------------------------------------------------


def read() -> Dialogue[Version[V]]:
    """The version that may be told to a client: one that outlives a loss of power."""
    current: Version[V] = yield Read()
    yield from _made_durable(current)
    return current


def change(transition: Callable[[V], V], *, durably: bool = True) -> Dialogue[Outcome[V]]:
    """Replace the value by the transition's; again and again, until it has been done on the newest one, or refused by
    one that outlives a loss of power.

    Not `durably`: for a value that may be told although a loss of power may still take it back.
    """
    lost = helped = 0
    helped_to: int | None = None
    while True:
        current: Version[V] = yield Read()
        try:
            value = transition(current.value)
        except Exception:
            # A refusal tells of the version, too: how far it has come.
            yield from _made_durable(current)
            raise
        if value is current.value:
            yield from _made_durable(current)
            return Outcome(current, current, lost, helped)

        wanted = Version(current.revision + 1, value)
        staged: str = yield Stage(wanted)
        won: bool = yield from _won(staged, wanted.revision)
        if not won:
            lost += 1
            yield RemoveStaged(staged)
            if (yield from _help(current)):
                helped += 1
                helped_to = wanted.revision
            continue

        again: Version[V] = yield Read()
        if again.revision != current.revision:
            # The name of this fence had been used, and cleaned up, before: what we linked decides nothing. Staged
            # first: a fence that names a missing file can be helped by nobody. Or another replica has helped it
            # already: then it still tells readers to sync, and must not go before its version is durable.
            lost += 1
            yield RemoveStaged(staged)
            yield SyncNames()
            yield RemoveFence(wanted.revision)
            continue

        yield Install(staged)
        if durably:
            yield SyncNames()
        # Only now: a fence that stands beside its version tells readers that the names may not be durable yet.
        yield RemoveFence(wanted.revision)
        if helped_to is not None:
            yield RemoveFence(helped_to)
        return Outcome(current, wanted, lost, helped)


def _won(staged: str, revision: int) -> Dialogue[bool]:
    linked: Linked = yield Link(staged, revision)
    if linked is Linked.TAKEN:
        # Two names mean that this very call had succeeded and the answer was lost on the way.
        links: int = yield CountLinks(staged)
        return links >= 2
    return linked is Linked.YES


def _help(seen: Version[V]) -> Dialogue[bool]:
    """Carry through what another writer had decided and did not finish. It may have died; it may be about to wake."""
    named: str | None = yield ReadFence(seen.revision + 1)
    if named is None:
        return False
    again: Version[V] = yield Read()
    if again.revision != seen.revision:
        # The fence is a late writer's rubbish, or its owner got there itself. Without this second look, rubbish
        # would be installed over a newer version.
        return False
    yield Install(named)
    return True


def _made_durable(current: Version[V]) -> Dialogue[None]:
    if (yield ReadFence(current.revision)) is not None:
        yield SyncNames()
