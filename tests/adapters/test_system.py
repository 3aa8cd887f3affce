import re
import time

from storage_proxy.adapters.system import SystemClock, SystemEntropy
from storage_proxy.ports import Clock, Entropy


def test_a_token_is_32_hex_digits_and_comes_once() -> None:
    entropy: Entropy = SystemEntropy()
    tokens = {entropy.token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens)


def test_the_clocks_are_the_machines() -> None:
    clock: Clock = SystemClock()
    before = time.time(), time.monotonic()
    now, monotonic = clock.now(), clock.monotonic()
    assert before[0] <= now <= time.time()
    assert before[1] <= monotonic <= time.monotonic()
