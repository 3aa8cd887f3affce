"""The works, as tables: which load, on which servers, on which disk, how large, and how large in short.

Rules: cases of one group are measured in turn, round by round, so that what is compared was measured at the same time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

KIB, MIB, GIB = 2**10, 2**20, 2**30

OURS = ("ours", "ours unsynced")
TWO_WORKERS = ("ours, 2 workers", "ours, 2 workers, unsynced")
FOUR_WORKERS = ("ours, 4 workers", "ours, 4 workers, unsynced")
TWO_REPLICAS = ("ours, 2 replicas", "ours, 2 replicas, unsynced")
PEERS = ("tusd", "@tus/server", "rustus")
CEILING_C = ("ceiling in C", "ceiling in C, unsynced")
CEILINGS = (*CEILING_C, "ceiling in Python", "ceiling in Python, unsynced")
HASHING = "ceiling in Python, hashing"
JOINERS = ("tusd", "rustus")

XFS, EXT4 = "xfs with reflink", "ext4, no reflink"


@dataclass(frozen=True)
class Case:
    id: str
    group: str
    load: str
    """see `load.py`"""
    servers: Sequence[str]
    options: Sequence[str] = ()
    """of the load"""
    short: Sequence[str] = ()
    """in a short run, instead"""
    rounds: int | None = None
    """at the most"""
    beside: str | None = None
    """another load at the same time"""
    disk: str | None = None


def _size(count: int) -> Sequence[str]:
    return ("--size", str(count))


def _finishing(disk: str) -> list[Case]:
    """W6 on one disk: in pieces of 16 MiB, and all in one PATCH."""
    cases = []
    for size, short, rounds in ((64 * MIB, 16 * MIB, 3), (GIB, 32 * MIB, 2), (8 * GIB, 64 * MIB, 1)):
        label = f"{size // MIB} MiB" if size < GIB else f"{size // GIB} GiB"
        named = f"W6, {disk}, {label}"
        cases.append(Case(named, "W6", "W6", OURS, _size(size), _size(short), rounds, disk=disk))
        one = ("--piece", "0")
        cases.append(
            Case(
                f"{named}, one PATCH",
                "W6",
                "W6",
                OURS[:1],
                (*_size(size), *one),
                (*_size(short), *one),
                rounds,
                disk=disk,
            )
        )
        if size <= GIB:
            joined = (*OURS[:1], *JOINERS)
            cases.append(
                Case(
                    f"{named}, concatenated", "W6", "W6-concatenation", joined, _size(size), _size(short), 1, disk=disk
                )
            )
    return cases


_BRIEFLY = ("--seconds", "2", "--count", "100")

CASES = (
    Case("W1", "W1", "W1", (*OURS, *PEERS, *CEILINGS, HASHING), short=_size(128 * MIB)),
    Case("W2", "W2", "W2", (*OURS, *PEERS, *CEILING_C), short=_size(64 * MIB)),
    Case("W5", "W2", "W5", TWO_REPLICAS, short=_size(64 * MIB)),
    Case("W5, concatenated", "W2", "W5-concatenation", (*TWO_REPLICAS, *JOINERS), short=_size(64 * MIB)),
    Case("W3", "W3", "W3", (*TWO_WORKERS, *PEERS, *CEILING_C, HASHING), short=_size(16 * MIB)),
    Case("W8", "W8", "W3", (*TWO_WORKERS, *PEERS), short=_size(16 * MIB), rounds=2, beside="HEAD"),
    Case("W4", "W4", "W4", (*OURS, *FOUR_WORKERS, *PEERS, *CEILING_C), short=("--seconds", "1")),
    *_finishing(XFS),
    *_finishing(EXT4),
    Case("W7, small files", "W7", "W7", (*OURS, *PEERS), _size(128 * KIB), (*_size(32 * KIB), *_BRIEFLY), 1),
    Case("W7, large files", "W7", "W7", (*OURS, *PEERS), _size(2176 * KIB), (*_size(544 * KIB), *_BRIEFLY), 1),
    Case("chunks", "growth", "chunks", (*OURS, *PEERS), short=("--count", "300"), rounds=1),
    Case("chunks, the first one last", "growth", "gap", OURS[:1], short=("--count", "100"), rounds=1),
    Case("open uploads", "growth", "open", (*OURS, *PEERS), short=("--count", "300"), rounds=1),
)  # fmt: skip

# Where gigabytes pass through the kernel's cache; see `memory.py`.
MEMORY_FILLED = ("W1", "W2", "W3", "W6", "W8")

GROUPS = tuple(dict.fromkeys(case.group for case in CASES))

# Counted, not timed: (what, load, options).
COUNTED = (
    ("one PATCH of 64 MiB", "W1", _size(64 * MIB)),
    ("64 MiB in PATCHes of 8 MiB", "W2", _size(64 * MIB)),
    ("uploads of 4 KiB", "W4", ("--seconds", "1", "--count", "1")),
)
COUNTED_SERVERS = ("ours", *PEERS, "ceiling in C")


def wanted(named: str | None) -> list[Case]:
    """By `W1,W4`, `growth`; None: all."""
    if named is None:
        return list(CASES)
    asked = {name.strip().lower() for name in named.split(",")}
    known = {case.id.partition(",")[0].lower() for case in CASES} | {group.lower() for group in GROUPS}
    if strange := asked - known - {"calls"}:
        raise ValueError(f"there is no {', '.join(sorted(strange))}; there are {', '.join(sorted(known))}, calls")
    return [case for case in CASES if case.id.partition(",")[0].lower() in asked or case.group.lower() in asked]
