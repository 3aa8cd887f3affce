"""What a request asks of the kernel, and of the share: counted in runs of their own, which nobody times.

Rules: system calls are strace's count over a load on a server that was ready before; calls of the share are those of
the file system port (`counted.py`), since each may be a round trip to a file server.
"""

import dataclasses
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import accounting
from bench.counted import calls, read_counts
from bench.measuring import emptied, finish_load, start_load
from bench.servers import Running, Server

ATTACH_SECONDS = 20.0
MOST = 6


def system_calls(server: Server, work: str, options: Sequence[str], home: Path) -> dict[str, Any] | None:
    """None: there is no strace, or it may not look."""
    if shutil.which("strace") is None:
        return None
    running = Running(server, emptied(home))
    try:
        pids = [one for pid in running.pids for one in accounting.family(pid)]
        report = home / "strace.txt"
        named = [part for pid in pids for part in ("-p", str(pid))]
        strace = subprocess.Popen(["strace", "-f", "-c", "-q", "-o", str(report), *named], stderr=subprocess.DEVNULL)
        try:
            if not _attached(pids, strace):
                return None
            found = finish_load(start_load(work, running.urls, options))
        finally:
            if strace.poll() is None:
                strace.send_signal(signal.SIGINT)
            strace.wait()
    finally:
        running.stop()
    return _told(_parsed(report), found)


def share_calls(server: Server, work: str, options: Sequence[str], home: Path) -> dict[str, Any]:
    """Of our own service only."""
    data = emptied(home)
    at = home / "counts"
    counted = dataclasses.replace(server, program=lambda: [sys.executable, "-m", "bench.counted", str(at)])
    running = Running(counted, data)
    try:
        before = read_counts(at)
        found = finish_load(start_load(work, running.urls, options))
        counts = read_counts(at)
    finally:
        running.stop()
    counts.subtract(before)
    kept = Counter({name: count for name, count in counts.items() if not name.startswith("bytes ")})
    assert calls(counts) == sum(kept.values())
    return _told(kept, found)


def _told(counts: Counter[str], found: dict[str, Any]) -> dict[str, Any]:
    uploads, requests = len(found["uploads"]), found["requests"]
    total = sum(counts.values())
    return {
        "uploads": uploads,
        "requests": requests,
        "per_request": total / requests,
        "per_upload": total / uploads,
        "most": {name: count / uploads for name, count in counts.most_common(MOST)},
    }


def _attached(pids: Sequence[int], strace: "subprocess.Popen[bytes]") -> bool:
    """To every thread: what is not traced from the beginning is not counted."""
    deadline = time.monotonic() + ATTACH_SECONDS
    while time.monotonic() < deadline and strace.poll() is None:
        tasks = [task for pid in pids for task in (accounting.PROC / str(pid) / "task").iterdir()]
        if all("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks):
            return True
        time.sleep(0.02)
    return False


def _parsed(report: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for line in report.read_text().splitlines():
        fields = line.split()
        # % time, seconds, usecs/call, calls, errors (not always), name
        if len(fields) in (5, 6) and fields[3].isdigit() and fields[-1] != "total":
            counts[fields[-1]] += int(fields[3])
    return counts
