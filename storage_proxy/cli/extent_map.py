"""What is there of an upload, drawn in text.

Rules: one sign for each equal part of the file; colour is never the only difference. A part is called there or missing
only if all of it is.
"""

from collections.abc import Mapping
from typing import Any

WIDTH = 64

THERE, PARTLY, ARRIVING, MISSING = "█", "▒", ">", "·"


def drawn(told: Mapping[str, Any]) -> list[str]:
    """`told` as `overview.details` has it: the map, and what its signs mean."""
    there = [tuple(pair) for pair in told["there"]]
    arriving = [(each["start"], each["end"]) for each in told["arriving"]]
    known = [end for _, end in (*there, *arriving)]
    length = told["length"] if told["length"] is not None else max(known, default=0)
    signs = "".join(
        _sign(cell * length // WIDTH, (cell + 1) * length // WIDTH, there, arriving) for cell in range(WIDTH)
    )
    return [f"[{signs}]", f"{THERE} there  {PARTLY} partly  {ARRIVING} arriving  {MISSING} missing"]


def _sign(start: int, end: int, there: list[tuple[int, ...]], arriving: list[tuple[int, int]]) -> str:
    # Of a file shorter than the map several signs stand for one byte.
    end = max(end, start + 1)
    covered = sum(_common(start, end, extent) for extent in there)
    if covered == end - start:
        return THERE
    if any(_common(start, end, extent) for extent in arriving):
        return ARRIVING
    return PARTLY if covered else MISSING


def _common(start: int, end: int, extent: tuple[int, ...]) -> int:
    return max(0, min(end, extent[1]) - max(start, extent[0]))
