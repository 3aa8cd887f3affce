"""Checksums behind the body, and what is not HTTP: over a real connection, in whatever pieces it comes."""

import base64
import hashlib
import json
import socket
import zlib
from collections.abc import Sequence
from typing import Any

import pytest

from tests.server.proxy import TUS, Proxy, Raw, opening, until

HELLO = b"hello"


def chunked_opening(path: str, *lines: str, offset: int = 0) -> str:
    return opening(
        "PATCH",
        path,
        f"Upload-Offset: {offset}",
        "Transfer-Encoding: chunked",
        "Content-Type: application/offset+octet-stream",
        *lines,
    )


ANNOUNCED = "Trailer: Upload-Checksum"


def checksum(body: bytes, algorithm: str = "sha1") -> str:
    digest = zlib.crc32(body).to_bytes(4, "big") if algorithm == "crc32" else hashlib.new(algorithm, body).digest()
    return f"Upload-Checksum: {algorithm} {base64.b64encode(digest).decode()}"


def chunked(body: bytes, *trailers: str, size: int = 1 << 16) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return chunks + b"0\r\n" + "".join(f"{trailer}\r\n" for trailer in trailers).encode() + b"\r\n"


def encoded(head: str) -> bytes:
    return head.replace("\n", "\r\n").encode() + b"\r\n"


async def send(proxy: Proxy, head: str, body: Sequence[bytes]) -> tuple[int, dict[str, str]]:
    raw = await proxy.raw(head)
    for piece in body:
        await raw.send(piece)
    answer = await raw.head()
    await raw.close()
    return answer


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5", "crc32"])
async def test_a_checksum_behind_the_body_is_verified(proxy: Proxy, algorithm: str) -> None:
    path = await proxy.create(10)
    head = chunked_opening(path, ANNOUNCED)
    status, headers = await send(proxy, head, [chunked(HELLO, checksum(HELLO, algorithm))])
    assert (status, headers["Upload-Offset"]) == (204, "5")
    head = chunked_opening(path, ANNOUNCED, offset=5)
    status, _ = await send(proxy, head, [chunked(b"WORLD", checksum(b"world", algorithm))])
    assert status == 460
    assert await proxy.offset(path) == 5


@pytest.mark.parametrize(
    "trailers",
    [
        (),
        ("X-Other: 1",),
        ("Upload-Checksum: sha1 AAAA",),
        ("Upload-Checksum: whirl AAAA",),
        ("Upload-Checksum:",),
        (checksum(HELLO), checksum(HELLO)),
    ],
)
async def test_an_announced_checksum_that_is_not_there_is_refused_and_nothing_kept(
    proxy: Proxy, trailers: tuple[str, ...]
) -> None:
    path = await proxy.create(5)
    status, _ = await send(proxy, chunked_opening(path, ANNOUNCED), [chunked(HELLO, *trailers)])
    assert status == 400
    assert await proxy.offset(path) == 0
    status, _ = await send(proxy, chunked_opening(path, ANNOUNCED), [chunked(HELLO, checksum(HELLO))])
    assert status == 204


async def test_a_checksum_that_was_not_announced_is_not_looked_at(proxy: Proxy) -> None:
    path = await proxy.create(5)
    status, _ = await send(proxy, chunked_opening(path), [chunked(HELLO, checksum(b"other"))])
    assert status == 204


@pytest.mark.parametrize("size", [1, 2, 7])
async def test_it_is_found_in_whatever_pieces_the_request_comes(proxy: Proxy, size: int) -> None:
    path = await proxy.create(10)
    for offset, body, wanted in ((0, HELLO, 204), (5, b"", 204), (5, b"world", 204)):
        head = encoded(chunked_opening(path, ANNOUNCED, offset=offset))
        raw = await proxy.raw("")
        whole = head + chunked(body, "X-First: 1", checksum(body), size=2)
        raw.writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(whole), size):
            await raw.send(whole[start : start + size])
        status, _ = await raw.head()
        assert status == wanted
        await raw.close()
    assert await (await proxy.client.get(path)).read() == b"helloworld"


@pytest.mark.parametrize("body", [b"", HELLO])
async def test_it_is_found_though_every_byte_comes_by_itself(proxy: Proxy, body: bytes) -> None:
    runner: Any = proxy.client.server.runner
    parser = runner.server()._parser
    told: list[Any] = []
    whole = encoded(chunked_opening("/files/x", ANNOUNCED)) + chunked(body, checksum(body))
    for byte in whole:
        told += parser.feed_data(bytes((byte,)))[0]
    ((_, received),) = told
    assert parser.after(received) == ({"upload-checksum": checksum(body).partition(": ")[2]}, True)


