import re

import pytest

from storage_proxy.core.events import UploadReaped
from storage_proxy.core.manifest import UploadId
from storage_proxy.ports import Clock, Entropy, Listener, Workers
from storage_proxy.testing.system import CountingEntropy, HandClock, InlineWorkers, RecordingListener


def test_time_stands_until_it_is_moved() -> None:
    hand = HandClock(now=1000.0)
    clock: Clock = hand
    assert (clock.now(), clock.monotonic()) == (clock.now(), clock.monotonic()) == (1000.0, 0.0)
    hand.advance(2.5)
    assert (clock.now(), clock.monotonic()) == (1002.5, 2.5)


def test_a_seed_gives_the_same_tokens_again_and_none_twice() -> None:
    entropy: Entropy = CountingEntropy(7)
    tokens = [entropy.token() for _ in range(100)]
    assert len(set(tokens)) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens)
    again, other = CountingEntropy(7), CountingEntropy(8)
    assert tokens == [again.token() for _ in range(100)]
    assert tokens[0] != other.token()


async def test_work_is_done_in_its_caller() -> None:
    workers: Workers = InlineWorkers()
    done: list[str] = []
    assert await workers.run(lambda: done.append("run") or "result", 1.0) == "result"  # type: ignore[func-returns-value]
    workers.abandon(lambda: done.append("abandoned"))
    workers.abandon(lambda: 1 / 0)
    assert done == ["run", "abandoned"]
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 / 0, 1.0)


def test_a_listener_remembers_what_it_heard_in_order() -> None:
    recording = RecordingListener()
    listener: Listener = recording
    first, second = (UploadReaped(UploadId("volume", digit * 32)) for digit in "ab")
    listener.hear(first)
    listener.hear(second)
    assert recording.events == [first, second]
