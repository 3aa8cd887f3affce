"""Large bodies straight from their sockets: what arrives, how it ends, and what the connection is worth afterwards."""

import asyncio
import hashlib
import random
import socket
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from storage_proxy.ports import BodyBroken
from storage_proxy.server.straight_bodies import StraightBody
from tests.server.proxy import Proxy, Start, opening, patch_opening, until

MIB = 1 << 20
CONTENT = random.Random(5).randbytes(9 * MIB + 4321)


@pytest.fixture(autouse=True)
def lanes(monkeypatch: pytest.MonkeyPatch) -> list[StraightBody]:
    """Every body that went straight."""
    taken: list[StraightBody] = []
    begin = StraightBody.begin

    def noted(request: object) -> object:
        begun = begin(request)  # type: ignore[arg-type] # it is what it was given
        if begun is not None:
            taken.append(begun[0])
        return begun

    monkeypatch.setattr(StraightBody, "begin", noted)
    return taken


async def test_a_large_body_arrives_as_it_was_sent(proxy: Proxy, lanes: list[StraightBody]) -> None:
    path = await proxy.create(len(CONTENT))
    assert (await proxy.patch(path, 0, CONTENT)).status == 204
    assert (proxy.directory / "file.bin").read_bytes() == CONTENT
    assert [lane.left for lane in lanes] == [0]


async def test_requests_behind_a_large_body_are_answered_on_the_same_connection(
    proxy: Proxy, lanes: list[StraightBody]
) -> None:
    path = await proxy.create(len(CONTENT))
    half = 4 * MIB + 77
    raw = await proxy.raw(patch_opening(path, 0, half), CONTENT[:half])
    # At once, so that the parser and the kernel may have got any of it together.
    heads = opening("HEAD", path).replace("\n", "\r\n") + "\r\n"
    last = patch_opening(path, half, len(CONTENT) - half).replace("\n", "\r\n") + "\r\n"
    await raw.send(heads.encode() * 3 + last.encode() + CONTENT[half:] + heads.encode())
    assert (await raw.head())[0] == 204
    for _ in range(3):
        status, headers = await raw.head()
        assert (status, headers["Upload-Offset"]) == (200, str(half))
    assert (await raw.head())[0] == 204
    assert (await raw.head())[1]["Upload-Offset"] == str(len(CONTENT))
    await raw.close()
    assert (proxy.directory / "file.bin").read_bytes() == CONTENT
    assert [lane.left for lane in lanes] == [0, 0]


async def test_one_connection_carries_many_large_bodies(proxy: Proxy, lanes: list[StraightBody]) -> None:
    path = await proxy.create(len(CONTENT))
    raw = await proxy.raw("")
    for offset in range(0, len(CONTENT), 3 * MIB):
        piece = CONTENT[offset : offset + 3 * MIB]
        await raw.send(patch_opening(path, offset, len(piece)).replace("\n", "\r\n").encode() + b"\r\n" + piece)
        assert (await raw.head())[0] == 204
    await raw.close()
    assert (proxy.directory / "file.bin").read_bytes() == CONTENT
    assert len(lanes) == 3, "the last piece is too small to be worth it"


@pytest.mark.parametrize(("length", "straight"), [(60 << 10, False), (70 << 10, True)])
async def test_a_body_of_some_size_that_has_not_come_yet_goes_straight(
    proxy: Proxy, lanes: list[StraightBody], length: int, straight: bool
) -> None:
    path = await proxy.create(length)
    raw = await proxy.raw(patch_opening(path, 0, length), CONTENT[:10])

    async def begun() -> bool:
        return proxy.service.appends == 1

    await until(begun)
    await raw.send(CONTENT[10:length])
    assert (await raw.head())[0] == 204
    await raw.close()
    assert (proxy.directory / "file.bin").read_bytes() == CONTENT[:length]
    assert len(lanes) == straight


async def test_a_body_in_drops_arrives_whole(start: Start, lanes: list[StraightBody]) -> None:
    proxy = await start(checkpoints={"seconds": 0.02})
    length = 2 * MIB
    path = await proxy.create(length)
    raw = await proxy.raw(patch_opening(path, 0, length), CONTENT[:10])
    for offset in range(10, length, 99_991):
        await raw.send(CONTENT[offset : min(offset + 99_991, length)])
        await asyncio.sleep(0.003)
    assert (await raw.head())[0] == 204
    await raw.close()
    assert (proxy.directory / "file.bin").read_bytes() == CONTENT[:length]
    assert len(lanes) == 1


async def test_what_a_slow_client_has_sent_is_seen_by_another_replica(start: Start) -> None:
    first, second = await start(checkpoints={"seconds": 0.05}), await start()
    path = await first.create(3 * MIB)
    raw = await first.raw(patch_opening(path, 0, 3 * MIB), CONTENT[: MIB + 5])

    async def seen() -> bool:
        return await second.offset(path) == MIB + 5

    await until(seen)
    await raw.send(CONTENT[MIB + 5 : 3 * MIB])
    assert (await raw.head())[0] == 204
    await raw.close()


