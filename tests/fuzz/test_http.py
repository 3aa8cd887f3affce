"""The whole HTTP surface, fuzzed: see machine.py. A failure is printed as the requests that lead to it, and as a line
`@reproduce_failure` that repeats it.

The ordinary run takes half a minute; STORAGE_PROXY_PROOF=full runs for many minutes and watches the memory.
"""

import gc
import os
from collections import Counter
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
    run(served, examples=200, steps=60)
    before = held()
    run(served, examples=1000, steps=60)
    grown = held() - before
    # Thousands of uploads and connections later: none of them is held by anything.
    assert grown.total() < 500, f"more are held now: {grown.most_common(10)}"


def held() -> Counter[str]:
    """The objects of the service, and of what serves it, that are in use, by their types; not those of hypothesis."""
    gc.collect()
    # Of some types written in C the module is no text.
    kinds = [kind for kind in map(type, gc.get_objects()) if isinstance(kind.__module__, str)]
    rooms = ("storage_proxy", "aiohttp", "asyncio", "_asyncio", "structlog", "multidict", "yarl")
    return Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if kind.__module__.startswith(rooms))
