"""docs/performance.md and its pictures, made from the results of one run.

Rules: the page has no figure that is not in results.json. What people have written between `<!-- by hand: NAME -->` and
`<!-- end -->` stays as it is; all else is written anew. The same results and the same words make the same page.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import figures as f
from bench.figures import Figure, Results
from bench.pictures import Bar, bars, curves, kind_of
from bench.targets import TARGETS
from bench.works import EXT4, XFS

PAGE, RESULTS, PICTURES = "performance.md", "performance/results.json", "performance"
BY_HAND = re.compile(r"<!-- by hand: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)

_SPEED = (f.THROUGHPUT, f.CPU_PER_GIB, f.PEAK, f.WRITTEN, f.LOAD)
_SIZES = ("64 MiB", "1 GiB", "8 GiB")

# (work, title, cases with what sets them apart, figure of the picture, columns, what to be reached is marked at)
Section = tuple[str, str, Sequence[tuple[str, str]], Figure, Sequence[Figure], float | None]
SECTIONS: Sequence[Section] = (
    ("W1", "one upload, 2 GiB, one PATCH", [("W1", "")], f.THROUGHPUT, _SPEED, None),
    ("W2", "2 GiB in PATCHes of 8 MiB", [("W2", "")], f.THROUGHPUT, _SPEED, None),
    ("W3", "eight uploads at once, 256 MiB each", [("W3", "")], f.THROUGHPUT, _SPEED, None),
    (
        "W4", "uploads of 4 KiB (POST and PATCH), 16 at a time", [("W4", "")], f.RATE,
        (f.RATE, f.UPLOAD_P50, f.UPLOAD_P99, f.CPU_PER_UPLOAD, f.PEAK, f.LOAD), None,
    ),
    (
        "W5", "one upload of 2 GiB over four connections, through two replicas",
        [("W5", "any order"), ("W5, concatenated", "concatenated"), ("W2", "W2")], f.THROUGHPUT, _SPEED, None,
    ),
    (
        "W6", "from the last byte to the final answer",
        [
            (f"W6, {disk}, {size}{kind}", f"{size}, {disk.split()[0].strip(',')}{said}")
            for kind, said in (("", ""), (", one PATCH", ", one PATCH"), (", concatenated", ", concatenated"))
            for disk in (XFS, EXT4) for size in _SIZES
        ],
        f.ANSWERED, (f.ANSWERED, f.THROUGHPUT, f.CPU_PER_GIB, f.WRITTEN), None,
    ),
    (
        "W7", "memory while 500 uploads come slowly",
        [("W7, small files", "128 KiB"), ("W7, large files", "2.1 MiB")], f.EACH, (f.EACH, f.IDLE, f.PEAK), 64.0,
    ),
    (
        "W8", "HEAD while eight uploads are under way", [("W8", "")], f.HEAD_P99,
        (f.HEAD_P50, f.HEAD_P99, f.HEADS, f.THROUGHPUT), 50.0,
    ),
)  # fmt: skip

GROWTH = (
    ("chunks", "PATCHes of 4 KiB to one upload, the first to the 10,000th"),
    ("chunks, the first one last", "the same in any order, 2,000 of them, the first one last"),
    ("open uploads", "the first PATCH of an upload, while 1 to 10,000 others are open"),
)


def write(told: dict[str, Any], out: Path) -> None:
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    page = out / PAGE
    words = dict(BY_HAND.findall(page.read_text("utf-8"))) if page.exists() else {}
    text, pictures = made(told, words)
    page.write_text(text, "utf-8")
    for name, picture in pictures.items():
        (out / PICTURES / name).write_text(picture, "utf-8")
    (out / RESULTS).write_text(json.dumps(told, indent=None, separators=(",", ":")) + "\n", "utf-8")


def made(told: dict[str, Any], words: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The page, and the pictures by their names."""
    results = Results(told)
    pictures: dict[str, str] = {}
    lines = [*_head(told), *_by_hand("summary", words), *_targets(results)]
    for section in SECTIONS:
        lines += _section(section, results, pictures)
        lines += _by_hand(section[0], words)
    lines += [*_growth(results, pictures), *_by_hand("growth", words)]
    lines += [*_calls(told["calls"]), *_by_hand("calls", words), *_about(told)]
    return "\n".join(lines) + "\n", pictures


def _by_hand(name: str, words: dict[str, str]) -> list[str]:
    return [f"<!-- by hand: {name} -->\n{words.get(name, '')}<!-- end -->", ""]


