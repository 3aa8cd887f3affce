"""Alive, ready, and what this is.

Rules: live says that the event loop turns, and nothing about the share: restarting a process mends no mount. Ready
asks every volume at once, each with a deadline, so that it is quick even when all of them hang.
"""

import asyncio

from aiohttp import web

from storage_proxy.core.errors import StorageProxyError
from storage_proxy.core.target import STAGING
from storage_proxy.operations.service import Service, Volume
from storage_proxy.ports import NameMissing

PROBE_SECONDS = 1.0
READY = "ready"

_NO_STORE = {"Cache-Control": "no-store"}


class HealthRoutes:
    def __init__(self, service: Service, files: str | None) -> None:
        """`files`: the path of plain TUS, if there is any."""
        self._service = service
        self._files = files

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.get(f"{prefix}/health/live", self.live),
            web.get(f"{prefix}/health/ready", self.ready),
        ]

    async def about(self, request: web.Request) -> web.Response:
        where = {"files": self._files} if self._files is not None else {}
        return web.json_response({"service": "storage-proxy", "protocol": "tus 1.0.0", **where})

    async def live(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "live"}, headers=_NO_STORE)

    async def ready(self, request: web.Request) -> web.Response:
        volumes = list(self._service.volumes.values())
        found = await asyncio.gather(*map(_probe, volumes))
        told = {volume.name: answer for volume, answer in zip(volumes, found, strict=True)}
        if self._service.draining.is_set():
            status = "draining"
        else:
            status = READY if all(answer == READY for answer in found) else "not ready"
        body = {"status": status, "volumes": told}
        return web.json_response(body, status=200 if status == READY else 503, headers=_NO_STORE)


async def _probe(volume: Volume) -> str:
    try:
        # Asks the share: a mere look at its size may be answered from a cache.
        await volume.workers.run(lambda: volume.filesystem.inspect(STAGING), PROBE_SECONDS)
    except StorageProxyError as error:
        return str(error)
    except NameMissing:
        return f"There is no {STAGING} directory any more."
    return READY
