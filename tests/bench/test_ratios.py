"""The benchmark in short: ratios between two paths of our own, never absolute times.

Everything compared here is counted, not timed (calls of the share, bytes written and copied), so that it means the same
on a busy machine. The service runs as `serve` does, with its calls counted by `bench/counted.py`; the load is the
benchmark's own.
"""

import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.content import Content
from bench.counted import COPIED, READ, WRITTEN, calls, read_counts
from bench.large import ANY_ORDER
from bench.measuring import verify
from bench.servers import SERVERS, Running
from bench.uploads import Client, Upload
from storage_proxy.operations.service import Limits

KIB, MIB = 2**10, 2**20


class Counted:
    """A service that runs, a client of it, and what it has asked of the share meanwhile."""

    def __init__(self, home: Path) -> None:
        self._server = SERVERS["ours unsynced"]
        self._counts = home / "counts"
        self._data = home / "data"
        self._data.mkdir()
        counted = dataclasses.replace(
            self._server, program=lambda: [sys.executable, "-m", "bench.counted", str(self._counts)]
        )
        self._running = Running(counted, self._data)
        self.client = Client(self._running.urls[0], Content())

    def of(self, work: Callable[[], object]) -> Counter[str]:
        """What is asked of the share until the answer is there. (The janitor goes round only every few minutes.)"""
        before = read_counts(self._counts)
        work()
        after = read_counts(self._counts)
        after.subtract(before)
        return after

    def check(self, upload: Upload) -> None:
        verify(self._server, self._data, [upload], hashed=True)

    def close(self) -> None:
        self.client.close()
        self._running.stop()


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    service = Counted(tmp_path)
    yield service
    service.close()


def moved(counts: Counter[str]) -> int:
    return counts[WRITTEN] + counts[COPIED] + counts[READ]


def test_the_2000th_patch_asks_no_more_of_the_share_than_the_10th(counted: Counted) -> None:
    piece, count = 4 * KIB, 2_000
    # Chunks are folded many at a time, so as many PATCHes are looked at as make the cheap and the dear ones even out.
    window = 10 * Limits().fold_lag_chunks
    upload = counted.client.create("growing.bin", piece * (count + window))

    def patches(begin: int, end: int) -> None:
        for number in range(begin, end):
            counted.client.patch(upload, number * piece, piece)

    early = counted.of(lambda: patches(0, window))
    patches(window, count)
    # The upload's end is no part of this: the last PATCH also publishes.
    late = counted.of(lambda: patches(count, count + window - 1))
    assert calls(late) <= 1.1 * calls(early)
    assert moved(late) <= 1.1 * moved(early)


def last_of(counted: Counted, size: int, piece: int) -> Counter[str]:
    """What the last PATCH of an upload asks for."""
    upload = counted.client.create(f"{size}-in-{piece}.bin", size)
    for offset in range(0, size - piece, piece):
        counted.client.patch(upload, offset, piece)
    last = counted.of(lambda: counted.client.patch(upload, size - piece, piece))
    counted.check(upload)
    return last


def test_the_end_of_an_upload_moves_no_more_bytes_when_it_is_8_times_as_large(counted: Counted) -> None:
    small, large = last_of(counted, 64 * MIB, 16 * MIB), last_of(counted, 512 * MIB, 16 * MIB)
    # Not 1.0: how much of what came before has been folded meanwhile is a matter of luck, within a bound.
    assert calls(large) <= 2 * calls(small)
    assert moved(large) <= 2 * moved(small)


def test_an_upload_in_one_patch_is_written_once(counted: Counted) -> None:
    size = 256 * MIB
    upload = counted.client.create("one.bin", size)
    asked = counted.of(lambda: counted.client.send(upload))
    counted.check(upload)
    assert asked[WRITTEN] + asked[COPIED] <= 1.1 * size


@pytest.mark.parametrize("order", [[], [ANY_ORDER]], ids=["sequential", "any order"])
def test_an_upload_in_pieces_is_written_and_copied_once_at_the_most(counted: Counted, order: list[str]) -> None:
    size, piece = 64 * MIB, 4 * MIB
    upload = counted.client.create("pieces.bin", size, *order)
    asked = counted.of(lambda: counted.client.send(upload, piece))
    counted.check(upload)
    assert asked[WRITTEN] <= 1.1 * size
    assert asked[COPIED] <= 1.0 * size


def test_an_open_upload_costs_the_same_beside_500_others(counted: Counted) -> None:
    def begin(count: int) -> None:
        for number in range(count):
            # In any order: of the others a few are kept open, and let go some seconds later, in whichever window.
            counted.client.patch(counted.client.create(f"open-{number}.bin", 8 * KIB, ANY_ORDER), 0, 4 * KIB)

    early = counted.of(lambda: begin(10))
    begin(500)
    late = counted.of(lambda: begin(10))
    assert calls(late) <= 1.1 * calls(early)
    assert moved(late) <= 1.1 * moved(early)
