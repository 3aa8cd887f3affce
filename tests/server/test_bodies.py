"""`ports.Body` over real connections: what arrives, how it ends, and what the client is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from storage_proxy.operations.reception import BATCH_BYTES, Batch
from storage_proxy.ports import BodyBroken, BodyIdle, BodyStopped
from storage_proxy.server.bodies import PIECES_MAX, RequestBody
from storage_proxy.server.requests import CONNECTIONS
from tests.server.proxy import Proxy, Raw, Start, leftovers, opening, patch_opening, until

# Long enough never to be the reason for anything.
NEVER = 60.0


@dataclass
class Site:
    """A server whose handler hands its body to the test, and a client's end of one connection to it."""

    body: RequestBody
    client: Raw
    draining: asyncio.Event


@asynccontextmanager
async def receiving(head: str, first: bytes, idle_seconds: float = NEVER) -> AsyncIterator[Site]:
    got: asyncio.Future[RequestBody] = asyncio.get_running_loop().create_future()
    draining, over = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        async with RequestBody(request, draining, idle_seconds) as body:
            got.set_result(body)
            await over.wait()
        return web.Response()

    app = web.Application(handler_args=CONNECTIONS)
    app.router.add_route("*", "/", handler)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    client = Raw(reader, writer)
    await client.send(head.replace("\n", "\r\n").encode() + b"\r\n" + first)
    try:
        yield Site(await got, client, draining)
    finally:
        over.set()
        await client.close()
        await runner.cleanup()


def put(length: int) -> str:
    return f"PUT / HTTP/1.1\nHost: test\nContent-Length: {length}\n"


def pieces_of(batch: Batch) -> list[bytes]:
    return list(batch) if isinstance(batch, Sequence) else [piece for pieces in batch.received(0) for piece in pieces]


def joined(batch: Batch) -> bytes:
    return b"".join(pieces_of(batch))


async def arrived(site: Site, count: int) -> None:
    """Wait until the server has so many bytes in its hands, read or not."""
    content = site.body._content

    async def enough() -> bool:
        return content.total_bytes >= count

    await until(enough)


async def test_a_batch_is_full_when_it_has_the_size() -> None:
    async with receiving(put(6), b"abcd") as site:
        assert joined(await site.body.batch(4, NEVER)) == b"abcd"
        await site.client.send(b"ef")
        assert joined(await site.body.batch(4, NEVER)) == b"ef"
        assert await site.body.batch(4, NEVER) == ()
        assert await site.body.batch(4, NEVER) == ()


async def test_a_batch_that_is_not_full_comes_when_its_time_is_up() -> None:
    async with receiving(put(6), b"ab") as site:
        assert joined(await site.body.batch(4, 0.05)) == b"ab"


async def test_time_alone_brings_no_empty_batch() -> None:
    async with receiving(put(6), b"") as site:
        batch = asyncio.ensure_future(site.body.batch(4, 0.01))
        done, _ = await asyncio.wait([batch], timeout=0.1)
        assert not done
        await site.client.send(b"a")
        assert joined(await batch) == b"a"


async def test_what_a_cancelled_batch_had_is_in_the_next() -> None:
    async with receiving(put(6), b"ab") as site:
        batch = asyncio.ensure_future(site.body.batch(4, NEVER))

        async def taken() -> bool:
            return site.body._held == 2

        await until(taken)
        batch.cancel()
        await asyncio.wait([batch])
        await site.client.send(b"cd")
        assert joined(await site.body.batch(4, NEVER)) == b"abcd"


async def test_silence_ends_a_body_after_what_it_brought() -> None:
    async with receiving(put(6), b"ab", idle_seconds=0.1) as site:
        assert joined(await site.body.batch(4, 0.01)) == b"ab"
        with pytest.raises(BodyIdle) as caught:
            await site.body.batch(4, 0.01)
        assert caught.value.seconds == 0.1


async def test_a_client_that_goes_away_leaves_what_it_brought() -> None:
    async with receiving(put(9), b"abc") as site:
        await arrived(site, 3)
        await site.client.close()
        content = site.body._content

        async def noticed() -> bool:
            return content.exception() is not None

        await until(noticed)
        assert joined(await site.body.batch(BATCH_BYTES, NEVER)) == b"abc"
        with pytest.raises(BodyBroken):
            await site.body.batch(BATCH_BYTES, NEVER)


