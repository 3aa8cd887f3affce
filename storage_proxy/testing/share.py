"""The server side of the simulated share: inodes, names, locks, and what a loss of power leaves of them.

Rules: nothing here knows a cache or a replica's mistakes (that is `filesystem.py`'s). Names change in journaled steps;
a loss of power keeps the durable ones and the first few of the others, never a later one without an earlier. Of data it
keeps what was synced; what was written and not synced may be gone, cut, or zeros. One seed decides all chance.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from storage_proxy.core import extents
from storage_proxy.core.errors import ShareFault, ShareFull
from storage_proxy.core.extents import Coverage, Extent
from storage_proxy.ports import LinkInTheWay, NameMissing, NameRefused

# Who the unsynced bytes of a replica belong to after it was killed: its machine still writes them back.
_MACHINES_OF_THE_DEAD = ""

_NAME_BYTES_MAX = 255


class Kind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    PIPE = "pipe"


@dataclass(eq=False, slots=True)
class Inode:
    """`data` is always `durable` with everybody's dirty extents laid over it."""

    number: int
    kind: Kind
    modified: float
    links: int = 0
    names: dict[str, "Inode"] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: dict[str, Coverage] = field(default_factory=dict)

    def write(self, replica: str, offset: int, piece: bytes) -> None:
        if not piece:
            return
        end = offset + len(piece)
        self.data.extend(bytes(max(0, end - len(self.data))))
        self.data[offset:end] = piece
        self.dirty[replica] = extents.merge((*self.dirty.get(replica, ()), Extent(offset, end)))

    def sync(self, replica: str) -> None:
        """What this replica wrote becomes durable; what another one has not synced does not."""
        self.durable = self._with(self.dirty.pop(replica, ()))

    def lose_unsynced(self, replica: str) -> None:
        """A sync failed: the machine calls its pages clean, and nobody will ever write them back."""
        self.dirty.pop(replica, None)
        self.data = self._with(extents.merge(piece for own in self.dirty.values() for piece in own))

    def seen_by(self, replica: str) -> bytes:
        """A replica sees what was synced, what it wrote itself, and what the machines of dead ones wrote back."""
        if self.dirty.keys() <= {replica, _MACHINES_OF_THE_DEAD}:
            return bytes(self.data)
        return bytes(self._with((*self.dirty.get(replica, ()), *self.dirty.get(_MACHINES_OF_THE_DEAD, ()))))

    def outlive(self, replica: str) -> None:
        own = self.dirty.pop(replica, ())
        if own:
            self.dirty[_MACHINES_OF_THE_DEAD] = extents.merge((*self.dirty.get(_MACHINES_OF_THE_DEAD, ()), *own))

    def lose_power(self, chance: random.Random | None) -> None:
        if self.dirty:
            written = extents.merge(piece for own in self.dirty.values() for piece in own)
            fate = chance.choice(("lost", "cut", "zeros")) if chance else "lost"
            left = bytearray(self.durable)
            if fate == "cut" and chance:
                left = self._with(extents.overlap(written, Extent(0, chance.randint(0, len(self.data)))))
            elif fate == "zeros":
                left.extend(bytes(max(0, len(self.data) - len(left))))
            self.data, self.durable, self.dirty = left, bytearray(left), {}

    def _with(self, pieces: Coverage) -> bytearray:
        whole = bytearray(self.durable)
        for piece in pieces:
            whole.extend(bytes(max(0, piece.end - len(whole))))
            whole[piece.start : piece.end] = self.data[piece.start : piece.end]
        return whole


@dataclass(frozen=True, slots=True)
class NameChange:
    """`name` in `directory` stood for `before` and stands for `after`; None is nothing."""

    directory: Inode
    name: str
    before: Inode | None
    after: Inode | None


class OwnedLock(Protocol):
    """A held one, which knows whose it is."""

    @property
    def mount(self) -> object: ...


class MountedReplica(Protocol):
    def die(self) -> None: ...
    def lose_server(self) -> None: ...


