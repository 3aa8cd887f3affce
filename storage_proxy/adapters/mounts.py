"""What a directory is mounted from, and how: the kernel's own table, read and not guessed.

Rules: parsing is pure text -> value, so that a line of any machine can be a test; only `mount_of` and `mounts_below`
look at this one. Where two mounts cover a path, the deeper one counts; of two at the same point, the later.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

TABLE = Path("/proc/self/mountinfo")

_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    point: str
    kind: str
    """the file system type: `nfs4`, `ext4`, ..."""
    source: str
    options: Mapping[str, str] = field(default_factory=dict)
    """of the mount and of its file system together; a word without a value has an empty one"""

    @property
    def nfs_version(self) -> tuple[int, int] | None:
        """(4, 2), (3, 0), ...; None: no NFS."""
        if self.kind not in ("nfs", "nfs4"):
            return None
        spelled = self.options.get("vers") or self.options.get("nfsvers") or ("4" if self.kind == "nfs4" else "3")
        major, _, minor = spelled.partition(".")
        minor = minor or self.options.get("minorversion", "0")
        return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)

    def __str__(self) -> str:
        version = self.nfs_version
        kind = f"NFS {version[0]}" + (f".{version[1]}" if version[0] >= 4 else "") if version else self.kind
        return f"{kind} from {self.source}, mounted at {self.point}"


def parse(text: str) -> tuple[Mount, ...]:
    """The lines of mountinfo, in their order; a line that is not understood is left out."""
    return tuple(mount for line in text.splitlines() if (mount := parse_line(line)) is not None)


def parse_line(line: str) -> Mount | None:
    """`36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue`; see proc_pid_mountinfo(5)."""
    # The number of optional fields before the dash is open.
    of_mount, dash, of_filesystem = line.partition(" - ")
    first, last = of_mount.split(" "), of_filesystem.split(" ")
    if not dash or len(first) < 6 or len(last) < 2:
        return None
    return Mount(
        point=_unescaped(first[4]),
        kind=last[0],
        source=_unescaped(last[1]),
        options={**_options(last[2] if len(last) > 2 else ""), **_options(first[5])},
    )


def covering(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that a path without links and dots is on."""
    found: Mount | None = None
    for mount in mounts:
        if _is_at_or_below(path, mount.point) and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def below(path: str, mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """Other mounts inside a directory."""
    return tuple(mount for mount in mounts if mount.point != path and _is_at_or_below(mount.point, path))


def mount_of(directory: str | Path) -> Mount | None:
    return covering(os.path.realpath(directory), parse(TABLE.read_text(errors="surrogateescape")))


def mounts_below(directory: str | Path) -> tuple[Mount, ...]:
    return below(os.path.realpath(directory), parse(TABLE.read_text(errors="surrogateescape")))


def _options(text: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in text.split(",") if word)
    return {name: value for name, _, value in pairs}


def _unescaped(text: str) -> str:
    # The kernel writes space, tab, newline and backslash as octal numbers.
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def _is_at_or_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
