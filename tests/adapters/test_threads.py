import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from storage_proxy.adapters.threads import ThreadWorkers
from storage_proxy.core.errors import ShareStalled

SOON = 0.02
LONG = 60.0


class Hang:
    """Work that hangs until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.let_go.wait(30)
        self.ended.set()
        return "late"


@pytest.fixture
async def workers() -> AsyncIterator[ThreadWorkers]:
    workers = ThreadWorkers("one", threads=2, waiting_max=4)
    yield workers
    workers.close()


@pytest.fixture(autouse=True)
async def loop_complaints() -> AsyncIterator[list[dict[str, Any]]]:
    """What asyncio would print; no test here may make it print anything."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    yield complaints
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def hang_all(workers: ThreadWorkers) -> list[Hang]:
    hangs = [Hang() for _ in range(2)]
    results = await asyncio.gather(*(workers.run(hang, SOON) for hang in hangs), return_exceptions=True)
    assert all(isinstance(result, ShareStalled) for result in results)
    # On a busy machine the callers may have given up before the threads even began, and these count from then.
    for hang in hangs:
        assert await asyncio.to_thread(hang.entered.wait, 30)
    await until(lambda: workers.executor.hung_seconds() > 0)
    return hangs


async def until(true: Callable[[], bool]) -> None:
    """For what threads do and tell nobody of; the test's own time limit ends it."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def back(hang: Hang) -> None:
    hang.let_go.set()
    assert await asyncio.to_thread(hang.ended.wait, 30)


async def test_work_gives_its_result_and_its_exception(workers: ThreadWorkers) -> None:
    assert await workers.run(threading.get_ident, LONG) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 / 0, LONG)


async def test_an_exception_that_asyncio_cannot_carry_is_no_hang(workers: ThreadWorkers) -> None:
    with pytest.raises(RuntimeError):
        await workers.run(lambda: next(iter(())), LONG)


async def test_past_its_deadline_work_goes_on_and_takes_effect(workers: ThreadWorkers) -> None:
    hang = Hang()
    with pytest.raises(ShareStalled) as stalled:
        await workers.run(hang, SOON)
    assert (stalled.value.volume, stalled.value.seconds) == ("one", SOON)
    await back(hang)


async def test_a_failure_after_the_deadline_is_nobodys(workers: ThreadWorkers) -> None:
    hang, failed = Hang(), threading.Event()

    def fail() -> None:
        hang()
        failed.set()
        raise ZeroDivisionError

    with pytest.raises(ShareStalled):
        await workers.run(fail, SOON)
    await back(hang)
    assert failed.wait(30)
    await workers.run(lambda: None, LONG)


async def test_when_everything_hangs_further_calls_are_refused_at_once(workers: ThreadWorkers) -> None:
    hangs = await hang_all(workers)
    called = threading.Event()
    before = asyncio.get_running_loop().time()
    with pytest.raises(ShareStalled):
        await workers.run(called.set, LONG)
    assert asyncio.get_running_loop().time() - before < LONG / 2
    assert not called.is_set()
    for hang in hangs:
        await back(hang)


async def test_a_volume_that_is_only_busy_refuses_nobody(workers: ThreadWorkers) -> None:
    hangs = [Hang(), Hang()]
    running = [asyncio.create_task(workers.run(hang, LONG)) for hang in hangs]
    for hang in hangs:
        assert await asyncio.to_thread(hang.entered.wait, 30)
    waiting = asyncio.create_task(workers.run(lambda: "served", LONG))
    await asyncio.sleep(0)
    for hang in hangs:
        await back(hang)
    assert await asyncio.gather(*running, waiting) == ["late", "late", "served"]


async def test_a_volume_that_comes_back_is_served_again(workers: ThreadWorkers) -> None:
    hangs = await hang_all(workers)
    for hang in hangs:
        await back(hang)
    await until(lambda: workers.executor.hung_seconds() == 0)
    assert await workers.run(lambda: "served", LONG) == "served"


async def test_one_hung_volume_does_not_touch_another(workers: ThreadWorkers) -> None:
    other = ThreadWorkers("two", threads=1)
    hangs = await hang_all(workers)
    assert await other.run(lambda: "served", LONG) == "served"
    other.close()
    for hang in hangs:
        await back(hang)


async def test_no_more_wait_than_may(workers: ThreadWorkers) -> None:
    hangs = [Hang() for _ in range(6)]
    running = [asyncio.create_task(workers.run(hang, LONG)) for hang in hangs[:2]]
    for hang in hangs[:2]:
        assert await asyncio.to_thread(hang.entered.wait, 30)
    running += [asyncio.create_task(workers.run(hang, LONG)) for hang in hangs[2:]]
    await asyncio.sleep(0)
    with pytest.raises(ShareStalled):
        await workers.run(lambda: None, LONG)
    for hang in hangs:
        hang.let_go.set()
    assert await asyncio.gather(*running) == ["late"] * 6


async def test_cancelling_the_caller_does_not_stop_the_work(workers: ThreadWorkers) -> None:
    hang = Hang()
    caller = asyncio.create_task(workers.run(hang, LONG))
    assert await asyncio.to_thread(hang.entered.wait, 30)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await back(hang)


async def test_work_whose_caller_was_cancelled_before_it_began_is_done_all_the_same(workers: ThreadWorkers) -> None:
    hangs, done = [Hang(), Hang()], threading.Event()
    running = [asyncio.create_task(workers.run(hang, LONG)) for hang in hangs]
    waiting = asyncio.create_task(workers.run(done.set, LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not done.is_set()
    for hang in hangs:
        await back(hang)
    await asyncio.gather(*running)
    assert await asyncio.to_thread(done.wait, 30)


class Thing:
    """Like a lock: whoever drops it last closes a file."""

    def __init__(self, dropped_in: "list[int]", gone: threading.Event) -> None:
        self._dropped_in, self._gone = dropped_in, gone

    def __del__(self) -> None:
        self._dropped_in.append(threading.get_ident())
        self._gone.set()


@pytest.mark.parametrize("by", ["deadline", "cancellation", "cancellation at the last moment"])
async def test_what_nobody_waits_for_any_more_is_never_dropped_on_the_event_loop(
    workers: ThreadWorkers, by: str
) -> None:
    hang, gone, dropped_in = Hang(), threading.Event(), list[int]()

    def work() -> Thing:
        hang()
        return Thing(dropped_in, gone)

    caller = asyncio.create_task(workers.run(work, SOON if by == "deadline" else LONG))
    assert await asyncio.to_thread(hang.entered.wait, 30)
    if by == "cancellation at the last moment":
        hang.let_go.set()
        while workers.executor._running:
            # Not awaiting: the answer is on its way and the loop has not seen it.
            pass
        asyncio.get_running_loop().call_soon(caller.cancel)
    elif by == "cancellation":
        caller.cancel()
    with pytest.raises((ShareStalled, asyncio.CancelledError)):
        await caller
    del caller
    hang.let_go.set()
    assert await asyncio.to_thread(gone.wait, 30)
    assert dropped_in != [threading.get_ident()]


async def test_abandoned_work_is_done_though_everything_hangs_and_its_failure_is_nobodys(
    workers: ThreadWorkers,
) -> None:
    hangs, done = await hang_all(workers), threading.Event()
    workers.abandon(lambda: 1 / 0)
    workers.abandon(done.set)
    for hang in hangs:
        await back(hang)
    assert await asyncio.to_thread(done.wait, 30)


async def test_help_goes_on_beside_the_work_and_on_another_processor(workers: ThreadWorkers) -> None:
    met, where = threading.Barrier(2), dict[str, set[int]]()

    def meet(who: str) -> None:
        met.wait(30)
        where[who] = os.sched_getaffinity(0)

    allowed = os.sched_getaffinity(0)
    both = partial(workers.side_by_side, partial(meet, "work"), partial(meet, "help"))
    await workers.run(both, LONG)
    await until(lambda: len(where) == 2)
    assert not where["work"] & where["help"] or len(allowed) == 1
    await asyncio.gather(*(workers.run(partial(meet, who), LONG) for who in where))
    assert where == {"work": allowed, "help": allowed}, "both may go where they could before"


async def test_nobody_waits_for_help_that_does_not_come_and_its_failure_is_nobodys(workers: ThreadWorkers) -> None:
    hang, done = Hang(), threading.Event()

    def help() -> None:
        done.set()
        raise OSError

    hanging = asyncio.ensure_future(workers.run(hang, LONG))
    await asyncio.to_thread(hang.entered.wait, 30)
    await workers.run(partial(workers.side_by_side, lambda: None, help), LONG)
    hang.let_go.set()
    assert await hanging == "late"
    await asyncio.to_thread(done.wait, 30)


async def test_work_that_came_through_the_executor_counts_when_it_hangs(
    workers: ThreadWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage_proxy.adapters.threads.UNTIMED_SECONDS_MAX", 0.0)
    hangs = [Hang(), Hang()]
    futures = [asyncio.get_running_loop().run_in_executor(workers.executor, hang) for hang in hangs]
    for hang in hangs:
        assert await asyncio.to_thread(hang.entered.wait, 30)
    with pytest.raises(ShareStalled):
        await workers.run(lambda: None, LONG)
    for hang in hangs:
        await back(hang)
    assert await asyncio.gather(*futures) == ["late", "late"]


async def test_the_executor_passes_on_results_and_failures(workers: ThreadWorkers) -> None:
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(workers.executor, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(workers.executor, divmod, 7, 0)


async def test_closed_workers_take_no_more_work_and_finish_what_they_have() -> None:
    workers, hang, done = ThreadWorkers("one", threads=1), Hang(), threading.Event()
    running = asyncio.create_task(workers.run(hang, LONG))
    await asyncio.sleep(0)
    workers.abandon(done.set)
    workers.close()
    workers.close()
    with pytest.raises(RuntimeError, match="closed"):
        await workers.run(lambda: None, LONG)
    workers.abandon(lambda: None)
    await back(hang)
    assert await running == "late"
    assert await asyncio.to_thread(done.wait, 30)


HUNG_PROCESS = """
import asyncio, threading
from storage_proxy.adapters.threads import ThreadWorkers
from storage_proxy.core.errors import ShareStalled

async def main():
    workers = ThreadWorkers("one", threads=1)
    try:
        await workers.run(threading.Event().wait, 0.01)
    except ShareStalled:
        workers.close()
        print("ending", flush=True)

asyncio.run(main())
"""


def test_a_process_ends_though_a_mount_hangs() -> None:
    ended = subprocess.run([sys.executable, "-c", HUNG_PROCESS], capture_output=True, timeout=30, check=True)
    assert (ended.stdout, ended.stderr) == (b"ending\n", b"")
