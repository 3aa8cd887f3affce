"""The service as it is, on a real socket and a real directory, in a thread beside the test; and what it complains of.

Rules: whatever it logs as an error, and whatever its event loop finds nobody caught, is a fault; nothing a client sends
may be the cause of one. The volume lies in a directory with a neighbour, so that a file outside it would be seen.
"""

import asyncio
import itertools
import logging
import os
import threading
import time
from collections.abc import Awaitable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from yarl import URL

from storage_proxy.app import SERVICE, build
from storage_proxy.app.wiring import runner_of
from storage_proxy.core.manifest import Order, Policy
from storage_proxy.core.target import STAGING, Target
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.service import Service
from storage_proxy.settings import Settings
from storage_proxy.wire import tokens
from storage_proxy.wire.tokens import SessionClaims
from tests.end_to_end.replicas import Port

T = TypeVar("T")

SECRET = "signs the tokens of this fuzzer, and no others"
MANAGER_SECRET = "opens the manager's listener of this fuzzer"
PATIENCE_SECONDS = 20.0

# Three times what takes the straight lane (`server/straight_bodies.py`), and a little.
UPLOAD_BYTES_MAX = 4 << 20


class Served:
    def __init__(self, home: Path, faults: list[str], *middlewares: Middleware) -> None:
        self.volume = home / "volume"
        self.volume.mkdir()
        self._neighbour = home / "neighbour.txt"
        self._neighbour.write_text("nobody's upload")
        self.faults = faults
        self.port = 0
        self._manager_port = Port()
        self.settings = self._settings()
        self.app = build(self.settings)
        self.app.middlewares.extend(middlewares)
        self._numbers = itertools.count()
        self._up = threading.Event()
        self._down = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="the service")

    def _settings(self) -> Settings:
        return Settings(
            server={"event_loop": "asyncio", "drain_seconds": 2},
            volumes={"main": {"path": self.volume}},
            tokens={"secret": SECRET},
            manager={"listen": f"127.0.0.1:{self.manager_port}", "secret": MANAGER_SECRET},
            limits={"upload_bytes_max": UPLOAD_BYTES_MAX, "body_idle_seconds": 5},
            # Several in most bodies here.
            checkpoints={"bytes": "4KiB", "seconds": 1},
            # What a loss of power leaves is asked elsewhere.
            storage={"sync": False},
        )

    @property
    def manager_port(self) -> int:
        return self._manager_port.number

    # ---- its life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(PATIENCE_SECONDS), "the service did not start"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the service did not stop"
        self._manager_port.close()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.set_exception_handler(self._uncaught)
            runner.run(self._serve())

    def _uncaught(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.faults.append(f"in its event loop: {context}")

    async def _serve(self) -> None:
        runner = runner_of(self.app, self.settings)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._up.set()
        await self._down.wait()
        await runner.cleanup()

    def _ask(self, what: Awaitable[T]) -> T:
        async def asked() -> T:
            return await what

        return asyncio.run_coroutine_threadsafe(asked(), self._loop).result(PATIENCE_SECONDS)

    # ---- beside HTTP ------------------------------------------------------------------------------------------------

    def number(self) -> int:
        """Never the same: examples share the volume."""
        return next(self._numbers)

    def open_session(self, size: int) -> str:
        """As a manager does it; the token."""
        service: Service = self.app[SERVICE]
        upload = new_upload_id(service, "main")
        name = f"session-{upload.key}"
        self._ask(create(service, upload, Wanted(Target("main", f"folder/{name}"), size, Order.ANY, Policy.REPLACE)))
        return tokens.mint(SessionClaims("main", "folder", name, size, upload.key, service.clock.now() + 3600), SECRET)

    def session_path(self, token: str, **query: str) -> str:
        return str(URL("/upload").with_query({"token": token, **query}))

    def kept_of(self, path: str) -> list[bytes]:
        """What lies in the files of the upload at this path."""
        key = path.rpartition(".")[2]
        return [file.read_bytes() for file in self.volume.glob(f".uploads/*/{key}/*") if file.is_file()]

    def uploads(self) -> int:
        """How many there have been."""
        return len(list(self.volume.glob(".uploads/*/*/info.json")))

    def tasks(self) -> list[str]:
        """What runs in the event loop, besides the one that asks."""

        async def told() -> list[str]:
            return [str(task) for task in asyncio.all_tasks() - {asyncio.current_task()}]

        return self._ask(told())

    def settle(self, tasks: int) -> None:
        """What was begun has ended, and no file is kept open for its client's next request."""
        service: Service = self.app[SERVICE]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(running := self.tasks()) > tasks or service.kept._kept:
            assert time.monotonic() < deadline, f"something is still going on: {running}"

    def check_outside(self) -> None:
        """Nothing was written beside the volume, and nothing on it is a link that leads elsewhere."""
        home = self.volume.parent
        assert sorted(path.name for path in home.iterdir()) == ["neighbour.txt", "volume"]
        assert self._neighbour.read_text() == "nobody's upload"
        assert not [entry.path for entry in entries(self.volume) if entry.is_symlink()]

    def files(self) -> list[Path]:
        """Those that lie where people look for them."""
        found = entries(self.volume, without=STAGING)
        return [Path(entry.path) for entry in found if entry.is_file(follow_symlinks=False)]

    def check_faults(self) -> None:
        assert not self.faults, "\n".join(self.faults)


def entries(directory: Path | str, without: str = "") -> Iterator["os.DirEntry[str]"]:
    """All below it; many times faster than `rglob`, which each example would wait for."""
    with os.scandir(directory) as found:
        for entry in found:
            if entry.name != without:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    yield from entries(entry.path)


@contextmanager
def serving(home: Path, *middlewares: Middleware) -> Iterator[Served]:
    with listening() as faults:
        served = Served(home, faults, *middlewares)
        served.start()
        try:
            yield served
        finally:
            served.stop()
    served.check_faults()


@contextmanager
def listening() -> Iterator[list[str]]:
    """What is logged as an error becomes a fault; the rest is not even rendered."""

    faults: list[str] = []

    def hear(_: object, method: str, event: MutableMapping[str, Any]) -> Any:
        if method in ("error", "critical", "exception"):
            structlog.processors.format_exc_info(None, method, event)
            faults.append(str(event))
        raise structlog.DropEvent

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            faults.append(logging.Formatter().format(record))

    handler = Handler(logging.ERROR)
    before = structlog.get_config()
    structlog.configure(processors=[hear], cache_logger_on_first_use=False)
    logging.getLogger().addHandler(handler)
    try:
        yield faults
    finally:
        logging.getLogger().removeHandler(handler)
        structlog.configure(**before)
