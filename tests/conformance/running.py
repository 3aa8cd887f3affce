"""Judging a server: what it offers, then every clause, several at a time, each within its bounds.

Rules: no clause sees another's uploads. A clause that cannot be judged for want of its setting is an error, as a server
that cannot be reached is; a request that gets no answer is a failure of the clause that asked.
"""

import asyncio
import importlib
import time
from collections.abc import Iterable, Sequence

from .clauses.ietf_words import speaks
from .exchange import NoAnswer, Unreachable
from .registry import CLAUSES, GROUPS, INTEROP_VERSIONS, Broken, Clause, NoSetting, NotJudged, Result, Verdict
from .subject import INTEGER, Offer, Subject, Terms

MODULES = (
    "core_offer",
    "core_head",
    "core_patch",
    "interruption",
    "creation",
    "creation_with_upload",
    "creation_defer_length",
    "expiration",
    "checksum",
    "termination",
    "concatenation",
    "ietf_creation",
    "ietf_append",
)
AT_ONCE = 8
# A clause makes several exchanges, none of which may take longer than `Terms.seconds`.
EXCHANGES_MAX = 5

NOTHING = Offer((), (), (), None)


def all_clauses() -> list[Clause]:
    """In the order of the groups, and of the files."""
    for name in MODULES:
        importlib.import_module(f"{__package__}.clauses.{name}")
    return sorted(CLAUSES.values(), key=lambda clause: GROUPS.index(clause.extension))


async def ask_offer(terms: Terms) -> Offer:
    """Raises `Unreachable` or `NoAnswer`. What is malformed in it is for the clauses to say."""
    subject = Subject(terms, NOTHING, frozenset())
    answer = await subject.ask("OPTIONS")
    max_size = answer.get("Tus-Max-Size") or ""
    drafts = [version for version in INTEROP_VERSIONS if await speaks(subject, version)]
    return Offer(
        versions=_words(answer.get("Tus-Version")),
        extensions=_words(answer.get("Tus-Extension")),
        algorithms=_words(answer.get("Tus-Checksum-Algorithm")),
        max_size=int(max_size) if INTEGER.fullmatch(max_size) else None,
        drafts=tuple(drafts),
    )


async def judge(
    terms: Terms, offer: Offer, extensions: Iterable[str] | None = None, clauses: Sequence[Clause] | None = None
) -> list[Result]:
    """`extensions`: to be judged in place of those that are announced."""
    announced = (*offer.extensions, *(f"ietf-interop-{version}" for version in offer.drafts))
    judged = frozenset(announced if extensions is None else extensions)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(clause: Clause) -> Result:
        async with room:
            return await _judge(clause, Subject(terms, offer, judged))

    results = await asyncio.gather(*(one(clause) for clause in (all_clauses() if clauses is None else clauses)))
    return await _judged_again(terms, offer, judged, list(results))


async def _judged_again(terms: Terms, offer: Offer, judged: frozenset[str], results: list[Result]) -> list[Result]:
    """Alone: a clause without an answer may have suffered from another one's request, which the server died of."""
    for place, result in enumerate(results):
        if not result.unanswered:
            continue
        results[place] = await _judge(result.clause, Subject(terms, offer, judged))
        if results[place].unanswered and not await _is_there(terms):
            break
    return results


async def _is_there(terms: Terms) -> bool:
    try:
        await ask_offer(terms)
    except (NoAnswer, Unreachable):
        return False
    return True


async def _judge(clause: Clause, subject: Subject) -> Result:
    missing = [name for name in clause.needs if name not in subject.judged]
    if missing:
        return Result(clause, Verdict.SKIPPED, f"{' and '.join(missing)} not announced", 0.0)
    begun = time.monotonic()
    verdict, detail, unanswered = await _outcome(clause, subject)
    seconds = time.monotonic() - begun
    try:
        async with asyncio.timeout(subject.terms.seconds):
            await subject.clean_up()
    except TimeoutError:
        pass  # the verdict stands
    return Result(clause, verdict, detail, seconds, unanswered)


async def _outcome(clause: Clause, subject: Subject) -> tuple[Verdict, str, bool]:
    """The verdict, its reason, and whether an answer was missing."""
    bound = subject.terms.seconds * EXCHANGES_MAX + subject.terms.patience
    try:
        async with asyncio.timeout(bound):
            await clause.judge(subject)
    except Broken as failure:
        return Verdict.FAIL, str(failure), False
    except NoAnswer as failure:
        return Verdict.FAIL, str(failure), True
    except NotJudged as reason:
        return Verdict.SKIPPED, str(reason), False
    except (NoSetting, Unreachable) as error:
        return Verdict.ERROR, str(error), True
    except TimeoutError:
        return Verdict.ERROR, f"not done within {bound:g} s", False
    return Verdict.PASS, "", False


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())
