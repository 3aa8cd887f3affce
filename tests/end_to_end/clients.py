"""Clients that a test holds by the hand: whole requests by aiohttp, and one whose body is sent piece by piece.

Rules: an upload is named by its path on the service, because it is asked about through several replicas. What any
answer has acknowledged is remembered for each upload, and no later HEAD may say less: every HEAD here checks it.
"""

import asyncio
import hashlib
import io
import json
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from tests.end_to_end.replicas import MANAGER_SECRET, until

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {"Content-Type": "application/offset+octet-stream"}

MIB = 1 << 20

# What a client that does not give up meets on the way: tus-js-client tries again on these, and after a lost connection.
PASSING = (409, 423, 500, 502, 503, 507)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def offset(self) -> int:
        return int(self.headers["Upload-Offset"])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Acknowledged:
    """The highest offset that anybody was told, by upload; asked before a HEAD, it may not be undercut by it."""

    floors: dict[str, int] = field(default_factory=dict)

    def floor(self, path: str) -> int:
        return self.floors.get(path, 0)

    def told(self, path: str, offset: int, floor: int = 0) -> None:
        assert offset >= floor, f"{path}: byte {floor} was acknowledged, and now it is byte {offset}"
        self.floors[path] = max(self.floor(path), offset)


class Client:
    def __init__(self, **always: str) -> None:
        """`always`: headers of every request."""
        # One connection a request, so that none is lost by being kept while its replica is killed.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), timeout=aiohttp.ClientTimeout(60), headers=always
        )
        self.acknowledged = Acknowledged()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> Answer:
        # As a stream: aiohttp warns of long bodies that are bytes.
        body = None if data is None else io.BytesIO(data)
        async with self._session.request(method, url, headers=headers, data=body, allow_redirects=False) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    # ---- plain TUS ----------------------------------------------------------------------------------------------

    async def create(self, base: str, length: int | None, **said: str) -> str:
        """`said`: the metadata. The path of the new upload."""
        answer = await self.try_to_create(base, length, **said)
        assert answer.status == 201, answer
        return urlsplit(answer.headers["Location"]).path

    async def try_to_create(self, base: str, length: int | None, **said: str) -> Answer:
        long = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        metadata = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in said.items())
        return await self.ask("POST", f"{base}/files", {**TUS, **long, "Upload-Metadata": metadata})

    # ---- sessions -----------------------------------------------------------------------------------------------

    async def open_session(self, manager: str, vfid: str, relpath: str, size: int) -> str:
        """What the manager of an existing deployment does; the path of the session's upload."""
        body = {"volume": "main", "vfid": vfid, "relpath": relpath, "size": size}
        answer = await self.ask(
            "POST",
            f"{manager}/folder/file/upload",
            {"X-BackendAI-Storage-Auth-Token": MANAGER_SECRET, "Content-Type": "application/json"},
            json.dumps(body).encode(),
        )
        assert answer.status == 200, answer
        return f"/upload?token={answer.json['token']}"

    # ---- both ---------------------------------------------------------------------------------------------------

    async def head(self, base: str, path: str) -> Answer:
        floor = self.acknowledged.floor(path)
        answer = await self.ask("HEAD", base + path, TUS)
        if answer.status == 200:
            self.acknowledged.told(path, answer.offset, floor)
        return answer

    async def offset(self, base: str, path: str) -> int:
        answer = await self.head(base, path)
        assert answer.status == 200, answer
        return answer.offset

    async def patch(self, base: str, path: str, offset: int, data: bytes, **headers: str) -> Answer:
        answer = await self.ask(
            "PATCH", base + path, {**TUS, **BYTES, "Upload-Offset": str(offset), **headers}, data or b""
        )
        if answer.status == 204:
            assert answer.offset == offset + len(data), answer
            self.acknowledged.told(path, int(answer.headers["Upload-Committed-Offset"]))
        return answer

    async def patch_until_taken(self, base: str, path: str, offset: int, data: bytes, seconds: float = 40.0) -> None:
        """One chunk, as often as it needs."""

        async def taken() -> bool:
            try:
                answer = await self.patch(base, path, offset, data)
            except (aiohttp.ClientError, TimeoutError):
                return False
            assert answer.status == 204 or answer.status in PASSING, answer
            return answer.status == 204

        await until(f"the chunk at {offset} is taken", taken, seconds)

    async def status(self, base: str, path: str) -> Any:
        where, _, query = path.partition("?")
        answer = await self.ask("GET", f"{base}{where}/status" + (f"?{query}" if query else ""))
        assert answer.status == 200, answer
        return answer.json

    async def reaches(self, base: str, path: str, offset: int, seconds: float = 20.0) -> int:
        """Wait until HEAD says at least that."""

        async def there() -> tuple[int] | None:
            answer = await self.head(base, path)
            assert answer.status in (200, 423), answer
            return (answer.offset,) if answer.status == 200 and answer.offset >= offset else None

        return (await until(f"byte {offset} is acknowledged", there, seconds))[0]

    async def finish(self, bases: Sequence[str], path: str, data: bytes, seconds: float = 40.0) -> None:
        """Go on from where HEAD says, through one replica after the other, until it says that all is there."""
        deadline = time.monotonic() + seconds
        turn = 0
        while True:
            assert time.monotonic() < deadline, f"{path} could not be finished in {seconds:.0f} s"
            base, turn = bases[turn % len(bases)], turn + 1
            try:
                answer = await self.head(base, path)
                if answer.status == 200:
                    if answer.offset == len(data):
                        return
                    answer = await self.patch(base, path, answer.offset, data[answer.offset :])
                assert answer.status in (204, *PASSING), answer
                if answer.status != 204:
                    await asyncio.sleep(0.05)
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.05)


