"""Threads of one volume, in which its blocking calls run, each with a deadline.

Rules: a volume shares no thread with another, so a mount that hangs takes only its own uploads along. A deadline ends
the waiting and never the work: a thread in a system call cannot be stopped. What comes back when nobody waits any more
is dropped in a thread as well, since dropping it may close a file.

The threads are daemons, which is why this is not a ThreadPoolExecutor: the interpreter would join that one's threads at
exit, and a replica that was told to end would wait for a dead mount for ever. What they were doing is cut off as by
kill -9, which every step of this service must survive anyhow; whoever wants work to be finished awaits it before
`close`.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from storage_proxy.adapters import processors
from storage_proxy.core.errors import ShareStalled

T = TypeVar("T")
P = ParamSpec("P")

# Work that came without a deadline counts as hung after this time.
UNTIMED_SECONDS_MAX = 30.0

# How much work waits is bounded where it comes from, by the requests there may be; a long queue that moves is no
# trouble (hundreds of slow uploads have their checkpoints due at once). This is only so that nothing grows for ever.
WAITING_MAX = 10_000


class _Job:
    __slots__ = ("act", "seconds", "started")

    def __init__(self, act: Callable[[], object], seconds: float) -> None:
        self.act = act
        self.seconds = seconds
        self.started = 0.0


class DaemonThreads(Executor):
    """The least of an executor: started at the first call (so after any fork), first come, first served."""

    def __init__(self, name: str, threads: int) -> None:
        self.threads = threads
        self._name = name
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._running: set[_Job] = set()
        self._starting = threading.Lock()
        self._started = False
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def act() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        self.put(act, UNTIMED_SECONDS_MAX)
        return future

    def put(self, act: Callable[[], object], seconds: float) -> None:
        """As `submit`, without the cost of a future; `act` must not raise."""
        if self._closed:
            raise RuntimeError(f"the threads of volume {self._name} are closed")
        if not self._started:
            self._start()
        self._queue.put(_Job(act, seconds))

    def waiting(self) -> int:
        return self._queue.qsize()

    def hung_seconds(self) -> float:
        """How long the slowest work has been running, if every thread is past the deadline of what it does; else 0."""
        if len(self._running) < self.threads:
            return 0.0
        now = time.monotonic()
        jobs = tuple(self._running)
        if any(now - job.started <= job.seconds for job in jobs):
            return 0.0
        return max((now - job.started for job in jobs), default=0.0)

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Never waits. What is in the queue is still worked off, as long as the process lives."""
        if not self._closed:
            self._closed = True
            for _ in range(self.threads):
                self._queue.put(None)

    def _start(self) -> None:
        with self._starting:
            if self._started:
                return
            for number in range(self.threads):
                threading.Thread(target=self._serve, name=f"volume-{self._name}-{number}", daemon=True).start()
            self._started = True

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            job.started = time.monotonic()
            self._running.add(job)
            try:
                job.act()
            finally:
                self._running.discard(job)
                # Or the last result would live on in this frame until the next job comes.
                del job


class ThreadWorkers:
    """See `ports.Workers`."""

    def __init__(self, volume: str, threads: int = 16, waiting_max: int = WAITING_MAX) -> None:
        self.executor = DaemonThreads(volume, threads)
        self._volume = volume
        self._waiting_max = waiting_max

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        self._refuse_when_hung(seconds)
        loop = asyncio.get_running_loop()
        # Holds the result, or the failure, on its way, so that only the receiver, or a thread, ever drops it.
        outcome: list[Any] = []
        answer: asyncio.Future[bool] = loop.create_future()

        def act() -> None:
            try:
                outcome.append(work())
                succeeded = True
            except BaseException as error:
                outcome.append(error)
                succeeded = False
            try:
                loop.call_soon_threadsafe(deliver, succeeded)
            except RuntimeError:
                # The loop has ended, and with it everybody who could want to know.
                outcome.clear()

        def deliver(succeeded: bool) -> None:
            if answer.done():
                self.abandon(outcome.clear)
            else:
                answer.set_result(succeeded)

        def expire() -> None:
            if not answer.done():
                answer.set_exception(ShareStalled(volume=self._volume, seconds=seconds))

        self.executor.put(act, seconds)
        timer = loop.call_later(seconds, expire)
        try:
            if await answer:
                return outcome.pop()  # type: ignore[no-any-return] # `act` put work's own result there
            raise outcome.pop()
        except asyncio.CancelledError:
            if outcome:
                self.abandon(outcome.clear)
            raise
        finally:
            timer.cancel()

    def hung_seconds(self) -> float:
        return self.executor.hung_seconds()

    def side_by_side(self, work: Callable[[], None], help: Callable[[], object]) -> None:
        ours, theirs = processors.halves()

        def act() -> None:
            with processors.on(theirs):
                help()

        self.abandon(act)
        with processors.on(ours):
            work()

    def abandon(self, work: Callable[[], object]) -> None:
        def act() -> None:
            # Its failure is nobody's, by the port's promise: what it was to tidy up is in trouble already.
            with suppress(Exception):
                work()

        try:
            # Not refused when the volume hangs: a lock that is not given back would be held until the process ends.
            self.executor.put(act, UNTIMED_SECONDS_MAX)
        except RuntimeError:
            # Closed; the end of the process closes files and gives locks back.
            pass

    def close(self) -> None:
        """Take no more work. Returns at once; see the top of this file for who waits."""
        self.executor.shutdown()

    def _refuse_when_hung(self, seconds: float) -> None:
        hung_seconds = self.hung_seconds()
        if hung_seconds > 0 or self.executor.waiting() >= self._waiting_max:
            raise ShareStalled(volume=self._volume, seconds=hung_seconds or seconds)
