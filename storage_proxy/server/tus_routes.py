"""Plain TUS at /files: request -> wire -> operation -> wire -> answer; nothing is decided here.

    /files, /files/            OPTIONS, POST (create, also with the first bytes)
    /files/{upload}            OPTIONS, HEAD, PATCH, DELETE, GET (the finished file)
    /files/{upload}/status     OPTIONS, HEAD, GET

Rules: a request that speaks the IETF draft goes to `ietf_routes.py`. POST with X-HTTP-Method-Override is that method.
OPTIONS needs no key (browsers ask without one) and tells nothing about any upload. GET and status are no part of TUS
and need no Tus-Resumable.
"""

from collections.abc import Mapping

from aiohttp import web

from storage_proxy.core.errors import BodyBrokenOff, Contended, PublishFailed, Refused, StorageProxyError, Unavailable
from storage_proxy.core.manifest import Manifest, Order, Phase, UploadId
from storage_proxy.core.target import Target
from storage_proxy.core.transitions import refusal
from storage_proxy.operations.append import Appended
from storage_proxy.operations.concatenate import concatenate
from storage_proxy.operations.describe import describe, look_up_for_head
from storage_proxy.operations.finish import UNFINISHED
from storage_proxy.operations.reception import Append
from storage_proxy.operations.service import Service
from storage_proxy.server.access import AccessKeys
from storage_proxy.server.bodies import continue_later, refuse_encoding
from storage_proxy.server.connections import trailers_of
from storage_proxy.server.downloads import send_file
from storage_proxy.server.ietf_routes import IetfRoutes
from storage_proxy.server.progress import COMMITTED_OFFSET, status_body
from storage_proxy.server.requests import Handler, dispatch
from storage_proxy.server.uploading import COLLECTION, Uploading, named
from storage_proxy.store.digests import ALGORITHMS
from storage_proxy.wire import digests, tus
from storage_proxy.wire.checksums import Checksum
from storage_proxy.wire.concatenation import PARTIAL, Concat, part_named
from storage_proxy.wire.idempotency import find_repeat
from storage_proxy.wire.tus import AppendTerms, CreationTerms, Offer, Standing

NO_STORE = {"Cache-Control": "no-store"}


