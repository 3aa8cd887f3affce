"""All that the service asks of the world, each with the promises it makes.

Rules: a port is small, lists its promises, and has one suite that judges every implementation of it
(`tests/contracts`). Paths are text relative to the volume's root. There are two kinds, and no method takes both: a
*store path* lies in the service's own directory and is spelled by `store/layout.py` only; a *target path* belongs to
people, may hold planted links, and is resolved without following any.

File system calls block, so they are plain functions and are only ever run through `Workers`.
"""

from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Protocol, TypeVar

from storage_proxy.core.events import Fact
from storage_proxy.core.manifest import Manifest, Notice

T = TypeVar("T")


# ---- what a file system answers when a name is not as hoped ------------------------------------------------------


class NameMissing(Exception):
    """The name, or a directory on the way to it, is not there (ENOENT, and ESTALE for what was removed)."""


class NameTaken(Exception):
    """The name is there already (EEXIST)."""


class DirectoryNotEmpty(Exception):
    """Somebody's file is still in it (ENOTEMPTY; over NFS also a file of our own that is still open)."""


class LinkInTheWay(Exception):
    """A part of a target path is a symbolic link or no directory; nothing was touched."""


class NameRefused(Exception):
    """The share will never put a file under this target path: another file system, or another quota's tree, lies on the
    way (EXDEV), or a part is too long, or spelled as it allows none (ENAMETOOLONG, EILSEQ, EINVAL). Its text says
    which; asking again is of no use until somebody has changed the share."""


class LockTimeout(Exception):
    """Another holder kept the lock for as long as we were ready to wait."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a name stood for at the moment of asking; `modified` is the share's own clock, in seconds."""

    inode: int
    size: int
    links: int
    modified: float
    is_directory: bool = False


@dataclass(frozen=True, slots=True)
class Space:
    total: int
    free: int


class Region(IntEnum):
    """Which part of an upload a lock is about; different regions of one lock file do not exclude each other."""

    MANIFEST = 0
    ASSEMBLY = 1
    NOTICES = 2


class StagedFile(Protocol):
    """A file of one writer's own.

    1. `write` puts the buffers, in order, behind what was written; it returns when the kernel has them all, or raises.
    2. `sync` returns only when every byte written so far outlives a loss of power. After a `write` or a `sync` has
       failed no later `sync` succeeds: of what was written since the last one that did, a share may have lost any
       part, and tell of it only once (NFS tells a `write`, of what earlier ones had written).
    3. One `write` and one `sync` may run at the same time, in two threads; the sync covers what had been written when
       it began, at least. It waits for a `write` that is still under way when it is done itself, and fails with it.
    4. `close` may be called more than once and never raises for a file that was removed. While a call hangs, the file
       is closed when that call comes back.
    """

    @property
    def inode_number(self) -> int:
        """As `Entry.inode` tells it."""
        ...

    def write(self, buffers: Sequence[bytes]) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


class HeldLock(AbstractContextManager[None], Protocol):
    """Released by `release`, by leaving the context, and by the death of the process."""

    def release(self) -> None: ...


