"""A wire on loopback that is listened in on: bytes go through as they are, no header more and none less."""

import asyncio
import re
from types import TracebackType

from tests.end_to_end.replicas import Replica

PIECE_BYTES = 64 * 1024
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Tap:
    """For whoever connects to it, it is the replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._tasks: set[asyncio.Task[None]] = set()
        self._said: list[bytearray] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def statuses(self) -> list[int]:
        """Of all answers, interim ones included, as they came from the replica; those of one connection in order."""
        return [int(status) for said in self._said for status in STATUS_LINE.findall(said)]

    async def __aenter__(self) -> "Tap":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        said = bytearray()
        self._said.append(said)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._replica.port)
        try:
            await asyncio.gather(_pass(reader, up_writer), _pass(up_reader, writer, said))
        except (OSError, asyncio.CancelledError):
            pass  # one of them has gone, or nobody listens any more
        finally:
            self._tasks.discard(task)
            up_writer.transport.abort()
            writer.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: bytearray | None = None) -> None:
    while piece := await reader.read(PIECE_BYTES):
        if copy is not None:
            copy += piece
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
