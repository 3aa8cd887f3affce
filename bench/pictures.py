"""Bars and curves as SVG, written by hand so that they need nothing: readable on light and on dark.

Rules: colours tell whose a bar is (ours, a peer, the ceiling), never how good it is. A thin line shows the rounds from
the least to the most, a dashed one what is to be reached.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, VALUES = 800, 300, 80
ROW, BAR, TOP = 26, 16, 44
CURVE_HEIGHT = 240

STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 14px }
.small { fill: #59636e; font-size: 12px } .axis { stroke: #d1d9e0 } .range { stroke: #1f2328 }
.mark { stroke: #cf222e; stroke-dasharray: 4 3 } .curve { fill: none; stroke-width: 2 }
.ours { fill: #0969da } .unsynced { fill: #54aeff } .peer { fill: #8c959f } .ceiling { fill: #d0d7de }
.c0 { stroke: #0969da } .c1 { stroke: #54aeff } .c2 { stroke: #bc4c00 } .c3 { stroke: #1a7f37 } .c4 { stroke: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .axis { stroke: #3d444d } .range { stroke: #e6edf3 }
.mark { stroke: #ff7b72 } .ours { fill: #1f6feb } .unsynced { fill: #79c0ff } .peer { fill: #768390 }
.ceiling { fill: #444c56 } .c0 { stroke: #388bfd } .c1 { stroke: #a5d6ff } .c2 { stroke: #f0883e }
.c3 { stroke: #56d364 } .c4 { stroke: #d2a8ff } }
</style>"""


@dataclass(frozen=True)
class Bar:
    label: str
    kind: str
    """a class of the style"""
    value: float
    least: float
    most: float
    text: str


def kind_of(server: str) -> str:
    if server.startswith("ceiling"):
        return "ceiling"
    if not server.startswith("ours"):
        return "peer"
    return "unsynced" if "unsynced" in server else "ours"


def bars(title: str, rows: Sequence[Bar], mark: float | None = None) -> str:
    width = WIDTH - LABELS - VALUES
    scale = width / max([*(row.most for row in rows), mark or 0.0, 1e-9])
    height = TOP + ROW * len(rows) + 8
    drawn = [text(0, 18, title, "title")]
    for number, row in enumerate(rows):
        top = TOP + ROW * number
        middle = top + BAR / 2
        drawn += [
            text(LABELS - 10, middle + 4, row.label, anchor="end"),
            f'<rect class="{row.kind}" x="{LABELS}" y="{top}" width="{row.value * scale:.1f}" height="{BAR}" rx="2"/>',
            text(LABELS + row.most * scale + 8, middle + 4, row.text),
        ]
        if row.most > row.least:
            drawn.append(line("range", LABELS + row.least * scale, middle, LABELS + row.most * scale, middle))
    drawn.append(line("axis", LABELS, TOP - 6, LABELS, height - 6))
    if mark is not None:
        drawn.append(line("mark", LABELS + mark * scale, TOP - 6, LABELS + mark * scale, height - 6))
    return svg(height, title, drawn)


def curves(title: str, below: str, series: dict[str, Sequence[float]]) -> str:
    """Each from left to right over the whole width; from zero up to the most, in milliseconds."""
    left, bottom, width = 60, TOP + CURVE_HEIGHT, WIDTH - 80
    most = max(value for values in series.values() for value in values)
    drawn = [text(0, 18, title, "title"), line("axis", left, bottom, left + width, bottom)]
    for share in (0.5, 1.0):
        y = bottom - share * CURVE_HEIGHT
        drawn += [
            line("axis", left, y, left + width, y),
            text(left - 6, y + 4, f"{share * most:.3g} ms", "small", "end"),
        ]
    for number, (name, values) in enumerate(series.items()):
        points = " ".join(
            f"{left + width * place / max(1, len(values) - 1):.1f},{bottom - value / most * CURVE_HEIGHT:.1f}"
            for place, value in enumerate(values)
        )
        x = left + number * 140
        drawn += [
            f'<polyline class="curve c{number % 5}" points="{points}"/>',
            line(f"curve c{number % 5}", x, bottom + 42, x + 18, bottom + 42),
            text(x + 24, bottom + 46, name),
        ]
    drawn.append(text(left + width, bottom + 18, below, "small", "end"))
    return svg(bottom + 60, title, drawn)


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(words)}</text>'


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def svg(height: float, title: str, drawn: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img"'
    return "\n".join([f'{head} aria-label="{escape(title, quote=True)}">', STYLE, *drawn, "</svg>", ""])
