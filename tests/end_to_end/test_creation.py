"""What a client says when it creates an upload, over replicas that die: its key, and what its file must be."""

import asyncio
import hashlib
from base64 import b64encode
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.clients import BYTES, MIB, TUS, Answer, Client, leftovers, sha256, tidy
from tests.end_to_end.replicas import Replica, Replicas, until
from tests.end_to_end.test_replicas import phase_of, some_bytes

pytestmark = pytest.mark.timeout(90)

KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'


def asking(data: bytes, name: str, digest: bytes | None = None) -> dict[str, str]:
    headers = {
        **TUS,
        "Upload-Length": str(len(data)),
        "Upload-Metadata": f"filename {b64encode(name.encode()).decode()}",
    }
    if digest is not None:
        headers["Repr-Digest"] = f"sha-256=:{b64encode(digest).decode()}:"
    return headers


async def send_and_hang_up(replica: Replica, headers: dict[str, str], length: int, body: bytes) -> asyncio.StreamWriter:
    """A POST of which only so much of the body ever comes, and whose answer nobody reads."""
    _, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    lines = ["POST /files HTTP/1.1", "Host: test", *(f"{name}: {text}" for name, text in headers.items())]
    writer.write("\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode() + body)
    await writer.drain()
    return writer


def path_of(answer: Answer) -> str:
    assert answer.status == 201, answer
    return urlsplit(answer.headers["Location"]).path


async def test_a_creation_whose_replica_is_killed_before_the_answer_is_found_by_the_same_request(
    replicas: Replicas, client: Client
) -> None:
    one, two = await replicas.start(2)
    data = some_bytes(3 * MIB + 7)
    headers = {**asking(data, "once.bin"), **BYTES, "Idempotency-Key": KEY}
    writer = await send_and_hang_up(one, headers, len(data), data[: MIB // 2])

    async def recorded() -> bool:
        return any(path.is_file() for path in (replicas.data / ".uploads" / "repeats").rglob("*"))

    await until("the key is recorded", recorded)
    one.kill()
    writer.close()
    again = await client.ask("POST", f"{two.url}/files", headers, data)
    path = path_of(again)
    await one.restart()
    once_more = await client.ask("POST", f"{one.url}/files", headers, data)
    assert path_of(once_more) == path
    await client.finish([two.url, one.url], path, data)
    assert (replicas.data / "once.bin").read_bytes() == data
    assert path_of(await client.ask("POST", f"{one.url}/files", headers, data)) == path
    assert (await client.ask("POST", f"{one.url}/files", {**headers, "Upload-Length": "1"})).status == 422
    await tidy(replicas.data, ["once.bin"])


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
async def test_only_the_file_that_was_declared_appears_whoever_closes_it_and_whoever_dies(
    replicas: Replicas, client: Client, right: bool
) -> None:
    one, two = await replicas.start(2)
    data = some_bytes(9 * MIB + 1)
    digest = hashlib.sha256(data if right else b"something else").digest()
    path = path_of(await client.ask("POST", f"{one.url}/files", asking(data, "file.bin", digest)))
    size = MIB
    for number, offset in enumerate(range(0, len(data) - size, size)):
        await client.patch_until_taken((one, two)[number % 2].url, path, offset, data[offset : offset + size])
    one.kill()
    offset = await client.offset(two.url, path)
    last = await client.patch(two.url, path, offset, data[offset:])
    if right:
        assert last.status == 204
        assert sha256(replicas.data / "file.bin") == hashlib.sha256(data).hexdigest()
        told = (await client.ask("GET", two.url + path)).headers["Repr-Digest"]
        assert told == asking(data, "file.bin", digest)["Repr-Digest"]
        await tidy(replicas.data, ["file.bin"])
    else:
        assert last.status == 422
        assert phase_of(replicas.data, path) == "failed"
        assert not [name for name in leftovers(replicas.data, []) if not name.startswith(".uploads/")]
        digests = [sha256(file) for file in (replicas.data / ".uploads").rglob("*.dat")]
        assert hashlib.sha256(data).hexdigest() in digests, "the bytes are kept"