class TusRoutes:
    """`draft`: the other protocol at the same addresses."""

    def __init__(self, uploading: Uploading, keys: AccessKeys, draft: IetfRoutes) -> None:
        self._uploading = uploading
        self._service = uploading.service
        self._keys = keys
        self._draft = draft

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.route("*", f"{prefix}{COLLECTION}", self.collection, expect_handler=continue_later),
            web.route("*", f"{prefix}{COLLECTION}/", self.collection, expect_handler=continue_later),
            web.route("*", f"{prefix}{COLLECTION}/{{upload}}", self.upload, expect_handler=continue_later),
            web.route("*", f"{prefix}{COLLECTION}/{{upload}}/status", self.status, expect_handler=continue_later),
        ]

    async def collection(self, request: web.Request) -> web.StreamResponse:
        if (dialect := self._draft.spoken_in(request)) is not None:
            return await self._draft.collection(request, dialect)
        return await self._dispatch(request, {"OPTIONS": self.offer_creation, "POST": self.create})

    async def upload(self, request: web.Request) -> web.StreamResponse:
        if (dialect := self._draft.spoken_in(request)) is not None:
            return await self._draft.upload(request, dialect)
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

    async def offer_creation(self, request: web.Request) -> web.Response:
        offered = offer_headers(self._service, tus.EXTENSIONS)
        return web.Response(status=204, headers={**offered, **self._draft.offer_headers()})

    async def create(self, request: web.Request) -> web.Response:
        tus.check_version(request.headers)
        terms = tus.parse_creation(request.headers, ALGORITHMS)
        if terms.concat is not None and terms.concat.parts:
            return await self._join(request, terms, terms.concat)
        if terms.body is not None:
            refuse_encoding(request.headers)
        repeat = find_repeat(request.headers, self._keys.principal(request.headers))
        order, is_part = self._order(terms), terms.concat is not None
        created = await self._uploading.create(
            request, terms.metadata, terms.length, order, partial=is_part, repeat=repeat
        )
        manifest, upload = created.manifest, created.manifest.upload
        if terms.body is not None and not created.begun:
            headers = await self._first_bytes(request, upload, terms.body, kept=repeat is not None)
        elif created.found:
            headers = _standing(manifest)
        else:
            headers = (
                {} if manifest.expires_at is None else {tus.UPLOAD_EXPIRES: tus.render_expires(manifest.expires_at)}
            )
        return web.Response(status=201, headers={**self._uploading.location(request, upload), **headers})

    async def _join(self, request: web.Request, terms: CreationTerms, concat: Concat) -> web.Response:
        asked, collections = request.rel_url.raw_path, self._uploading.collections(request)
        parts = tuple(UploadId.parse(part_named(url, asked, collections)) for url in concat.parts)
        # Pages name the volume with the final upload, if at all, and the same for its parts, if they are told to.
        upload = self._uploading.new(terms.metadata, parts[0].volume)
        wanted = self._uploading.wanted(request, upload, terms.metadata, terms.length, self._order(terms))
        try:
            await concatenate(self._service, upload, wanted, concat.text, parts)
        except PublishFailed:
            raise  # all its bytes came, and are kept for the operator
        except Refused:
            await self._uploading.forget(upload)
            raise
        return web.Response(status=201, headers=self._uploading.location(request, upload))

    def _order(self, terms: CreationTerms) -> Order:
        return terms.order or self._uploading.rules.order

    async def _first_bytes(
        self, request: web.Request, upload: UploadId, terms: AppendTerms, *, kept: bool
    ) -> dict[str, str]:
        """Upload-Offset of a creation with a body; in trouble that passes, as far as it came: its client then knows
        where its upload is, and goes on with it instead of creating another. `kept`: it finds it by its key, too."""
        try:
            appended = await self._uploading.first_bytes(request, upload, append_of(request, terms), kept=kept)
        except BodyBrokenOff:
            raise  # nobody is there to be told
        except (Contended, Unavailable) as error:
            return await self._as_far_as_it_came(upload, error)
        return tus.render_reached(appended.offset, appended.manifest.expires_at)

    async def _as_far_as_it_came(self, upload: UploadId, trouble: StorageProxyError) -> dict[str, str]:
        try:
            manifest = await self._service.read(upload)
        except StorageProxyError:
            raise trouble from None
        if manifest.phase not in UNFINISHED and (error := refusal(manifest)) is not None:
            raise error from trouble
        return _standing(manifest)

    # ---- with an upload ---------------------------------------------------------------------------------------------

    async def head(self, request: web.Request) -> web.Response:
        tus.check_version(request.headers)
        manifest = await look_up_for_head(self._service, named(request))
        return web.Response(headers=standing_headers(manifest))

    async def patch(self, request: web.Request) -> web.Response:
        tus.check_version(request.headers)
        upload = named(request)
        terms = tus.parse_append(request.headers, ALGORITHMS)
        refuse_encoding(request.headers)
        appended = await self._uploading.append(request, upload, append_of(request, terms))
        return web.Response(status=204, headers=reached_headers(appended))

    async def delete(self, request: web.Request) -> web.Response:
        tus.check_version(request.headers)
        await self._uploading.terminate(request, named(request))
        return web.Response(status=204)

    async def get(self, request: web.Request) -> web.StreamResponse:
        return await send_file(self._service, named(request), request)

    async def tell(self, request: web.Request) -> web.Response:
        upload = named(request)
        manifest = await describe(self._service, upload)
        return status_answer(manifest, "upload", str(upload))


# ---- shared with the other way in ---------------------------------------------------------------------------------


def append_of(request: web.Request, terms: AppendTerms, subdirectory: tuple[str, Target] | None = None) -> Append:
    def follows() -> Checksum:
        return tus.parse_trailing_checksum(trailers_of(request), ALGORITHMS)

    checksum = follows if terms.checksum_follows else terms.checksum
    return Append(terms.offset, terms.content_length, terms.length, checksum, subdirectory)


def offer_headers(service: Service, extensions: tuple[str, ...]) -> dict[str, str]:
    offer = tus.render_offer(Offer(service.limits.upload_bytes_max, ALGORITHMS, extensions))
    return offer | digests.render_wanted()


def standing_headers(manifest: Manifest) -> dict[str, str]:
    concat = PARTIAL if manifest.part is not None else manifest.final.text if manifest.final is not None else ""
    offset = None if manifest.final is not None and manifest.phase is not Phase.PUBLISHED else manifest.prefix
    standing = Standing(offset, manifest.length, manifest.metadata, manifest.expires_at, concat, manifest.digests)
    return tus.render_standing(standing)


def reached_headers(appended: Appended) -> dict[str, str]:
    headers = tus.render_reached(appended.offset, appended.manifest.expires_at)
    return {**headers, COMMITTED_OFFSET: str(appended.manifest.prefix), **NO_STORE}


def status_answer(manifest: Manifest, name: str, identity: str) -> web.Response:
    """In every phase that still has something to tell; `failed` is one of them."""
    if manifest.phase in (Phase.TERMINATED, Phase.EXPIRED) and (error := refusal(manifest)) is not None:
        raise error
    return web.json_response(status_body(manifest, name, identity), headers=NO_STORE)


def _standing(manifest: Manifest) -> dict[str, str]:
    """In the answer to a creation. All of it came, but complete means published: without Upload-Offset the client
    asks HEAD, until it is."""
    return {} if manifest.phase in UNFINISHED else tus.render_reached(manifest.prefix, manifest.expires_at)