async def test_a_large_body_is_verified_as_a_whole(proxy: Proxy) -> None:
    body = bytes(range(251)) * 20_000
    path = await proxy.create(len(body))
    status, _ = await send(proxy, chunked_opening(path, ANNOUNCED), [chunked(body, checksum(body[:-1] + b"x"))])
    assert status == 460
    assert await proxy.offset(path) == 0
    status, _ = await send(proxy, chunked_opening(path, ANNOUNCED), [chunked(body, checksum(body))])
    assert status == 204


async def test_bodies_without_trailers_follow_each_other_on_one_connection(proxy: Proxy) -> None:
    path = await proxy.create(15)
    raw = await proxy.raw("")
    for offset in (0, 5, 10):
        await raw.send(encoded(chunked_opening(path, offset=offset)) + chunked(HELLO))
        assert (await raw.head())[0] == 204
    await raw.close()


@pytest.mark.parametrize("lines", [(), (ANNOUNCED,)], ids=["unannounced", "announced"])
async def test_a_trailer_never_becomes_a_header_of_the_next_request(proxy: Proxy, lines: tuple[str, ...]) -> None:
    """Behind a load balancer the next request on a connection is somebody else's."""
    path, victim = await proxy.create(5), await proxy.create(5)
    raw = await proxy.raw("")
    told = (checksum(HELLO), "X-HTTP-Method-Override: DELETE")
    await raw.send(encoded(chunked_opening(path, *lines)) + chunked(HELLO, *told))
    status, headers = await raw.head()
    assert (status, headers["Connection"]) == (204, "close")
    await raw.send(encoded(opening("HEAD", victim)))
    assert await raw.rest() == b""
    await raw.close()
    assert await proxy.offset(victim) == 0


@pytest.mark.parametrize("trailers", [(), ("X-HTTP-Method-Override: DELETE",)], ids=["none", "one"])
async def test_a_request_that_follows_at_once_on_a_chunked_body_is_not_served(
    proxy: Proxy, trailers: tuple[str, ...]
) -> None:
    """Pipelined, nobody can tell where the body ended, and what is a trailer. No client of this protocol does so."""
    path, victim = await proxy.create(5), await proxy.create(5)
    raw = await proxy.raw("")
    await raw.send(encoded(chunked_opening(path)) + chunked(HELLO, *trailers) + encoded(opening("HEAD", victim)))
    assert (await raw.rest()).count(b"HTTP/1.1 ") == 1
    await raw.close()
    assert await proxy.offset(victim) == 0


def parser_of(proxy: Proxy) -> Any:
    """Of a connection that nobody makes."""
    runner: Any = proxy.client.server.runner
    return runner.server()._parser


def asked(*trailers: str, lines: Sequence[str] = (ANNOUNCED,)) -> bytes:
    return encoded(chunked_opening("/files/x", *lines)) + chunked(HELLO, *trailers)


OTHERS = asked(checksum(b"somebody else's"))


@pytest.mark.parametrize("cut", [0, 10, len(asked()) - 2], ids=["at once", "in its head", "before its end"])
@pytest.mark.parametrize("trailers", [(), (checksum(HELLO),)], ids=["none of its own", "one of its own"])
async def test_a_body_never_gets_the_trailers_of_the_request_behind_it(
    proxy: Proxy, trailers: tuple[str, ...], cut: int
) -> None:
    """Both end in the same bytes: only a proxy sends so, and it may have two clients."""
    parser = parser_of(proxy)
    whole = asked(*trailers) + OTHERS
    told = [*parser.feed_data(whole[:cut])[0], *parser.feed_data(whole[cut:])[0]]
    (_, first), (_, second) = told
    assert parser.after(first) == ({}, True)
    parser.message_consumed()
    parser.message_consumed()
    parser.feed_data(asked())
    assert parser.after(first)[1], "what is spent stays so, whatever comes then"
    assert parser.after(second)[1]


async def test_a_body_never_gets_the_trailers_of_what_the_parser_has_held_back(proxy: Proxy) -> None:
    """It stops between two requests when so many wait that nobody has begun with: then it tells of no other."""
    parser = parser_of(proxy)
    told: list[Any] = []
    for _ in range(31):
        told += parser.feed_data(encoded(opening("HEAD", "/files/x")))[0]
    told += parser.feed_data(asked() + OTHERS)[0]
    assert len(told) == 32, "the last one is held back"
    assert parser.after(told[-1][1]) == ({}, True)


