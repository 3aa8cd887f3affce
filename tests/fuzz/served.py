"""The service as it is, on a real socket and a real directory, in a thread beside the test; and what it complains of.

Rules: whatever it logs as an error, and whatever its event loop finds nobody caught, is a fault; nothing a client sends
may be the cause of one. The volume lies in a directory with a neighbour, so that a file outside it would be seen.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog
from aiohttp import web
from yarl import URL

from storage_proxy.app import SERVICE, build
from storage_proxy.core.manifest import Order, Policy
from storage_proxy.core.target import Target
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.service import Service
from storage_proxy.server.connections import Runner
from storage_proxy.settings import Settings
from storage_proxy.wire import tokens
from storage_proxy.wire.tokens import SessionClaims

T = TypeVar("T")

SECRET = "signs the tokens of this fuzzer, and no others"
PATIENCE_SECONDS = 20.0
UPLOAD_BYTES_MAX = 1 << 20


class Served:
    def __init__(self, home: Path, faults: list[str]) -> None:
        self.volume = home / "volume"
        self.volume.mkdir()
        self._neighbour = home / "neighbour.txt"
        self._neighbour.write_text("nobody's upload")
        self.faults = faults
        self.port = 0
        self._app = build(self._settings())
        self._up = threading.Event()
        self._down = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="the service")

    def _settings(self) -> Settings:
        return Settings(
            server={"event_loop": "asyncio", "drain_seconds": 2},
            volumes={"main": {"path": self.volume}},
            tokens={"secret": SECRET},
            limits={"upload_bytes_max": UPLOAD_BYTES_MAX, "body_idle_seconds": 5},
            # Several in most bodies here.
            checkpoints={"bytes": "4KiB", "seconds": 1},
            # What a loss of power leaves is asked elsewhere.
            storage={"sync": False},
        )

    # ---- its life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(PATIENCE_SECONDS), "the service did not start"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the service did not stop"

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.set_exception_handler(self._uncaught)
            runner.run(self._serve())

    def _uncaught(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.faults.append(f"in its event loop: {context}")

    async def _serve(self) -> None:
        runner = Runner(self._app, handle_signals=False)
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

    def open_session(self, size: int) -> str:
        """As a manager does it; the token."""
        service: Service = self._app[SERVICE]
        upload = new_upload_id(service, "main")
        name = f"session-{upload.key}"
        self._ask(create(service, upload, Wanted(Target("main", f"folder/{name}"), size, Order.ANY, Policy.REPLACE)))
        return tokens.mint(SessionClaims("main", "folder", name, size, upload.key, service.clock.now() + 3600), SECRET)

    def session_path(self, token: str, **query: str) -> str:
        return str(URL("/upload").with_query({"token": token, **query}))

    def check_outside(self) -> None:
        """Nothing was written beside the volume, and nothing on it is a link that leads elsewhere."""
        home = self.volume.parent
        assert sorted(path.name for path in home.iterdir()) == ["neighbour.txt", "volume"]
        assert self._neighbour.read_text() == "nobody's upload"
        assert not [path for path in self.volume.rglob("*") if path.is_symlink()]

    def check_faults(self) -> None:
        assert not self.faults, "\n".join(self.faults)


@contextmanager
def serving(home: Path) -> Iterator[Served]:
    with listening() as faults:
        served = Served(home, faults)
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
