"""What one replica's mount remembers of the share, and the gate through which every one of its calls passes.

Rules: a name that was looked up stays as it was found, there or not there, until this mount refreshes the directory or
changes that name itself; only a directory that is gone is looked up anew, as an NFS client does after ESTALE. What
another replica has written and not synced is not seen. A file that is removed while this mount has it open keeps a
`.nfs` name until it is closed.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from storage_proxy.core.errors import ShareFault
from storage_proxy.ports import Entry, LinkInTheWay, NameMissing, NameTaken
from storage_proxy.testing.share import Inode, Kind, SimulatedShare, refuse_long

T = TypeVar("T")

Place = tuple[Inode, str]
"""A directory and a name in it, whether or not it stands for something."""


class ReplicaDead(BaseException):
    """This replica was killed. A BaseException, so that no `except Exception` goes on as if it were alive."""


class OpenFile(Protocol):
    inode: Inode
    closed: bool

    def fail(self) -> None: ...


class Mount:
    """One replica's, of one share."""

    def __init__(self, share: SimulatedShare, replica: str = "a") -> None:
        self.share = share
        self.replica = replica
        self.dead = False
        self._seen: dict[int, dict[str, Inode | None]] = {}
        self._open: list[OpenFile] = []
        self._hidden: dict[Inode, Place] = {}
        share.mounts.append(self)

    def die(self) -> None:
        """SIGKILL: locks and open files go with the process; what it wrote is written back by its machine."""
        if not self.dead:
            self.dead = True
            self.share.release_all(self)
            for opened in tuple(self._open):
                self.drop_open(opened)
            self.share.outlive(self.replica)

    def lose_server(self) -> None:
        for opened in self._open:
            opened.fail()

    def call(self, operation: str, paths: tuple[str, ...], work: Callable[[], T]) -> T:
        """The gate: counted, hooked, and closed to the dead."""
        share = self.share
        self._refuse_dead()
        try:
            with share.mutex:
                share.calls += 1
            if share.before_call is not None:
                share.before_call(self.replica, operation, paths)
                # The hook may have let others run, and one of them may have killed us.
                self._refuse_dead()
            with share.mutex:
                result = work()
            if share.after_call is not None:
                share.after_call(self.replica, operation, paths)
                self._refuse_dead()
        except ReplicaDead:
            self.die()
            raise
        return result

    def drop_open(self, opened: OpenFile) -> None:
        opened.closed = True
        with self.share.mutex:
            if opened in self._open:
                self._open.remove(opened)
            hidden = self._hidden.pop(opened.inode, None)
            if hidden is not None and hidden[0].names.get(hidden[1]) is opened.inode:
                self.share.change((*hidden, None))

    def view(self, inode: Inode) -> bytes:
        return inode.seen_by(self.replica) if self.share.caches else bytes(inode.data)

    def entry(self, inode: Inode) -> Entry:
        is_directory = inode.kind is Kind.DIRECTORY
        size = 0 if is_directory else len(self.view(inode))
        return Entry(inode.number, size, inode.links, inode.modified, is_directory)

    def write(self, operation: str, inode: Inode, offset: int, piece: bytes) -> None:
        self.share.make_room(operation, offset + len(piece) - len(inode.data))
        inode.write(self.replica, offset, piece)
        inode.modified = self.share.now

    # ---- look-ups: from memory -----------------------------------------------------------------------------------

    def look_up(self, path: str) -> Inode:
        inode = self.share.root
        for part in filter(None, path.split("/")):
            found = self._recall(inode, part) if inode.kind is Kind.DIRECTORY else None
            if found is None:
                raise NameMissing(path)
            inode = found
        return inode

    def file(self, path: str, operation: str) -> Inode:
        inode = self.look_up(path)
        if inode.kind is Kind.DIRECTORY:
            raise ShareFault(operation=operation, reason="Is a directory")
        return inode

    def _recall(self, directory: Inode, name: str) -> Inode | None:
        seen = self._seen.setdefault(directory.number, {})
        remembered = seen.get(name)
        removed = remembered is not None and remembered.kind is Kind.DIRECTORY and remembered.links == 0
        if name not in seen or removed or not self.share.caches:
            seen[name] = directory.names.get(name)
        return seen[name]

    # ---- decided by the share ------------------------------------------------------------------------------------

    def directory(self, path: str) -> Inode:
        inode = self.share.root
        for part in filter(None, path.split("/")):
            found = inode.names.get(part)
            if found is None or found.kind is not Kind.DIRECTORY:
                raise NameMissing(path)
            self._seen.setdefault(inode.number, {})[part] = found
            inode = found
        return inode

    def refreshed(self, path: str) -> Inode:
        directory = self.directory(path)
        self._seen.pop(directory.number, None)
        return directory

    def place(self, path: str) -> Place:
        parent, _, name = path.rpartition("/")
        return self.directory(parent), name

    def source(self, path: str) -> Inode:
        directory, name = self.place(path)
        inode = directory.names.get(name)
        if inode is None:
            self.forget(directory, name)
            raise NameMissing(path)
        return inode

    def create(self, path: str) -> Inode:
        directory, name = self.place(path)
        self.refuse_taken(directory, name)
        inode = self.share.make(Kind.FILE)
        self.change((directory, name, inode))
        return inode

    def refuse_taken(self, directory: Inode, name: str) -> None:
        if name in directory.names:
            self.forget(directory, name)
            raise NameTaken(name)

    def change(self, *changes: tuple[Inode, str, Inode | None]) -> None:
        self.share.change(*changes)
        for directory, name, inode in changes:
            self._seen.setdefault(directory.number, {})[name] = inode

    def forget(self, directory: Inode, name: str) -> None:
        self._seen.get(directory.number, {}).pop(name, None)

    def link_inode(self, inode: Inode, directory: Inode, name: str) -> None:
        self.refuse_taken(directory, name)
        if inode.kind is Kind.DIRECTORY:
            raise ShareFault(operation="link", reason="Operation not permitted")
        self.change((directory, name, inode))
        if self.share.repeat_links:
            raise NameTaken(name)

    def rename_inode(self, inode: Inode, source: Place, destination: Place) -> None:
        standing = destination[0].names.get(destination[1])
        if standing is inode:
            # POSIX: two names of one file: nothing happens, and the source keeps its name.
            return
        hidden = self.hide(destination[0], standing) if standing is not None else ()
        self.change(*hidden, (*source, None), (*destination, inode))

    def hide(self, directory: Inode, inode: Inode) -> tuple[tuple[Inode, str, Inode | None], ...]:
        """The change that keeps a file, which is about to lose its last name, for those who have it open here."""
        is_open = any(opened.inode is inode for opened in self._open)
        if not (self.share.caches and is_open and inode.links == 1):
            return ()
        name = f".nfs{inode.number:016x}"
        self._hidden[inode] = (directory, name)
        return ((directory, name, inode),)

    def target(self, path: str) -> Inode:
        directory, name = self.share.walk(path)
        refuse_long(name, naming=False)
        inode = directory.names.get(name)
        if inode is None:
            raise NameMissing(path)
        refuse_strange(inode)
        return inode

    def _refuse_dead(self) -> None:
        if self.dead:
            raise ReplicaDead(self.replica)


def refuse_strange(inode: Inode | None) -> None:
    if inode is not None and inode.kind not in (Kind.FILE, Kind.DIRECTORY):
        raise LinkInTheWay("neither a file nor a directory")