class OpenPatch:
    """A PATCH of which the test sends as much as it likes, when it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunked: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._chunked = chunked

    @classmethod
    async def begin(cls, base: str, path: str, offset: int, length: int | None, **headers: str) -> "OpenPatch":
        """`length`: of the body; None sends it chunked."""
        at = urlsplit(base)
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        framing = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
        said = {"Host": at.netloc, **TUS, **BYTES, "Upload-Offset": str(offset), **framing, **headers}
        lines = [f"PATCH {path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()
        return cls(reader, writer, length is None)

    async def __aenter__(self) -> "OpenPatch":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.transport.abort()

    @property
    def local_port(self) -> int:
        port: int = self._writer.get_extra_info("sockname")[1]
        return port

    async def send(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        await self._writer.drain()

    async def send_what_is_taken(self, data: bytes) -> None:
        """For a replica that may have answered, or hung up, already."""
        try:
            await self.send(data)
        except OSError:
            pass  # nobody is there to take it

    async def end(self) -> None:
        """The end of a chunked body."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def hang_up(self) -> None:
        """Everything that was sent arrives, and then the end of the connection in the middle of the body."""
        self._writer.close()
        await self._writer.wait_closed()

    async def answer(self, seconds: float = 20.0) -> Answer:
        async with asyncio.timeout(seconds):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = CIMultiDict(
                (name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:] if line)
            )
            body = await self._reader.readexactly(int(headers.get("Content-Length", "0")))
        return Answer(int(head[0].split(" ")[1]), CIMultiDictProxy(headers), body)

    async def was_cut(self, seconds: float = 20.0) -> bool:
        """The connection ends without an answer."""
        async with asyncio.timeout(seconds):
            try:
                return await self._reader.read(1) == b""
            except OSError:
                return True


# ---- what is on the share -------------------------------------------------------------------------------------------


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def leftovers(data: Path, published: Sequence[str]) -> list[str]:
    """Everything on the volume that is neither a published file nor the record of one, or of its Idempotency-Key."""
    keys = {record["repeat"]["name"] for record in records(data) if "repeat" in record}
    found = sorted(path.relative_to(data).as_posix() for path in data.rglob("*") if not path.is_dir())
    expected = {"info.json", "lock"}
    return [
        name
        for name in found
        if name not in published
        and name not in (".uploads/janitor.lock", ".uploads/probe.lock")
        and not name.startswith(".uploads/notes/")
        and not (name.startswith(".uploads/repeats/") and name.rpartition("/")[2] in keys)
        and not (name.startswith(".uploads/") and name.count("/") == 3 and name.rpartition("/")[2] in expected)
    ]


def records(data: Path) -> list[Any]:
    """The manifests on the volume, read as another program would."""
    return [json.loads(path.read_text()) for path in data.glob(".uploads/*/*/info.json")]


async def tidy(data: Path, published: Sequence[str], seconds: float = 30.0, ended: int = 0) -> None:
    """Wait until the janitors have swept; then there is one record for each published file, and nothing else but
    those of uploads that their client has ended."""
    left: list[str] = []

    async def nothing_left() -> bool:
        left[:] = leftovers(data, published)
        return not left

    try:
        await until("tidy", nothing_left, seconds)
    except AssertionError as error:
        raise AssertionError(f"left behind on the volume: {left}") from error
    phases = sorted(record["phase"] for record in records(data))
    assert phases == ["published"] * len(published) + ["terminated"] * ended
