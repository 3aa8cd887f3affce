"""The manager's API, on a listener of its own: it opens an upload for a client and gets the token that fills it.

    POST /folder/file/upload    X-BackendAI-Storage-Auth-Token: <secret>
                                {volume, vfid, relpath, size[, sha256][, session]} -> {token}

Rules: without the secret not even the body is read. With `session` an upload that is there gets a new token; folder,
path, size and (where it is sent) sha256 must be those it was opened with.
"""

from dataclasses import dataclass

import pydantic
import structlog
from aiohttp import web

from storage_proxy.core.errors import KeyRejected, LengthInconsistent, ParameterMalformed, TargetNotAllowed
from storage_proxy.core.manifest import SHA_256, Digest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target, folder_path, join
from storage_proxy.core.transitions import refusal
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.describe import describe
from storage_proxy.operations.service import Service
from storage_proxy.server.access import same_secret
from storage_proxy.server.bodies import continue_later
from storage_proxy.wire import tokens
from storage_proxy.wire.fields import INTEGER_MAX
from storage_proxy.wire.tokens import SessionClaims

AUTH_TOKEN = "X-BackendAI-Storage-Auth-Token"  # noqa: S105 # the name of the header


@dataclass(frozen=True, slots=True)
class TokenRules:
    secret: str
    token_secret: str
    token_seconds: float
    order: Order
    policy: Policy

    def __repr__(self) -> str:
        return "TokenRules(secret=***)"


class UploadAsked(pydantic.BaseModel):
    """The body of the request. Managers may send more; it does not matter here."""

    volume: str
    vfid: str
    relpath: str = pydantic.Field(pattern=r"[^/]")
    size: pydantic.StrictInt = pydantic.Field(ge=0, le=INTEGER_MAX)
    session: str | None = pydantic.Field(None, pattern=r"^[0-9a-f]{32}$")
    sha256: str | None = pydantic.Field(None, pattern=r"^[0-9A-Fa-f]{64}$")
    """of the whole file, in hex digits; it is published only if it has this digest"""

    @property
    def declared(self) -> tuple[Digest, ...]:
        return () if self.sha256 is None else (Digest(SHA_256, self.sha256.lower()),)


class TokenRoutes:
    def __init__(self, service: Service, rules: TokenRules) -> None:
        self._service = service
        self._rules = rules

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/folder/file/upload", self.open_upload, expect_handler=continue_later)]

    async def open_upload(self, request: web.Request) -> web.Response:
        if not same_secret(request.headers.get(AUTH_TOKEN, ""), self._rules.secret):
            raise KeyRejected(header=AUTH_TOKEN)
        asked = _asked(await request.read())
        if asked.volume not in self._service.volumes:
            known = ", ".join(self._service.volumes)
            raise ParameterMalformed(parameter="volume", expected=f"the name of a volume: {known}")
        upload = await (self._create(asked) if asked.session is None else self._check(asked, asked.session))
        claims = SessionClaims(
            volume=asked.volume,
            vfid=asked.vfid,
            relpath=asked.relpath,
            size=asked.size,
            session=upload.key,
            expires_at=self._service.clock.now() + self._rules.token_seconds,
        )
        return web.json_response({"token": tokens.mint(claims, self._rules.token_secret)})

    async def _create(self, asked: UploadAsked) -> UploadId:
        upload = new_upload_id(self._service, asked.volume)
        structlog.contextvars.bind_contextvars(upload=str(upload))
        wanted = Wanted(self._target(asked), asked.size, self._rules.order, self._rules.policy, declared=asked.declared)
        await create(self._service, upload, wanted)
        return upload

    async def _check(self, asked: UploadAsked, session: str) -> UploadId:
        upload = UploadId(asked.volume, session)
        structlog.contextvars.bind_contextvars(upload=str(upload))
        manifest = await describe(self._service, upload)
        # Also for one that is failed or being published: its client may still want to be told so.
        if manifest.phase in (Phase.TERMINATED, Phase.EXPIRED) and (error := refusal(manifest)) is not None:
            raise error
        if manifest.length is not None and manifest.length != asked.size:
            raise LengthInconsistent(known=manifest.length, declared=asked.size)
        if asked.declared and asked.declared != manifest.declared:
            raise ParameterMalformed(parameter="sha256", expected="the one this session was opened with, or nothing")
        if manifest.target != self._target(asked, manifest.subdirectory or ""):
            raise TargetNotAllowed(path=asked.relpath[:200], reason="this session is for another file")
        return upload

    def _target(self, asked: UploadAsked, subdirectory: str = "") -> Target:
        folder = folder_path(self._service.volumes[asked.volume].layout, asked.vfid)
        return Target(asked.volume, join(folder, subdirectory, asked.relpath))


def _asked(body: bytes) -> UploadAsked:
    try:
        return UploadAsked.model_validate_json(body)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        parameter = ".".join(str(part) for part in first["loc"]) or "body"
        raise ParameterMalformed(parameter=parameter, expected=_EXPECTED.get(parameter, "a JSON object")) from None


_EXPECTED = {
    "volume": "the name of a volume",
    "vfid": "the id of a folder",
    "relpath": "a relative path in that folder",
    "size": "the size of the file in bytes",
    "sha256": "the 64 hex digits of the file's sha256, or nothing",
    "session": "the 32 hex digits of the session, or nothing",
}
