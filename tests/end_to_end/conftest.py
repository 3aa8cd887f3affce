"""Replicas for each test, gone after it, or a stage that tests share; when one fails, what they said is shown."""

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from tests.end_to_end import clients_page
from tests.end_to_end.chromium import Chromium
from tests.end_to_end.clients import Client
from tests.end_to_end.clients_page import ClientsPage
from tests.end_to_end.replicas import Replicas
from tests.end_to_end.stage import Stage, set_up


class Talker(Protocol):
    @property
    def name(self) -> str: ...
    def last_lines(self) -> str: ...


TALKERS = pytest.StashKey[list[Talker]]()


@pytest.fixture
def replicas(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Replicas]:
    group = Replicas(tmp_path)
    # The list that it fills as replicas are started.
    request.node.stash[TALKERS] = group.all
    yield group
    group.stop()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client() as client:
        yield client


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Chromium]:
    async with Chromium(tmp_path / "profile") as browser:
        yield browser


# ---- what tests share, together with its event loop: they are marked with asyncio(loop_scope="session") -----------


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with set_up(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture
def stage(shared_stage: Stage, request: pytest.FixtureRequest) -> Stage:
    talkers = request.node.stash.setdefault(TALKERS, [])
    talkers += [*shared_stage.replicas.all, *shared_stage.proxies.values()]
    return shared_stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chromium]:
    async with Chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def page_address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with clients_page.page_server(tmp_path_factory.mktemp("page")) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def page(
    shared_browser: Chromium, page_address: str, request: pytest.FixtureRequest
) -> AsyncIterator[ClientsPage]:
    """A tab of its own for each test."""
    request.node.stash.setdefault(TALKERS, []).append(shared_browser)
    page = await ClientsPage.open(shared_browser, page_address)
    yield page
    await page.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        for talker in item.stash.get(TALKERS, []):
            report.sections.append((f"the last lines of {talker.name}", talker.last_lines()))
    return report
