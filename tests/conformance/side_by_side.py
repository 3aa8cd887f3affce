"""`python -m tests.conformance.side_by_side NAME=FILE ...`: several `--json` files as Markdown tables.

The first table counts, each protocol by itself, and names how many of a group's clauses were skipped or could not be
judged; the second has every clause that one of the servers does not keep, with what came.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .registry import GROUPS

Found = dict[str, Any]
NOTHING = "-"
MARKS = {"pass": "kept", "skipped": NOTHING, "error": "not judged"}
PROTOCOLS = {
    "TUS 1.0": [group for group in GROUPS if not group.startswith("ietf-")],
    "the IETF draft": [group for group in GROUPS if group.startswith("ietf-")],
}


def main(arguments: Sequence[str]) -> str:
    servers = {
        name: json.loads(Path(file).read_text("utf-8")) for name, _, file in (a.partition("=") for a in arguments)
    }
    return "\n".join(tables(servers))


def tables(servers: dict[str, Found]) -> list[str]:
    return [*_counts(servers), "", *_broken(servers)]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _counts(servers: dict[str, Found]) -> list[str]:
    """Kept / judged, and the warnings among those that are not kept."""
    lines = [_row("group", *servers), _row("---", *("---" for _ in servers))]
    for protocol, groups in PROTOCOLS.items():
        judged = {group: cells for group in groups if set(cells := _cells(servers, group)) != {NOTHING}}
        lines += [_row(group, *cells) for group, cells in judged.items()]
        if judged:
            totals = [_count(found, set(groups)) for found in servers.values()]
            lines.append(_row(f"**{protocol}**", *(f"**{cell}**" for cell in totals)))
    return lines


def _cells(servers: dict[str, Found], group: str) -> list[str]:
    return [_count(found, {group}) + _left_out(found, group) for found in servers.values()]


def _left_out(found: Found, group: str) -> str:
    """Nothing, where the whole group is."""
    verdicts = [result["verdict"] for result in found["results"] if result["extension"] == group]
    counts = {word: verdicts.count(verdict) for word, verdict in (("skipped", "skipped"), ("not judged", "error"))}
    judged = len(verdicts) - sum(counts.values())
    return "".join(f", {count} {word}" for word, count in counts.items() if count and judged)


def _count(found: Found, groups: set[str]) -> str:
    of_group = [result for result in found["results"] if result["extension"] in groups]
    kept = sum(result["verdict"] == "pass" for result in of_group)
    broken = [result for result in of_group if result["verdict"] == "fail"]
    warnings = sum(result["level"] == "SHOULD" for result in broken)
    if not kept + len(broken):
        return NOTHING
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
