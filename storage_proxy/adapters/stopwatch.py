"""How long calls to a volume take, which fail, and which hang: a wrapper around the `Filesystem` port.

Rules: every blocking method of the port is timed, by its name, and none is written out here; what is wrapped behaves
as before. Each thread counts for itself, so that a call costs about a microsecond more and no lock; whoever
reads the counts takes what has been added since the last time. A lock is two calls: `lock` is a change's, which waits
for it; `claim` only tries. Opening a finished file for a download is not timed: it waits in no thread.
"""

import inspect
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from types import SimpleNamespace
from typing import Any, cast

from storage_proxy.core.errors import ShareFault, ShareFull
from storage_proxy.ports import Filesystem, HeldLock, LockTimeout, Region, StagedFile

BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From an NFS client's cache, over one round trip in a machine room (0.2 to 2 ms) and a sync to disks, to a stall."""

CALLS = tuple(
    name
    for name, method in inspect.getmembers(Filesystem, inspect.isfunction)
    if not name.startswith("_") and not inspect.iscoroutinefunction(method) and name not in ("stage", "lock")
)
LOCKS = {region: "lock" if region is Region.MANIFEST else "claim" for region in Region}
STAGED = ("stage", "write_staged", "sync_staged")
TIMED = (*CALLS, *sorted(set(LOCKS.values())), *STAGED)

FAILURES = (ShareFault, ShareFull, LockTimeout)
"""What is the share's trouble. That a name is missing or taken is an answer."""


class _Tally:
    """One thread's."""

    __slots__ = ("began", "failed", "rows", "running")

    def __init__(self) -> None:
        self.rows = {call: [0.0] * (len(BUCKETS) + 2) for call in TIMED}
        """by call: how many fell into each bucket, then the sum of seconds"""
        self.failed: Counter[tuple[str, str]] = Counter()
        self.running: str | None = None
        self.began = 0.0


class Stopwatch:
    """Of one volume in one process."""

    def __init__(self, volume: str, stall_seconds: float) -> None:
        self.volume = volume
        self._stall_seconds = stall_seconds
        self._own = threading.local()
        self._tallies: list[_Tally] = []
        self._taken: dict[tuple[int, str], list[float]] = {}
        self._failures_taken: Counter[tuple[str, str]] = Counter()

    def around(self, filesystem: Filesystem) -> Filesystem:
        calls = {name: self._timed(name, getattr(filesystem, name)) for name in CALLS}
        taking = {region: self._timed(name, filesystem.lock) for region, name in LOCKS.items()}
        staging = self._timed("stage", filesystem.stage)

        def lock(path: str, region: Region, seconds: float) -> HeldLock:
            return taking[region](path, region, seconds)  # type: ignore[no-any-return] # as the port's

        def stage(path: str) -> StagedFile:
            return _TimedStagedFile(staging(path), self)

        return cast(Filesystem, SimpleNamespace(**calls, lock=lock, stage=stage, open_target=filesystem.open_target))

    def _timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        # Some forty times for a small upload: what can be looked up before is.
        own, new_tally = self._own, self._tally

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                tally = own.tally
            except AttributeError:
                tally = new_tally()
            tally.began = began = perf_counter()
            tally.running = name
            try:
                return work(*args, **kwargs)
            except FAILURES as error:
                tally.failed[name, type(error).__name__] += 1
                raise
            finally:
                seconds = perf_counter() - began
                tally.running = None
                row = tally.rows[name]
                row[bisect_left(BUCKETS, seconds)] += 1
                row[-1] += seconds

        return call

    def _tally(self) -> _Tally:
        """A thread's own, at its first call."""
        tally = self._own.tally = _Tally()
        self._tallies.append(tally)
        return tally

    # ---- reading: by one thread at a time ---------------------------------------------------------------------------

    def news(self) -> Iterator[tuple[str, Sequence[float], float]]:
        """Each call with what was added to its buckets, and to the sum of seconds, since the last time."""
        for number, tally in enumerate(tuple(self._tallies)):
            for call, row in tuple(tally.rows.items()):
                now = row.copy()
                before = self._taken.get((number, call))
                self._taken[number, call] = now
                added = [new - old for new, old in zip(now, before, strict=True)] if before else now
                if any(added):
                    yield call, added[:-1], added[-1]

    def failures(self) -> Counter[tuple[str, str]]:
        """(call, error's class) -> how many, since the last time."""
        now = sum((Counter(dict(tally.failed)) for tally in tuple(self._tallies)), Counter[tuple[str, str]]())
        new = now - self._failures_taken
        self._failures_taken = now
        return new

    def hung(self) -> Counter[str]:
        """Calls that have been going on for longer than any should; a lock's waiting has a limit far below it."""
        now = perf_counter()
        late = (tally for tally in tuple(self._tallies) if now - tally.began > self._stall_seconds)
        return Counter(name for tally in late if (name := tally.running) is not None)


class _TimedStagedFile:
    """See `ports.StagedFile`."""

    def __init__(self, file: StagedFile, stopwatch: Stopwatch) -> None:
        self._file = file
        self.write = stopwatch._timed("write_staged", file.write)
        self.sync = stopwatch._timed("sync_staged", file.sync)
        self.close = file.close

    @property
    def inode_number(self) -> int:
        return self._file.inode_number
