"""Connections that know what stands behind a chunked body: trailers.

aiohttp 3.14's parser in C reads trailers and has no place for them. Worse: the last one becomes a header of the *next*
request on the connection, and behind a load balancer that is somebody else's. What is done here is the least that gives
them back and keeps them apart: the last raw bytes of a chunked body are kept as they go into the parser; when it says
that the body has ended, they end with its trailers, unless there may be another request behind it in the same bytes.
Framing is decided by the parser alone. A connection on which trailers came, or on which it cannot be told, is *spent*
for good: it is closed after the answer, whatever was sent behind them.

What this relies on in aiohttp (web_protocol.py, web_runner.py):
    - a connection's parser is its attribute `_parser`; what it is asked for is `feed_data`, `feed_eof`,
      `pause_reading`, `message_consumed` and `set_upgraded`.
    - `feed_data` gives the messages whose heads ended in these bytes; a body's end is told to its reader before that.
    - it parses all that it is given, but for what stands behind an upgrade, which it gives back, or behind a body that
      waits to be read, or behind the last of many messages for which `message_consumed` was not called yet.
    - sites make connections by calling `runner.server`.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.http import HttpRequestParser
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError

from storage_proxy.wire.trailers import TRAILERS_BYTES_MAX, read_trailers


class Runner(web.AppRunner):
    @property
    def server(self) -> Any:
        server = super().server
        return None if server is None else _Server(server)


class _Server:
    """aiohttp's, but for the connections that it makes."""

    def __init__(self, server: web.Server) -> None:
        self._server = server

    def __call__(self) -> web.RequestHandler:
        connection = self._server()
        parser: Any = _Parser(connection._parser)
        connection._parser = parser
        return connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


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
