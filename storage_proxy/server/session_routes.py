"""Uploads by session token, as existing deployments speak them: the token names the upload, its folder and its size.

    /upload?token=…[&dst_dir=…]           OPTIONS, HEAD, PATCH, POST (201 again and again: the upload is there already)
    /upload/status?token=…[&dst_dir=…]    OPTIONS, HEAD, GET

Rules: existing clients must keep working unchanged, and their servers never looked at Tus-Resumable or Content-Type.
So a missing Tus-Resumable is accepted here, and only a version that is really another one is refused; and besides
TUS's own type a missing Content-Type is accepted, and the `application/octet-stream` that HTTP libraries add by
themselves. Any other type means that something else is being sent.

A token that has expired goes on working for an upload that it has begun (settings: tokens.outlive): an upload must not
die of being long. `dst_dir` is not signed, so it is checked like every path that a client names, on each request.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from aiohttp import web
from multidict import CIMultiDict

from storage_proxy.core.errors import LengthInconsistent, TokenRejected
from storage_proxy.core.manifest import Manifest, Order, Phase, UploadId
from storage_proxy.core.target import Target, folder_path, join
from storage_proxy.operations.append import append
from storage_proxy.operations.describe import describe, look_up
from storage_proxy.operations.service import Service
from storage_proxy.server.addresses import Addresses
from storage_proxy.server.bodies import RequestBody, continue_later, refuse_encoding
from storage_proxy.server.progress import progress_headers
from storage_proxy.server.requests import dispatch
from storage_proxy.server.tus_routes import (
    NO_STORE,
    append_of,
    offer_headers,
    reached_headers,
    standing_headers,
    status_answer,
)
from storage_proxy.store.digests import ALGORITHMS
from storage_proxy.wire import tokens, tus
from storage_proxy.wire.concatenation import UPLOAD_CONCAT
from storage_proxy.wire.fields import Headers, find, malformed
from storage_proxy.wire.tokens import SessionClaims

LIBRARY_TYPE = "application/octet-stream"

EXTENSIONS = ("checksum", "checksum-trailer", "expiration")
"""Uploads are created, and ended, by others; a token is for one of them, so none is joined."""


@dataclass(frozen=True, slots=True)
class SessionRules:
    secret: str
    outlive: bool
    body_idle_seconds: float
    order: Order
    """of the uploads that the manager opens"""

    def __repr__(self) -> str:
        return "SessionRules(secret=***)"


@dataclass(frozen=True, slots=True)
class Session:
    """What a token and `dst_dir` say, once both are found good."""

    upload: UploadId
    claims: SessionClaims
    subdirectory: tuple[str, Target] | None


class SessionRoutes:
    def __init__(self, service: Service, rules: SessionRules, addresses: Addresses) -> None:
        self._service = service
        self._rules = rules
        self._addresses = addresses

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.route("*", f"{prefix}/upload", self.upload, expect_handler=continue_later),
            web.route("*", f"{prefix}/upload/status", self.status, expect_handler=continue_later),
        ]

    async def upload(self, request: web.Request) -> web.StreamResponse:
        handlers = {"OPTIONS": self.offer, "HEAD": self.head, "PATCH": self.patch, "POST": self.post}
        return await dispatch(request, handlers)

    async def status(self, request: web.Request) -> web.StreamResponse:
        return await dispatch(request, {"OPTIONS": self.offer, "HEAD": self.tell, "GET": self.tell})

    async def offer(self, request: web.Request) -> web.Response:
        extensions = EXTENSIONS if self._rules.order is Order.SEQUENTIAL else (*EXTENSIONS, tus.UNORDERED)
        return web.Response(status=200, headers=offer_headers(self._service, extensions))

    async def head(self, request: web.Request) -> web.Response:
        _check_version(request.headers)
        session = await self._session(request)
        manifest = await look_up(self._service, session.upload)
        return web.Response(headers={**standing_headers(manifest), **progress_headers(manifest)})

    async def patch(self, request: web.Request) -> web.Response:
        _check_version(request.headers)
        session = await self._session(request)
        terms = tus.parse_append(_with_type(request.headers), ALGORITHMS)
        refuse_encoding(request.headers)
        wanted = append_of(request, terms, session.subdirectory)
        async with RequestBody(request, self._service.draining, self._rules.body_idle_seconds) as body:
            appended = await append(self._service, session.upload, wanted, body)
        headers = {**reached_headers(appended), **progress_headers(appended.manifest)}
        if appended.manifest.length is not None:
            headers |= tus.render_length(appended.manifest.length)
        return web.Response(status=204, headers=headers)

    async def post(self, request: web.Request) -> web.Response:
        """tus-js-client creates an upload where HEAD did not find one; this one was created with its token."""
        _check_version(request.headers)
        concat = find(request.headers, UPLOAD_CONCAT)
        if concat is not None:
            # Ignored, it would mix up the parts of a file: each would be sent to this one upload.
            raise malformed(UPLOAD_CONCAT, concat, "the file as one upload; uploads with a token are not joined")
        session = await self._session(request)
        manifest = await look_up(self._service, session.upload)
        declared = tus.find_length(request.headers)
        if declared is not None and manifest.length is not None and declared != manifest.length:
            raise LengthInconsistent(known=manifest.length, declared=declared)
        path = request.rel_url.raw_path_qs.removeprefix(self._addresses.base_path)
        location = self._addresses.location(request.headers, request.remote, path)
        reached = tus.render_reached(manifest.prefix, manifest.expires_at)
        return web.Response(status=201, headers={"Location": location, **reached, **NO_STORE})

    async def tell(self, request: web.Request) -> web.Response:
        session = await self._session(request)
        manifest = await describe(self._service, session.upload)
        return status_answer(manifest, "session", session.claims.session)

    async def _session(self, request: web.Request) -> Session:
        token = tokens.read(request.query.get("token", ""), self._rules.secret, self._service.clock.now())
        claims = token.claims
        upload = UploadId(claims.volume, claims.session)
        structlog.contextvars.bind_contextvars(upload=str(upload))
        if token.expired:
            await self._check_begun(upload)
        return Session(upload, claims, self._subdirectory(upload, claims, request.query))

    async def _check_begun(self, upload: UploadId) -> None:
        if not self._rules.outlive or not _begun(await self._service.read(upload)):
            raise TokenRejected("it has expired")

    def _subdirectory(
        self, upload: UploadId, claims: SessionClaims, query: Mapping[str, str]
    ) -> tuple[str, Target] | None:
        # "a//b/" and "./a/b" are spellings of one directory; ".." is not resolved but refused by Target.
        parts = [part for part in query.get("dst_dir", "").split("/") if part not in ("", ".")]
        if not parts:
            return None
        subdirectory = "/".join(parts)
        folder = folder_path(self._service.volume(upload).layout, claims.vfid)
        return subdirectory, Target(upload.volume, join(folder, subdirectory, claims.relpath))


def _begun(manifest: Manifest) -> bool:
    return manifest.received > 0 or manifest.prefix > 0 or manifest.phase is not Phase.OPEN


def _check_version(headers: Headers) -> None:
    if find(headers, tus.TUS_RESUMABLE):
        tus.check_version(headers)


def _with_type(headers: Headers) -> Headers:
    if (find(headers, tus.CONTENT_TYPE) or LIBRARY_TYPE) != LIBRARY_TYPE:
        return headers
    typed = CIMultiDict(headers)
    typed[tus.CONTENT_TYPE] = tus.MEDIA_TYPE
    return typed