async def test_a_client_that_goes_away_wakes_who_waits_for_it() -> None:
    async with receiving(put(9), b"abc") as site:
        batch = asyncio.ensure_future(site.body.batch(BATCH_BYTES, NEVER))
        await arrived(site, 3)
        await site.client.close()
        assert joined(await batch) == b"abc"


async def test_draining_ends_a_wait_at_once() -> None:
    async with receiving(put(9), b"abc") as site:
        batch = asyncio.ensure_future(site.body.batch(BATCH_BYTES, NEVER))
        await arrived(site, 3)
        site.draining.set()
        assert joined(await batch) == b"abc"
        with pytest.raises(BodyStopped):
            await site.body.batch(BATCH_BYTES, NEVER)


async def test_draining_spares_a_body_that_is_whole() -> None:
    async with receiving(put(4), b"ab") as site:
        assert joined(await site.body.batch(2, NEVER)) == b"ab"
        await site.client.send(b"cd")
        await arrived(site, 4)
        site.draining.set()

        async def stopped() -> bool:
            return isinstance(site.body._content.exception(), BodyStopped)

        await until(stopped)
        assert joined(await site.body.batch(BATCH_BYTES, NEVER)) == b"cd"
        assert await site.body.batch(BATCH_BYTES, NEVER) == ()


async def test_less_than_a_batch_of_a_large_body_is_left_to_the_thread_that_writes_it() -> None:
    async with receiving(put(2 * BATCH_BYTES), b"ab") as site:
        assert joined(await site.body.batch(BATCH_BYTES, 0.0)) == b"ab"
        await site.client.send(b"cd")
        batch = await site.body.batch(BATCH_BYTES, 0.0)
        assert not isinstance(batch, Sequence), "received by the event loop, its memory would stay in pieces"
        assert joined(batch) == b"cd"


async def test_a_large_body_that_goes_on_is_ended_by_draining_after_what_it_brought() -> None:
    async with receiving(put(2 * BATCH_BYTES), b"ab") as site:
        assert joined(await site.body.batch(BATCH_BYTES, 0.0)) == b"ab"

        async def came() -> bool:
            assert site.body._straight is not None
            return site.body._straight.has_news()

        await site.client.send(b"cd")
        await until(came)
        site.draining.set()
        assert joined(await site.body.batch(BATCH_BYTES, NEVER)) == b"cd"
        await site.client.send(b"ef")
        with pytest.raises(BodyStopped):
            await site.body.batch(BATCH_BYTES, NEVER)


async def test_a_thousand_tiny_chunks_come_as_few_pieces() -> None:
    count = 3 * PIECES_MAX
    head = "PUT / HTTP/1.1\nHost: test\nTransfer-Encoding: chunked\n"
    async with receiving(head, b"1\r\nx\r\n" * count + b"0\r\n\r\n") as site:
        pieces = pieces_of(await site.body.batch(BATCH_BYTES, NEVER))
        assert b"".join(pieces) == b"x" * count
        assert len(pieces) <= PIECES_MAX


async def test_continue_is_said_when_the_body_is_first_read_and_once() -> None:
    async with receiving(put(3) + "Expect: 100-continue\n", b"") as site:
        # Not said yet: the default handler of aiohttp would have.
        assert site.client.reader._buffer == bytearray()  # type: ignore[attr-defined] # nothing public tells
        batch = asyncio.ensure_future(site.body.batch(2, NEVER))
        assert await site.client.head() == (100, {})
        await site.client.send(b"abc")
        assert joined(await batch) == b"abc"
        assert await site.body.batch(2, NEVER) == ()


# ---- through the whole service ------------------------------------------------------------------------------------


async def test_an_early_refusal_costs_a_client_that_asks_no_body(proxy: Proxy) -> None:
    path = await proxy.create(5)
    raw = await proxy.raw(patch_opening(path, 3, 2, "Expect: 100-continue"))
    status, headers = await raw.head()
    # The first answer is the refusal, not 100; and a client that leaves its body out cannot go on in this connection.
    assert (status, headers["Connection"]) == (409, "close")
    await raw.close()


async def test_a_client_that_asks_is_told_to_continue_when_it_may(proxy: Proxy, directory: Path) -> None:
    path = await proxy.create(3)
    raw = await proxy.raw(patch_opening(path, 0, 3, "Expect: 100-continue"))
    assert (await raw.head())[0] == 100
    await raw.send(b"abc")
    assert (await raw.head())[0] == 204
    await raw.close()
    assert (directory / "file.bin").read_bytes() == b"abc"


