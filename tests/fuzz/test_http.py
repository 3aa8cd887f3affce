"""The whole HTTP surface, fuzzed: see machine.py. A failure is printed as the requests that lead to it, and as a line
`@reproduce_failure` that repeats it.

The ordinary run takes half a minute; STORAGE_PROXY_PROOF=full runs for many minutes and watches the memory.
"""

import gc
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.machine import Protocol
from tests.fuzz.served import Served, serving

only_in_full = pytest.mark.skipif(
    os.environ.get("STORAGE_PROXY_PROOF") != "full", reason="takes many minutes; STORAGE_PROXY_PROOF=full runs it"
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as served:
        yield served


def run(served: Served, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        lambda: Protocol(served),  # type: ignore[arg-type] # anything that makes a machine will do
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            # What else could vary takes longer to find out than it helps.
            phases=[Phase.reuse, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(600)
def test_any_sequence_of_requests_is_answered_as_the_protocol_says(served: Served) -> None:
    run(served, examples=100, steps=30)


@only_in_full
@pytest.mark.timeout(7200)
def test_many_sequences_are_answered_and_the_memory_does_not_grow(served: Served) -> None:
    run(served, examples=300, steps=60)
    tracemalloc.start()
    try:
        run(served, examples=200, steps=60)
        before = held()
        run(served, examples=2000, steps=60)
        after = held()
    finally:
        tracemalloc.stop()
    # Some thousand uploads later; one that is not forgotten holds a few KiB.
    assert after - before < 1 << 20, f"{after - before} bytes more are held"


def held() -> int:
    """Bytes that the service and what serves it have allocated, and that are in use; hypothesis keeps some, too."""
    gc.collect()
    snapshot = tracemalloc.take_snapshot()
    ours = [tracemalloc.Filter(True, f"*/{room}/*") for room in ("storage_proxy", "aiohttp", "asyncio", "structlog")]
    return sum(statistic.size for statistic in snapshot.filter_traces(ours).statistics("filename"))
