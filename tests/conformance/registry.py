"""What a clause is, what judging it can come to, and the table of all clauses.

Rules: one function per clause, registered by `@clause`; it returns when the server keeps the clause and raises
`Broken` when it does not. `NotJudged` is for what cannot be seen from outside on this server. Nothing here knows HTTP.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .subject import Subject

Judge = Callable[["Subject"], Awaitable[None]]


class Level(StrEnum):
    MUST = "MUST"
    SHOULD = "SHOULD"


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    SKIPPED = "skipped"
    ERROR = "error"


MUST, SHOULD = Level.MUST, Level.SHOULD


class Broken(Exception):
    """The server does not keep the clause: what was sent and what came, in one sentence."""


class NotJudged(Exception):
    """Why this clause says nothing about this server."""


class NoSetting(Exception):
    """What the clause starts from could not be made, so that nothing was learnt about the clause itself."""


@dataclass(frozen=True, slots=True)
class Clause:
    id: str
    extension: str
    """the group; `core` is the protocol without extensions"""
    level: Level
    section: str
    """of the specification"""
    text: str
    """what it demands, in our words"""
    needs: tuple[str, ...]
    """extensions without which there is nothing to judge"""
    judge: Judge


@dataclass(frozen=True, slots=True)
class Result:
    clause: Clause
    verdict: Verdict
    detail: str
    seconds: float
    unanswered: bool = False
    """an answer was missing, to this clause's request or to what it needs"""

    @property
    def is_violation(self) -> bool:
        return self.verdict is Verdict.FAIL and self.clause.level is MUST

    @property
    def is_warning(self) -> bool:
        return self.verdict is Verdict.FAIL and self.clause.level is SHOULD


INTEROP_VERSIONS = tuple(range(3, 10))
"""of draft-ietf-httpbis-resumable-upload, from -01 to -12"""

GROUPS = (
    "core",
    "interruption",
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "checksum-trailer",
    "termination",
    "concatenation",
    "concatenation-unfinished",
    *(f"ietf-interop-{version}" for version in INTEROP_VERSIONS),
)
"""in the order of the table; `interruption` is a part of core that deserves a place of its own, and the last ones are
another protocol at the same address"""

EXTENSIONS = tuple(group for group in GROUPS if group not in ("core", "interruption"))

CLAUSES: dict[str, Clause] = {}


def clause(
    id: str, extension: str, level: Level, section: str, text: str, *, needs: Iterable[str] | None = None
) -> Callable[[Judge], Judge]:
    """Without `needs`, the extension itself is needed; `needs=()` also judges servers that do not announce it."""

    def register(judge: Judge) -> Judge:
        assert id not in CLAUSES, f"{id} is there twice"
        assert extension in GROUPS, f"{extension} is no group"
        wanted = (extension,) if needs is None else needs
        told = tuple(name for name in wanted if name in EXTENSIONS)
        CLAUSES[id] = Clause(id, extension, level, section, text, told, judge)
        return judge

    return register
