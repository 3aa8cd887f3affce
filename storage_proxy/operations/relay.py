"""Two threads take turns at one large body: while one hashes its piece, the other receives the next.

Receiving and writing cost about what hashing does, and side by side less time than one after the other (W1 of
docs/performance.md, beside the ceiling that hashes); and a piece stays with one processor, in its cache, from its first
stage to its last. The second thread is help: where it comes late, or not at all, the first does everything.

Rules: no stage has two pieces at once, and nobody leaves a stage before he has entered the next: so each stage sees all
pieces, in their order, as if there was one thread. When no more pieces come, for whatever reason, those that came pass
all stages; after a failure in a stage no other piece enters any.
"""

import threading
from collections.abc import Callable, Generator, Sequence

Piece = Sequence[bytes]

Stage = Callable[[Piece], None]


class Relay:
    def __init__(self, pieces: Generator[Piece, None, None], stages: Sequence[Stage]) -> None:
        self._pieces = pieces
        self._stages = stages
        self._turns = [threading.Lock() for _ in range(1 + len(stages))]
        """to get a piece, and to be in each stage"""
        self._ended = False
        self._stopped = False
        """a stage has failed"""
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Until all pieces have passed all stages, whoever took them there."""
        self.help()
        for turn in self._turns:
            with turn:
                # Whoever was before us in here has gone on, or is through.
                continue
        self._pieces.close()
        if self._failure is not None:
            raise self._failure

    def help(self) -> None:
        """In another thread, at the same time."""
        while not self._ended:
            self._pass_one()

    def _pass_one(self) -> None:
        turn = self._turns[0]
        turn.acquire()
        try:
            if (piece := self._next()) is None:
                return
            for stage, following in zip(self._stages, self._turns[1:], strict=True):
                following.acquire()
                turn.release()
                turn = following
                if self._stopped:
                    return
                stage(piece)
        except BaseException as failure:
            self._failure = self._failure or failure
            self._stopped = self._ended = True
        finally:
            turn.release()

    def _next(self) -> Piece | None:
        piece = None
        if not self._ended:
            try:
                piece = next(self._pieces, None)
            except BaseException as failure:
                self._failure = self._failure or failure
            if piece is None:
                self._ended = True
        return piece
