"""TUS 1.0 with all its extensions, in memory: the proof that every clause can be kept by one and the same server.

Rules: no robustness, no speed, one request on a connection; what the specification demands, and nothing else. It reads
the connection itself, because HTTP libraries do not hand on trailers.
"""

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import urlsplit

from .subject import INTEGER, OFFSET_STREAM, parsed_metadata

EXTENSIONS = (
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,termination,"
    "concatenation,concatenation-unfinished"
)
MAX_SIZE = 2**40
EXPIRES_AFTER = 3600.0

Fields = dict[str, str]


class Refusal(Exception):
    def __init__(self, status: int, **fields: str) -> None:
        self.status = status
        self.fields = {name.replace("_", "-"): value for name, value in fields.items()}


@dataclass
class Upload:
    length: int | None
    metadata: str | None = None
    concat: str | None = None
    parts: "tuple[Upload, ...] | None" = None
    own: bytearray = field(default_factory=bytearray)

    @property
    def data(self) -> bytes:
        return bytes(self.own) if self.parts is None else b"".join(part.data for part in self.parts)

    @property
    def size(self) -> int | None:
        if self.parts is None:
            return self.length
        sizes = [part.size for part in self.parts]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def complete(self) -> bool:
        return len(self.data) == self.size

    def fields(self) -> Fields:
        told: Fields = {"Cache-Control": "no-store"}
        if self.parts is None or self.complete:
            told["Upload-Offset"] = str(len(self.data))
        if self.size is not None:
            told["Upload-Length"] = str(self.size)
        elif self.parts is None:
            told["Upload-Defer-Length"] = "1"
        optional = {"Upload-Metadata": self.metadata, "Upload-Concat": self.concat}
        return told | {name: value for name, value in optional.items() if value}


@dataclass
class Exchange:
    method: str
    path: str
    fields: Fields
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    trailers: Fields = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        return self.fields.get(name.lower())

    def integer(self, name: str) -> int | None:
        text = self.get(name)
        if text is not None and not INTEGER.fullmatch(text):
            raise Refusal(400)
        return None if text is None else int(text)

    async def body(self) -> AsyncIterator[bytes]:
        if self.get("Expect"):
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.get("Transfer-Encoding") is None:
            left = self.integer("Content-Length") or 0
            while left and (piece := await self.reader.read(min(left, 65536))):
                left -= len(piece)
                yield piece
            if left:
                raise EOFError
            return
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        while line := (await self.reader.readuntil(b"\r\n")).decode().strip():
            name, _, value = line.partition(":")
            self.trailers[name.lower()] = value.strip()


