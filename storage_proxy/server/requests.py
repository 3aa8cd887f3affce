"""What every request gets, whatever it asks for: an id, an answer even to the worst, a dress for it, one log line.

Rules: the middleware is the outermost one and the only place where errors become answers. The path is logged without
its query, which holds tokens; no header is logged at all. Headers that belong on every answer are put on when aiohttp
is about to send one, so that they are on streamed answers and on aiohttp's own, too.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware

from storage_proxy.core.errors import HeaderMalformed, MethodUnsupported, StorageProxyError
from storage_proxy.core.events import RequestAnswered
from storage_proxy.operations.service import Service
from storage_proxy.server import problems
from storage_proxy.server.addresses import Addresses
from storage_proxy.server.bodies import linger
from storage_proxy.server.connections import is_spent
from storage_proxy.server.cors import CorsRules, cors_headers
from storage_proxy.wire import tus
from storage_proxy.wire.fields import shown

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ProblemTeller = Callable[[StorageProxyError, str], web.Response]

PROBLEM: web.RequestKey[ProblemTeller] = web.RequestKey("problem")
"""how a refusal is told to this request, where its protocol has a way of its own"""

REQUEST_ID = "X-Request-ID"
_SANE_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,100}")
_PATH_SHOWN_MAX = 200
_PROBES = re.compile(r"/health/|/metrics$")

SERVER = "storage-proxy"


class QuietNoise(logging.Filter):
    """For aiohttp's logger: what is not HTTP, or hangs up on its answer, is its sender's doing, worth a short line and
    no traceback, which would also repeat pieces of what was sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | ConnectionError):
            what = "a client hung up" if isinstance(error, ConnectionError) else "refused what is not HTTP"
            record.msg, record.args = "%s: %s", (what, type(error).__name__)
            record.exc_info, record.exc_text = None, None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


_CONNECTION_LOGGER = logging.getLogger("storage_proxy.connections")
_CONNECTION_LOGGER.addFilter(QuietNoise())

CONNECTIONS: Mapping[str, object] = {
    # Longer than load balancers keep theirs, so that it is not us who close one as they send a request on it.
    "keepalive_timeout": 75.0,
    # Bytes are stored as they come; unpacking would make offsets lie and let a small body grow without end.
    "auto_decompress": False,
    # `linger` does it.
    "lingering_time": 0.0,
    # A client's going away must not stop the commit of what it has sent.
    "handler_cancellation": False,
    # The log line is ours.
    "access_log": None,
    "logger": _CONNECTION_LOGGER,
    # Twice this is held per connection before its socket is no longer read; bodies that could use more ask for it.
    "read_bufsize": 32 * 1024,
    # A token is in the query, Upload-Metadata in one field; both may have 8 KiB of their own.
    "max_line_size": 32 * 1024,
    "max_field_size": 32 * 1024,
}
"""For `web.Application(handler_args=...)`."""


@dataclass(slots=True)
class _Outcome:
    response: web.StreamResponse
    level: int = logging.INFO
    problem: str | None = None
    detail: str | None = None
    fault: str | None = None
    """the error's class, for listeners"""


