"""How counts become metrics: many at once, and of several workers.

Rules: what is counted often is counted in plain Python and handed over once a second, to the library's own values;
those know how to be shared by workers, see docs/decisions/0021-metrics-of-several-workers.md.
"""

import os
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Counter, Histogram, values
from prometheus_client.multiprocess import mark_process_dead

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share_between_workers(directory: Path, slot: int) -> None:
    """In a worker, before its `Metrics` are made. A slot belongs to one living process at a time; a worker that takes
    over the slot of a dead one goes on counting where that one stopped, so there are never more files than slots."""
    os.environ[VARIABLE] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: slot)


def forget_worker(directory: Path, slot: int) -> None:
    """The worker has died: what it had under way no longer is. Its counters stay."""
    mark_process_dead(slot, str(directory))


class Tallied(Histogram):
    """One that takes many observations at once."""

    @property
    def bounds(self) -> list[float]:
        return self._upper_bounds

    def add(self, counts: Iterable[float], seconds: float) -> None:
        self._sum.inc(seconds)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class Pending:
    """What was heard since the last sample: a few dictionary look-ups for each fact, where the library takes locks and
    looks for labels. Only for facts that are told on the event loop."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Counter, tuple[str, ...]], float] = {}
        self._rows: dict[tuple[Tallied, tuple[str, ...]], list[float]] = {}

    def count(self, counter: Counter, *labels: str, by: float = 1) -> None:
        key = (counter, labels)
        self._counts[key] = self._counts.get(key, 0) + by

    def observe(self, histogram: Tallied, *labels: str, seconds: float) -> None:
        key = (histogram, labels)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = [0.0] * (len(histogram.bounds) + 1)
        row[bisect_left(histogram.bounds, seconds)] += 1
        row[-1] += seconds

    def hand_over(self) -> None:
        for (counter, labels), by in self._counts.items():
            counter.labels(*labels).inc(by)
        for (histogram, labels), row in self._rows.items():
            child: Tallied = histogram.labels(*labels)
            child.add(row[:-1], row[-1])
        self._counts.clear()
        self._rows.clear()
