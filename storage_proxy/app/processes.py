"""The life of a process: alone, or as one of several workers that gunicorn keeps.

The end of one (SIGTERM, SIGINT), within `server.drain_seconds`:
    1. the listeners close, and connections without a request; every other connection becomes deaf (aiohttp)
    2. `draining` is set: open bodies end, what they delivered is committed, their clients are told to come again
    3. requests finish, then the background work gets what is left of the time
    4. the process ends, even if a mount hangs: the threads that wait for it are daemons, and what they were doing any
       replica can carry on
A second signal ends it at once.
"""

import asyncio
import itertools
import math
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
import uvloop
from aiohttp import web
from aiohttp.worker import GunicornUVLoopWebWorker, GunicornWebWorker
from gunicorn.app.base import BaseApplication

from storage_proxy import logs
from storage_proxy.adapters import counting
from storage_proxy.adapters.memory import share_one_arena
from storage_proxy.app.wiring import REFUSED, CannotStart, build, replica, runner_of
from storage_proxy.settings import Settings


def run(settings: Settings) -> None:
    """Serve until told to stop."""
    share_one_arena()
    logs.configure(settings.log.format, settings.log.level)
    if settings.server.workers > 1:
        with _private_directory() as shared:
            _Workers(settings, shared).run()
        return
    factory = uvloop.new_event_loop if settings.server.event_loop == "uvloop" else None
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_serve(settings))
    except CannotStart as error:
        sys.exit(f"storage-proxy cannot start: {error}")


@contextmanager
def _private_directory() -> Iterator[Path]:
    """Readable by this service only: where the workers of this replica count together."""
    made, master = Path(tempfile.mkdtemp(prefix="storage-proxy-")), os.getpid()
    try:
        yield made
    finally:
        # A worker that ends unwinds to here as well.
        if os.getpid() == master:
            shutil.rmtree(made, ignore_errors=True)


async def _serve(settings: Settings) -> None:
    """One worker: no process manager, nothing between it and its signals."""
    listen, log = settings.server.listen, structlog.get_logger()
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, told_to_stop)
    app = build(settings)
    runner = runner_of(app, settings)
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, listen.host, listen.port).start()
        except OSError as error:
            raise CannotStart(f"server.listen: {listen} cannot be listened on: {error.strerror}") from None
        log.info("serving", listen=str(listen), volumes=list(settings.volumes), replica=replica())
        await told_to_stop.wait()
        log.info("stopping", seconds=settings.server.drain_seconds)
        for sentence in app[REFUSED]:
            raise CannotStart(sentence)
    finally:
        try:
            await asyncio.wait_for(runner.cleanup(), settings.server.drain_seconds)
        except TimeoutError:
            log.warning("stopped_before_all_was_done")


def _stop(told: asyncio.Event) -> None:
    if told.is_set():
        os._exit(1)
    told.set()


class _Interruptible(GunicornWebWorker):
    """A terminal sends Ctrl-C to every process, and the master passes it on as SIGQUIT; so a worker that hears SIGINT
    twice was told twice. (Of SIGTERM that is not true: systemd sends it to all processes, and the master again.)"""

    def init_signals(self) -> None:
        super().init_signals()
        self._interrupted = False
        self.loop.add_signal_handler(signal.SIGINT, self._interrupt)

    def _interrupt(self) -> None:
        if self._interrupted:
            os._exit(1)
        self._interrupted = True
        self.handle_quit(signal.SIGINT, None)


class _InterruptibleUVLoop(_Interruptible, GunicornUVLoopWebWorker):
    pass


class _Workers(BaseApplication):  # type: ignore[misc] # gunicorn carries no types
    """Several workers on one port, started and restarted by gunicorn.

    Each has a slot, the lowest that is free, for what the workers of this replica count together: one that died leaves
    its slot to the next."""

    def __init__(self, settings: Settings, shared: Path) -> None:
        self._settings = settings
        self._shared = shared
        self._slot = 0
        """of this worker; in the master, of the one that it has started last"""
        self._slots: dict[object, int] = {}
        super().__init__()

    def load_config(self) -> None:
        server = self._settings.server
        graceful_seconds = math.ceil(server.drain_seconds) + 2
        for name, value in {
            "bind": str(server.listen),
            "workers": server.workers,
            "worker_class": _InterruptibleUVLoop if server.event_loop == "uvloop" else _Interruptible,
            "logger_class": logs.GunicornLog,
            "loglevel": self._settings.log.level,
            # The workers keep to drain_seconds by themselves; this is for one that does not.
            "graceful_timeout": graceful_seconds,
            # A worker that drains gives no sign of life to the master.
            "timeout": graceful_seconds + 30,
            "proc_name": "storage-proxy",
            "control_socket_disable": True,
            "pre_fork": self._give_slot,
            "child_exit": self._free_slot,
        }.items():
            if name in self.cfg.settings:  # not every version has every one
                self.cfg.set(name, value)

    # In the master.

    def _give_slot(self, server: object, worker: object) -> None:
        taken = set(self._slots.values())
        self._slots[worker] = self._slot = next(slot for slot in itertools.count() if slot not in taken)

    def _free_slot(self, server: object, worker: object) -> None:
        if (slot := self._slots.pop(worker, None)) is not None:
            counting.forget_worker(self._shared, slot)

    # In a worker.

    def load(self) -> Callable[[], Awaitable[web.AppRunner]]:
        async def build_in_worker() -> web.AppRunner:
            counting.share_between_workers(self._shared, self._slot)
            return runner_of(build(self._settings, self._shared), self._settings)

        return build_in_worker