def outermost(service: Service, replica: str, addresses: Addresses) -> Middleware:
    """The middleware of every application."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = service.clock.monotonic()
        structlog.contextvars.bind_contextvars(request_id=_request_id(request, service))
        outcome = await _answer(service, request, handler)
        response = outcome.response
        unread = not request.content.is_eof()
        if not response.prepared and (unread or service.draining.is_set()):
            # What follows on this connection could not be told from the rest of the body.
            response.force_close()
        if is_spent(request):
            response.force_close()
        seconds = service.clock.monotonic() - began
        _log(request, outcome, replica, addresses.client(request.headers, request.remote), seconds)
        service.tell(_answered(request, outcome, seconds))
        if unread:
            await _send(request, response)
            await linger(request, draining=service.draining.is_set())
        return response

    return middleware


async def _answer(service: Service, request: web.Request, handler: Handler) -> _Outcome:
    method = effective_method(request)
    try:
        return _Outcome(await handler(request))
    except StorageProxyError as error:
        slug = problems.PROBLEMS[type(error)].slug
        level = problems.level(error)
        detail = str(error) if level > logging.INFO else None
        tell = request.get(PROBLEM, problems.problem)
        return _Outcome(tell(error, method), level, slug, detail, type(error).__name__)
    except web.HTTPException as error:
        if method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            # A page asks before each request; only if this succeeds will it hear that there is nothing here.
            return _Outcome(web.Response(status=204))
        return _Outcome(problems.http_problem(error), problem=str(error.status))
    except ConnectionError:
        raise  # while an answer was being sent: nobody is left to be told
    except Exception:
        number = service.entropy.token()[:16]
        structlog.get_logger().exception("incident", incident=number)
        return _Outcome(problems.incident(number, method), logging.ERROR, "incident", fault="Incident")


async def _send(request: web.Request, response: web.StreamResponse) -> None:
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return  # aiohttp will find out by itself


def dress(cors: CorsRules | None) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """For `on_response_prepare`: the headers of every answer."""

    async def put_on(request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        headers["Server"] = SERVER
        # What is stored here was made by others; no browser may guess that it is a page.
        headers["X-Content-Type-Options"] = "nosniff"
        if (identity := structlog.contextvars.get_contextvars().get("request_id")) is not None:
            headers[REQUEST_ID] = identity
        if cors is not None:
            # M: on every answer of a TUS server; harmless on the others.
            headers[tus.TUS_RESUMABLE] = tus.VERSION
            added = cors_headers(cors, request.headers.get("Origin"), options=request.method == "OPTIONS")
            if "Vary" in added and "Vary" in headers:
                # What the answer itself depends on stays: a cache would serve the page to who asked for JSON.
                added["Vary"] = f"{headers['Vary']}, {added['Vary']}"
            headers.update(added)

    return put_on


def effective_method(request: web.Request) -> str:
    try:
        return tus.method_of(request.method, request.headers)
    except HeaderMalformed:
        return request.method


async def dispatch(request: web.Request, handlers: Mapping[str, Handler]) -> web.StreamResponse:
    """By method, X-HTTP-Method-Override included."""
    method = tus.method_of(request.method, request.headers)
    handler = handlers.get(method)
    if handler is None:
        raise MethodUnsupported(method=shown(method), allowed=tuple(handlers))
    return await handler(request)


def _request_id(request: web.Request, service: Service) -> str:
    """The client's own, where it may stand in a header and in a log line."""
    told = request.headers.get(REQUEST_ID, "")
    return told if _SANE_ID.fullmatch(told) else service.entropy.token()


def _answered(request: web.Request, outcome: _Outcome, seconds: float) -> RequestAnswered:
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else ""
    return RequestAnswered(route, request.method, outcome.response.status, seconds, outcome.fault)


def _log(request: web.Request, outcome: _Outcome, replica: str, client: str, seconds: float) -> None:
    response = outcome.response
    sent = response.body_length if response.prepared else (response.content_length or 0)
    facts: dict[str, object] = {
        "method": request.method,
        "path": request.rel_url.raw_path[:_PATH_SHOWN_MAX],
        "client": client,
        "status": response.status,
        "ms": round(seconds * 1000, 1),
        "bytes_in": request.content.total_bytes,
        "bytes_out": sent,
        "replica": replica,
    }
    if outcome.problem is not None:
        facts["problem"] = outcome.problem
    if outcome.detail is not None:
        facts["detail"] = outcome.detail
    # Probes and scrapes come every few seconds, and only one that fails is news.
    probed = _PROBES.search(request.rel_url.raw_path) is not None and response.status == 200
    structlog.get_logger().log(logging.DEBUG if probed else outcome.level, "request", **facts)
