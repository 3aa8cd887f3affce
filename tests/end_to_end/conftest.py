"""Replicas for each test, gone after it; when it fails, what they said is shown."""

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.clients import Client
from tests.end_to_end.replicas import Replicas

LOGS = pytest.StashKey[Replicas]()


@pytest.fixture
def replicas(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Replicas]:
    group = Replicas(tmp_path)
    request.node.stash[LOGS] = group
    yield group
    group.stop()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client() as client:
        yield client


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed and LOGS in item.stash:
        for replica in item.stash[LOGS].all:
            report.sections.append((f"the last lines of {replica.name}", replica.last_lines()))
    return report
