"""Connections that know what stands behind a chunked body, and how to refuse what is not HTTP.

**Trailers.** aiohttp 3.14's parser in C reads them and has no place for them. Worse: the last one becomes a header of
the *next* request on the connection, and behind a load balancer that is somebody else's. What is done here is the least
that gives them back and keeps them apart: the last raw bytes of a chunked body are kept as they go into the parser;
when it says that the body has ended, they end with its trailers, unless there may be another request behind it in the
same bytes. Framing is decided by the parser alone. A connection on which trailers came, or on which it cannot be told,
is *spent* for good: it is closed after the answer, whatever was sent behind them.

**What is not HTTP** reaches no handler and no middleware: aiohttp answers by itself, repeats what was sent, and dies of
a first request that has no address. Here that answer looks like every other refusal, and says nothing of what was sent.

What this relies on in aiohttp (web_protocol.py, web_runner.py, web_server.py):
    - a connection's parser is its attribute `_parser`; what it is asked for is `feed_data`, `feed_eof`,
      `pause_reading`, `message_consumed` and `set_upgraded`.
    - `feed_data` gives the messages whose heads ended in these bytes; a body's end is told to its reader before that.
    - it parses all that it is given, but for what stands behind an upgrade, which it gives back, or behind a body that
      waits to be read, or behind the last of many messages for which `message_consumed` was not called yet.
    - `feed_data` refuses by an `HttpProcessingError`, upon which the connection answers what `_make_error_handler`
      gives, and is closed; the messages of the same bytes are lost. The hooks of `on_response_prepare` are not called,
      as no application was chosen.
    - `handle_error` also answers for a handler that failed; it logs, and raises if an answer has begun already.
    - sites make connections by calling `runner.server`, which makes each as `_Server` does.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import InvalidURLError, LineTooLong
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError

from storage_proxy.server import problems
from storage_proxy.wire.trailers import TRAILERS_BYTES_MAX, read_trailers


class Runner(web.AppRunner):
    @property
    def server(self) -> Any:
        server = super().server
        return None if server is None else _Server(server, self.app)


class _Server:
    """aiohttp's, but for the connections that it makes."""

    def __init__(self, server: web.Server, app: web.Application) -> None:
        self._server = server
        self._app = app

    def __call__(self) -> web.RequestHandler:
        connection = _Connection(self._server, self._app)
        parser: Any = _Parser(connection._parser)
        connection._parser = parser
        return connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


class _Connection(web.RequestHandler):
    """aiohttp's, but for what it says by itself."""

    __slots__ = ("_app",)

    def __init__(self, server: web.Server, app: web.Application) -> None:
        super().__init__(server, loop=server._loop, **server._kwargs)
        self._app = app

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        told = super().handle_error(request, status, exc, message)
        response = problems.render(status, "about:blank", told.reason or "", _sentence(status, exc), {}, {})
        response.force_close()
        return response

    def _make_error_handler(self, err_info: Any) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        refuse = super()._make_error_handler(err_info)

        async def handler(request: Any) -> web.StreamResponse:
            response = await refuse(request)
            await self._app.on_response_prepare.send(request, response)
            return response

        return handler


def _sentence(status: int, error: BaseException | None) -> str:
    if isinstance(error, LineTooLong):
        return "The address of this request, or one of its headers, is too long."
    return "This is not HTTP as it can be read here." if status == 400 else "Something went wrong here; come again."


def renew_parser(connection: web.RequestHandler) -> None:
    """A new one, made as `RequestHandler.__init__` makes it: the old one was kept from seeing the rest of a body, and
    would take the next request for it (`straight_bodies.py`)."""
    parser: Any = HttpRequestParser(
        connection,
        connection._loop,
        connection._read_bufsize,
        max_line_size=connection.max_line_size,
        max_field_size=connection.max_field_size,
        max_headers=connection.max_headers,
        payload_exception=RequestPayloadError,
        # As `CONNECTIONS` of `requests.py` has it.
        auto_decompress=False,
        max_msg_queue_size=connection._max_msg_queue_size,
    )
    old: Any = connection._parser
    if isinstance(old, _Parser):
        parser = _Parser(parser)
    connection._parser = parser


class _Parser:
    """aiohttp's, and the trailers of its last chunked body."""

    def __init__(self, parser: Any) -> None:
        self._feed = parser.feed_data
        self._body: StreamReader | None = None
        self._raw = b""
        self._found: Mapping[str, str] | None = None
        self._spent = False
        self._waiting = 0
        """messages that nobody has begun with"""
        self._consumed = parser.message_consumed
        self.feed_eof = parser.feed_eof
        self.pause_reading = parser.pause_reading
        self.set_upgraded = parser.set_upgraded

    def feed_data(self, data: bytes) -> Any:
        fed = self._feed(data)
        messages, _, unparsed = fed
        if any(message.path is None for message, _ in messages):
            # `CONNECT` without a target: aiohttp would take the address of the request before, or die of having none.
            raise InvalidURLError("")
        self._waiting += len(messages)
        if self._body is not None:
            self._keep(data, alone=not messages and not unparsed)
        for message, body in messages:
            if message.chunked:
                # Should the head's last byte be the first of these, its line would have no beginning.
                self._body, self._raw, self._found = body, b"\r", None
                self._keep(data, alone=len(messages) == 1 and not unparsed)
        return fed

    def message_consumed(self) -> None:
        self._waiting = max(0, self._waiting - 1)
        self._consumed()

    def _keep(self, data: bytes, *, alone: bool) -> None:
        """`alone`: there is nothing in these bytes but this body, or its request."""
        assert self._body is not None
        if self._found is not None:
            return
        self._raw = (self._raw + data[-TRAILERS_BYTES_MAX:])[-TRAILERS_BYTES_MAX:]
        if self._body.is_eof():
            # Where several wait, the parser may have stopped behind this one, and hold back another in silence.
            found = read_trailers(self._raw) if alone and self._waiting <= 1 else None
            self._spent = self._spent or found is None or len(found) > 0
            self._found, self._raw = found or {}, b""

    def after(self, body: StreamReader) -> tuple[Mapping[str, str], bool]:
        """Trailers, and whether the connection is spent."""
        return (self._found or {}, self._spent) if body is self._body else ({}, self._spent)


def trailers_of(request: web.BaseRequest) -> Mapping[str, str]:
    """What stood behind the body, once that has been read to its end; names are in small letters."""
    return _after(request)[0]


def is_spent(request: web.BaseRequest) -> bool:
    """Whether no other request may be read from this connection."""
    return _after(request)[1]


def _after(request: web.BaseRequest) -> tuple[Mapping[str, str], bool]:
    # None: the connection was lost.
    parser: Any = None if request.protocol is None else request.protocol._parser
    return parser.after(request.content) if isinstance(parser, _Parser) else ({}, False)
