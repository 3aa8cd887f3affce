"""Extents against the plainest model there is: sets of byte numbers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core import extents
from storage_proxy.core.extents import Coverage, Extent

TOP = 24


@st.composite
def extent(draw: st.DrawFn) -> Extent:
    start = draw(st.integers(0, TOP))
    return Extent(start, draw(st.integers(start, TOP)))


EXTENTS = st.lists(extent(), max_size=8)


def numbers(some: list[Extent] | Coverage) -> set[int]:
    return {number for one in some for number in range(one.start, one.end)}


def assert_coverage(coverage: Coverage) -> None:
    """Sorted, and without empty, overlapping or touching members: so equal sets are equal coverages."""
    assert isinstance(coverage, tuple)
    assert all(one.length > 0 for one in coverage)
    assert all(left.end < right.start for left, right in itertools.pairwise(coverage))


@pytest.mark.parametrize(("start", "end"), [(-1, 0), (2, 1), (-2, -1)])
def test_what_is_not_a_half_open_range_cannot_be_built(start: int, end: int) -> None:
    with pytest.raises(AssertionError):
        Extent(start, end)


@given(EXTENTS)
def test_merging_keeps_exactly_the_same_bytes(some: list[Extent]) -> None:
    merged = extents.merge(some)
    assert numbers(merged) == numbers(some)
    assert_coverage(merged)
    assert extents.merge(merged) == merged
    assert extents.merge(iter(reversed(some))) == merged


@given(EXTENTS)
def test_the_prefix_ends_at_the_first_byte_that_is_not_there(some: list[Extent]) -> None:
    held = numbers(some)
    assert extents.prefix(some) == next(number for number in range(TOP + 1) if number not in held)


@given(EXTENTS, extent())
def test_gaps_are_the_bytes_within_that_are_not_there(some: list[Extent], within: Extent) -> None:
    found = extents.gaps(some, within)
    assert numbers(found) == numbers([within]) - numbers(some)
    assert_coverage(found)


@given(EXTENTS, extent())
def test_overlap_is_the_bytes_within_that_are_there(some: list[Extent], within: Extent) -> None:
    found = extents.overlap(some, within)
    assert numbers(found) == numbers([within]) & numbers(some)
    assert_coverage(found)


@given(EXTENTS, EXTENTS)
def test_subtracting_leaves_the_bytes_that_were_not_removed(some: list[Extent], removed: list[Extent]) -> None:
    found = extents.subtract(some, removed)
    assert numbers(found) == numbers(some) - numbers(removed)
    assert_coverage(found)


@given(EXTENTS, extent())
def test_gaps_and_overlap_tile_the_extent_they_look_at(some: list[Extent], within: Extent) -> None:
    tiles = sorted((*extents.gaps(some, within), *extents.overlap(some, within)))
    assert sum(tile.length for tile in tiles) == within.length
    assert extents.merge(tiles) == extents.merge([within])


@given(EXTENTS, EXTENTS)
def test_every_function_takes_an_iterator(some: list[Extent], others: list[Extent]) -> None:
    within = Extent(0, TOP)
    assert extents.prefix(iter(some)) == extents.prefix(some)
    assert extents.gaps(iter(some), within) == extents.gaps(some, within)
    assert extents.overlap(iter(some), within) == extents.overlap(some, within)
    assert extents.subtract(iter(some), iter(others)) == extents.subtract(some, others)


def test_large_files_cost_nothing() -> None:
    end = 2**63 - 1
    assert extents.gaps([Extent(1, end)], Extent(0, end)) == (Extent(0, 1),)
