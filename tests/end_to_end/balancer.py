"""A load balancer on loopback: each request goes to the next replica, wherever the last one of its client went.

Rules: one request a connection (it adds `Connection: close` on both sides), so that no request is stuck to a replica;
bodies and answers are passed on as they come, nothing is kept. A replica that cannot be reached is passed over, as
nginx and HAProxy do when nothing was sent yet; 502 when none is left. A replica that dies later takes its client's
connection with it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

HEAD_BYTES_MAX = 64 * 1024
PIECE_BYTES = 64 * 1024
HEAD_SECONDS = 20.0
LINGER_SECONDS = 2.0
# A machine that is frozen or cut off does not even refuse.
CONNECT_SECONDS = 1.0

NOBODY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

# What a request may not bring along: it is ours to say.
OURS = (b"connection", b"keep-alive", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")


class Replica(Protocol):
    """What stands behind it."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...


@dataclass(eq=False)
class _Body:
    """A body on its way to a replica; each is itself, there may be several to one replica."""

    replica: Replica


class Balancer:
    """`bytes_per_second` is the speed of one connection's request body: a network slower than loopback."""

    def __init__(self, replicas: Sequence[Replica], bytes_per_second: float | None = None) -> None:
        self._replicas = list(replicas)
        self._rate = bytes_per_second
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.served: Counter[str] = Counter()
        """requests by the name of the replica that took them"""
        self.passed_over = 0
        """connections that a replica which was down did not take"""
        self.cut = 0
        """connections that were lost with their replica before it had answered"""
        self._bodies: list[_Body] = []
        self._passed = 0
        self._hold_at: int | None = None
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def receiving(self) -> Replica | None:
        """A replica that has the head of a PATCH or POST and has not answered yet; the latest one, of several."""
        return self._bodies[-1].replica if self._bodies else None

    def add(self, replica: Replica) -> None:
        self._replicas.append(replica)

    def remove(self, replica: Replica) -> None:
        """It gets no new request; what it is at goes on."""
        self._replicas.remove(replica)

    @property
    def passed(self) -> int:
        """bytes of bodies, all together"""
        return self._passed

    def hold_after(self, count: int) -> None:
        """Let so many more bytes of bodies pass, then none until `go_on`: what a test does meanwhile may take long."""
        self._hold_at = self._passed + count
        self._released.clear()

    def go_on(self) -> None:
        self._hold_at = None
        self._released.set()

    async def __aenter__(self) -> "Balancer":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._relay(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        reached = await self._next()
        if reached is None:
            writer.write(NOBODY)
            await writer.drain()
            return
        replica, up_reader, up_writer = reached
        self.served[replica.name] += 1
        body = _Body(replica)
        if head.startswith((b"PATCH", b"POST")):
            self._bodies.append(body)
        try:
            up_writer.write(_with_our_headers(head, writer.get_extra_info("peername")[0]))
            await self._both_ways(reader, up_writer, up_reader, writer, body)
        finally:
            self._answered(body)
            up_writer.transport.abort()

    def _answered(self, body: "_Body") -> None:
        if body in self._bodies:
            self._bodies.remove(body)

    async def _next(self) -> tuple[Replica, asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in range(len(self._replicas)):
            replica = self._replicas[self._turn % len(self._replicas)]
            self._turn += 1
            address = urlsplit(replica.url)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return replica, *await asyncio.open_connection(address.hostname, address.port)
            except (OSError, TimeoutError):
                self.passed_over += 1
        return None

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        body: "_Body",
    ) -> None:
        up = asyncio.create_task(self._pass_up(reader, up_writer))
        down = asyncio.create_task(_pass_down(up_reader, writer, lambda: self._answered(body)))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            if not down.done():
                # The client has gone, and with it whoever wants an answer; the replica gets what it sent, and the end.
                up_writer.write_eof()
                await asyncio.wait((down,), timeout=LINGER_SECONDS)
                return
            if not down.result():
                self.cut += 1
                writer.transport.abort()
                return
            # The answer may have come before the body's end: closing at once would lose it on its way.
            writer.write_eof()
            await asyncio.wait((up,), timeout=LINGER_SECONDS)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _pass_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the client ends its side; what a replica does not take any more is thrown away."""
        due, deaf = time.monotonic(), False
        while piece := await reader.read(PIECE_BYTES):
            self._passed += len(piece)
            if self._hold_at is not None and self._passed > self._hold_at:
                await self._released.wait()
            if not deaf:
                try:
                    writer.write(piece)
                    await writer.drain()
                except OSError:
                    deaf = True
            if self._rate is not None:
                # The network's slowness, not a wait for something. Time that was held is not caught up.
                now = time.monotonic()
                due = max(due, now) + len(piece) / self._rate
                await asyncio.sleep(due - now)


async def _pass_down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answered: Callable[[], None]) -> bool:
    """Until the replica ends its side; whether it had said anything."""
    said = False
    try:
        while piece := await reader.read(PIECE_BYTES):
            said = True
            answered()
            writer.write(piece)
            await writer.drain()
    except OSError:
        return said
    return said


def _with_our_headers(head: bytes, peer: str) -> bytes:
    request, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    host = next((line.partition(b":")[2].strip() for line in lines if line.lower().startswith(b"host:")), b"")
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in OURS]
    ours = [
        b"Connection: close",
        b"X-Forwarded-For: " + peer.encode(),
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: " + host,
    ]
    return b"\r\n".join((request, *kept, *ours)) + b"\r\n\r\n"
