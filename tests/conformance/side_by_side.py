"""`python -m tests.conformance.side_by_side NAME=FILE ...`: several `--json` files as Markdown tables.

The first table counts, the second has every clause that one of the servers does not keep, with what came.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .registry import GROUPS

Found = dict[str, Any]
MARKS = {"pass": "kept", "skipped": "-", "error": "not judged"}


def main(arguments: Sequence[str]) -> str:
    servers = {
        name: json.loads(Path(file).read_text("utf-8")) for name, _, file in (a.partition("=") for a in arguments)
    }
    return "\n".join([*_counts(servers), "", *_broken(servers)])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _counts(servers: dict[str, Found]) -> list[str]:
    """Kept / judged, and the warnings among those that are not kept."""
    rows = [_row(group, *(_count(found, group) for found in servers.values())) for group in GROUPS]
    total = _row("**all**", *(f"**{_count(found, None)}**" for found in servers.values()))
    return [_row("group", *servers), _row("---", *("---" for _ in servers)), *rows, total]


def _count(found: Found, group: str | None) -> str:
    of_group = [result for result in found["results"] if group in (None, result["extension"])]
    kept = sum(result["verdict"] == "pass" for result in of_group)
    broken = [result for result in of_group if result["verdict"] == "fail"]
    warnings = sum(result["level"] == "SHOULD" for result in broken)
    if not kept + len(broken):
        return "-"
    return f"{kept} / {kept + len(broken)}" + (f" ({warnings} SHOULD)" if warnings else "")


def _broken(servers: dict[str, Found]) -> list[str]:
    clauses = {result["id"]: result for found in servers.values() for result in found["results"]}
    verdicts = {name: {result["id"]: result for result in found["results"]} for name, found in servers.items()}
    rows = [
        _row(f"`{id}`", clauses[id]["level"], *(_cell(results[id]) for results in verdicts.values() if id in results))
        for id in clauses
        if any(results[id]["verdict"] in ("fail", "error") for results in verdicts.values() if id in results)
    ]
    return [_row("clause", "level", *servers), _row("---", "---", *("---" for _ in servers)), *rows]


def _cell(result: Found) -> str:
    if result["verdict"] != "fail":
        return MARKS[str(result["verdict"])]
    return "**not kept**: " + str(result["detail"]).replace("|", "\\|")


if __name__ == "__main__":
    print(main(sys.argv[1:]))
