"""Two threads at one body: whoever helps, and whenever, each stage has every piece once and in order."""

import threading
from collections.abc import Callable, Generator, Sequence

import pytest

from storage_proxy.operations.relay import Relay

PIECES = [(bytes([number]),) for number in range(200)]

Piece = Sequence[bytes]


class Source:
    """Gives pieces, and calls somebody before some of them."""

    def __init__(self, calls: dict[int, Callable[[], object]]) -> None:
        self._calls = calls
        self.closed = 0

    def pieces(self) -> Generator[Piece, None, None]:
        try:
            for number, piece in enumerate(PIECES):
                self._calls.get(number, int)()
                yield piece
        finally:
            self.closed += 1


class Stages:
    """Two, each of which notes what it is given, and that nobody else is in it."""

    def __init__(self) -> None:
        self.seen: tuple[list[Piece], list[Piece]] = ([], [])
        self._busy = [threading.Lock(), threading.Lock()]

    def first(self, piece: Piece) -> None:
        self._note(0, piece)

    def second(self, piece: Piece) -> None:
        self._note(1, piece)

    def _note(self, stage: int, piece: Piece) -> None:
        assert self._busy[stage].acquire(blocking=False), "two at once"
        self.seen[stage].append(piece)
        self._busy[stage].release()


def helper_of(relays: list[Relay]) -> threading.Thread:
    return threading.Thread(target=lambda: relays[0].help())


def ended(helper: threading.Thread) -> bool:
    if helper.ident is not None:
        helper.join(30)
    return not helper.is_alive()


@pytest.mark.parametrize("begins_at", [0, 1, 100, 199, None])
def test_every_stage_has_every_piece_once_and_in_order_whenever_help_comes(begins_at: int | None) -> None:
    stages, relays = Stages(), list[Relay]()
    helper = helper_of(relays)
    source = Source({} if begins_at is None else {begins_at: helper.start})
    relays.append(Relay(source.pieces(), (stages.first, stages.second)))
    relays[0].run()
    assert stages.seen == (PIECES, PIECES)
    assert source.closed == 1
    if begins_at is None:
        helper.start()
    assert ended(helper)
    assert stages.seen == (PIECES, PIECES)


def test_the_next_piece_is_received_while_one_is_hashed() -> None:
    """The second stage of the first piece ends only once the first stage has had the second piece."""
    second_piece = threading.Event()

    def first(piece: Piece) -> None:
        if piece == PIECES[1]:
            second_piece.set()

    def second(piece: Piece) -> None:
        assert piece != PIECES[0] or second_piece.wait(30), "nobody went on meanwhile"

    relays: list[Relay] = []
    helper = helper_of(relays)
    relays.append(Relay(Source({0: helper.start}).pieces(), (first, second)))
    relays[0].run()
    assert ended(helper)


def test_who_runs_returns_only_when_the_helper_is_through_with_its_last_piece() -> None:
    """Else a snapshot of what was written would miss what is still being hashed."""
    helping, go_on, hashed = threading.Event(), threading.Event(), list[Piece]()
    main = threading.get_ident()

    def second(piece: Piece) -> None:
        if threading.get_ident() != main:
            helping.set()
            go_on.wait(30)
        hashed.append(piece)

    def none_left() -> Generator[Piece, None, None]:
        yield PIECES[0]

    relay = Relay(none_left(), (lambda piece: None, second))
    helper = threading.Thread(target=relay.help)
    helper.start()
    assert helping.wait(30)
    waker = threading.Timer(0.1, go_on.set)
    waker.start()
    relay.run()
    assert hashed == [PIECES[0]]
    assert ended(helper)
    waker.join()


@pytest.mark.parametrize("helped", [True, False])
@pytest.mark.parametrize("stage", [0, 1])
def test_after_a_failure_no_piece_enters_any_stage(stage: int, helped: bool) -> None:
    stages, relays = Stages(), list[Relay]()
    steps = [stages.first, stages.second]
    right = steps[stage]

    def fail(piece: Piece) -> None:
        if piece == PIECES[100]:
            raise OSError("full")
        right(piece)

    steps[stage] = fail
    helper = helper_of(relays)
    source = Source({0: helper.start} if helped else {})
    relays.append(Relay(source.pieces(), steps))
    with pytest.raises(OSError, match="full"):
        relays[0].run()
    assert ended(helper)
    assert stages.seen[stage] == PIECES[:100]
    # The other stage is one piece further, or two where the helper was in there already.
    assert stages.seen[0] == PIECES[: len(stages.seen[0])]
    assert 100 <= len(stages.seen[0]) <= 102
    assert source.closed == 1


def test_who_is_behind_a_failure_does_not_enter_the_stage_that_failed() -> None:
    """It would hash what comes behind bytes that nobody has hashed."""
    behind, hashed = threading.Event(), list[Piece]()

    def first(piece: Piece) -> None:
        if piece == PIECES[1]:
            behind.set()

    def second(piece: Piece) -> None:
        hashed.append(piece)
        assert behind.wait(30), "nobody went on meanwhile"
        raise OSError("full")

    relays: list[Relay] = []
    helper = helper_of(relays)
    relays.append(Relay(Source({0: helper.start}).pieces(), (first, second)))
    with pytest.raises(OSError, match="full"):
        relays[0].run()
    assert ended(helper)
    assert hashed == PIECES[:1]


class Overtaking:
    """A lock whose first taker lets another one go before it, if one comes."""

    def __init__(self) -> None:
        self._lock, self._first, self._overtaken = threading.Lock(), True, threading.Event()

    def acquire(self) -> None:
        if self._first:
            self._first = False
            self._overtaken.wait(0.2)
        self._lock.acquire()
        self._overtaken.set()

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


@pytest.mark.parametrize("stage", [0, 1])
def test_nobody_overtakes_between_two_stages(stage: int) -> None:
    stages, relays = Stages(), list[Relay]()
    helper = helper_of(relays)
    relay = Relay(Source({0: helper.start}).pieces(), (stages.first, stages.second))
    relay._turns[1 + stage] = Overtaking()  # type: ignore[call-overload]
    relays.append(relay)
    relay.run()
    assert ended(helper)
    assert stages.seen == (PIECES, PIECES)


def test_what_came_before_a_body_broke_passes_all_stages() -> None:
    """The piece is in its first stage when the other thread hears that there will be no more."""
    broken = threading.Event()

    def pieces() -> Generator[Piece, None, None]:
        helper.start()
        yield PIECES[0]
        broken.set()
        raise ConnectionError

    def first(piece: Piece) -> None:
        assert broken.wait(30), "nobody asked for more meanwhile"

    hashed, relays = list[Piece](), list[Relay]()
    helper = helper_of(relays)
    relays.append(Relay(pieces(), (first, hashed.append)))
    with pytest.raises(ConnectionError):
        relays[0].run()
    assert ended(helper)
    assert hashed == PIECES[:1]


def test_a_body_that_breaks_is_told_by_who_runs_whoever_met_it() -> None:
    def broken() -> Generator[Piece, None, None]:
        yield PIECES[0]
        raise ConnectionError

    stages = Stages()
    relay = Relay(broken(), (stages.first, stages.second))
    relay.help()
    with pytest.raises(ConnectionError):
        relay.run()
    assert stages.seen == (PIECES[:1], PIECES[:1])
