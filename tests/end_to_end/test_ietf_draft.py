"""Clients of the IETF draft and real replicas: tus-js-client in both its drafts, one that does as iOS, and curl."""

import asyncio
import re
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from storage_proxy.server.uploading import NAME_KEYS
from tests.end_to_end import tus_js
from tests.end_to_end.balancer import Balancer
from tests.end_to_end.clients import MIB, Acknowledged, Client, sha256, tidy
from tests.end_to_end.replicas import ROOT, Replica, Replicas, until
from tests.end_to_end.test_tus_js_client import SPEED, Killer, check_all, random_file
from tests.end_to_end.tus_js import TusJs
from tests.examples import block

pytestmark = pytest.mark.timeout(120)

WHY_NOT = tus_js.missing()
CURL = shutil.which("curl")

DRAFT_03, DRAFT_05 = {"protocol": "ietf-draft-03"}, {"protocol": "ietf-draft-05"}
KINDS = {
    "one request, draft 05": DRAFT_05,
    "chunks, draft 03": {**DRAFT_03, "chunkSize": 4 * MIB},
    "data during creation, draft 05": {**DRAFT_05, "chunkSize": 4 * MIB, "uploadDataDuringCreation": True},
    "deferred length from a stream, draft 03": {
        **DRAFT_03,
        "chunkSize": 4 * MIB,
        "asStream": True,
        "uploadLengthDeferred": True,
    },
}


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
async def test_tus_js_client_goes_on_after_the_kill_of_a_replica(
    replicas: Replicas, client: Client, tmp_path: Path, options: dict[str, object]
) -> None:
    source = random_file(tmp_path / "source.bin", 20 * MIB + 12_345)
    started = await replicas.start(3)
    async with Balancer(started, SPEED) as balancer:
        killer = Killer(balancer, started)
        async with TusJs(f"{balancer.url}/files", source, metadata={"filename": "whole.bin"}, **options) as upload:
            path = await upload.path()
            for reached in (5 * MIB, 13 * MIB):
                await upload.sent(reached)
                await killer.strike_and_restart(upload)
            assert await upload.succeeds() == path
        assert len(killer.killed) == 2
        assert {answer["status"] for answer in upload.all("answer") if answer["method"] == "PATCH"} >= {201}
        await check_all(client, balancer, replicas, source, "whole.bin", upload, path)


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
@pytest.mark.parametrize("protocol", ["ietf-draft-03", "ietf-draft-05"])
async def test_tus_js_client_that_was_aborted_goes_on_in_another_process(
    replicas: Replicas, client: Client, tmp_path: Path, protocol: str
) -> None:
    source = random_file(tmp_path / "source.bin", 24 * MIB + 77)
    started = await replicas.start(3)
    told = {
        "urlStorage": str(tmp_path / "urls.json"),
        "metadata": {"filename": "whole.bin"},
        "protocol": protocol,
    }
    async with Balancer(started, SPEED) as balancer:
        endpoint, acknowledged = f"{balancer.url}/files", Acknowledged()
        async with TusJs(endpoint, source, **told) as first:
            path = await first.path()
            await first.sent(8 * MIB)
            await first.abort()
            assert not first.finished
        kept = await client.reaches(started[0].url, path, 4 * MIB)
        acknowledged.told(path, kept)
        async with TusJs(endpoint, source, **told) as second:
            assert await second.succeeds() == path
        assert second.check_answers(acknowledged)[0] >= kept
        await check_all(client, balancer, replicas, source, "whole.bin", second, path)


# ---- as iOS does it -----------------------------------------------------------------------------------------------

# What an app says of its upload; the rest is said by URLSession.
METHOD, PATH, NAMING = "POST", "/files", "Content-Disposition"


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, Mapping[str, str]]:
        text = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)).decode()
        first, *lines = text.rstrip().split("\r\n")
        return int(first.split()[1]), dict(line.split(": ", 1) for line in lines)


@asynccontextmanager
async def connection(replica: Replica) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


def complete(version: int) -> str:
    return "Upload-Incomplete: ?0" if version == 3 else "Upload-Complete: ?1"


def request(method: str, path: str, version: int, *lines: str) -> bytes:
    named = f"Upload-Draft-Interop-Version: {version}"
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: test", named, *lines, "", ""]).encode()


