"""A replica under test: the real application on a real directory, and short ways to talk to it."""

import asyncio
import base64
import io
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from storage_proxy.app import SERVICE, build
from storage_proxy.operations.service import Service
from storage_proxy.server.connections import Runner
from storage_proxy.settings import Settings

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}

# Loaded machines are slow; only a test that is going to fail ever waits so long.
PATIENCE_SECONDS = 20.0

Client = TestClient[web.Request, web.Application]


class Start(Protocol):
    async def __call__(self, **sections: Any) -> "Proxy": ...


def settings_for(directory: Path, **sections: Any) -> Settings:
    # As with a key: what is not about origins is tested from any.
    sections.setdefault("cors", {"origins": ["*"]})
    quick = {"drain_seconds": 5.0, "event_loop": "asyncio", **sections.pop("server", {})}
    return Settings(server=quick, volumes={"main": {"path": directory}} | sections.pop("volumes", {}), **sections)


class Served(TestServer):
    """Started as `app` starts it."""

    async def _make_runner(self, **kwargs: Any) -> Runner:
        return Runner(self.app, **kwargs)


@dataclass
class Proxy:
    client: Client
    directory: Path

    @classmethod
    async def start(cls, aiohttp_client: Callable[..., Awaitable[Client]], directory: Path, **sections: Any) -> "Proxy":
        app = build(settings_for(directory, **sections))
        return cls(await aiohttp_client(Served(app, skip_url_asserts=True)), directory)

    @property
    def service(self) -> Service:
        return self.client.app[SERVICE]

    @property
    def port(self) -> int:
        port = self.client.port
        assert port is not None
        return port

    async def create(self, length: int | None = None, name: str = "file.bin", **headers: str) -> str:
        """The path of a new upload."""
        size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        answer = await self.client.post(
            "/files", headers={**TUS, **size, "Upload-Metadata": metadata(filename=name), **headers}
        )
        assert answer.status == 201, await answer.text()
        return answer.headers["Location"]

    async def patch(self, path: str, offset: int, data: bytes, **headers: str) -> ClientResponse:
        # aiohttp's client warns of large bodies that are not read from something.
        content = io.BytesIO(data) if data else data
        return await self.client.patch(path, data=content, headers={**BYTES, "Upload-Offset": str(offset), **headers})

    async def offset(self, path: str) -> int | None:
        """What HEAD says; None while it says 423."""
        answer = await self.client.head(path, headers=TUS)
        if answer.status == 423:
            return None
        assert answer.status == 200, answer.status
        return int(answer.headers["Upload-Offset"])

    async def raw(self, head: str, body: bytes = b"") -> "Raw":
        """A connection of one's own, with this request's beginning sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n" + body)
        await writer.drain()
        return Raw(reader, writer)


@dataclass
class Raw:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        text = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)).decode()
        first, *lines = text.rstrip().split("\r\n")
        return int(first.split()[1]), dict(line.split(": ", 1) for line in lines)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), PATIENCE_SECONDS)

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass  # the other side was faster


def metadata(**fields: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in fields.items())


def opening(method: str, path: str, *lines: str) -> str:
    return "\n".join([f"{method} {path} HTTP/1.1", "Host: test", "Tus-Resumable: 1.0.0", *lines, ""])


def patch_opening(path: str, offset: int, length: int, *lines: str) -> str:
    return opening(
        "PATCH",
        path,
        f"Upload-Offset: {offset}",
        f"Content-Length: {length}",
        "Content-Type: application/offset+octet-stream",
        *lines,
    )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 # it is on the other side of a connection, or on the disk
            await asyncio.sleep(0.01)


async def problem(answer: ClientResponse, status: int, slug: str) -> dict[str, Any]:
    """The body of a refusal, after checking all that every refusal has."""
    assert answer.status == status, (answer.status, await answer.text())
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Upload-Offset" in answer.headers["Access-Control-Expose-Headers"]
    assert answer.headers["X-Request-ID"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(await answer.text())
    assert body["type"] in (f"urn:storage-proxy:problem:{slug}", slug)
    assert body["status"] == status
    assert body["title"]
    assert body["detail"].endswith(".")
    assert not re.search(r"\.\.(\s|$)", body["detail"]), "a sentence within a sentence"
    return body


def leftovers(directory: Path) -> list[Path]:
    """Data files of uploads that are still there."""
    return list((directory / ".uploads").rglob("*.dat"))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())
