"""What the kernel knows of processes and connections: who serves which, and what nobody has read yet."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Connection:
    """The server's end of a connection on loopback."""

    unread: int
    """bytes that have arrived and that the server has not read"""
    inode: int


def server_side(server_port: int, client_port: int) -> Connection | None:
    for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, _, _, _, _, inode, *_ = line.split()
        if (_port(local), _port(remote)) == (server_port, client_port):
            return Connection(unread=int(queues.partition(":")[2], 16), inode=int(inode))
    return None


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def children(parent: int) -> set[int]:
    found = set()
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold anything, also spaces.
            state, ppid, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(ppid) == parent and state != "Z":
            found.add(int(stat.parent.name))
    return found


def holds(pid: int, inode: int) -> bool:
    """Whether the process has this socket open."""
    try:
        return any(_target(fd) == f"socket:[{inode}]" for fd in (PROC / str(pid) / "fd").iterdir())
    except OSError:
        return False  # it has just ended


def _target(fd: Path) -> str:
    try:
        return os.readlink(fd)
    except OSError:
        return ""
