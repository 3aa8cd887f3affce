"""From findings to the ten promises: which rests on which probe, and in words whether it is kept.

Rules: the table is the whole of the judgement. A promise is not kept when anything it rests on is bad; it is kept by
the fence when locks do not do their part and links do; it is not known when something it rests on could not be looked
at. What was not asked (a second machine) is not held against it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from storage_proxy.adapters.doctor.findings import Finding, Grade


class Standing(StrEnum):
    KEPT = "kept"
    FENCED = "kept by the fence"
    NOT_KEPT = "not kept"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Promise:
    number: int
    text: str
    rests_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    promise: Promise
    standing: Standing
    because: str = ""
    do: str = ""

    def __str__(self) -> str:
        because = f", because {self.because[:1].lower()}{self.because[1:]}" if self.because else "."
        return f"{self.standing}{because} {self.do}".rstrip()


# Asked only with a partner, so that their absence is not held against a promise.
BETWEEN_HOSTS = frozenset(
    {"locks between hosts", "links between hosts", "renames between hosts", "look-ups between hosts"}
)

# What every promise rests on: that there is a place for the service's files at all, and that it answers.
_ALL = ("access", "mount", "answers")
_NAMES = ("link", "exclusive create", "rename", "link race", "create race", "rename race", "error options")
_BETWEEN = ("links between hosts", "renames between hosts")
_FRESH = ("look-up options", "look-ups between hosts")
_LOCKS = ("lock", "lock options", "lock race", "locks between hosts")
_SYNCED = ("lasting", "directory sync", "error options", "syncing")

PROMISES = (
    Promise(1, "What is acknowledged is durable", _SYNCED),
    Promise(2, "The committed prefix never shrinks", (*_SYNCED, *_NAMES, *_BETWEEN, *_FRESH, *_LOCKS)),
    Promise(3, "A promised byte never changes", (*_NAMES, *_BETWEEN, *_LOCKS, "staging")),
    Promise(4, "There is one history, no update is lost", (*_NAMES, *_BETWEEN, *_FRESH, *_LOCKS)),
    Promise(5, "The target is whole or absent", (*_NAMES, *_BETWEEN, "one file system", "mounts inside")),
    Promise(6, "Complete means published", (*_SYNCED, *_FRESH, "one file system", "mounts inside")),
    Promise(7, "A failed write neither advances nor wedges", ("error options", "directory sync")),
    Promise(8, "An upload holds no more than its size and a window", ("one file system",)),
    Promise(9, "Nothing a client may finish is reaped", (*_NAMES, *_BETWEEN, *_FRESH, *_LOCKS)),
    Promise(10, "Waiting and memory are bounded", ()),
)


def judge(findings: Iterable[Finding]) -> tuple[Verdict, ...]:
    by_probe = {finding.probe: finding for finding in findings}
    return tuple(_verdict(promise, by_probe) for promise in PROMISES)


def _verdict(promise: Promise, by_probe: dict[str, Finding]) -> Verdict:
    probes = list(dict.fromkeys((*_ALL, *promise.rests_on)))
    seen = [by_probe[probe] for probe in probes if probe in by_probe]
    for grade, standing in (
        (Grade.BAD, Standing.NOT_KEPT),
        (Grade.UNTRIED, Standing.UNKNOWN),
        (Grade.FENCED, Standing.FENCED),
    ):
        reason = next((finding for finding in seen if finding.grade is grade), None)
        if reason is not None:
            return Verdict(promise, standing, reason.sentence, reason.do)
        if grade is Grade.UNTRIED and (missing := [p for p in probes if p not in by_probe and p not in BETWEEN_HOSTS]):
            return Verdict(promise, Standing.UNKNOWN, f"It was not looked at: {missing[0]}.")
    return Verdict(promise, Standing.KEPT)


def exit_status(verdicts: Iterable[Verdict]) -> int:
    """0 all kept, 1 something is not, 3 something could not be looked at."""
    standings = {verdict.standing for verdict in verdicts}
    if Standing.NOT_KEPT in standings:
        return 1
    return 3 if Standing.UNKNOWN in standings else 0
