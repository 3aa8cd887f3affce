"""Half-open byte ranges: overlap, merge, prefix, gaps.

Rules: an `Extent` is `[start, end)` with `0 <= start <= end`; an empty one covers nothing. A *coverage* is a tuple of
extents that is sorted, without empty, overlapping or touching members; every function here takes any iterable of
extents and gives back a coverage.
"""

from collections.abc import Iterable
from dataclasses import dataclass

Coverage = tuple["Extent", ...]


@dataclass(frozen=True, order=True, slots=True)
class Extent:
    start: int
    end: int

    def __post_init__(self) -> None:
        assert 0 <= self.start <= self.end, f"not an extent: [{self.start}, {self.end})"

    @property
    def length(self) -> int:
        return self.end - self.start


def merge(extents: Iterable[Extent]) -> Coverage:
    """The same bytes, as a coverage."""
    merged: list[Extent] = []
    for extent in sorted(extents):
        if extent.length == 0:
            continue
        if merged and extent.start <= merged[-1].end:
            merged[-1] = Extent(merged[-1].start, max(merged[-1].end, extent.end))
        else:
            merged.append(extent)
    return tuple(merged)


def prefix(extents: Iterable[Extent]) -> int:
    """Where the first gap begins."""
    coverage = merge(extents)
    return coverage[0].end if coverage and coverage[0].start == 0 else 0


def gaps(extents: Iterable[Extent], within: Extent) -> Coverage:
    """What of `within` the extents leave open."""
    missing: list[Extent] = []
    reached = within.start
    for extent in merge(extents):
        if extent.start >= within.end:
            break
        if extent.start > reached:
            missing.append(Extent(reached, extent.start))
        reached = max(reached, extent.end)
    if reached < within.end:
        missing.append(Extent(reached, within.end))
    return tuple(missing)


def overlap(extents: Iterable[Extent], within: Extent) -> Coverage:
    """What of `within` the extents cover."""
    return merge(
        Extent(max(extent.start, within.start), min(extent.end, within.end))
        for extent in merge(extents)
        if extent.start < within.end and extent.end > within.start
    )


def subtract(extents: Iterable[Extent], removed: Iterable[Extent]) -> Coverage:
    """What the extents cover and `removed` does not."""
    holes = merge(removed)
    return merge(piece for extent in merge(extents) for piece in gaps(holes, extent))
