"""News as they happen, as server-sent events.

Rules: what is told is what this one process has heard: not the other workers of this replica, not other replicas (the
share has no bell). The first event says which process that is. A watcher that does not keep up misses events and is
told how many; nobody waits for it. Requests and probes are no news.
"""

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from storage_proxy.core.events import Event, Fact, RequestAnswered, VolumeProbed
from storage_proxy.operations.service import Service

NO_NEWS = (RequestAnswered, VolumeProbed)
WAITING_MAX = 1000
WATCHERS_MAX = 32

# A proxy between us may close what is silent; and a watcher that is gone is found out by writing to it.
SILENCE_SECONDS_MAX = 15.0


class _Watcher:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue(WAITING_MAX)
        self.missed = 0

    def offer(self, text: str) -> None:
        try:
            self.queue.put_nowait(text)
        except asyncio.QueueFull:
            self.missed += 1


class EventStream:
    """See `ports.Listener`."""

    def __init__(self, process: Mapping[str, object]) -> None:
        """`process`: what to say of whose news these are."""
        self._process = process
        self._watchers: set[_Watcher] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def hear(self, fact: Fact) -> None:
        if self._watchers and self._loop is not None and not isinstance(fact, NO_NEWS):
            try:
                self._loop.call_soon_threadsafe(self._spread, fact)
            except RuntimeError:
                return  # the loop has ended, and its watchers with it

    def _spread(self, fact: Fact) -> None:
        text = rendered(type(fact).__name__, plain(fact))
        for watcher in self._watchers:
            watcher.offer(text)

    async def answer(self, request: web.Request, service: Service) -> web.StreamResponse:
        """Until the watcher goes away, or this process ends."""
        if len(self._watchers) >= WATCHERS_MAX:
            raise web.HTTPServiceUnavailable
        self._loop = asyncio.get_running_loop()
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        watcher = _Watcher()
        watcher.offer(rendered("Listening", self._process))
        self._watchers.add(watcher)
        draining = asyncio.ensure_future(service.draining.wait())
        try:
            await response.prepare(request)
            while not draining.done():
                await response.write((await self._next(watcher, draining)).encode())
        except ConnectionError:
            pass  # it went away
        finally:
            self._watchers.discard(watcher)
            draining.cancel()
        return response

    async def _next(self, watcher: _Watcher, draining: "asyncio.Future[Any]") -> str:
        getting = asyncio.ensure_future(watcher.queue.get())
        try:
            await asyncio.wait((getting, draining), timeout=SILENCE_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
            text = getting.result() if getting.done() else ": nothing new\n\n"
        finally:
            getting.cancel()
        if watcher.missed:
            text += rendered("Missed", {"events": watcher.missed})
            watcher.missed = 0
        return text


def plain(fact: Fact) -> dict[str, Any]:
    told = {field.name: getattr(fact, field.name) for field in dataclasses.fields(fact)}
    if isinstance(fact, Event):
        told["upload"] = str(fact.upload)
    return told


def rendered(name: str, facts: Mapping[str, object]) -> str:
    return f"event: {name}\ndata: {json.dumps(facts)}\n\n"
