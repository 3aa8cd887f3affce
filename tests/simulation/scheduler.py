"""Several replicas that take turns at every single call of the file system, in an order that a test decides.

Each actor runs in a thread with an event loop of its own, but only the one that has the turn moves: at each call on the
simulated share it hands the turn to the next of `choices`. So an actor can be stopped between any two calls for as long
as the choices say, its locks can be broken and it can be killed meanwhile, and every run can be replayed.
"""

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from storage_proxy.testing.filesystem import ReplicaDead, SimulatedShare

# Far beyond what any plan needs: a run that comes here goes in a circle.
TURNS_MAX = 200_000

# How long, in real seconds, a turn may take before the test calls it a hang.
TURN_SECONDS_MAX = 60.0


class _NoTimeLost(selectors.DefaultSelector):
    """Whoever sleeps while nothing else is to be done has slept already: pauses cost turns, and no time."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            self.skipped += timeout
            timeout = 0
        return super().select(timeout)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._no_time_lost = _NoTimeLost()
        super().__init__(self._no_time_lost)

    def time(self) -> float:
        return super().time() + self._no_time_lost.skipped


class Actor:
    def __init__(self, name: str, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.name = name
        self.act = act
        self.go = threading.Event()
        self.done = False
        self.error: BaseException | None = None


class Scheduler:
    """`choices` are taken in turn: which of the actors still at work goes next, and (`on_turn`) what strikes."""

    def __init__(
        self, share: SimulatedShare, choices: Sequence[int], on_turn: Callable[[int], None] | None = None
    ) -> None:
        self.share = share
        self.choices = choices or [0]
        self.turns = 0
        self.actors: dict[str, Actor] = {}
        self._on_turn = on_turn
        self._finished = threading.Event()
        share.before_call = lambda replica, operation, paths: self._hand_on(replica)
        share.on_wait = self._wait_for_lock

    def add(self, name: str, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`name` is that of the replica whose calls the actor makes."""
        self.actors[name] = Actor(name, act)

    def run(self) -> None:
        threads = [threading.Thread(target=self._live, args=(actor,), daemon=True) for actor in self.actors.values()]
        for thread in threads:
            thread.start()
        self._next(None)
        if not self._finished.wait(TURN_SECONDS_MAX):
            raise AssertionError(f"no actor moves any more, after {self.turns} turns")
        for thread in threads:
            thread.join(TURN_SECONDS_MAX)
        for actor in self.actors.values():
            if actor.error is not None:
                raise actor.error

    def _live(self, actor: Actor) -> None:
        actor.go.wait()
        actor.go.clear()
        try:
            with suppress(ReplicaDead), asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(_quietly(actor.act()))
        except BaseException as error:  # handed to `run`, which raises it in the test
            actor.error = error
        actor.done = True
        self._next(None)

    def _hand_on(self, name: str) -> None:
        actor = self.actors.get(name)
        if actor is None or actor.done:
            return
        if self._on_turn is not None:
            self._on_turn(self.turns)
        self._next(actor)

    def _next(self, current: Actor | None) -> None:
        alive = [actor for actor in self.actors.values() if not actor.done]
        if not alive:
            self._finished.set()
            return
        if self.turns > TURNS_MAX:
            raise AssertionError("the replicas go in a circle")
        chosen = alive[self.choices[self.turns % len(self.choices)] % len(alive)]
        # Whatever the choices say, everybody moves on in the end.
        if self.turns % 97 == 0:
            chosen = alive[self.turns // 97 % len(alive)]
        self.turns += 1
        if chosen is current:
            return
        chosen.go.set()
        if current is not None:
            current.go.wait()
            current.go.clear()

    def _wait_for_lock(self, name: str, path: str) -> bool:
        actor = self.actors.get(name)
        if actor is None or actor.done:
            return False
        alive = [other for other in self.actors.values() if not other.done and other is not actor]
        if not alive:
            return False
        self.turns += 1
        chosen = alive[self.turns % len(alive)]
        chosen.go.set()
        actor.go.wait()
        actor.go.clear()
        return True


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    def rest(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), ReplicaDead):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(rest)
    await work
