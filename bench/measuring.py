"""One measurement: a fresh server, one load, what it cost, and whether what is stored is right.

Rules: a server that answers wrong, or has stored anything else than what was sent, is `Wrong` and has no figures.
"""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import accounting
from bench.connection import Wrong
from bench.content import Content
from bench.memory import Filler
from bench.plan import NotOffered
from bench.servers import ROOT, Running, Server
from bench.uploads import Upload

LOOK_SECONDS = 0.2
CURVE_POINTS = 100
AROUND = 10
"""A single request is told as the median of this many before and behind it."""


@dataclass
class Measured:
    seconds: float
    uploads: int
    bytes: int
    requests: int
    cpu_seconds: float
    """of the server"""
    load_cpu_seconds: float
    written: int
    idle_memory: int
    peak_memory: int
    window_memory: int | None = None
    last_byte_to_answer: float | None = None
    series: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Uploads per second."""
        return self.uploads / self.seconds

    @property
    def throughput(self) -> float:
        """MiB per second."""
        return self.bytes / self.seconds / 2**20

    @property
    def cpu_per_gib(self) -> float:
        return self.cpu_seconds / (self.bytes / 2**30)

    @property
    def written_per_byte(self) -> float:
        return self.written / self.bytes


def measure(
    work: str,
    server: Server,
    home: Path,
    options: Sequence[str],
    *,
    hashed: bool,
    beside: str | None = None,
    filler: Filler | None = None,
) -> Measured:
    """`hashed`: every byte is compared, not only the sizes. `beside`: another load at the same time, whose series
    are told, too. Raises Wrong, NotOffered."""
    data = emptied(home)
    running = Running(server, data)
    try:
        idle = accounting.resident(running.pids)
        if filler is not None:
            filler.fill()
        accounting.forget_peak(running.pids)
        before = accounting.cost(running.pids)
        with _memory_watched(running.pids) as seen, _beside(beside, running.urls) as more:
            found = finish_load(start_load(work, running.urls, options))
        cost = accounting.cost(running.pids).since(before)
        peak = accounting.peak(running.pids)
    finally:
        running.stop()
    uploads = [Upload(**upload) for upload in [*found["uploads"], *more.get("uploads", [])]]
    verify(server, data, uploads, hashed)
    emptied(home)
    series = {**found["series"], **_within(found["window"], more.get("series", {}))}
    return Measured(
        seconds=found["seconds"],
        uploads=len(found["uploads"]),
        bytes=sum(upload["size"] for upload in found["uploads"]),
        requests=found["requests"],
        cpu_seconds=cost.cpu_seconds,
        load_cpu_seconds=found["cpu_seconds"],
        written=cost.written,
        idle_memory=idle,
        peak_memory=peak,
        window_memory=_most(found["window"], seen),
        last_byte_to_answer=found["last_byte_to_answer"],
        series={name: summary(times) for name, times in series.items()},
    )


# ---- the load -------------------------------------------------------------------------------------------------------


def start_load(work: str, urls: Sequence[str], options: Sequence[str]) -> "subprocess.Popen[bytes]":
    named = [part for url in urls for part in ("--url", url)]
    command = [sys.executable, "-m", "bench.load", work, *named, *options]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def finish_load(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    try:
        # Closes its standard input, too, which ends a load that goes on until then.
        said, _ = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if not said:
        raise Wrong(f"the load generator ended with {process.returncode}")
    found: dict[str, Any] = json.loads(said)
    if "not_offered" in found:
        raise NotOffered(found["not_offered"])
    if "wrong" in found:
        raise Wrong(found["wrong"])
    return found


@contextmanager
def _beside(work: str | None, urls: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A second load; what it tells is there when the context is left."""
    told: dict[str, Any] = {}
    if work is None:
        yield told
        return
    process = start_load(work, urls, [])
    try:
        assert process.stdout is not None, "it was asked for"
        process.stdout.readline()
        yield told
    except BaseException:
        process.kill()
        process.communicate()
        raise
    told.update(finish_load(process))


@contextmanager
def _memory_watched(pids: Sequence[int]) -> Iterator[list[tuple[float, int]]]:
    """(time on the monotonic clock, bytes), until the context is left."""
    seen: list[tuple[float, int]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            seen.append((time.monotonic(), accounting.resident(pids)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _most(window: tuple[float, float] | None, seen: Sequence[tuple[float, int]]) -> int | None:
    """The most memory in that time."""
    return max((size for at, size in seen if window and window[0] <= at <= window[1]), default=None)


def _within(window: tuple[float, float] | None, series: dict[str, list[float]]) -> dict[str, list[float]]:
    """Of questions asked beside a load: those that were due while it was under way."""
    if not series or window is None:
        return {}
    asked = [one for one, at in zip(series["HEAD"], series["due"], strict=True) if window[0] <= at <= window[1]]
    if not asked:
        raise Wrong("nothing could be asked while the load was under way")
    return {"HEAD": asked}


# ---- what came of it ------------------------------------------------------------------------------------------------


def summary(times: Sequence[float]) -> dict[str, Any]:
    """Of the seconds of many requests, in their order."""
    in_order = sorted(times)
    return {
        "count": len(times),
        "p50": statistics.median(times),
        "p99": in_order[min(len(times) - 1, len(times) * 99 // 100)],
        "max": in_order[-1],
        "early": statistics.median(times[: 2 * AROUND]),
        "late": statistics.median(times[-2 * AROUND :]),
        "curve": [statistics.median(times[begin:end]) for begin, end in _buckets(len(times))],
    }


def _buckets(count: int) -> list[tuple[int, int]]:
    points = min(CURVE_POINTS, count)
    return [(count * point // points, count * (point + 1) // points) for point in range(points)]


def verify(server: Server, data: Path, uploads: Sequence[Upload], hashed: bool) -> None:
    if not uploads:
        raise Wrong("nothing was uploaded")
    content = Content() if hashed else None
    for upload in uploads:
        path = server.stored(data, upload)
        if not path.is_file() or path.stat().st_size != upload.size:
            raise Wrong(f"{upload.name} is not there as it was sent")
        if content is not None and _sha256(path) != content.sha256(upload.size, upload.begin):
            raise Wrong(f"{upload.name} has other bytes than were sent")
    if content is not None:
        os.close(content.fd)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def emptied(home: Path) -> Path:
    """What is gone need not be written: after the sync the disk has nothing left to do for the one before."""
    for left in home.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    data = home / "data"
    data.mkdir()
    (home / "records").mkdir()
    os.sync()
    return data
