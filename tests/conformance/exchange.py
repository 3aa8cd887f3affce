"""One HTTP/1.1 exchange, byte by byte: for bodies that break off, lie about their length, or wait for 100 Continue.

Rules: a connection carries one request. The answer is read while the body is still being sent, because a server may
refuse before it has read all of it. What a server does wrong at the level of HTTP raises `NoAnswer`, with a sentence;
only a connection that cannot be made is `Unreachable`. Nothing here knows TUS.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urlsplit

Fields = Iterable[tuple[str, str]]

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 16 * 1024 * 1024
PIECE_BYTES = 64 * 1024
RESTART_SECONDS = 2.0


class Unreachable(Exception):
    """No connection: nothing can be said about the server."""


class NoAnswer(Exception):
    """A connection, but no answer that HTTP allows, or none in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes = b""
    continued: bool = False
    """100 Continue came first"""
    interim: tuple["Answer", ...] = ()
    """what came before with another status below 200"""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Several fields of one name are one, joined by commas (RFC 9110 5.3)."""
        values = self.all(name)
        return ", ".join(values) if values else None

    @property
    def successful(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: str
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    chunked: bool = False
    trailers: tuple[tuple[str, str], ...] = ()
    """sent after a chunked body"""
    content_length: int | None = None
    """what is declared, where that is not what is sent"""
    wait_for_continue: bool = False
    """the body is held back until 100 Continue, or until the server has had time enough to say it"""
    bodiless: bool = False
    """the answer is read as the answer to HEAD is: up to the end of its fields"""

    def head(self) -> bytes:
        parts = urlsplit(self.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{self.method} {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (*self.fields, *self._framing())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _framing(self) -> Iterable[tuple[str, str]]:
        if self.chunked:
            yield "Transfer-Encoding", "chunked"
            if self.trailers:
                yield "Trailer", ", ".join(name for name, _ in self.trailers)
        elif self.content_length is not None:
            yield "Content-Length", str(self.content_length)
        elif self.body or self.method in ("POST", "PATCH", "PUT"):
            yield "Content-Length", str(len(self.body))

    def pieces(self) -> Iterable[bytes]:
        """The body as it is on the wire."""
        for begin in range(0, len(self.body), PIECE_BYTES):
            piece = self.body[begin : begin + PIECE_BYTES]
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece
        if self.chunked:
            trailers = "".join(f"{name}: {value}\r\n" for name, value in self.trailers)
            yield b"0\r\n" + trailers.encode("latin-1") + b"\r\n"


class Connection:
    """To one server; a context manager that always closes."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = urlsplit(url)
        self._seconds = seconds

    async def __aenter__(self) -> "Connection":
        end = asyncio.get_running_loop().time() + min(RESTART_SECONDS, self._seconds)
        while True:
            try:
                await self._open()
                return self
            except ConnectionRefusedError as error:
                # A server that an earlier request has ended may be being started again.
                if asyncio.get_running_loop().time() > end:
                    raise Unreachable(f"no connection: {error}") from None
                await asyncio.sleep(0.1)
            except (OSError, TimeoutError) as error:
                raise Unreachable(f"no connection: {error or type(error).__name__}") from None

    async def _open(self) -> None:
        host, port, tls = _address(self._url)
        async with asyncio.timeout(self._seconds):
            # A buffer that holds any head: what goes beyond it is an error of the server, not of the stream.
            self._reader, self._writer = await asyncio.open_connection(host, port, ssl=tls, limit=HEAD_BYTES_MAX)

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    async def ask(self, request: Request) -> Answer:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._ask(request)
        except TimeoutError:
            raise NoAnswer(f"no answer within {self._seconds:g} s") from None
        except ssl.SSLError as error:
            raise NoAnswer(f"TLS failed: {error}") from None
        except (OSError, EOFError):
            raise NoAnswer("the connection was closed without an answer") from None
        except (ValueError, asyncio.LimitOverrunError):
            raise NoAnswer("what came back is not HTTP/1.1") from None

    async def _ask(self, request: Request) -> Answer:
        await self.send(request.head())
        continued = False
        if request.wait_for_continue:
            early = await self._interim()
            if early is not None and early.status >= 200:
                return await self._complete(request, early, continued)
            continued = early is not None and early.status == 100
        sending = asyncio.create_task(self._send_all(request))
        try:
            head, interim = await self._final_head()
            return replace(await self._complete(request, head, continued), interim=interim)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _interim(self) -> Answer | None:
        """100 Continue or a final answer; None: neither came, and a client then sends the body (RFC 9110 10.1.1)."""
        try:
            async with asyncio.timeout(min(1.0, self._seconds / 4)):
                return await self._head()
        except TimeoutError:
            return None

    async def _final_head(self) -> tuple[Answer, tuple[Answer, ...]]:
        interim: tuple[Answer, ...] = ()
        while (head := await self._head()).status < 200:
            interim += () if head.status == 100 else (head,)
        return head, interim

    async def _send_all(self, request: Request) -> None:
        try:
            for piece in request.pieces():
                await self.send(piece)
        except OSError:
            pass  # refused before all of it was read; the answer says why

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _head(self) -> Answer:
        text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
        version, status, *_ = first.split(" ", 2)
        if not version.startswith("HTTP/1."):
            raise ValueError(first)
        pairs = (line.partition(":") for line in lines)
        return Answer(int(status), tuple((name.strip(), value.strip()) for name, _, value in pairs))

    async def _complete(self, request: Request, head: Answer, continued: bool) -> Answer:
        none = request.bodiless or request.method == "HEAD" or head.status in (204, 304)
        body = b"" if none else await self._body(head)
        return Answer(head.status, head.fields, body, continued)

    async def _body(self, head: Answer) -> bytes:
        if "chunked" in (head.get("Transfer-Encoding") or "").lower():
            return await self._chunked_body()
        length = head.get("Content-Length")
        if length is None:
            return await self._reader.read(BODY_BYTES_MAX)
        if int(length) > BODY_BYTES_MAX:
            raise ValueError(length)
        try:
            return await self._reader.readexactly(int(length))
        except asyncio.IncompleteReadError as error:
            return error.partial
        except ConnectionError:
            return b""  # reset behind an early refusal; what was needed of it is in its head

    async def _chunked_body(self) -> bytes:
        body = bytearray()
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            body += await self._reader.readexactly(size)
            await self._reader.readline()
            if len(body) > BODY_BYTES_MAX:
                raise ValueError("too long")
        return bytes(body)

    # ---- breaking off -----------------------------------------------------------------------------------------------

    def finish_sending(self) -> None:
        """An orderly end of what we send; the other direction stays open. (TLS has no such thing.)"""
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def close(self) -> None:
        """Both directions, in order: all that was sent is still delivered."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass  # the server was faster

    def reset(self) -> None:
        """As a machine that vanishes: no orderly end, and what is on its way may be lost."""
        plug = self._writer.get_extra_info("socket")
        if plug is not None:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def closed_by_server(self, seconds: float) -> bool:
        """Whether the server ends the connection, answer or not, within so long."""
        try:
            async with asyncio.timeout(seconds):
                while await self._reader.read(PIECE_BYTES):
                    pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


async def ask(request: Request, seconds: float) -> Answer:
    async with Connection(request.url, seconds) as connection:
        return await connection.ask(request)


def _address(url: SplitResult) -> tuple[str, int, ssl.SSLContext | None]:
    secure = url.scheme == "https"
    return url.hostname or "", url.port or (443 if secure else 80), ssl.create_default_context() if secure else None
