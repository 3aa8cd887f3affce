"""What was found, as a table for people and as JSON for machines."""

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .registry import GROUPS, MUST, Result, Verdict
from .subject import Offer

COLUMNS = 100
ALIKE_MIN = 3
MARKS = {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.SKIPPED: "skip", Verdict.ERROR: "ERROR"}
EXIT_FAILED, EXIT_NOT_JUDGED = 1, 3


def exit_status(results: Sequence[Result]) -> int:
    """0: no MUST is broken; 1: one is; 3: something could not be judged, and nothing judged is broken."""
    if any(result.is_violation for result in results):
        return EXIT_FAILED
    return EXIT_NOT_JUDGED if any(result.verdict is Verdict.ERROR for result in results) else 0


def as_text(url: str, offer: Offer, results: Sequence[Result], *, all_passes: bool = False) -> str:
    """What is worth a line for each clause, then the totals."""
    lines = [
        f"TUS 1.0 conformance of {url}",
        *_wrapped(
            f"versions {', '.join(offer.versions) or 'none'}; extensions {', '.join(offer.extensions) or 'none'}; "
            f"interop versions of the IETF draft {', '.join(map(str, offer.drafts)) or 'none'}"
        ),
        "",
    ]
    for group in GROUPS:
        of_group = [result for result in results if result.clause.extension == group]
        shown = [result for result in of_group if all_passes or result.verdict is not Verdict.PASS]
        for detail, count in Counter(result.detail for result in shown).items():
            alike = [result for result in shown if result.detail == detail]
            if count >= ALIKE_MIN and alike[0].verdict is not Verdict.FAIL and not all_passes:
                lines += _wrapped(f"{MARKS[alike[0].verdict]:<5} {count} clauses of {group}: {detail}")
                shown = [result for result in shown if result.detail != detail]
        for result in shown:
            lines += _line(result)
    return "\n".join([*lines, "", *_totals(results), "", _sentence(results)])


def as_json(url: str, offer: Offer, results: Sequence[Result]) -> dict[str, Any]:
    return {
        "url": url,
        "versions": offer.versions,
        "extensions": offer.extensions,
        "checksum_algorithms": offer.algorithms,
        "max_size": offer.max_size,
        "drafts": offer.drafts,
        "exit_status": exit_status(results),
        "totals": {group: dict(counts) for group, counts in _counts(results).items()},
        "results": [
            {
                "id": result.clause.id,
                "extension": result.clause.extension,
                "level": str(result.clause.level),
                "section": result.clause.section,
                "clause": result.clause.text,
                "verdict": str(result.verdict),
                "detail": result.detail,
                "seconds": round(result.seconds, 3),
            }
            for result in results
        ],
    }


def as_json_text(url: str, offer: Offer, results: Sequence[Result]) -> str:
    return json.dumps(as_json(url, offer, results), indent=2, ensure_ascii=False) + "\n"


def _line(result: Result) -> list[str]:
    mark = "warn" if result.is_warning else MARKS[result.verdict]
    first = f"{mark:<5} {result.clause.level!s:<6} {result.clause.id}"
    said = [f"{result.clause.text} ({result.clause.section})"] if result.verdict is Verdict.FAIL else []
    return [first, *(line for text in (*said, result.detail) for line in _wrapped(text, 13))]


def _wrapped(text: str, indent: int = 0) -> list[str]:
    return [" " * indent + line for line in textwrap.wrap(text, COLUMNS - indent)]


COLUMN_NAMES = ("pass", "fail MUST", "fail SHOULD", "skipped", "error")


def _counts(results: Sequence[Result]) -> Mapping[str, Counter[str]]:
    counts = {group: Counter(dict.fromkeys(COLUMN_NAMES, 0)) for group in GROUPS}
    for result in results:
        name = f"fail {result.clause.level}" if result.verdict is Verdict.FAIL else str(result.verdict)
        counts[result.clause.extension][name] += 1
    return counts


def _totals(results: Sequence[Result]) -> list[str]:
    counts = _counts(results)
    rows = [(group, *(counts[group][name] for name in COLUMN_NAMES)) for group in GROUPS if counts[group].total()]
    rows.append(("all", *(sum(counts[group][name] for group in GROUPS) for name in COLUMN_NAMES)))
    header = f"{'group':<26}" + "".join(f"{name:>13}" for name in COLUMN_NAMES)
    body = [f"{name:<26}" + "".join(f"{number or '·':>13}" for number in numbers) for name, *numbers in rows]
    return [header, "-" * len(header), *body[:-1], "-" * len(header), body[-1]]


def _sentence(results: Sequence[Result]) -> str:
    violations = sum(result.is_violation for result in results)
    errors = sum(result.verdict is Verdict.ERROR for result in results)
    judged = sum(result.verdict in (Verdict.PASS, Verdict.FAIL) and result.clause.level is MUST for result in results)
    if violations:
        return f"{violations} of the {judged} MUST clauses judged are not kept."
    if errors:
        return f"No MUST clause was seen broken, but {errors} clauses could not be judged."
    return f"All {judged} MUST clauses that could be judged are kept."
