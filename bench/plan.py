"""What the load generator is told, and what it tells."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.content import Content
from bench.uploads import Upload

MIB = 1024 * 1024


class NotOffered(Exception):
    """The server does not announce what this work needs."""


@dataclass(frozen=True)
class Plan:
    urls: Sequence[str]
    """where uploads are created; one for each replica"""
    content: Content
    size: int
    """bytes of one upload"""
    piece: int
    """bytes of one PATCH; 0: all of them in one"""
    count: int
    """how many, where a work counts"""
    seconds: float
    """how long, where a work goes on for a time"""


@dataclass
class Load:
    """What was done, and how long it took."""

    seconds: float
    requests: int
    uploads: list[Upload] = field(default_factory=list)
    """those that were finished"""
    series: dict[str, list[float]] = field(default_factory=dict)
    """seconds of single requests, by what they are"""
    last_byte_to_answer: float | None = None
    window: tuple[float, float] | None = None
    """on the monotonic clock, which all processes share: when the server's memory is to be looked at"""
    cpu_seconds: float = 0.0


def at_once(jobs: Sequence[Callable[[], None]]) -> None:
    """Each in a thread of its own; the first failure is everybody's."""
    failures: list[Exception] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def elapsed(begun: float) -> float:
    return time.perf_counter() - begun