async def test_a_connection_that_is_lost_keeps_every_byte_that_came(start: Start, lanes: list[StraightBody]) -> None:
    proxy = await start(checkpoints={"seconds": 0.05})
    path = await proxy.create(len(CONTENT))
    sent = 2 * MIB + 17
    raw = await proxy.raw(patch_opening(path, 0, len(CONTENT)), CONTENT[:sent])
    await raw.close()

    async def kept() -> bool:
        return await proxy.offset(path) == sent

    await until(kept)
    assert len(lanes) == 1
    assert (await proxy.patch(path, sent, CONTENT[sent:])).status == 204
    assert (proxy.directory / "file.bin").read_bytes() == CONTENT


async def test_silence_ends_a_body_and_keeps_what_came(start: Start, lanes: list[StraightBody]) -> None:
    proxy = await start(limits={"body_idle_seconds": 0.2}, checkpoints={"seconds": 0.05})
    path = await proxy.create(len(CONTENT))
    raw = await proxy.raw(patch_opening(path, 0, len(CONTENT)), CONTENT[: 2 * MIB])
    status, headers = await raw.head()
    assert (status, headers["Upload-Offset"], headers["Connection"]) == (503, str(2 * MIB), "close")
    await raw.close()
    assert await proxy.offset(path) == 2 * MIB
    assert len(lanes) == 1


async def test_draining_answers_a_large_body_and_keeps_what_came(start: Start, lanes: list[StraightBody]) -> None:
    first, second = await start(checkpoints={"seconds": 0.05}), await start()
    path = await first.create(len(CONTENT))
    raw = await first.raw(patch_opening(path, 0, len(CONTENT)), CONTENT[: 2 * MIB])

    async def there() -> bool:
        return await second.offset(path) == 2 * MIB

    await until(there)
    first.service.draining.set()
    status, headers = await raw.head()
    assert (status, headers["Connection"]) == (503, "close")
    await raw.close()
    assert await second.offset(path) == 2 * MIB
    assert len(lanes) == 1


async def test_a_client_that_asks_is_told_to_continue(proxy: Proxy, lanes: list[StraightBody]) -> None:
    path = await proxy.create(2 * MIB)
    raw = await proxy.raw(patch_opening(path, 0, 2 * MIB, "Expect: 100-continue"))
    assert (await raw.head())[0] == 100
    await raw.send(CONTENT[: 2 * MIB])
    assert (await raw.head())[0] == 204
    await raw.close()
    assert len(lanes) == 1


@pytest.mark.parametrize("right", [True, False])
async def test_a_checksum_is_made_of_what_went_straight(proxy: Proxy, right: bool, lanes: list[StraightBody]) -> None:
    path = await proxy.create(len(CONTENT))
    digest = hashlib.sha1(CONTENT if right else b"", usedforsecurity=False).digest()
    checksum = f"sha1 {b64encode(digest).decode()}"
    done = await proxy.patch(path, 0, CONTENT, **{"Upload-Checksum": checksum})
    assert done.status == (204 if right else 460)
    assert len(lanes) == 1
    assert await proxy.offset(path) == (len(CONTENT) if right else 0)


async def test_a_chunked_body_stays_on_the_ordinary_lane(
    proxy: Proxy, directory: Path, lanes: list[StraightBody]
) -> None:
    path = await proxy.create(2 * MIB)
    head = opening(
        "PATCH", path, "Upload-Offset: 0", "Transfer-Encoding: chunked",
        "Content-Type: application/offset+octet-stream",
    )  # fmt: skip
    raw = await proxy.raw(head, b"%x\r\n%b\r\n0\r\n\r\n" % (2 * MIB, CONTENT[: 2 * MIB]))
    assert (await raw.head())[0] == 204
    await raw.close()
    assert (directory / "file.bin").read_bytes() == CONTENT[: 2 * MIB]
    assert lanes == []


def test_a_connection_is_let_go_only_when_no_thread_receives_from_it() -> None:
    """Closed under a thread, its number would be given to another connection, which that thread would read from."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        connection, _ = listener.accept()
        client.sendall(b"abc")
        gone: Any = SimpleNamespace(transport=None)
        lane = StraightBody(gone, SimpleNamespace(total_bytes=0), connection, 9, lambda: 0.0)  # type: ignore[arg-type]
        receiving = lane.take(3).received(0)
        assert next(receiving) == (b"abc",)
        lane.close()
        assert connection.fileno() >= 0
        assert next(receiving, None) is None
        assert connection.fileno() < 0
        with pytest.raises(BodyBroken):
            next(lane.take(3).received(0))
