"""Figures: how long a sync takes, how fast bytes go, whether the share copies by itself.

Rules: each is bounded in bytes and in time, leaves most of what is free alone, and is a note at the most: slow is not
unsafe.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from storage_proxy.adapters.doctor.findings import Facts, Finding, good, note, untried
from storage_proxy.adapters.doctor.scratch import Scratch
from storage_proxy.adapters.posix_files import PIECE, write_at

MIB = 1 << 20
_FICLONE = 0x40049409
_TO = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

# A copy that is this much faster than reading and writing did not move the bytes through this machine.
FASTER_BY_SHARE = 3.0
# Slower than this every small upload feels it.
SLOW_SYNC_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is tried."""

    write_bytes: int = 256 * MIB
    copy_bytes: int = 64 * MIB
    syncs: int = 60
    seconds: float = 20.0
    """each, at the most (a single call to a slow share may take longer)"""
    races: int = 200
    """turns of each race between processes"""


QUICK = Scale(write_bytes=8 * MIB, copy_bytes=4 * MIB, syncs=15, seconds=5.0, races=40)


def sync_latency(scratch: Scratch, scale: Scale) -> Finding:
    place, text = scratch.fresh("syncs"), os.urandom(4096)
    deadline = time.monotonic() + scale.seconds
    taken: list[float] = []
    while len(taken) < scale.syncs and (len(taken) < 3 or time.monotonic() < deadline):
        begun = time.perf_counter()
        scratch.filesystem.create_durably(f"{place}/{len(taken)}", text)
        taken.append(time.perf_counter() - begun)
    middle, slow = median(taken), quantiles(taken, n=20)[-1]
    facts: Facts = {"median_ms": round(middle * 1e3, 3), "p95_ms": round(slow * 1e3, 3), "tries": len(taken)}
    said = f"Create, 4 KiB, sync: median {middle * 1e3:.2f} ms, 95 % within {slow * 1e3:.2f} ms."
    if middle > SLOW_SYNC_SECONDS:
        return note("sync latency", said, "Each request costs several of these: look at the server's disks.", **facts)
    return good("sync latency", said, **facts)


def throughput(scratch: Scratch, scale: Scale) -> Finding:
    size = min(scale.write_bytes, _spare_bytes(scratch.root))
    if size < MIB:
        return untried("throughput", "Too little is free to measure throughput.")
    piece, done = os.urandom(4 * MIB), 0
    begun = time.perf_counter()
    fd = os.open(scratch.path / "throughput", _TO, 0o600)
    try:
        while done < size and time.perf_counter() - begun < scale.seconds:
            done = write_at(fd, [piece[: size - done]], done)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    seconds = time.perf_counter() - begun
    os.unlink(scratch.path / "throughput")
    speed = done / MIB / seconds
    return good(
        "throughput",
        f"{done / MIB:.0f} MiB written and synced at {speed:.0f} MiB/s.",
        mib_per_second=round(speed, 1),
        bytes=done,
    )


def copying(scratch: Scratch, scale: Scale) -> Finding:
    """copy_file_range against read and write, both synced; and whether the share can clone."""
    size = min(scale.copy_bytes, _spare_bytes(scratch.root) // 4)
    if size < MIB:
        return untried("copy", "Too little is free to measure copies.")
    place = scratch.path / scratch.fresh("copy")
    source = os.open(place / "source", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _fill(source, size)
        clones = _clones(source, place / "cloned")
        by_share = _timed_copy(source, place / "by-share", size, _range_copied)
        by_hand = _timed_copy(source, place / "by-hand", size, _hand_copied)
    finally:
        os.close(source)
    assert by_hand is not None, "reading and writing always works, or raises"
    ratio = round(by_hand / by_share, 1) if by_share else None
    facts: Facts = {
        "bytes": size,
        "copy_file_range_ms": round(by_share * 1e3, 2) if by_share else None,
        "read_write_ms": round(by_hand * 1e3, 2),
        "ratio": ratio,
        "clones": clones,
    }
    if by_share is None or ratio is None:
        return note("copy", "copy_file_range is not supported: chunks are copied through this machine.", **facts)
    said = f"{size / MIB:.0f} MiB: copy_file_range {by_share * 1e3:.0f} ms, read and write {by_hand * 1e3:.0f} ms"
    if clones:
        return good("copy", f"{said}. The share clones (reflink): no byte is copied.", **facts)
    if ratio >= FASTER_BY_SHARE:
        return good("copy", f"{said}. The share copies by itself.", **facts)
    return note("copy", f"{said}: little or nothing is saved.", "NFS 4.2 on a reflink server copies nothing.", **facts)


def _spare_bytes(root: Path) -> int:
    """What may be used for a moment: a quarter of what is free."""
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize // 4


def _fill(fd: int, size: int) -> None:
    piece, done = os.urandom(PIECE), 0
    while done < size:
        # Each piece different, for a server that stores equal blocks once.
        done = write_at(fd, [(done).to_bytes(8, "big"), piece[: size - done - 8]], done)
    os.fdatasync(fd)


def _clones(source: int, path: Path) -> bool:
    fd = os.open(path, _TO, 0o600)
    try:
        fcntl.ioctl(fd, _FICLONE, source)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _timed_copy(source: int, path: Path, size: int, copied: Callable[[int, int, int], bool]) -> float | None:
    fd = os.open(path, _TO, 0o600)
    try:
        begun = time.perf_counter()
        if not copied(source, fd, size):
            return None
        os.fdatasync(fd)
        return max(time.perf_counter() - begun, 1e-6)
    finally:
        os.close(fd)
        os.unlink(path)


def _range_copied(source: int, fd: int, size: int) -> bool:
    done = 0
    while done < size:
        try:
            moved = os.copy_file_range(source, fd, size - done, done, done)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EXDEV):
                return False
            raise
        if moved == 0:
            return False
        done += moved
    return True


def _hand_copied(source: int, fd: int, size: int) -> bool:
    done = 0
    while done < size:
        piece = os.pread(source, min(PIECE, size - done), done)
        if not piece:
            return False
        done = write_at(fd, [piece], done)
    return True