class SimulatedShare:
    """One server. `caches=False` makes its mounts see everything at once, like a local file system."""

    def __init__(self, seed: int = 0, *, caches: bool = True, capacity_bytes: int | None = None) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.caches = caches
        self.capacity_bytes = capacity_bytes
        self.now = 1_700_000_000.0
        """the share's clock, for tests to move"""
        self.calls = 0
        """port calls of all mounts so far"""
        self.before_call: Callable[[str, str, tuple[str, ...]], None] | None = None
        """(replica, operation, paths), before anything happens; may raise, and may let other replicas run"""
        self.after_call: Callable[[str, str, tuple[str, ...]], None] | None = None
        """the same, after it has happened: what it raises is an answer that was lost"""
        self.on_wait: Callable[[str, str], bool] | None = None
        """(replica, path of a lock that is held): let others run, then True to try again; None: time out at once"""
        self.repeat_links = False
        """every link succeeds and says NameTaken, as a repeated NFS call may"""
        self.mutex = threading.RLock()
        self.locks: dict[tuple[int, int], OwnedLock] = {}
        self.mounts: list[MountedReplica] = []
        self._journal: list[tuple[NameChange, ...]] = []
        self._inodes: list[Inode] = []
        self.root = self.make(Kind.DIRECTORY)
        self.root.links = 1

    # ---- faults --------------------------------------------------------------------------------------------------

    def lose_power(self, keep: int | None = 0, *, torn: bool = False, replicas_die: bool = True) -> None:
        """Everything goes dark, and comes back with what was durable and the first `keep` of the other changes of
        names (None: all). `torn`: files that were not synced are cut or full of zeros, as the seed will have it.

        With `replicas_die=False` only the server fails: locks and unsynced bytes are lost all the same, and staged
        files that were open cannot be synced any more."""
        with self.mutex:
            for mount in self.mounts:
                mount.die() if replicas_die else mount.lose_server()
            kept = len(self._journal) if keep is None else keep
            for step in reversed(self._journal[kept:]):
                for change in reversed(step):
                    self._set(change.directory, change.name, change.before)
            self._journal.clear()
            self.locks.clear()
            for inode in self._inodes:
                inode.lose_power(self.chance if torn else None)

    def break_locks(self) -> None:
        """The leases run out; no holder is told."""
        self.locks.clear()

    @property
    def undurable(self) -> int:
        """How many changes of names a loss of power could take away."""
        return len(self._journal)

    def advance(self, seconds: float) -> None:
        self.now += seconds

    # ---- what people do on the share -----------------------------------------------------------------------------

    def plant_link(self, path: str, to: str) -> None:
        inode = self._plant(path, Kind.LINK)
        inode.data.extend(to.encode())

    def plant_pipe(self, path: str) -> None:
        self._plant(path, Kind.PIPE)

    def plant_file(self, path: str, text: bytes) -> None:
        inode = self._plant(path, Kind.FILE)
        inode.data[:] = inode.durable[:] = text

    def plant_directory(self, path: str) -> None:
        self._plant(path, Kind.DIRECTORY)

    def unplant(self, path: str) -> None:
        """Whatever has the name is gone."""
        directory, name = self.walk(path)
        self._set(directory, name, None)

    def _plant(self, path: str, kind: Kind) -> Inode:
        directory, name = self.walk(path, make=True)
        inode = self.make(kind)
        # Not journaled: what was there before the test's own work survives whatever the test does.
        self._set(directory, name, inode)
        self.sync_names()
        return inode

    # ---- for assertions ------------------------------------------------------------------------------------------

    def tree(self) -> dict[str, bytes]:
        """Every file on the share, and what anybody has written to it."""
        return {path: bytes(inode.data) for path, inode in self._each("", self.root) if inode.kind is Kind.FILE}

    def directories(self) -> set[str]:
        return {path for path, inode in self._each("", self.root) if inode.kind is Kind.DIRECTORY}

    def target_bytes(self, path: str) -> bytes | None:
        return self.tree().get(path)

    def used_bytes(self) -> int:
        return sum(len(inode.data) for inode in {inode for _, inode in self._each("", self.root)})

    def _each(self, path: str, directory: Inode) -> list[tuple[str, Inode]]:
        found: list[tuple[str, Inode]] = []
        for name, inode in sorted(directory.names.items()):
            found.append((f"{path}{name}", inode))
            if inode.kind is Kind.DIRECTORY:
                found.extend(self._each(f"{path}{name}/", inode))
        return found

    # ---- for mounts ----------------------------------------------------------------------------------------------

    def make(self, kind: Kind) -> Inode:
        # Numbers are never used twice, unlike on many real file systems.
        inode = Inode(number=len(self._inodes) + 2, kind=kind, modified=self.now)
        self._inodes.append(inode)
        return inode

    def change(self, *changes: tuple[Inode, str, Inode | None]) -> None:
        """One journaled step: all of these names at once."""
        step = []
        for directory, name, after in changes:
            step.append(NameChange(directory, name, directory.names.get(name), after))
            self._set(directory, name, after)
            directory.modified = self.now
        self._journal.append(tuple(step))

    def sync_names(self) -> None:
        """All so far, wherever: the port promises it of every sync of a directory, for those made before it."""
        self._journal.clear()

    def make_room(self, operation: str, growth: int) -> None:
        if self.capacity_bytes is not None and growth > 0 and self.used_bytes() + growth > self.capacity_bytes:
            raise ShareFull(operation=operation, quota=False)

    def holder(self, key: tuple[int, int]) -> object:
        return self.locks.get(key)

    def release_all(self, mount: object) -> None:
        with self.mutex:
            for key in [key for key, held in self.locks.items() if held.mount is mount]:
                del self.locks[key]

    def outlive(self, replica: str) -> None:
        for inode in self._inodes:
            inode.outlive(replica)

    def walk(self, path: str, make: bool = False, sort: type[Exception] = LinkInTheWay) -> tuple[Inode, str]:
        """The directory that holds the last part, following no link; `sort` is raised for what is no directory."""
        *parts, name = path.split("/")
        directory = self.root
        for part in parts:
            refuse_long(part, naming=make)
            found = directory.names.get(part)
            if found is None:
                if not make:
                    raise NameMissing(path)
                found = self.make(Kind.DIRECTORY)
                self.change((directory, part, found))
            if found.kind is not Kind.DIRECTORY:
                raise sort(path)
            directory = found
        return directory, name

    def _set(self, directory: Inode, name: str, inode: Inode | None) -> None:
        before = directory.names.pop(name, None)
        if before is not None:
            before.links -= 1
        if inode is not None:
            directory.names[name] = inode
            inode.links += 1


def refuse_long(part: str, *, naming: bool) -> None:
    if len(part.encode()) > _NAME_BYTES_MAX:
        raise NameRefused("File name too long") if naming else ShareFault(operation="look up", reason="name too long")