class Names(Protocol):
    """Names in the service's own directory.

    1. Each change is atomic: another replica sees it whole or not at all.
    2. What `sync_directory(d)` covers (creations, links, renames, removals in `d`) outlives a loss of power, and so
       does every change of names made before it. Unsynced changes may be lost, but only the latest ones, in order.
    3. A look-up may be stale, until `refresh(d)`: every look-up in `d` after it sees what any replica had done there
       before it began. `create_durably`, `link`, `rename`, `remove` and `make_directory` are decided by the share
       and never by a cache.
    4. Errors: `NameMissing`, `NameTaken` where said; core's `ShareFull` and `ShareFault` for all that is the share's
       trouble. After an error the names are as before.
    """

    def make_directory(self, path: str) -> bool:
        """True: made by this call, readable by this service only; False: it was there. NameMissing: no parent."""
        ...

    def refresh(self, directory: str) -> None:
        """Forget what is cached of this directory. NameMissing."""
        ...

    def list(self, directory: str) -> list[str]:
        """All names, after a refresh of its own. NameMissing."""
        ...

    def inspect(self, path: str) -> Entry:
        """What a fresh open of the name finds. NameMissing."""
        ...

    def create_durably(self, path: str, text: bytes) -> None:
        """A new file with this text, synced (its name is not yet: see 2). NameTaken."""
        ...

    def read(self, path: str) -> bytes:
        """The whole of a small file as one version of it: never a mixture of two. NameMissing."""
        ...

    def link(self, source: str, name: str) -> None:
        """A second name, exclusively: of many at once one succeeds. NameTaken, NameMissing (the source).

        Over NFS a repeated call whose first answer was lost says NameTaken although it has succeeded."""
        ...

    def rename(self, source: str, name: str) -> None:
        """Replace `name`, in one step. NameMissing (the source)."""
        ...

    def remove(self, path: str) -> None:
        """NameMissing when it was not there."""
        ...

    def remove_directory(self, path: str) -> None:
        """NameMissing, DirectoryNotEmpty."""
        ...

    def sync_directory(self, directory: str) -> None:
        """NameMissing."""
        ...


