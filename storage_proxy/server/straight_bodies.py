"""The rest of a large body straight from its socket: the fast lane beside `bodies.py`, and all of it is in this file.

On the ordinary lane each byte is copied three times before it is written (socket, event loop, parser) by the one thread
of the event loop, and has left the processor's cache by then. Here the thread that writes it receives it itself. That
takes a good third off what a large upload costs, and keeps the event loop free for everybody else.

Rules: only for plain TCP and a body whose length is told; everything else stays on the ordinary lane. First the parser
gives up what it has; the connection is paused, so that nobody else reads from its socket; then exactly the rest of the
body is received and not a byte more, for behind it the next request may follow. The loop waits until a whole batch is
there (SO_RCVLOWAT); the thread takes it, never waiting. When the body has ended, the connection gets a new parser: the
old one still waits for bytes that it will never see. When it ended otherwise, the answer closes the connection.

What this relies on in aiohttp 3.14 (web_protocol.py, base_protocol.py): `RequestHandler._parser` may be replaced
between two messages; `_reading_paused` is true as long as the parser holds back what its reader has no room for.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Generator, Sequence

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestHandler

from storage_proxy.ports import BodyBroken, total
from storage_proxy.server.connections import renew_parser

# For less it is not worth the trouble. From here on it is no slower than the ordinary lane, and what a slow client has
# sent of a batch waits in its socket and not in this process.
STRAIGHT_BYTES_MIN = 64 << 10

# Received, written and hashed by one thread: it stays in the processor's cache.
PIECE_BYTES = 512 << 10

# For how long a thread goes on with a client that is faster than it. Each return to the event loop lets a processor
# stand idle; but other uploads, and the end of the process, have to wait for it.
RUN_SECONDS_MAX = 0.1


class Unread:
    """See `ports.Unread`."""

    def __init__(self, straight: "StraightBody", count: int, had: Sequence[bytes]) -> None:
        self.count = count + total(had)
        self._straight = straight
        self._left = count
        self._had = had

    def received(self, most: int) -> Generator[Sequence[bytes], None, None]:
        if self._had:
            yield self._had
        yield from self._straight.receive(self._left, most)


class StraightBody:
    """Used by the event loop, but for `receive`; and while that goes on, by nobody else but to `close`."""

    def __init__(
        self,
        handler: RequestHandler,
        content: StreamReader,
        connection: socket.socket,
        left: int,
        now: Callable[[], float],
    ) -> None:
        self.left = left
        """bytes of the body that nobody has received yet"""
        self._handler = handler
        self._content = content
        self._connection = connection
        self._now = now
        self._awaited = 1
        self._handed_out = False
        """to a thread, which has not received it yet: until then nobody else may receive"""
        self._mutex = threading.Lock()
        self._receiving = False
        self._closing = False

    @classmethod
    def begin(cls, request: web.BaseRequest) -> "tuple[StraightBody, bytes] | None":
        """With what the parser had; None where this body has to stay on the ordinary lane."""
        handler, content, length = request.protocol, request.content, request.content_length
        transport = handler.transport
        if (
            length is None
            or length - content.total_bytes < STRAIGHT_BYTES_MIN
            or "Transfer-Encoding" in request.headers
            or not isinstance(content, StreamReader)
            or content.exception() is not None
            or transport is None
            or transport.is_closing()
            or transport.get_extra_info("sslcontext") is not None
        ):
            return None
        known = transport.get_extra_info("socket")
        if known is None or known.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        had = []
        while True:
            transport.pause_reading()
            had.append(content.read_nowait())
            # Taking it may have made the parser go on with what it had held back, and the connection be read again.
            if not handler._reading_paused and not content._buffer:
                break
        transport.pause_reading()
        connection = socket.fromfd(known.fileno(), known.family, known.type)
        connection.setblocking(False)
        now = asyncio.get_running_loop().time
        return cls(handler, content, connection, length - content.total_bytes, now), b"".join(had)

    # ---- in the event loop ------------------------------------------------------------------------------------------

    async def arrive(self, count: int, until: float, stopped: "asyncio.Future[None]") -> bool:
        """Wait until so many bytes are there, or no more will come; False: time is up, or the wait was stopped."""
        assert not self._handed_out, "a batch was asked for before the last one was received"
        self._wake_at(count)
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_reader(self._connection, _wake, ready)
        try:
            timeout = max(0.0, until - loop.time())
            await asyncio.wait((ready, stopped), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            return ready.done()
        finally:
            loop.remove_reader(self._connection)
            ready.cancel()

    def has_news(self) -> bool:
        """Whether bytes have come, or the connection's end, which whoever receives will find."""
        try:
            self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def take(self, count: int, had: Sequence[bytes] = ()) -> Unread:
        """For a thread: so many bytes, or what has come by then, behind those that have been received already."""
        self._handed_out = True
        return Unread(self, count, had)

    def close(self) -> None:
        """Give the connection back: for its next request, or to be closed after an answer."""
        transport = self._handler.transport
        if transport is not None and not transport.is_closing():
            self._wake_at(1)
            if self.left == 0:
                renew_parser(self._handler)
                self._content.feed_eof()
            transport.resume_reading()
        with self._mutex:
            self._closing = True
            if not self._receiving:
                self._connection.close()

    def _wake_at(self, count: int) -> None:
        if count != self._awaited:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._awaited = count

    # ---- in a thread ------------------------------------------------------------------------------------------------

    def receive(self, count: int, most: int) -> Generator[Sequence[bytes], None, None]:
        """So many bytes, which are there, and more while they keep coming in whole pieces. Fewer only where the kernel,
        short of memory, has woken us too early."""
        with self._mutex:
            if self._closing:
                raise BodyBroken("the request has ended")
            self._receiving = True
        try:
            until = self._now() + RUN_SECONDS_MAX
            while self.left > 0 and (piece := self._take_what_is_there()) is not None:
                yield (piece,)
                most -= len(piece)
                count -= len(piece)
                enough = most <= 0 or len(piece) < PIECE_BYTES or self._now() > until
                if count <= 0 and enough:
                    break
        finally:
            self._received()

    def _take_what_is_there(self) -> bytes | None:
        """Without waiting; None: nothing has come."""
        try:
            piece = self._connection.recv(min(PIECE_BYTES, self.left))
        except BlockingIOError:
            return None
        except OSError as error:
            raise BodyBroken(type(error).__name__) from error
        if not piece:
            raise BodyBroken("the connection was closed")
        self.left -= len(piece)
        self._content.total_bytes += len(piece)
        return piece

    def _received(self) -> None:
        with self._mutex:
            self._receiving = self._handed_out = False
            if self._closing:
                # Not before: its number would be given to another connection, which this call would read from.
                self._connection.close()


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
