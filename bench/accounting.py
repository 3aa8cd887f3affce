"""What a server has cost: processor time, memory and bytes written, of a process and all its descendants, from /proc.

Rules: everything is the kernel's own count, read before and after; nothing is sampled. Processor time and bytes of
children that have ended are in their parent's figures once it has waited for them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    cpu_seconds: float
    written: int
    """bytes that were made to be written to disk"""

    def since(self, earlier: "Cost") -> "Cost":
        return Cost(self.cpu_seconds - earlier.cpu_seconds, self.written - earlier.written)


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(_stat(stat)[1]), []).append(int(stat.parent.name))
        except OSError:
            continue  # it has just ended
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def cost(pids: Sequence[int]) -> Cost:
    """Of these processes and all their descendants."""
    cpu, written = 0.0, 0
    for one in [one for pid in pids for one in family(pid)]:
        fields = _stat(PROC / str(one) / "stat")
        # utime, stime, and the same of children that were waited for; the state is the first field here.
        cpu += sum(map(int, fields[11:15])) / _TICKS
        written += _numbers(PROC / str(one) / "io")["write_bytes"]
    return Cost(cpu, written)


def resident(pids: Sequence[int]) -> int:
    """Bytes of memory, now; what processes share is counted once for each."""
    return sum(_numbers(PROC / str(one) / "status").get("VmRSS", 0) * 1024 for pid in pids for one in family(pid))


def peak(pids: Sequence[int]) -> int:
    """The most bytes of memory since `forget_peak`, summed over processes whose peaks may have been at other times."""
    return sum(_numbers(PROC / str(one) / "status").get("VmHWM", 0) * 1024 for pid in pids for one in family(pid))


def forget_peak(pids: Sequence[int]) -> None:
    for pid in pids:
        for one in family(pid):
            (PROC / str(one) / "clear_refs").write_text("5")


def _stat(path: Path) -> list[str]:
    """The fields behind the name, which stands in brackets and may hold anything."""
    return path.read_text().rpartition(")")[2].split()


def _numbers(path: Path) -> dict[str, int]:
    found = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        first, *_ = value.split() or [""]
        if first.isdigit():
            found[name] = int(first)
    return found
