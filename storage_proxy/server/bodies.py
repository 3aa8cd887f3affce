"""The bytes of one request: `ports.Body` over aiohttp's reader.

Rules: what came is handed over before any bad news is told, and in the parser's own buffers where it can be; one timer
runs per batch and one task per body, nothing per network read; nothing is read, and no "100 Continue" sent, before the
first batch is asked for, so that a request refused early costs its client no body.

What this relies on in aiohttp 3.14 (web_protocol.py, streams.py):
    - a lost connection is set on the reader as its exception; `readany` then raises it at once although bytes that came
      before are still in the reader. `set_exception(None)` makes it give those out. (What the parser held back while
      its reader was full is lost; that is one network read.)
    - broken framing inside a body is told to nobody: the body stops coming, and the idle deadline ends it.
    - handlers are not cancelled when their client goes away (`handler_cancellation`, off).
    - at shutdown `RequestHandler.close` makes every connection deaf first (`pre_shutdown`); only then on_shutdown runs.
      A body that is still arriving at that time never ends by itself.
    - aiohttp's own reading on after an early answer (`lingering_time`) is bounded by time alone, does not notice that
      its client has gone, and logs a traceback when it does; so it is turned off, and `linger` stands in for it.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType

from aiohttp import web

from storage_proxy import ports
from storage_proxy.core.errors import HeaderMalformed
from storage_proxy.ports import BodyBroken, BodyIdle, BodyStopped
from storage_proxy.server.straight_bodies import StraightBody, Unread
from storage_proxy.wire.fields import Headers, find, malformed

# More pieces than writev takes at once are not worth handing on singly; only tiny network reads come to that.
PIECES_MAX = 1024

# Read ahead on the ordinary lane. Less would do for the others, and waits in the memory of each slow upload.
READ_BYTES = 256 << 10

LINGER_SECONDS = 5.0
LINGER_SECONDS_DRAINING = 1.0
LINGER_BYTES_MAX = 256 << 20


class _Ended(Exception):
    """The body ended as it should."""


class RequestBody:
    """See `ports.Body`. Leave its context when no more is wanted."""

    def __init__(self, request: web.BaseRequest, draining: asyncio.Event, idle_seconds: float) -> None:
        self._request = request
        self._content = request.content
        self._draining = draining
        self._idle_seconds = idle_seconds
        self._pieces: list[bytes] = []
        self._held = 0
        self._end: Exception | None = None
        self._watching: asyncio.Task[None] | None = None
        self._quiet_since = 0.0
        self._straight: StraightBody | None = None
        """the fast lane, once the first batch was asked for and if this body may take it"""
        self._unread: Unread | None = None
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timed_out = False
        """whether the last batch was ended by its time: then the client has been quiet since before"""

    async def __aenter__(self) -> "RequestBody":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._straight is not None:
            self._straight.close()

    async def batch(self, size: int, seconds: float) -> Sequence[bytes] | ports.Unread:
        if self._held < size and self._end is None and self._unread is None:
            await self._fill(size, seconds)
        if self._held:
            pieces, self._pieces, self._held = self._pieces, [], 0
            return pieces
        if self._unread is not None:
            unread, self._unread = self._unread, None
            return unread
        assert self._end is not None, "without bytes only the end ends a batch"
        if isinstance(self._end, _Ended):
            return ()
        raise self._end

    def at_hand(self, size_max: int) -> Sequence[bytes] | None:
        content = self._content
        if not content.is_eof() or content.exception() is not None or not 0 < content.total_bytes <= size_max:
            return None
        self._end = _Ended()
        return [content.read_nowait()]

    async def _fill(self, size: int, seconds: float) -> None:
        now = asyncio.get_running_loop().time
        due = now() + seconds
        if not self._timed_out:
            self._quiet_since = now()
        self._timed_out = False
        quiet = self._quiet_since + self._idle_seconds
        alarm = asyncio.timeout_at(min(due, quiet) if self._held else quiet)
        try:
            await self._begin()
            if self._straight is not None:
                await self._fill_straight(self._straight, size, due, quiet)
                return
            async with alarm:
                while self._held < size:
                    piece = await self._content.readany()
                    if not piece:
                        self._end = _Ended()
                        return
                    self._keep(piece)
                    self._quiet_since = now()
                    if self._quiet_since >= due:
                        return
                    # From now on there is something to hand over in time; as a rule `due` stays what it is, and this
                    # is done once a batch.
                    wanted = min(due, self._quiet_since + self._idle_seconds)
                    if alarm.when() != wanted:
                        alarm.reschedule(wanted)
        except Exception as error:
            self._timed_out = alarm.expired()
            if not (self._timed_out and self._held):
                self._give_up(error, alarm.expired())

    async def _fill_straight(self, straight: StraightBody, size: int, due: float, quiet: float) -> None:
        """What comes and is less than a batch is not noticed: silence may end a body one batch's time too late."""
        if straight.left == 0:
            self._end = _Ended()
            return
        count = min(size, straight.left)
        if not await straight.arrive(count, min(due, quiet), self._stopped):
            # How many have come instead, the thread that receives them will see.
            nothing = not straight.has_news()
            if nothing and not self._held:
                nothing = not await straight.arrive(1, quiet, self._stopped)
            count = 0 if nothing else 1
            if self._stopped.done():
                self._end = BodyStopped()
            elif count == 0 and not self._held:
                self._end = BodyIdle(self._idle_seconds)
        if count > 0:
            # What the parser had goes along: a trip of its own to a thread costs more than to receive a batch.
            self._unread = straight.take(count, self._pieces)
            self._pieces, self._held = [], 0

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._held += len(piece)
        if len(self._pieces) >= PIECES_MAX:
            self._pieces = [b"".join(self._pieces)]

    def _give_up(self, error: Exception, idle: bool) -> None:
        """No more will come; but what came is to be had, and it may be all there was."""
        self._content.set_exception(None)  # type: ignore[arg-type] # see the top of this file
        if rest := self._content.read_nowait():
            self._keep(rest)
        if self._content.at_eof():
            self._end = _Ended()
        elif idle:
            self._end = BodyIdle(self._idle_seconds)
        elif isinstance(error, BodyStopped):
            self._end = error
        else:
            self._end = BodyBroken(type(error).__name__)

    async def _begin(self) -> None:
        if self._watching is not None:
            return
        self._watching = asyncio.get_running_loop().create_task(self._watch())
        if expects_continue(self._request):
            writer = self._request.writer
            await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            # As aiohttp's own handler does it: the answer proper has not begun.
            writer.output_size = 0
        if (begun := StraightBody.begin(self._request)) is not None:
            self._straight, had = begun
            if had:
                self._keep(had)
        else:
            self._content.set_read_chunk_size(READ_BYTES)

    async def _watch(self) -> None:
        await self._draining.wait()
        if self._straight is None:
            self._content.set_exception(BodyStopped())
        else:
            self._stopped.set_result(None)


def expects_continue(request: web.BaseRequest) -> bool:
    return request.version >= (1, 1) and request.headers.get("Expect", "").lower() == "100-continue"


async def continue_later(request: web.Request) -> None:
    """For `expect_handler`: the body says "100 Continue" when it is first read."""


def refuse_encoding(headers: Headers) -> None:
    """An upload's bytes are stored as they come, and offsets count them as they come."""
    encoding = find(headers, "Content-Encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise _encoded(encoding)


def _encoded(encoding: str) -> HeaderMalformed:
    return malformed("Content-Encoding", encoding, "the bytes themselves, without Content-Encoding")


async def linger(request: web.BaseRequest, *, draining: bool) -> None:
    """After an answer that came before the body's end: read on for a while, and throw away.

    Closing a connection that has unread bytes resets it, and the client would lose the answer on its way.
    """
    content = request.content
    enough = content.total_bytes + LINGER_BYTES_MAX
    try:
        async with asyncio.timeout(LINGER_SECONDS_DRAINING if draining else LINGER_SECONDS):
            while not content.at_eof() and content.total_bytes < enough:
                await content.readany()
    except Exception:  # the client has gone, its framing is broken, or time is up: enough of it in any case
        return
