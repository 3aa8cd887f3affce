"""`/metrics`, for Prometheus.

Rules: on which listener it is, the settings say; with a key it is for those who send it, as Prometheus does:
`authorization: {credentials: <key>}` in its scrape configuration.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from storage_proxy.server.access import AccessKeys

PATH = "/metrics"


class MetricsRoutes:
    def __init__(self, exposition: Callable[[], Awaitable[bytes]], content_type: str, keys: AccessKeys) -> None:
        self._exposition = exposition
        self._headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        self._keys = keys

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [web.get(f"{prefix}{PATH}", self.scrape)]

    async def scrape(self, request: web.Request) -> web.Response:
        self._keys.check(request.headers)
        return web.Response(body=await self._exposition(), headers=self._headers)