@pytest.mark.parametrize("version", [3, 5, 6])
async def test_a_plain_upload_that_learned_its_address_by_104_goes_on_at_another_replica(
    replicas: Replicas, client: Client, tmp_path: Path, version: int
) -> None:
    """URLSession sends an ordinary POST; what it needs to resume it has from the interim answer."""
    source = random_file(tmp_path / "source.bin", 12 * MIB + 5)
    data = source.read_bytes()
    first, second = await replicas.start(2)
    async with connection(first) as sending:
        naming = f'{NAMING}: attachment; filename="whole.bin"'
        size = f"Content-Length: {len(data)}"
        await sending.send(request(METHOD, PATH, version, complete(version), size, naming))
        status, headers = await sending.head()
        assert (status, headers["Upload-Draft-Interop-Version"]) == (104, str(version))
        path = headers["Location"]
        await sending.send(data[: 7 * MIB])

        async def stored() -> int | None:
            offset = (await client.status(second.url, path))["committed_offset"]
            return offset if offset >= 6 * MIB else None

        kept = await until("6 MiB are committed", stored)
        first.kill()
    async with connection(second) as asking:
        await asking.send(request("HEAD", path, version))
        status, headers = await asking.head()
        offset = int(headers["Upload-Offset"])
        assert status == 204
        assert kept <= offset < len(data)
        assert headers["Upload-Incomplete" if version == 3 else "Upload-Complete"] == ("?1" if version == 3 else "?0")
    async with connection(second) as resuming:
        rest = data[offset:]
        told = [complete(version), f"Upload-Offset: {offset}", f"Content-Length: {len(rest)}"]
        await resuming.send(request("PATCH", path, version, *told, "Content-Type: application/partial-upload") + rest)
        status = 104
        while status == 104:
            status, headers = await resuming.head()
        assert (status, headers["Upload-Offset"]) == (201, str(len(data)))
    assert sha256(replicas.data / "whole.bin") == sha256(source)
    await first.start()
    await tidy(replicas.data, ["whole.bin"])


@pytest.mark.skipif(CURL is None, reason="curl is needed; install it")
@pytest.mark.parametrize("version", [3, 6, 9])
async def test_curl_sends_a_file_with_two_headers(replicas: Replicas, tmp_path: Path, version: int) -> None:
    source = random_file(tmp_path / "source.bin", 3 * MIB + 1)
    (replica,) = await replicas.start(1)
    assert CURL is not None
    words = [CURL, "-sS", "-i", "--max-time", "30", "-T", str(source), f"{replica.url}/files"]
    named = f"Upload-Draft-Interop-Version: {version}"
    for header in (named, complete(version), 'Content-Disposition: inline; filename="whole.bin"'):
        words += ["-H", header]
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, check=True)
    said = done.stdout.decode()
    assert said.startswith("HTTP/1.1 104 Upload Resumption Supported\r\n")
    assert "HTTP/1.1 201 Created\r\n" in said
    assert sha256(replicas.data / "whole.bin") == sha256(source)


@pytest.mark.skipif(CURL is None, reason="curl is needed; install it")
async def test_the_example_of_the_page_does_what_it_says(replicas: Replicas, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "ietf-draft.md").read_text()
    (example,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    source = random_file(tmp_path / "movie.mp4", MIB)
    (replica,) = await replicas.start(1)
    words = shlex.split(example.replace("\\\n", " ").replace("http://127.0.0.1:8080", replica.url))
    await asyncio.to_thread(subprocess.run, [*words, "-sS", "--fail"], cwd=tmp_path, capture_output=True, check=True)
    assert sha256(replicas.data / "movie.mp4") == sha256(source)


def swift(library: str) -> str:
    return block(ROOT / "docs" / "clients.md", f"import {library}").text


def test_what_the_page_says_for_ios_is_what_is_sent_here() -> None:
    """No Swift is at hand; what an app says can be compared with what the client above says in its place."""
    example = swift("Foundation")
    (address,) = re.findall(r'URL\(string: "(.*?)"\)', example)
    assert urlsplit(address).path == PATH
    assert re.findall(r'httpMethod = "(.*?)"', example) == [METHOD]
    ((value, name),) = re.findall(r'setValue\("(.*)", forHTTPHeaderField: "(.*?)"\)', example)
    assert name == NAMING
    assert value.replace('\\"', '"') == 'attachment; filename="photo.raw"'


def test_what_the_page_says_for_tuskit_is_where_uploads_are_created() -> None:
    example = swift("TUSKit")
    (address,) = re.findall(r'URL\(string: "(http.*?)"\)', example)
    assert urlsplit(address).path == PATH
    # Becomes Upload-Metadata; by this key the service knows the file's name.
    ((key, name),) = re.findall(r'context: \["(\w+)": "(.*?)"\]', example)
    assert key in NAME_KEYS
    assert name == "photo.raw"
