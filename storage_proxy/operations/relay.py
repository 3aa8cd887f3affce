"""Two threads take turns at one large body: while one hashes its piece, the other receives the next.

Receiving and writing cost about what hashing does, so one large upload goes nearly twice as fast; and a piece stays
with one processor, in its cache, from its first stage to its last. The second thread is help: where it comes late, or
not at all, the first does everything.

Rules: no stage has two pieces at once, and nobody leaves a stage before he has entered the next: so each stage sees all
pieces, in their order, as if there was one thread. After a failure no other piece enters any stage.
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
            piece = None if self._ended else next(self._pieces, None)
            self._ended = piece is None
            if piece is None:
                return
            for stage, following in zip(self._stages, self._turns[1:], strict=True):
                following.acquire()
                turn.release()
                turn = following
                if self._failure is not None:
                    return
                stage(piece)
        except BaseException as failure:
            self._failure = self._failure or failure
        finally:
            self._ended = self._ended or self._failure is not None
            turn.release()
