"""Alive, ready, and what this is.

Rules: live says that the event loop turns, and nothing about the share: restarting a process mends no mount. Ready
tells what was found in the background a moment ago, for each volume, and waits for none.
"""

from aiohttp import web

from storage_proxy.operations.readiness import Readiness
from storage_proxy.operations.service import Service

READY = "ready"

_NO_STORE = {"Cache-Control": "no-store"}


class HealthRoutes:
    def __init__(self, service: Service, readiness: Readiness, files: str | None) -> None:
        """`files`: the path of plain TUS, if there is any."""
        self._service = service
        self._readiness = readiness
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
        volumes = self._service.volumes.values()
        told = {volume.name: self._readiness.reason(volume) or READY for volume in volumes}
        if self._service.draining.is_set():
            status = "draining"
        else:
            status = READY if all(answer == READY for answer in told.values()) else "not ready"
        body = {"status": status, "volumes": told}
        return web.json_response(body, status=200 if status == READY else 503, headers=_NO_STORE)
