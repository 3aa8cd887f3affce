"""The operator's view, on the manager's listener: JSON for whoever shows the manager's key, and a page that asks it.

    /operator/                                the page; it holds nothing, so it asks for no key
    /operator/api/volumes                     GET   ready or why not, space, what the last survey found, replicas seen
    /operator/api/uploads                     GET   ?volume= &phase= (again and again) &older_than= &limit= &after=
    /operator/api/uploads/{upload}            GET   with the extents that are there, arriving and missing
    /operator/api/uploads/{upload}/finish     POST
    /operator/api/uploads/{upload}/terminate  POST
    /operator/api/events                      GET   server-sent; of this process only (`event_stream.py`)

Rules: the key is `Authorization: Bearer` or the manager's own header, never part of an address. No request reads more
than a page of the share. What is not understood is refused, not guessed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from aiohttp import web

from storage_proxy.core.errors import KeyRejected, ParameterMalformed, StorageProxyError
from storage_proxy.core.manifest import Phase, UploadId
from storage_proxy.operations.heartbeat import Seen, seen_on
from storage_proxy.operations.overview import Listed, browse, details, look_closely, summary, wanted
from storage_proxy.operations.readiness import Readiness
from storage_proxy.operations.resume import resume
from storage_proxy.operations.service import Service, Volume
from storage_proxy.operations.survey import last_survey
from storage_proxy.operations.terminate import terminate
from storage_proxy.ports import NameMissing
from storage_proxy.server import operator_page
from storage_proxy.server.access import AccessKeys, same_secret
from storage_proxy.server.event_stream import EventStream
from storage_proxy.server.token_routes import AUTH_TOKEN

API = "/operator/api"
LIMIT = 50
LIMIT_MAX = 200

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

_DIGITS_MAX = 20

_NO_STORE = {"Cache-Control": "no-store"}


class OperatorRoutes:
    def __init__(self, service: Service, readiness: Readiness, events: EventStream, secret: str) -> None:
        self._service = service
        self._readiness = readiness
        self._events = events
        self._secret = secret
        self._keys = AccessKeys((secret,))

    def routes(self) -> list[web.RouteDef]:
        one = f"{API}/uploads/{{upload}}"
        return [
            *operator_page.routes(),
            web.get(f"{API}/volumes", self._for_key(self.volumes)),
            web.get(f"{API}/uploads", self._for_key(self.uploads)),
            web.get(one, self._for_key(self.upload)),
            web.post(f"{one}/finish", self._for_key(self.finish)),
            web.post(f"{one}/terminate", self._for_key(self.terminate)),
            web.get(f"{API}/events", self._for_key(self.events)),
        ]

    def _for_key(self, answer: Answer) -> Answer:
        async def guarded(request: web.Request) -> web.StreamResponse:
            told = request.headers.get(AUTH_TOKEN)
            if told is None:
                self._keys.check(request.headers)
            elif not same_secret(told, self._secret):
                raise KeyRejected(header=AUTH_TOKEN)
            return await answer(request)

        return guarded

    # ---- reading ----------------------------------------------------------------------------------------------------

    async def volumes(self, request: web.Request) -> web.Response:
        told = await asyncio.gather(*map(self._volume, self._service.volumes.values()))
        return _json({"volumes": told})

    async def _volume(self, volume: Volume) -> dict[str, Any]:
        reason = self._readiness.reason(volume)
        space = self._readiness.space.get(volume.name)
        told: dict[str, Any] = {
            "volume": volume.name,
            "ready": reason is None,
            "reason": reason,
            "free": space.free if space else None,
            "size": space.total if space else None,
            "survey": None,
            "replicas": [],
        }
        if reason is not None:
            return told  # asking it would only take long
        try:
            survey = await last_survey(volume, self._service)
            told["survey"] = dict(survey.facts) if survey is not None else None
            told["replicas"] = [_replica(seen) for seen in await seen_on(self._service, volume)]
        except (StorageProxyError, NameMissing) as error:
            told["ready"], told["reason"] = False, str(error)
        return told

    async def uploads(self, request: web.Request) -> web.Response:
        query = request.query
        names = list(self._service.volumes)
        name = query.get("volume", names[0])
        if name not in names:
            raise ParameterMalformed(parameter="volume", expected=f"one of: {', '.join(names)}")
        after = query.get("after", "")
        if after:
            UploadId(name, after)
        now = self._service.clock.now()
        page = await browse(
            self._service.volumes[name],
            after,
            _number(query, "limit", LIMIT, LIMIT_MAX),
            wanted(_phases(query.getall("phase", [])), _number(query, "older_than", 0), now),
        )
        rows = [summary(listed, now) for listed in page.uploads]
        return _json({"volume": name, "uploads": rows, "after": page.after, "looked_at": page.looked_at})

    async def upload(self, request: web.Request) -> web.Response:
        closely = await look_closely(self._service, _upload(request))
        return _json(details(closely, self._service.clock.now()))

    async def events(self, request: web.Request) -> web.StreamResponse:
        return await self._events.answer(request, self._service)

    # ---- acting -----------------------------------------------------------------------------------------------------

    async def finish(self, request: web.Request) -> web.Response:
        manifest = await resume(self._service, _upload(request))
        return _json(summary(Listed(manifest.upload, manifest), self._service.clock.now()))

    async def terminate(self, request: web.Request) -> web.Response:
        await terminate(self._service, _upload(request))
        return web.Response(status=204)


def _upload(request: web.Request) -> UploadId:
    upload = UploadId.parse(request.match_info["upload"])
    structlog.contextvars.bind_contextvars(upload=str(upload))
    return upload


def _replica(seen: Seen) -> dict[str, Any]:
    return {**seen.facts, "replica": seen.replica, "seconds_ago": round(seen.seconds_ago, 1)}


def _phases(told: list[str]) -> tuple[Phase, ...]:
    try:
        return tuple(map(Phase, told))
    except ValueError:
        raise ParameterMalformed(parameter="phase", expected=f"one of: {', '.join(Phase)}") from None


def _number(query: Mapping[str, str], parameter: str, default: int, number_max: int = 10**12) -> int:
    told = query.get(parameter, str(default))
    # Its length first: `int` refuses thousands of digits in its own words.
    if not (told.isascii() and told.isdigit() and len(told) <= _DIGITS_MAX and int(told) <= number_max):
        raise ParameterMalformed(parameter=parameter, expected=f"a whole number, {number_max} at the most")
    return int(told)


def _json(body: object) -> web.Response:
    return web.json_response(body, headers=_NO_STORE)
