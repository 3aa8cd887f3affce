"""The whole HTTP surface, fuzzed: see machine.py. A failure is printed as the requests that lead to it, and as a line
`@reproduce_failure` that repeats it.

The ordinary run takes half a minute, and looks at what is held after a few sequences; STORAGE_PROXY_PROOF=full runs for
many minutes, and looks after a thousand.
"""

import gc
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.declared_rules import DeclaredAndKeyed
from tests.fuzz.draft_rules import Draft
from tests.fuzz.large_rules import Large
from tests.fuzz.machine import Protocol
from tests.fuzz.parts_rules import Parts
from tests.fuzz.repeated_rules import Repeated
from tests.fuzz.served import Served, serving
from tests.fuzz.surface import Surface

only_in_full = pytest.mark.skipif(
    os.environ.get("STORAGE_PROXY_PROOF") != "full", reason="takes many minutes; STORAGE_PROXY_PROOF=full runs it"
)


SEQUENCES, STEPS = 10, 20
"""of the short look at what is held; not before a longer one, for caches fill up first"""
RESIDENT_BYTES_MAX = 64 << 20
SETTLING_SECONDS = 20.0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as served:
        yield served


# Of 50 rules each has its turn seldom, so what builds on itself is also tried alone.
EXAMPLES: Mapping[type[Protocol], int] = {
    Surface: 25,
    Parts: 20,
    Draft: 25,
    DeclaredAndKeyed: 10,
    Large: 4,
    Repeated: 5,
}


def run(served: Served, examples: int, steps: int, machine: type[Protocol] = Surface) -> None:
    run_state_machine_as_test(
        lambda: machine(served),  # type: ignore[arg-type] # anything that makes a machine will do
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
@pytest.mark.parametrize("machine", EXAMPLES, ids=lambda machine: machine.__name__)
def test_any_sequence_of_requests_is_answered_as_the_protocol_says(served: Served, machine: type[Protocol]) -> None:
    run(served, EXAMPLES[machine], 30, machine)


@only_in_full
@pytest.mark.timeout(7200)
def test_many_sequences_are_answered_and_the_memory_does_not_grow(served: Served) -> None:
    run(served, examples=200, steps=60)
    before = held()
    run(served, examples=1000, steps=60)
    grown = held() - before
    # Thousands of uploads and connections later: none of them is held by anything.
    assert grown.total() < 500, f"more are held now: {grown.most_common(10)}"


@pytest.mark.timeout(600)
def test_a_few_sequences_leave_nothing_behind(served: Served) -> None:
    check_growth(served)


@pytest.mark.timeout(600)
def test_a_leak_would_be_seen(tmp_path: Path) -> None:
    kept: list[web.Request] = []

    @web.middleware
    async def keep(request: web.Request, handler: Handler) -> web.StreamResponse:
        kept.append(request)
        return await handler(request)

    with serving(tmp_path, keep) as leaking, pytest.raises(AssertionError, match=r"aiohttp\.web_request\.Request"):
        check_growth(leaking, patience=0.0)


@dataclass(frozen=True)
class Held:
    objects: Counter[str]
    descriptors: int
    tasks: int
    resident: int

    @classmethod
    def by(cls, served: Served) -> "Held":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(held(), len(os.listdir("/proc/self/fd")), len(served.tasks()), pages * os.sysconf("SC_PAGE_SIZE"))

    def check(self, before: "Held") -> None:
        grown = self.objects - before.objects
        # Each step sends a request or more, and one that is kept holds ten objects; caches that fill up hold some, too.
        assert grown.total() < 2 * SEQUENCES * STEPS, f"more are held now: {grown.most_common(10)}"
        assert self.descriptors <= before.descriptors, "files or sockets are open that were not"
        assert self.tasks <= before.tasks, "tasks are running that were not"
        assert self.resident - before.resident < RESIDENT_BYTES_MAX, "the process has grown"


def check_growth(served: Served, patience: float = SETTLING_SECONDS) -> None:
    # And one that the first body makes: it waits for the drain, for all of them.
    idle = len(served.tasks()) + 1
    run(served, 2 * SEQUENCES, STEPS)
    served.settle(idle)
    before = Held.by(served)
    run(served, SEQUENCES, STEPS)
    served.settle(idle)
    deadline = time.monotonic() + patience
    while True:
        try:
            # What goes on beside the requests has a file open now and then.
            return Held.by(served).check(before)
        except AssertionError:
            if time.monotonic() > deadline:
                raise


def held() -> Counter[str]:
    """The objects of the service, and of what serves it, that are in use, by their types; not those of hypothesis."""
    gc.collect()
    # Of some types written in C the module is no text.
    kinds = [kind for kind in map(type, gc.get_objects()) if isinstance(kind.__module__, str)]
    rooms = ("storage_proxy", "aiohttp", "asyncio", "_asyncio", "structlog", "multidict", "yarl")
    return Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if kind.__module__.startswith(rooms))
