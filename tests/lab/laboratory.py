"""The laboratory: an NFS server and its clients, each a guest, and what they have mounted.

Rules: it lives inside a network namespace of its own (`__main__.py` sees to that) and ends with it. The server is S,
the clients are A, B, C. SHARE is the exported disk as it is called on the server.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from tests.lab.guests import BRIDGES, MANAGE, NET, Guest, GuestFailed, Machine
from tests.lab.packages import prepare, run

SERVER = "S"
CLIENTS = ("A", "B", "C")
SHARE = "/export"
DISKS = {"export.disk": 4 << 30, "state.disk": 512 << 20}
MOUNT_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Mount:
    """A way to mount the share, and where clients have it."""

    path: str
    options: str
    below: str = ""
    """the directory of the share that is mounted; a whole one is the root"""

    @property
    def version(self) -> str:
        return self.options.partition(",")[0].removeprefix("vers=")


# nosharecache: or the options of the first mount of the share would hold for every later one.
V42 = Mount("/mnt/v42", "vers=4.2,nosharecache")
V3 = Mount("/mnt/v3", "vers=3,nosharecache")


class Laboratory:
    def __init__(self, clients: Sequence[str] = CLIENTS, lease_seconds: int = 10) -> None:
        home = prepare()
        machine = Machine(home, lease_seconds=lease_seconds)
        self.lease_seconds = lease_seconds
        self._disks = [home / name for name in DISKS]
        self.server = Guest(machine, SERVER, 10, self._disks)
        self.clients = {name: Guest(machine, name, 11 + number) for number, name in enumerate(clients)}
        self.mounts: dict[tuple[str, str], Mount] = {}

    def __enter__(self) -> "Laboratory":
        self._make_networks()
        for disk, size in zip(self._disks, DISKS.values(), strict=True):
            _make_sparse(disk, size)
        for guest in self.guests:
            guest.console.unlink(missing_ok=True)
        begun = time.monotonic()
        self.server.start(format_disks=True)
        for guest in self.clients.values():
            guest.start()
        together(guest.ready for guest in self.guests)
        self.boot_seconds = time.monotonic() - begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for guest in self.guests:
            guest.power_off()
        for disk in self._disks:
            disk.unlink(missing_ok=True)

    @property
    def guests(self) -> list[Guest]:
        return [self.server, *self.clients.values()]

    @property
    def outside(self) -> str:
        """The address by which guests reach this process."""
        return f"{NET}.{MANAGE}.1"

    def _make_networks(self) -> None:
        run("ip", "link", "set", "lo", "up")
        for net, bridge in BRIDGES.items():
            run("ip", "link", "add", bridge, "type", "bridge")
            if net == MANAGE:
                run("ip", "addr", "add", f"{self.outside}/24", "dev", bridge)
            run("ip", "link", "set", bridge, "up")

    # ---- the share --------------------------------------------------------------------------------------------------

    def mount(self, mount: Mount, clients: Iterable[str] | None = None) -> None:
        names = list(self.clients if clients is None else clients)
        together(partial(self._mount, self.clients[name], mount) for name in names)

    def _mount(self, guest: Guest, mount: Mount) -> None:
        if self.mounts.get((guest.name, mount.path)) == mount:
            return
        root = SHARE if mount.version == "3" else ""
        source = f"{self.server.share_address}:{root}/{mount.below}"
        guest.check("mkdir", "-p", mount.path)
        deadline = time.monotonic() + MOUNT_SECONDS
        while True:
            done = guest.run(["mount", "-t", "nfs", "-o", mount.options, source, mount.path], seconds=MOUNT_SECONDS)
            if done.code == 0:
                self.mounts[guest.name, mount.path] = mount
                return
            if time.monotonic() > deadline:
                raise GuestFailed(f"{guest.name} cannot mount {source} with {mount.options}: {done.said}")
            time.sleep(0.3)

    # ---- troubles that are more than one guest's --------------------------------------------------------------------

    def restart_server(self, away_seconds: float) -> None:
        """As by a loss of power: what it had not written to its disk is gone."""
        self.server.power_off()
        time.sleep(away_seconds)
        self.server.start()
        self.server.ready()

    def restart_client(self, guest: Guest) -> None:
        guest.power_off()
        lost = [mount for (name, _), mount in self.mounts.items() if name == guest.name]
        for mount in lost:
            del self.mounts[guest.name, mount.path]
        guest.start()
        guest.ready()
        for mount in lost:
            self._mount(guest, mount)


def together(works: Iterable[Callable[[], object]]) -> None:
    """Each in a thread; the first failure, once all have ended."""
    failures: list[BaseException] = []

    def do(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=do, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _make_sparse(path: Path, size: int) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