@pytest.mark.parametrize("before", [0, 2], ids=["at once", "before its end"])
async def test_a_body_never_gets_the_trailers_of_what_stands_behind_an_upgrade(proxy: Proxy, before: int) -> None:
    parser = parser_of(proxy)
    whole = asked(lines=(ANNOUNCED, "Connection: upgrade", "Upgrade: websocket"))
    cut = len(whole) - before if before else 0
    told = parser.feed_data(whole[:cut])[0]
    messages, upgraded, rest = parser.feed_data(whole[cut:] + OTHERS)
    assert (upgraded, rest) == (True, OTHERS)
    assert parser.after((*told, *messages)[0][1]) == ({}, True)


@pytest.mark.parametrize(
    "lines",
    [(ANNOUNCED, "Content-Length: 5"), (ANNOUNCED, "Transfer-Encoding: chunked", checksum(HELLO))],
    ids=["a body with a length", "a checksum before the body"],
)
async def test_a_trailer_that_cannot_be_is_refused_before_the_body(proxy: Proxy, lines: tuple[str, ...]) -> None:
    path = await proxy.create(5)
    typed = "Content-Type: application/offset+octet-stream"
    raw: Raw = await proxy.raw(opening("PATCH", path, "Upload-Offset: 0", typed, *lines))
    assert (await raw.head())[0] == 400
    await raw.close()


async def test_the_first_bytes_may_come_with_a_checksum_behind_them(proxy: Proxy) -> None:
    typed = ("Upload-Length: 5", "Transfer-Encoding: chunked", "Content-Type: application/offset+octet-stream")
    for body, status in ((HELLO, 201), (b"HELLO", 460)):
        raw = await proxy.raw(opening("POST", "/files", *typed, ANNOUNCED), chunked(body, checksum(HELLO)))
        assert (await raw.head())[0] == status
        await raw.close()

    async def one_file() -> bool:
        return len([path for path in proxy.directory.iterdir() if path.is_file()]) == 1

    await until(one_file)


async def test_it_is_offered(proxy: Proxy) -> None:
    answer = await proxy.client.options("/files", headers=TUS)
    assert "checksum-trailer" in answer.headers["Tus-Extension"].split(",")


# ---- what is not HTTP --------------------------------------------------------------------------------------------

MARK = "what-was-sent"

NOT_HTTP = {
    "a method alone": "CONNECT  \r\n\r\n",
    "a method alone behind another request": f"HEAD /files/{MARK} HTTP/1.1\r\nHost: x\r\n\r\nCONNECT  \r\n\r\n",
    "no HTTP": f"\x16\x03\x01 {MARK}\r\n\r\n",
    "another version": f"GET /{MARK} HTTP/9.x\r\n\r\n",
    "no host": f"GET /{MARK} HTTP/1.1\r\n\r\n",
    "an address that is too long": f"GET /{MARK * 4000} HTTP/1.1\r\nHost: x\r\n\r\n",
    "a field that is too long": f"GET / HTTP/1.1\r\nHost: x\r\nX-Much: {MARK * 4000}\r\n\r\n",
    "a field without a name": f"GET / HTTP/1.1\r\nHost: x\r\n{MARK}\r\n\r\n",
    "two framings": f"PATCH /{MARK} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": f"PATCH /{MARK} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
}


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_what_is_not_http_is_refused_as_everything_is_and_not_repeated(proxy: Proxy, sent: str) -> None:
    """Anybody can send it, a page some of it; and it may hold a key."""
    raw = await proxy.raw("")
    await raw.send(sent.encode("latin-1"))
    status, headers = await raw.head()
    text = (await raw.rest()).decode()
    await raw.close()
    assert (status, headers["Content-Type"]) == (400, "application/problem+json")
    assert (headers["Access-Control-Allow-Origin"], headers["Tus-Resumable"]) == ("*", "1.0.0")
    assert (headers["Server"], headers["X-Content-Type-Options"]) == ("storage-proxy", "nosniff")
    body = json.loads(text)
    assert (body["type"], body["status"]) == ("about:blank", 400)
    assert body["detail"].endswith(".")
    assert ("too long" in body["detail"]) == (len(sent) > 40_000)
    assert MARK not in text + str(headers)


async def test_what_fails_outside_of_all_handlers_is_told_like_the_rest(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: object) -> None:
        raise RuntimeError(MARK)

    monkeypatch.setattr(proxy.client.app.router, "resolve", fail)
    answer = await proxy.client.get("/files", headers={"Accept": "text/html"})
    assert (answer.status, answer.headers["Content-Type"]) == (500, "application/problem+json")
    assert MARK not in await answer.text()
    assert answer.headers["Connection"] == "close"
