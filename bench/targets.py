"""What the service must reach, as a table, and the judgement of each from the results.

Rules: the same for the default durability and without syncing. A target whose figures were not measured is neither
reached nor missed. Peers never sync, so without it like is compared with like.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bench.figures import ANSWERED, EACH, HEAD_P99, RATE, THROUGHPUT, Figure, Results
from bench.works import EXT4, XFS

JOINED = "W5, concatenated"


@dataclass(frozen=True)
class Judgement:
    reached: bool | None
    """None: not measured"""
    words: str

    def __str__(self) -> str:
        verdict = {True: "reached", False: "**missed**", None: "not measured"}[self.reached]
        return f"{verdict}: {self.words}" if self.words else verdict


UNKNOWN = Judgement(None, "")
Judge = Callable[[Results, bool], Judgement]


@dataclass(frozen=True)
class Target:
    work: str
    words: str
    judge: Judge
    """with True: everything synced"""


def _name(server: str, synced: bool) -> str:
    if synced:
        return server
    return f"{server}, unsynced" if "," in server or server.startswith("ceiling") else f"{server} unsynced"


def _at_least(
    figure: Figure, ours: tuple[str, str], others: tuple[tuple[str, str, bool], ...], share: float = 1.0
) -> Judge:
    """As much as the best of the others, or that share of it; a server is (case, name, and whether there are two)."""

    def judge(results: Results, synced: bool) -> Judgement:
        mine = results.median(ours[0], _name(ours[1], synced), figure)
        theirs = [results.median(case, _name(name, synced) if both else name, figure) for case, name, both in others]
        best = max((value for value in theirs if value is not None), default=None)
        if mine is None or best is None:
            return UNKNOWN
        words = f"{figure.form.format(mine)} to {figure.form.format(best)} {figure.title}, {mine / best:.2f} times"
        return Judgement(mine >= share * best, words)

    return judge


def _flat(disk: str, kind: str, times: float) -> Judge:
    def judge(results: Results, synced: bool) -> Judgement:
        name = _name("ours", synced)
        small, large = (results.median(f"W6, {disk}, {size}{kind}", name, ANSWERED) for size in ("64 MiB", "8 GiB"))
        if small is None or large is None:
            return UNKNOWN
        return Judgement(large <= times * small, f"{large:.0f} ms to {small:.0f} ms, {large / small:.2f} times")

    return judge


def _each_below(kib: float) -> Judge:
    def judge(results: Results, synced: bool) -> Judgement:
        found = [results.median(f"W7, {size} files", _name("ours", synced), EACH) for size in ("small", "large")]
        values = [value for value in found if value is not None]
        if len(values) < 2:
            return UNKNOWN
        return Judgement(max(values) < kib, f"{values[0]:.0f} KiB (small files), {values[1]:.0f} KiB (large files)")

    return judge


def _flat_memory(times: float) -> Judge:
    def judge(results: Results, synced: bool) -> Judgement:
        small, large = (results.median(f"W7, {size} files", _name("ours", synced), EACH) for size in ("small", "large"))
        if small is None or large is None:
            return UNKNOWN
        return Judgement(large <= times * small, f"files 17 times as large need {large / small:.2f} times the memory")

    return judge


def _p99_below(milliseconds: float) -> Judge:
    def judge(results: Results, synced: bool) -> Judgement:
        found = results.median("W8", _name("ours, 2 workers", synced), HEAD_P99)
        return UNKNOWN if found is None else Judgement(found <= milliseconds, f"{found:.1f} ms")

    return judge


_CEILINGS = (("W1", "ceiling in C", True), ("W1", "ceiling in Python", True))
_TWO = "ours, 2 replicas"

TARGETS = (
    Target("W1", "at least tusd's throughput", _at_least(THROUGHPUT, ("W1", "ours"), (("W1", "tusd", False),))),
    Target("W1", "0.85 of the better ceiling, syncing alike", _at_least(THROUGHPUT, ("W1", "ours"), _CEILINGS, 0.85)),
    Target("W2", "at least tusd's throughput", _at_least(THROUGHPUT, ("W2", "ours"), (("W2", "tusd", False),))),
    Target(
        "W3", "at least tusd's throughput, with 2 workers",
        _at_least(THROUGHPUT, ("W3", "ours, 2 workers"), (("W3", "tusd", False),)),
    ),
    Target("W4", "at least @tus/server's rate", _at_least(RATE, ("W4", "ours"), (("W4", "@tus/server", False),))),
    Target(
        "W4", "the same, with 4 workers",
        _at_least(RATE, ("W4", "ours, 4 workers"), (("W4", "@tus/server", False),)),
    ),
    Target("W5", "faster than W2", _at_least(THROUGHPUT, ("W5", _TWO), (("W2", "ours", True),))),
    Target("W5", "faster than tusd's concatenation", _at_least(THROUGHPUT, ("W5", _TWO), ((JOINED, "tusd", False),))),
    Target("W5", "faster than our concatenation", _at_least(THROUGHPUT, ("W5", _TWO), ((JOINED, _TWO, True),))),
    Target("W6", f"8 GiB within 1.5 times 64 MiB, in pieces, {XFS}", _flat(XFS, "", 1.5)),
    Target("W6", f"8 GiB within 1.5 times 64 MiB, in pieces, {EXT4}", _flat(EXT4, "", 1.5)),
    Target("W6", f"8 GiB within 1.5 times 64 MiB, one PATCH, {XFS}", _flat(XFS, ", one PATCH", 1.5)),
    Target("W6", f"8 GiB within 1.5 times 64 MiB, one PATCH, {EXT4}", _flat(EXT4, ", one PATCH", 1.5)),
    Target("W7", "under 64 KiB each above the idle process", _each_below(64)),
    Target("W7", "flat in file size (within 1.25 times)", _flat_memory(1.25)),
    Target("W8", "99 of 100 answers within 50 ms", _p99_below(50)),
)  # fmt: skip
