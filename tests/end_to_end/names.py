"""A name server on loopback: whatever it is asked for, it has the addresses that a test wants to be answered."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

HEADER_BYTES = 12
TYPE_A = b"\0\1"
SECONDS_TO_LIVE = 1


class Names(asyncio.DatagramProtocol):
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Before Python 3.12 it does not say that it is one.
        self._transport = cast(asyncio.DatagramTransport, transport)

    @property
    def address(self) -> str:
        return "127.0.0.1:{1}".format(*self._transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """RFC 1035 4.1: the question again, and each address; none if it was not for those of IPv4."""
        end = data.index(b"\0", HEADER_BYTES) + 5
        question = data[HEADER_BYTES:end]
        found = self.addresses if question[-4:-2] == TYPE_A else ()
        counts = struct.pack(">HHHH", 1, len(found), 0, 0)
        # The name of each is that of the question, told by its place.
        about = struct.pack(">H", 0xC000 | HEADER_BYTES) + question[-4:] + struct.pack(">IH", SECONDS_TO_LIVE, 4)
        answers = b"".join(about + socket.inet_aton(address) for address in found)
        self._transport.sendto(data[:2] + b"\x81\x80" + counts + question + answers, addr)


@asynccontextmanager
async def name_server(*addresses: str) -> AsyncIterator[Names]:
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(lambda: Names(*addresses), ("127.0.0.1", 0))
    try:
        yield names
    finally:
        transport.close()