def _head(told: dict[str, Any]) -> list[str]:
    about = told["about"]
    lines = [
        "# Performance",
        "",
        f"Made by `{about['command']}` on {about['date']}, in one run of {told['minutes']} minutes. "
        "What is measured, and how: bench/README.md. All figures are medians of the rounds; all uploads were compared "
        "with what was sent. Peers never sync what they acknowledge; ours does by default, and was also measured "
        "without (`[storage] sync = false`), to compare like with like.",
        "",
    ]
    if told["short"]:
        lines += ["**A short run: everything is smaller than it is named here, and measured once.**", ""]
    lines += [f"**{sentence}**\n" for sentence in told["wrong"]]
    lines += [f"Left out: {name} ({reason}).\n" for name, reason in told["missing"].items()]
    return lines + [f"{note}.\n" for note in told["notes"]]


def _targets(results: Results) -> list[str]:
    rows = [(one.work, one.words, str(one.judge(results, True)), str(one.judge(results, False))) for one in TARGETS]
    return ["## What was to be reached", "", *_table(("Work", "To be reached", "Synced", "Not synced"), rows)]


def _section(section: Section, results: Results, pictures: dict[str, str]) -> list[str]:
    work, title, cases, figure, columns, mark = section
    rows, drawn = [], []
    for case, said in cases:
        for server in results.servers(case):
            if said == "W2" and not server.startswith("ours"):
                continue
            label = f"{server} ({said})" if said else server
            trouble = results.trouble(case, server)
            if trouble is not None:
                rows.append((label, trouble, *("" for _ in columns[1:])))
                continue
            rows.append((label, *(results.text(case, server, column) for column in columns)))
            values = results.values(case, server, figure)
            if values:
                middle = results.median(case, server, figure) or 0.0
                drawn.append(Bar(label, kind_of(server), middle, min(values), max(values), figure.form.format(middle)))
    lines = [f"## {work}: {title}", ""]
    if not drawn:
        return (
            [*lines, *_table(("", *(column.title for column in columns)), rows)]
            if rows
            else [*lines, "Not measured.", ""]
        )
    name = f"{work.lower()}.svg"
    pictures[name] = bars(f"{work}: {figure.title}", drawn, mark)
    lines += [f"![{figure.title}, as in the table]({PICTURES}/{name})", ""]
    return [*lines, *_table(("", *(column.title for column in columns)), rows)]


def _growth(results: Results, pictures: dict[str, str]) -> list[str]:
    lines = ["## Growth: does a PATCH cost more the more there is?", ""]
    for case, title in GROWTH:
        servers = [server for server in results.servers(case) if results.rounds(case, server)]
        if not servers:
            continue
        rows = []
        for server in servers:
            early, late = (results.median(case, server, figure) for figure in (f.EARLY, f.LATE))
            times = f"{late / early:.2f}" if early and late else "-"
            rows.append((server, results.text(case, server, f.EARLY), results.text(case, server, f.LATE), times))
        lines += [f"### {title[0].upper()}{title[1:]}", ""]
        if case != "open uploads":
            name = f"growth-{'gap' if 'last' in case else 'chunks'}.svg"
            pictures[name] = curves(
                f"Time of a PATCH: {title}", "number of the PATCH", {one: results.curve(case, one) for one in servers}
            )
            lines += [f"![time of a PATCH]({PICTURES}/{name})", ""]
        lines += _table(("", f.EARLY.title, f.LATE.title, "times"), rows)
    return lines


def _calls(calls: dict[str, Any]) -> list[str]:
    if not calls:
        return []
    lines = [
        "## What a request asks of the kernel and of the share",
        "",
        "System calls are counted by strace, calls of the share at the file system port, each in a run of its own that "
        "nobody timed.",
        "",
    ]
    for title, servers in calls.items():
        rows = [
            (name, f"{told['per_request']:.1f}", f"{told['per_upload']:.1f}", _most(told["most"]))
            for name, told in servers.items()
            if told is not None
        ]
        lines += [f"### {title[0].upper()}{title[1:]}", ""]
        lines += _table(("", "per request", "per upload", "most of them, per upload"), rows)
    return lines


def _most(counts: dict[str, float]) -> str:
    return ", ".join(f"{name} {count:.3g}" for name, count in counts.items())


def _about(told: dict[str, Any]) -> list[str]:
    machine = [(name, value) for name, value in told["about"].items() if value and name not in ("date", "command")]
    servers = [
        (name, one["version"], one["settings"] or "defaults", "yes" if one["synced"] else "no")
        for name, one in told["servers"].items()
    ]
    return [
        "## Where it was measured",
        "",
        *_table(("", ""), machine),
        *_table(("Server", "Version", "Settings", "Synced"), servers),
    ]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [titles, ["---"] * len(titles), *rows]
    return [*(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells), ""]
