"""Plain TUS at /files: request -> wire -> operation -> wire -> answer; nothing is decided here.

    /files, /files/            OPTIONS, POST (create, also with the first bytes)
    /files/{upload}            OPTIONS, HEAD, PATCH, DELETE, GET (the finished file)
    /files/{upload}/status     OPTIONS, HEAD, GET

Rules: POST with X-HTTP-Method-Override is that method. OPTIONS needs no key (browsers ask without one) and tells
nothing about any upload. GET and status are no part of TUS and need no Tus-Resumable.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from aiohttp import web

from storage_proxy.core.errors import (
    BodyBrokenOff,
    Contended,
    Refused,
    StorageProxyError,
    TargetNotAllowed,
    Unavailable,
)
from storage_proxy.core.manifest import Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.core.transitions import refusal
from storage_proxy.operations.append import Append, Appended, append
from storage_proxy.operations.concatenate import concatenate
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.describe import describe, look_up_for_head
from storage_proxy.operations.service import Service
from storage_proxy.operations.terminate import terminate
from storage_proxy.server.access import AccessKeys
from storage_proxy.server.addresses import Addresses
from storage_proxy.server.askers import asker_of
from storage_proxy.server.bodies import RequestBody, continue_later, refuse_encoding
from storage_proxy.server.connections import trailers_of
from storage_proxy.server.downloads import send_file
from storage_proxy.server.progress import COMMITTED_OFFSET, status_body
from storage_proxy.server.requests import Handler, dispatch
from storage_proxy.store.digests import ALGORITHMS
from storage_proxy.wire import tus
from storage_proxy.wire.checksums import Checksum
from storage_proxy.wire.concatenation import PARTIAL, Concat, part_named
from storage_proxy.wire.fields import malformed
from storage_proxy.wire.metadata import UPLOAD_METADATA, Fields, metadata_text
from storage_proxy.wire.tus import AppendTerms, CreationTerms, Offer, Standing

# What clients call the name, the most telling first; Uppy sends the text "null" for a file outside any folder.
NAME_KEYS = ("relativePath", "filename", "name")
NOT_A_NAME = ("", "null")

COLLECTION = "/files"

NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class FilesRules:
    volume: str
    """for uploads that name none"""
    directory: str
    """below the volume"""
    order: Order
    policy: Policy
    metadata_bytes_max: int
    body_idle_seconds: float
    headers_shown: tuple[str, ...] = ()
    """to hooks"""


class TusRoutes:
    def __init__(self, service: Service, rules: FilesRules, keys: AccessKeys, addresses: Addresses) -> None:
        self._service = service
        self._rules = rules
        self._keys = keys
        self._addresses = addresses

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.route("*", f"{prefix}{COLLECTION}", self.collection, expect_handler=continue_later),
            web.route("*", f"{prefix}{COLLECTION}/", self.collection, expect_handler=continue_later),
            web.route("*", f"{prefix}{COLLECTION}/{{upload}}", self.upload, expect_handler=continue_later),
            web.route("*", f"{prefix}{COLLECTION}/{{upload}}/status", self.status, expect_handler=continue_later),
        ]

    async def collection(self, request: web.Request) -> web.StreamResponse:
        return await self._dispatch(request, {"OPTIONS": self.offer, "POST": self.create})

    async def upload(self, request: web.Request) -> web.StreamResponse:
        handlers: Mapping[str, Handler] = {
            "OPTIONS": self.offer,
            "HEAD": self.head,
            "PATCH": self.patch,
            "DELETE": self.delete,
            "GET": self.get,
        }
        return await self._dispatch(request, handlers)

    async def status(self, request: web.Request) -> web.StreamResponse:
        return await self._dispatch(request, {"OPTIONS": self.offer, "HEAD": self.tell, "GET": self.tell})

    async def _dispatch(self, request: web.Request, handlers: Mapping[str, Handler]) -> web.StreamResponse:
        if tus.method_of(request.method, request.headers) != "OPTIONS":
            self._keys.check(request.headers)
        return await dispatch(request, handlers)

    # ---- without an upload ------------------------------------------------------------------------------------------

    async def offer(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers=offer_headers(self._service, tus.EXTENSIONS))

    async def create(self, request: web.Request) -> web.Response:
        tus.check_version(request.headers)
        terms = tus.parse_creation(request.headers, ALGORITHMS)
        self._check_metadata(terms)
        if terms.concat is not None and terms.concat.parts:
            return await self._join(request, terms, terms.concat)
        if terms.body is not None:
            refuse_encoding(request.headers)
        upload = _bound(new_upload_id(self._service, self._volume(terms.fields)))
        manifest = await create(self._service, upload, self._wanted(request, terms, upload))
        if terms.body is None:
            headers = (
                {} if manifest.expires_at is None else {tus.UPLOAD_EXPIRES: tus.render_expires(manifest.expires_at)}
            )
        else:
            headers = await self._first_bytes(request, upload, terms.body)
        return web.Response(status=201, headers={**self._location(request, upload), **headers})

    async def _join(self, request: web.Request, terms: CreationTerms, concat: Concat) -> web.Response:
        collections = self._addresses.spellings(request.headers, request.remote, COLLECTION)
        asked = request.rel_url.raw_path
        parts = tuple(UploadId.parse(part_named(url, asked, collections)) for url in concat.parts)
        # Pages name the volume with the final upload, if at all, and the same for its parts, if they are told to.
        volume = self._volume(terms.fields) if metadata_text(terms.fields, "volume") else parts[0].volume
        upload = _bound(new_upload_id(self._service, volume))
        try:
            await concatenate(self._service, upload, self._wanted(request, terms, upload), concat.text, parts)
        except Refused:
            await self._forget(upload)
            raise
        return web.Response(status=201, headers=self._location(request, upload))

    def _wanted(self, request: web.Request, terms: CreationTerms, upload: UploadId) -> Wanted:
        partial = terms.concat is not None and not terms.concat.parts
        return Wanted(
            # A part is not published: nobody's name for it can be wrong.
            target=Target(upload.volume, upload.key) if partial else self._target(terms.fields, upload),
            length=terms.length,
            order=terms.order or self._rules.order,
            policy=self._rules.policy,
            metadata=terms.metadata,
            asker=asker_of(request, self._rules.headers_shown),
            partial=partial,
        )

    def _location(self, request: web.Request, upload: UploadId) -> dict[str, str]:
        return {"Location": self._addresses.location(request.headers, request.remote, f"{COLLECTION}/{upload}")}

    async def _first_bytes(self, request: web.Request, upload: UploadId, terms: AppendTerms) -> dict[str, str]:
        """Upload-Offset of a creation with a body; in trouble that passes, as far as it came: its client then knows
        where its upload is, and goes on with it instead of creating another."""
        try:
            appended = await self._append(request, upload, terms)
        except BodyBrokenOff:
            raise  # nobody is there to be told
        except (Contended, Unavailable) as error:
            return await self._as_far_as_it_came(upload, error)
        except Refused:
            await self._forget(upload)
            raise
        return tus.render_reached(appended.offset, appended.manifest.expires_at)

    async def _as_far_as_it_came(self, upload: UploadId, trouble: StorageProxyError) -> dict[str, str]:
        try:
            manifest = await self._service.read(upload)
        except StorageProxyError:
            raise trouble from None
        if manifest.phase in (Phase.CLOSED, Phase.PUBLISHING):
            # All of it came, but complete means published: without Upload-Offset the client asks HEAD, until it is.
            return {}
        if (error := refusal(manifest)) is not None:
            raise error from trouble
        return tus.render_reached(manifest.prefix, manifest.expires_at)

    async def _forget(self, upload: UploadId) -> None:
        """Its client never learns its address."""
        try:
            await terminate(self._service, upload)
        except StorageProxyError:
            return  # then it expires

    def _check_metadata(self, terms: CreationTerms) -> None:
        if len(terms.metadata) > self._rules.metadata_bytes_max:
            raise malformed(UPLOAD_METADATA, terms.metadata, f"at most {self._rules.metadata_bytes_max} bytes")

    def _volume(self, fields: Fields) -> str:
        named = metadata_text(fields, "volume")
        if named and named not in self._service.volumes:
            raise TargetNotAllowed(path=named[:100], reason="there is no such volume")
        return named or self._rules.volume

    def _target(self, fields: Fields, upload: UploadId) -> Target:
        names = (metadata_text(fields, key) for key in NAME_KEYS)
        name = next((name for name in names if name not in NOT_A_NAME), upload.key)
        # Only the settings' part is joined: a slash at the client's end of the seam is an absolute path, and refused.
        directory = self._rules.directory.strip("/")
        return Target(upload.volume, f"{directory}/{name}" if directory else name)

    # ---- with an upload ---------------------------------------------------------------------------------------------

    async def head(self, request: web.Request) -> web.Response:
        tus.check_version(request.headers)
        manifest = await look_up_for_head(self._service, _named(request))
        return web.Response(headers=standing_headers(manifest))

    async def patch(self, request: web.Request) -> web.Response:
        tus.check_version(request.headers)
        upload = _named(request)
        terms = tus.parse_append(request.headers, ALGORITHMS)
        refuse_encoding(request.headers)
        appended = await self._append(request, upload, terms)
        return web.Response(status=204, headers=reached_headers(appended))

    async def _append(self, request: web.Request, upload: UploadId, terms: AppendTerms) -> Appended:
        wanted = append_of(request, terms)
        async with RequestBody(request, self._service.draining, self._rules.body_idle_seconds) as body:
            return await append(self._service, upload, wanted, body)

    async def delete(self, request: web.Request) -> web.Response:
        tus.check_version(request.headers)
        await terminate(self._service, _named(request), asker_of(request, self._rules.headers_shown))
        return web.Response(status=204)

    async def get(self, request: web.Request) -> web.StreamResponse:
        return await send_file(self._service, _named(request), request)

    async def tell(self, request: web.Request) -> web.Response:
        upload = _named(request)
        manifest = await describe(self._service, upload)
        return status_answer(manifest, "upload", str(upload))


# ---- shared with the other way in ---------------------------------------------------------------------------------


def append_of(request: web.Request, terms: AppendTerms, subdirectory: tuple[str, Target] | None = None) -> Append:
    def follows() -> Checksum:
        return tus.parse_trailing_checksum(trailers_of(request), ALGORITHMS)

    checksum = follows if terms.checksum_follows else terms.checksum
    return Append(terms.offset, terms.content_length, terms.length, checksum, subdirectory)


def offer_headers(service: Service, extensions: tuple[str, ...]) -> dict[str, str]:
    return tus.render_offer(Offer(service.limits.upload_bytes_max, ALGORITHMS, extensions))


def standing_headers(manifest: Manifest) -> dict[str, str]:
    concat = PARTIAL if manifest.part is not None else manifest.final.text if manifest.final is not None else ""
    offset = None if manifest.final is not None and manifest.phase is not Phase.PUBLISHED else manifest.prefix
    return tus.render_standing(Standing(offset, manifest.length, manifest.metadata, manifest.expires_at, concat))


def reached_headers(appended: Appended) -> dict[str, str]:
    headers = tus.render_reached(appended.offset, appended.manifest.expires_at)
    return {**headers, COMMITTED_OFFSET: str(appended.manifest.prefix), **NO_STORE}


def status_answer(manifest: Manifest, name: str, identity: str) -> web.Response:
    """In every phase that still has something to tell; `failed` is one of them."""
    if manifest.phase in (Phase.TERMINATED, Phase.EXPIRED) and (error := refusal(manifest)) is not None:
        raise error
    return web.json_response(status_body(manifest, name, identity), headers=NO_STORE)


def _named(request: web.Request) -> UploadId:
    return _bound(UploadId.parse(request.match_info["upload"]))


def _bound(upload: UploadId) -> UploadId:
    """From now on every log line of this request bears it."""
    structlog.contextvars.bind_contextvars(upload=str(upload))
    return upload