class Model:
    def __init__(self) -> None:
        self._uploads: dict[str, Upload] = {}
        self._made = 0

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
            pairs = (line.partition(":") for line in lines)
            fields = {name.lower(): value.strip() for name, _, value in pairs}
            method, target, _ = first.split(" ")
            exchange = Exchange(
                fields.get("x-http-method-override", method), urlsplit(target).path, fields, reader, writer
            )
            status, told, body = await self._answer(exchange)
            told = {"Tus-Resumable": "1.0.0", "Connection": "close"} | told
            if status != 204 and exchange.method != "HEAD":
                told["Content-Length"] = str(len(body))
            head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
            writer.write(f"HTTP/1.1 {status} -\r\n{head}\r\n".encode("latin-1") + body)
            writer.write_eof()
            # What is still coming must be read, or the answer may be lost to a reset.
            while await reader.read(65536):
                pass
        except (OSError, EOFError):
            pass  # the client went away
        finally:
            writer.close()

    async def _answer(self, exchange: Exchange) -> tuple[int, Fields, bytes]:
        try:
            return await self._dispatch(exchange)
        except Refusal as refusal:
            return refusal.status, refusal.fields, b""

    async def _dispatch(self, exchange: Exchange) -> tuple[int, Fields, bytes]:
        if exchange.method == "OPTIONS":
            offer = {"Tus-Version": "1.0.0", "Tus-Extension": EXTENSIONS, "Tus-Max-Size": str(MAX_SIZE)}
            return 204, offer | {"Tus-Checksum-Algorithm": "sha1"}, b""
        if exchange.method != "GET" and exchange.get("Tus-Resumable") != "1.0.0":
            raise Refusal(412, Tus_Version="1.0.0")
        if exchange.method == "POST":
            return await self._create(exchange)
        upload = self._find(exchange.path)
        match exchange.method:
            case "HEAD":
                return 200, upload.fields(), b""
            case "PATCH":
                return await self._patch(exchange, upload)
            case "DELETE":
                del self._uploads[exchange.path]
                return 204, {}, b""
        return (200, {}, upload.data) if upload.complete else (409, {}, b"")

    def _find(self, path: str) -> Upload:
        if path not in self._uploads:
            raise Refusal(404)
        return self._uploads[path]

    # ---- POST -------------------------------------------------------------------------------------------------------

    async def _create(self, exchange: Exchange) -> tuple[int, Fields, bytes]:
        metadata = exchange.get("Upload-Metadata")
        if metadata and parsed_metadata(metadata) is None:
            raise Refusal(400)
        upload = self._wanted(exchange)
        upload.metadata, upload.concat = metadata, exchange.get("Upload-Concat")
        self._made += 1
        path = f"/files/{self._made:032x}"
        told = {"Location": path, "Upload-Expires": _expires()}
        if exchange.get("Content-Type") == OFFSET_STREAM:
            await self._receive(exchange, upload)
            told["Upload-Offset"] = str(len(upload.own))
        self._uploads[path] = upload
        return 201, told, b""

    def _wanted(self, exchange: Exchange) -> Upload:
        concat = exchange.get("Upload-Concat")
        if concat is not None and concat != "partial":
            kind, _, urls = concat.partition(";")
            if kind != "final" or not urls:
                raise Refusal(400)
            return Upload(None, parts=tuple(self._find(urlsplit(url).path) for url in urls.split(" ")))
        length, deferred = exchange.integer("Upload-Length"), exchange.get("Upload-Defer-Length")
        if (length is None) == (deferred is None) or deferred not in (None, "1"):
            raise Refusal(400)
        if length is not None and length > MAX_SIZE:
            raise Refusal(413)
        return Upload(length)

    # ---- PATCH ------------------------------------------------------------------------------------------------------

    async def _patch(self, exchange: Exchange, upload: Upload) -> tuple[int, Fields, bytes]:
        if upload.parts is not None:
            raise Refusal(403)
        if exchange.get("Content-Type") != OFFSET_STREAM:
            raise Refusal(415)
        offset = exchange.integer("Upload-Offset")
        if offset is None:
            raise Refusal(400)
        if offset != len(upload.own):
            raise Refusal(409)
        length = exchange.integer("Upload-Length")
        if length is not None and length != upload.length:
            if upload.length is not None or length < len(upload.own):
                raise Refusal(400)
            upload.length = length
        await self._receive(exchange, upload)
        return 204, {"Upload-Offset": str(len(upload.own)), "Upload-Expires": _expires()}, b""

    async def _receive(self, exchange: Exchange, upload: Upload) -> None:
        room = MAX_SIZE if upload.length is None else upload.length - len(upload.own)
        if (exchange.integer("Content-Length") or 0) > room:
            raise Refusal(413)
        checksum = exchange.get("Upload-Checksum")
        _check_known(checksum)
        # Unverified bytes wait; others are the upload's as they come, and stay when the rest does not.
        taken = upload.own if checksum is None and exchange.get("Trailer") is None else bytearray()
        begin = len(taken)
        async for piece in exchange.body():
            if len(taken) - begin + len(piece) > room:
                raise Refusal(413)
            taken += piece
        checksum = checksum or exchange.trailers.get("upload-checksum")
        _check_known(checksum)
        if checksum is not None and checksum != f"sha1 {_sha1(bytes(taken[begin:]))}":
            raise Refusal(460)
        if taken is not upload.own:
            upload.own += taken


def _check_known(checksum: str | None) -> None:
    if checksum is not None and not checksum.startswith("sha1 "):
        raise Refusal(400)


def _sha1(data: bytes) -> str:
    return base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def _expires() -> str:
    return formatdate(time.time() + EXPIRES_AFTER, usegmt=True)


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Tells where uploads are created."""
    server = await asyncio.start_server(Model().connection, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/files"
    finally:
        server.close()
