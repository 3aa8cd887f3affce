"""Resumable Uploads for HTTP (the IETF draft) at the addresses of plain TUS; see docs/ietf-draft.md.

    /files, /files/            POST, PUT, PATCH (create, with all, some or none of the bytes)
    /files/{upload}            HEAD, PATCH, DELETE; GET from -12 on; GET of the finished file before

Rules: a request speaks the draft when `wire.ietf.spoken` says so, and then no field of TUS means anything but
Upload-Metadata. Whatever one protocol has begun the other can go on with. Complete means published: an upload whose
length is known is complete when its last byte is there, as with TUS; one of unknown length when its client says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from storage_proxy.core.manifest import Manifest, Order, Phase
from storage_proxy.core.transitions import refusal
from storage_proxy.operations.describe import look_up
from storage_proxy.operations.reception import Append
from storage_proxy.server.access import AccessKeys
from storage_proxy.server.bodies import refuse_encoding
from storage_proxy.server.downloads import send_file
from storage_proxy.server.ietf_problems import draft_problem
from storage_proxy.server.interim import Interim, When
from storage_proxy.server.requests import PROBLEM, Handler, ProblemTeller, dispatch, effective_method
from storage_proxy.server.uploading import Uploading, named
from storage_proxy.wire import ietf
from storage_proxy.wire.downloads import CONTENT_DISPOSITION, parse_disposition
from storage_proxy.wire.fields import Headers, find, find_list
from storage_proxy.wire.idempotency import find_repeat_of_draft
from storage_proxy.wire.ietf import Content, Dialect, Limits, Standing
from storage_proxy.wire.metadata import UPLOAD_METADATA, render_metadata
from storage_proxy.wire.tus import media_type_of

# A part of TUS's concatenation is nobody's file; it is complete when it is whole.
COMPLETE = (Phase.PUBLISHED, Phase.WHOLE)


@dataclass(frozen=True, slots=True)
class DraftRules:
    enabled: bool
    interim: When
    """104 is sent"""


class IetfRoutes:
    def __init__(self, uploading: Uploading, rules: DraftRules, keys: AccessKeys) -> None:
        self._uploading = uploading
        self._service = uploading.service
        self._rules = rules
        self._keys = keys

    def spoken_in(self, request: web.Request) -> Dialect | None:
        """None: TUS is."""
        # OPTIONS is one question for both, and browsers ask it without the field that tells.
        if not self._rules.enabled or effective_method(request) == "OPTIONS":
            return None
        return ietf.spoken(request.headers)

    def offer_headers(self) -> dict[str, str]:
        """What OPTIONS adds where uploads are created."""
        return ietf.render_offer(self._service.limits.upload_bytes_max) if self._rules.enabled else {}

    async def collection(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        create = partial(self._create, dialect)
        # Upload Creation: any method that has content; the others have no meaning here.
        return await self._dispatch(request, dialect, {"POST": create, "PUT": create, "PATCH": create})

    async def upload(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        tell = partial(self._tell, dialect)
        handlers: Mapping[str, Handler] = {
            "HEAD": tell,
            "PATCH": partial(self._patch, dialect),
            "DELETE": partial(self._delete, dialect),
            "GET": tell if dialect.get_tells else self._get,
        }
        return await self._dispatch(request, dialect, handlers)

    async def _dispatch(
        self, request: web.Request, dialect: Dialect, handlers: Mapping[str, Handler]
    ) -> web.StreamResponse:
        tell: ProblemTeller = partial(draft_problem, dialect, request)
        request[PROBLEM] = tell
        self._keys.check(request.headers)
        return await dispatch(request, handlers)

    async def _create(self, dialect: Dialect, request: web.Request) -> web.Response:
        content = ietf.parse_creation(dialect, request.headers)
        refuse_encoding(request.headers)
        repeat = find_repeat_of_draft(request.headers, self._keys.principal(request.headers))
        # Concurrency: no parallel appends, whatever the settings allow TUS.
        created = await self._uploading.create(
            request, _metadata(request.headers), content.length, Order.SEQUENTIAL, repeat=repeat
        )
        manifest = created.manifest
        location = self._uploading.location(request, manifest.upload)
        interim = Interim(request, dialect, self._rules.interim)
        interim.created({**location, **ietf.render_limits(dialect, self._limits(manifest))})
        if content.content_length != 0 and not created.begun:
            wanted, kept = _wanted(content, interim), repeat is not None
            manifest = (await self._uploading.first_bytes(request, manifest.upload, wanted, kept=kept)).manifest
        elif (error := refusal(manifest)) is not None:
            raise error
        # Upload Creation, S: 201.
        return web.Response(status=201, headers={**location, **self._reached(dialect, manifest)})

    async def _patch(self, dialect: Dialect, request: web.Request) -> web.Response:
        upload = named(request)
        content = ietf.parse_append(dialect, request.headers)
        refuse_encoding(request.headers)
        interim = Interim(request, dialect, self._rules.interim)
        appended = await self._uploading.append(request, upload, _wanted(content, interim))
        headers = self._reached(dialect, appended.manifest)
        if appended.manifest.phase not in COMPLETE:
            return web.Response(status=dialect.appended, headers=headers)
        if dialect.ends_told:
            # Upload Append, S: the answer that the creation would have had.
            headers |= self._uploading.location(request, upload)
        return web.Response(status=201, headers=headers)

    async def _tell(self, dialect: Dialect, request: web.Request) -> web.Response:
        upload = named(request)
        ietf.check_bare(dialect, request.headers)
        manifest = await look_up(self._service, upload)
        # -01 and -02, M: 204.
        return web.Response(status=204, headers=ietf.render_standing(dialect, self._standing(manifest)))

    async def _delete(self, dialect: Dialect, request: web.Request) -> web.Response:
        upload = named(request)
        ietf.check_bare(dialect, request.headers)
        await self._uploading.terminate(request, upload)
        return web.Response(status=204, headers=ietf.render_version(dialect))

    async def _get(self, request: web.Request) -> web.StreamResponse:
        return await send_file(self._service, named(request), request)

    def _reached(self, dialect: Dialect, manifest: Manifest) -> dict[str, str]:
        return ietf.render_reached(dialect, self._standing(manifest))

    def _standing(self, manifest: Manifest) -> Standing:
        complete, limits = manifest.phase in COMPLETE, self._limits(manifest)
        return Standing(manifest.prefix, complete, manifest.length, limits, manifest.digests)

    def _limits(self, manifest: Manifest) -> Limits:
        ends = manifest.expires_at if manifest.phase is Phase.OPEN else None
        return Limits(
            size_max=self._service.limits.upload_bytes_max,
            seconds_left=None if ends is None else ends - self._service.clock.now(),
        )


def _wanted(content: Content, interim: Interim) -> Append:
    return Append(
        content.offset,
        content.content_length,
        content.length,
        closes=content.complete,
        progress=interim.reached,
    )


def _metadata(headers: Headers) -> str:
    """Upload-Metadata, which tus-js-client sends with the draft, too; else what HTTP itself has for it, in its form."""
    if (told := find_list(headers, UPLOAD_METADATA)) is not None:
        return told
    disposition = find(headers, CONTENT_DISPOSITION)
    name = None if disposition is None else parse_disposition(disposition)
    kind = media_type_of(headers)
    fields = {"filename": name or "", "filetype": "" if kind == ietf.MEDIA_TYPE else kind}
    return render_metadata((key, value.encode()) for key, value in fields.items() if value)