async def test_a_client_that_sends_on_hears_an_early_refusal(proxy: Proxy) -> None:
    path = await proxy.create(64 << 20)
    raw = await proxy.raw(patch_opening(path, 1, 32 << 20))
    for _ in range(32):
        await raw.send(bytes(1 << 20))
    status, headers = await raw.head()
    assert (status, headers["Upload-Offset"]) == (409, "0")
    await raw.close()


async def test_a_connection_that_is_lost_keeps_what_had_arrived(proxy: Proxy) -> None:
    path = await proxy.create(100)
    raw = await proxy.raw(patch_opening(path, 0, 100), b"x" * 40)
    await received(proxy, 40)
    await raw.close()

    async def kept() -> bool:
        return await proxy.offset(path) == 40

    await until(kept)
    assert (await proxy.patch(path, 40, b"y" * 60)).status == 204
    assert (proxy.directory / "file.bin").read_bytes() == b"x" * 40 + b"y" * 60


async def test_a_client_that_trickles_is_seen_by_another_replica(start: Start) -> None:
    first, second = await start(checkpoints={"seconds": 0.05}), await start()
    path = await first.create(10)
    raw = await first.raw(patch_opening(path, 0, 10), b"abc")

    async def seen() -> bool:
        return await second.offset(path) == 3

    await until(seen)
    await raw.send(b"defghij")
    status, headers = await raw.head()
    assert (status, headers["Upload-Offset"]) == (204, "10")
    await raw.close()
    assert await second.offset(path) == 10


async def test_a_client_that_never_finishes_is_ended_and_its_bytes_are_kept(start: Start) -> None:
    proxy = await start(limits={"body_idle_seconds": 0.1})
    path = await proxy.create(10)
    raw = await proxy.raw(patch_opening(path, 0, 10), b"abc")
    status, headers = await raw.head()
    assert (status, headers["Upload-Offset"], headers["Connection"]) == (503, "3", "close")
    assert int(headers["Retry-After"]) > 0
    await raw.close()
    assert await proxy.offset(path) == 3


async def test_broken_framing_keeps_what_came_before_it(start: Start) -> None:
    proxy = await start(limits={"body_idle_seconds": 0.2})
    path = await proxy.create(10)
    head = opening(
        "PATCH",
        path,
        "Upload-Offset: 0",
        "Transfer-Encoding: chunked",
        "Content-Type: application/offset+octet-stream",
    )
    raw = await proxy.raw(head, b"3\r\nabc\r\n")
    await received(proxy, 3)
    await raw.send(b"nonsense\r\n")
    assert (await raw.head())[0] == 503
    await raw.close()
    assert await proxy.offset(path) == 3


async def test_draining_answers_an_open_body_and_keeps_what_came(start: Start) -> None:
    first, second = await start(), await start()
    path = await first.create(10)
    raw = await first.raw(patch_opening(path, 0, 10), b"abcd")
    await received(first, 4)
    first.service.draining.set()
    status, headers = await raw.head()
    assert (status, headers["Connection"]) == (503, "close")
    assert int(headers["Retry-After"]) > 0
    await raw.close()
    assert await second.offset(path) == 4
    assert (await second.patch(path, 4, b"efghij")).status == 204
    assert (second.directory / "file.bin").read_bytes() == b"abcdefghij"


async def test_shutting_down_answers_an_open_body_and_keeps_what_came(start: Start) -> None:
    first, second = await start(), await start()
    path = await first.create(10)
    raw = await first.raw(patch_opening(path, 0, 10), b"abcd")
    await received(first, 4)
    closing = asyncio.ensure_future(first.client.server.close())
    assert (await raw.head())[0] == 503
    await raw.close()
    await closing
    assert await second.offset(path) == 4
    assert len(leftovers(first.directory)) == 1


async def test_a_draining_replica_takes_no_new_upload(proxy: Proxy) -> None:
    path = await proxy.create(5)
    proxy.service.draining.set()
    assert await proxy.offset(path) == 0
    refused = await proxy.patch(path, 0, b"abc")
    assert (refused.status, refused.headers["Connection"]) == (503, "close")


async def received(proxy: Proxy, count: int) -> None:
    """Wait until so many bytes of an open body are in the hands of an append, committed or not."""
    server = proxy.client.server.handler

    async def there() -> bool:
        if not proxy.service.appends:
            return False  # the bytes may be there before anybody has asked for them
        open_requests = (connection._current_request for connection in server.connections)
        return any(request.content.total_bytes >= count for request in open_requests if request is not None)

    await until(there)
