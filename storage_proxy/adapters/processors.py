"""On which processors a thread may run.

The kernel puts a thread that another one wakes onto that one's own processor when no other is idle; and in a virtual
machine an idle processor that has been halted counts as taken. There the two take turns on one processor for some
milliseconds, until the kernel looks for a balance, and a PATCH of a few MiB is over by then. So two threads that are
to run side by side are kept apart.

Rule: a wish. Where processors cannot be told apart or chosen, all goes on as the kernel has it.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Linux only; and `os` has no name for it.
_sched_getcpu = getattr(ctypes.CDLL(None), "sched_getcpu", None)

Processors = frozenset[int]

ANY: Processors = frozenset()


def halves() -> tuple[Processors, Processors]:
    """The processors that this thread may use: those on whose side it runs just now, and the others."""
    if _sched_getcpu is None:
        return ANY, ANY
    allowed = sorted(os.sched_getaffinity(0))
    middle = (len(allowed) + 1) // 2
    first, second = frozenset(allowed[:middle]), frozenset(allowed[middle:])
    return (first, second) if _sched_getcpu() in first else (second, first)


@contextmanager
def on(processors: Processors) -> Iterator[None]:
    """This thread runs on one of these."""
    if not processors:
        yield
        return
    allowed = os.sched_getaffinity(0)
    _choose(processors)
    try:
        yield
    finally:
        _choose(allowed)


def _choose(processors: Processors | set[int]) -> None:
    # Refused by some containers' rules, or where the process may no longer use any of these.
    with suppress(OSError):
        os.sched_setaffinity(0, processors)
