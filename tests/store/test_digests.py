"""Hashing aside: whoever helps, and whenever, every piece is hashed once and in order."""

import hashlib
import threading

import pytest

from storage_proxy.store import digests
from storage_proxy.store.digests import ASIDE_PIECES_MAX, Aside

PIECES = [bytes([number % 256]) * (number + 1) for number in range(200)]
RIGHT = hashlib.sha256(b"".join(PIECES)).digest()


class Helper:
    """Begins when it is told to, or never."""

    def __init__(self, aside: Aside) -> None:
        self.thread = threading.Thread(target=aside.help)

    def begin(self) -> None:
        self.thread.start()

    def end(self) -> None:
        if self.thread.ident is not None:
            self.thread.join(30)
            assert not self.thread.is_alive()


@pytest.mark.parametrize("begins_at", [0, 1, 100, 199, 200, None])
def test_every_piece_is_hashed_once_and_in_order_whenever_help_comes(begins_at: int | None) -> None:
    digest = hashlib.sha256()
    aside = Aside(digest.update)
    helper = Helper(aside)
    with aside:
        for number, piece in enumerate(PIECES):
            if number == begins_at:
                helper.begin()
            aside.add(piece)
    assert digest.digest() == RIGHT
    if begins_at == len(PIECES):
        helper.begin()
    helper.end()
    assert digest.digest() == RIGHT


def test_a_helper_that_leaves_in_between_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "ASIDE_SECONDS", 0.01)
    digest = hashlib.sha256()
    aside = Aside(digest.update)
    with aside:
        for start in (0, 100):
            helper = Helper(aside)
            helper.begin()
            for piece in PIECES[start : start + 100]:
                aside.add(piece)
            helper.end()
    assert digest.digest() == RIGHT


def test_no_more_waits_than_fits_the_cache() -> None:
    hashing, go_on, more = threading.Event(), threading.Event(), threading.Event()
    seen: list[bytes] = []

    def slowly(piece: bytes) -> None:
        hashing.set()
        go_on.wait(30)
        seen.append(piece)

    aside = Aside(slowly)
    pieces = [bytes([number]) for number in range(2 * ASIDE_PIECES_MAX)]

    def add() -> None:
        with aside:
            for number, piece in enumerate(pieces):
                aside.add(piece)
                if number > ASIDE_PIECES_MAX:
                    more.set()

    helper = Helper(aside)
    helper.begin()
    adder = threading.Thread(target=add)
    adder.start()
    assert hashing.wait(30)
    try:
        assert not more.wait(0.2), "the adder did not wait for its helper"
    finally:
        go_on.set()
        adder.join(30)
        helper.end()
    assert seen == pieces
