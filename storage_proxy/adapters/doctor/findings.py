"""What a probe says: a grade, a sentence, what to do, and the figures behind it.

Rules: a finding's sentence says what was seen, `do` what an operator changes; both are what `doctor` prints and what a
start that is refused says. A finding says nothing about promises: which of them rests on which probe stands in
`verdicts.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Fact = str | int | float | bool | None
Facts = dict[str, Fact]


class Grade(StrEnum):
    GOOD = "good"
    NOTE = "note"
    """worth knowing; no promise depends on it"""
    FENCED = "fenced"
    """not as it should be, and made harmless by the fenced change, as long as links are exclusive"""
    BAD = "bad"
    UNTRIED = "untried"
    """could not be looked at: neither good nor bad"""


@dataclass(frozen=True, slots=True)
class Finding:
    probe: str
    grade: Grade
    sentence: str
    do: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.sentence} {self.do}".rstrip()


def good(probe: str, sentence: str, /, **facts: Fact) -> Finding:
    return Finding(probe, Grade.GOOD, sentence, "", facts)


def note(probe: str, sentence: str, do: str = "", /, **facts: Fact) -> Finding:
    return Finding(probe, Grade.NOTE, sentence, do, facts)


def fenced(probe: str, sentence: str, do: str, /, **facts: Fact) -> Finding:
    return Finding(probe, Grade.FENCED, sentence, do, facts)


def bad(probe: str, sentence: str, do: str, /, **facts: Fact) -> Finding:
    return Finding(probe, Grade.BAD, sentence, do, facts)


def untried(probe: str, sentence: str, do: str = "", /, **facts: Fact) -> Finding:
    return Finding(probe, Grade.UNTRIED, sentence, do, facts)
