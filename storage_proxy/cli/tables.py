"""Text for people: columns that line up, sentences that wrap, within 80 columns.

Rules: colour is for a terminal only (click takes it out of anything else) and never the only sign.
"""

from collections.abc import Iterable, Sequence
from textwrap import wrap

import click

WIDTH = 80

COLOURS = {
    "good": "green",
    "kept": "green",
    "note": "cyan",
    "fenced": "yellow",
    "kept by the fence": "yellow",
    "mend": "yellow",
    "bad": "red",
    "not kept": "red",
    "decide": "red",
    "untried": "magenta",
    "not known": "magenta",
    "done": "green",
    "not done": "red",
    "published": "green",
    "failed": "red",
    "unreadable": "red",
    "closed": "yellow",
    "publishing": "yellow",
}


def aligned(rows: Iterable[Sequence[str]], indent: int = 2) -> str:
    """All columns as wide as they must be, the last one wrapped in what is left; the first one coloured by its word."""
    rows = [tuple(row) for row in rows]
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    left = indent + sum(widths) + 2 * len(widths)
    lines = []
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row[:-1], widths, strict=True)]
        cells[0] = click.style(cells[0], fg=COLOURS.get(row[0]))
        first, *more = _wrapped(row[-1], WIDTH - left) or [""]
        lines.append(" " * indent + "  ".join((*cells, first)))
        lines += [" " * left + line for line in more]
    return "\n".join(lines)


def size(bytes: int | None) -> str:
    """None: not known."""
    if bytes is None:
        return "unknown"
    number, unit = float(bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{bytes} B" if unit == "B" else f"{number:.1f} {unit}"


def span(seconds: float) -> str:
    """As far as people want to know it."""
    for limit, length, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def heading(text: str) -> str:
    return click.style(text, bold=True)


def _wrapped(text: str, width: int) -> list[str]:
    lines = text.splitlines()
    # Paths and ids are not broken: they are to be copied.
    return [
        part for line in lines for part in wrap(line, max(width, 30), break_long_words=False, break_on_hyphens=False)
    ]