class Bytes(Protocol):
    """What is in files of the service's own directory.

    1. Bytes that were synced by any replica are what every later open reads.
    2. `copy` puts the same bytes at the same place however often and by however many at once it is called.
    """

    def stage(self, path: str) -> StagedFile:
        """A new, empty file. NameTaken, NameMissing (the directory)."""
        ...

    def read_at(self, path: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file. NameMissing."""
        ...

    def copy(self, source: str, source_offset: int, name: str, offset: int, length: int) -> int:
        """Copy bytes between two different files, by the share itself where it can; how many, fewer only at the
        end of the source. Not synced. NameMissing (either)."""
        ...

    def sync(self, path: str) -> None:
        """What was written to the file through this port, by this process, outlives a loss of power. NameMissing."""
        ...


class Exclusion(Protocol):
    """Locks that hold across replicas.

    1. While a lock is held no other replica, and no other caller in this process, holds the same region.
    2. It ends with the process. It may also end earlier, unnoticed (a lease runs out): what it protects must be
       safe without it.
    """

    def lock(self, path: str, region: Region, seconds: float) -> HeldLock:
        """Wait that long at the most, then LockTimeout; 0 tries once. The lock file is created where it is not
        there. NameMissing: its directory is gone."""
        ...


class OpenTarget(Protocol):
    """A finished file, open for reading."""

    entry: Entry

    def read(self, offset: int, length: int) -> AsyncIterator[bytes]: ...
    async def close(self) -> None: ...


class Targets(Protocol):
    """Where people's files are.

    1. No symbolic link in a target path is followed, not even the last part: LinkInTheWay. Nothing outside the volume
       is ever read or written, whatever is planted and whenever.
    2. `link_target` never replaces; `rename_target` replaces in one step. Both make missing directories first.
    3. `sync_target(path)` makes the name durable, and the directories made on the way to it.
    """

    def link_target(self, source: str, path: str) -> None:
        """NameTaken, NameMissing (the source), LinkInTheWay, NameRefused."""
        ...

    def rename_target(self, source: str, path: str) -> None:
        """NameMissing (the source), NameTaken (a directory has the name), LinkInTheWay, NameRefused."""
        ...

    def sync_target(self, path: str) -> None:
        """NameMissing: its directory is gone."""
        ...

    def inspect_target(self, path: str) -> Entry:
        """NameMissing, LinkInTheWay. A symbolic link in the last place is LinkInTheWay too."""
        ...

    def read_target_at(self, path: str, inode: int, offset: int, length: int) -> bytes:
        """As `read_at`, but only while the name stands for this very inode: NameMissing otherwise."""
        ...

    async def open_target(self, path: str) -> OpenTarget:
        """NameMissing, LinkInTheWay."""
        ...


class Filesystem(Names, Bytes, Exclusion, Targets, Protocol):
    """One volume."""

    def share_time(self, directory: str) -> float:
        """Now, by the clock that stamps `Entry.modified`."""
        ...

    def space(self) -> Space: ...


class Workers(Protocol):
    """Threads of one volume, in which its file system calls run.

    1. `run` never blocks the event loop, and no other volume's `run`.
    2. It gives `work`'s result or its exception; past `seconds` it raises core's `ShareStalled`, while `work` may
       still go on and may still take effect.
    3. When everything of this volume hangs, further calls are refused at once, by `ShareStalled` too.
    4. Cancelling the caller does not stop `work`.
    """

    async def run(self, work: Callable[[], T], seconds: float) -> T: ...

    def hung_seconds(self) -> float:
        """How long the slowest call has been under way, if all that may run at once are past their limits; else 0."""
        ...

    def side_by_side(self, work: Callable[[], None], help: Callable[[], object]) -> None:
        """For who is being run: do this work, while somebody else helps, on another processor. Help may come late, or
        never, and its failure is nobody's."""
        ...

    def abandon(self, work: Callable[[], object]) -> None:
        """Run this some time; nobody waits for it and its failure is nobody's (closing files after trouble)."""
        ...


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch, for people: headers and manifests."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for deadlines."""
        ...


class Entropy(Protocol):
    def token(self) -> str:
        """32 hex digits nobody can guess and nobody gets twice."""
        ...


class Listener(Protocol):
    def hear(self, fact: Fact) -> None:
        """Must be quick and must not raise; what is told has already happened. Called from any thread."""
        ...


class Asked(StrEnum):
    """What others may refuse before it is done, by the names that tusd's users know."""

    CREATION = "pre-create"
    PUBLISHING = "pre-finish"
    TERMINATION = "pre-terminate"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who sent the request that a question is about, as far as others are to know."""

    method: str
    uri: str
    remote: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    refusal: str | None = None
    """why not, for the client to read; None: it may be done"""
    path: str | None = None
    """where the file is to appear instead; only of a creation"""


class Hooks(Protocol):
    """Those who want to be asked before something is done, and told afterwards.

    1. `tell` returns when all of them have taken the notice; until then it is told again, so they may get it twice.
    2. A question that gets no answer is no permission.
    """

    def wants(self, question: Asked) -> bool:
        """Whether anybody is to be asked."""
        ...

    async def ask(self, question: Asked, manifest: Manifest, asker: Asker | None) -> Verdict:
        """HookFailed: no answer was to be had."""
        ...

    async def tell(self, manifest: Manifest, notice: Notice) -> None:
        """HookFailed: not taken; come again."""
        ...


class Unread(Protocol):
    """Bytes of a request that are there but have not been received: that is left to the thread that writes them."""

    count: int

    def received(self, most: int) -> Generator[Sequence[bytes], None, None]:
        """Once, never waiting, piece by piece. It may give fewer than `count`; or more, where more has come since, but
        then no more than about `most`. `BodyBroken`."""
        ...


class Body(Protocol):
    """The bytes of one request, as they come in."""

    async def batch(self, size: int, seconds: float) -> Sequence[bytes] | Unread:
        """The next buffers, or where to get them, which is to be done before the next are asked for. Returns once
        `size` bytes are there, or some are and `seconds` have passed, or the body ended. Empty: it ended well.
        `BodyBroken`, `BodyIdle`, `BodyStopped`: no more will come, and all that came has been handed over before."""
        ...

    def at_hand(self, size_max: int) -> Sequence[bytes] | None:
        """All of the body, where all of it has come already, is not empty and no larger; else None, and nothing is
        taken. Asked before the first `batch` only."""
        ...


class BodyBroken(Exception):
    """The connection was lost, or the client broke the framing."""


class BodyIdle(Exception):
    """Nothing came for too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class BodyStopped(Exception):
    """This replica is shutting down."""


def total(buffers: Iterable[bytes]) -> int:
    return sum(map(len, buffers))
