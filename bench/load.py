"""The load generator: one process, the same for every server. `python -m bench.load WORK --url URL ...` prints JSON.

Rules: it is never where the time goes, and says how much of a processor it took (`cpu_seconds`), so that this can be
seen. The clock begins when the connections stand and the content is ready, and ends with the last answer.
"""

import argparse
import dataclasses
import json
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import growth, large, many, slow
from bench.connection import Wrong
from bench.content import Content
from bench.plan import MIB, Load, NotOffered, Plan


@dataclass(frozen=True)
class Work:
    do: Callable[[Plan], Load]
    size: int = 0
    piece: int = 0
    count: int = 1
    seconds: float = 0.0


# What each does unless it is told otherwise.
WORKS = {
    "W1": Work(large.one, 2048 * MIB),
    "W2": Work(large.one, 2048 * MIB, piece=8 * MIB),
    "W3": Work(large.several, 256 * MIB, count=8),
    "W4": Work(many.small, 4096, count=16, seconds=5),
    "W5": Work(large.any_order, 2048 * MIB, piece=8 * MIB),
    "W5-concatenation": Work(large.concatenated, 2048 * MIB),
    "W6": Work(large.one, 1024 * MIB, piece=16 * MIB),
    "W6-concatenation": Work(large.concatenated, 1024 * MIB),
    "W7": Work(slow.slowly, 128 * 1024, count=500, seconds=8),
    "HEAD": Work(slow.asking, 4096),
    "chunks": Work(growth.chunks, piece=4096, count=10_000),
    "gap": Work(growth.gap, piece=4096, count=2_000),
    "open": Work(growth.open_uploads, 8192, count=10_000),
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--url", action="append", required=True, help="where uploads are created; several: replicas")
    parser.add_argument("--size", type=int, help="bytes of one upload")
    parser.add_argument("--piece", type=int, help="bytes of one PATCH; 0: all in one")
    parser.add_argument("--count", type=int, help="uploads at a time, or requests, as the work has it")
    parser.add_argument("--seconds", type=float, help="for works that go on for a time")
    given = parser.parse_args(arguments)
    work = WORKS[given.work]
    changed = {
        name: value for name in ("size", "piece", "count", "seconds") if (value := getattr(given, name)) is not None
    }
    work = dataclasses.replace(work, **changed)
    plan = Plan(given.url, Content(), work.size, work.piece, work.count, work.seconds)
    used = _cpu_seconds()
    try:
        load = work.do(plan)
    except (Wrong, NotOffered) as error:
        print(json.dumps({"wrong" if isinstance(error, Wrong) else "not_offered": str(error)}))
        return 1
    load.cpu_seconds = _cpu_seconds() - used
    print(json.dumps(dataclasses.asdict(load)))
    return 0


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
