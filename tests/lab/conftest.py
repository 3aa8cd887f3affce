"""One laboratory for all proofs, and the tables they print.

Rules: these tests run inside the namespaces that `python -m tests.lab` makes, and are skipped everywhere else. What a
proof has found is printed at the end of the run, also when it has passed.
"""

import os
from collections.abc import Iterator, Sequence
from functools import partial

import pytest

from tests.lab.laboratory import CLIENTS, V3, V42, Laboratory, together
from tests.lab.strings import Strings

FINDINGS = pytest.StashKey[list[str]]()
REASON = "these run on a real share: `make lab` (needs root, Debian's packages and /dev/net/tun)"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lab: a proof on a real share; skipped unless `make lab` runs it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("lab") and not os.environ.get("LAB_INSIDE"):
            item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="session")
def laboratory() -> Iterator[Laboratory]:
    with Laboratory(CLIENTS) as laboratory:
        laboratory.mount(V42)
        laboratory.mount(V3)
        # A server that has just been started gives no locks until its clients of old had time to claim theirs.
        together(
            partial(guest.check, "flock", f"{V42.path}/first-lock", "true") for guest in laboratory.clients.values()
        )
        yield laboratory


@pytest.fixture
def puppets(laboratory: Laboratory) -> Iterator[dict[str, Strings]]:
    strings = {name: Strings(guest, laboratory.outside) for name, guest in laboratory.clients.items()}
    yield strings
    for each in strings.values():
        each.__exit__(None, None, None)


class Findings:
    """A table that a proof fills."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def title(self, text: str, *columns: str) -> None:
        self._lines += ["", text, ""]
        if columns:
            self._lines += [_row(columns), _row(["---"] * len(columns))]

    def row(self, *cells: object) -> None:
        self._lines.append(_row([str(cell) for cell in cells]))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


@pytest.fixture
def findings(request: pytest.FixtureRequest) -> Findings:
    return Findings(request.config.stash.setdefault(FINDINGS, []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(FINDINGS, []):
        terminalreporter.section("found on the share")
        terminalreporter.write_line("\n".join(lines))
