"""Clients that upload through whichever replica comes, while everything happens; and what they were promised.

Rules: a client tries again after what passes (a lost connection, 409, 423, 503, 507) and after nothing else: any other
answer fails the proof, a 404 for an upload that is there first of all. What an answer has acknowledged is remembered
when it arrives, and no question asked after that may be answered with less. Chance comes from the seed alone.
"""

import asyncio
import hashlib
import json
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from random import Random
from urllib.parse import urlsplit

import aiohttp

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {"Content-Type": "application/offset+octet-stream"}
PASSING = (409, 423, 502, 503, 507)
# A client that hears nothing for so long goes to another replica.
REQUEST_SECONDS = 9.0
PAUSE_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> str:
        try:
            return str(json.loads(self.body)["type"]).rpartition(":")[2]
        except (ValueError, KeyError, TypeError):
            return ""


@dataclass
class Upload:
    name: str
    content: bytes
    path: str = ""
    floor: int = 0
    """the highest offset that anybody was told"""
    done: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass
class Counts:
    answers: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    bytes_sent: int = 0
    slowest: float = 0.0
    """the longest any answer took"""


class Swarm:
    def __init__(self, urls: Sequence[str], seed: int) -> None:
        self.urls = urls
        self.counts = Counts()
        self.uploads: list[Upload] = []
        self._random = Random(f"clients {seed}")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, connect=2.0),
        )

    async def close(self) -> None:
        await self._session.close()

    # ---- one request ------------------------------------------------------------------------------------------------

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes = b"", url: str | None = None
    ) -> Answer | None:
        """Through any replica; None: no answer came."""
        begun = time.monotonic()
        try:
            async with self._session.request(
                method, (url or self._random.choice(self.urls)) + path, headers={**TUS, **headers}, data=BytesIO(data)
            ) as got:
                answer = Answer(got.status, got.headers, await got.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.counts.answers[f"none ({type(error).__name__})"] += 1
            return None
        self.counts.slowest = max(self.counts.slowest, time.monotonic() - begun)
        self.counts.answers[f"{method} {answer.status} {answer.problem}".strip()] += 1
        return answer

    async def _passed(self, answer: Answer | None, good: int, what: str) -> bool:
        """True: it is done. Otherwise it will pass, or the proof has failed."""
        if answer is not None and answer.status == good:
            return True
        assert answer is None or answer.status in PASSING, f"{what}: {answer.status} {answer.body!r}"
        await self._wait_a_little()
        return False

    async def _wait_a_little(self) -> None:
        self.counts.retries += 1
        await asyncio.sleep(PAUSE_SECONDS * self._random.uniform(0.5, 2.0))

    # ---- one upload -------------------------------------------------------------------------------------------------

    async def create(self, upload: Upload, order: str, volume: str = "main") -> None:
        said = {"filename": upload.name, "volume": volume}
        metadata = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in said.items())
        headers = {"Upload-Length": str(len(upload.content)), "Upload-Metadata": metadata, "Upload-Order": order}
        while True:
            answer = await self.ask("POST", "/files", headers)
            if await self._passed(answer, 201, f"creating {upload.name}"):
                assert answer is not None
                upload.path = urlsplit(answer.headers["Location"]).path
                return

    async def head(self, upload: Upload, url: str | None = None) -> int | None:
        floor = upload.floor
        answer = await self.ask("HEAD", upload.path, {}, url=url)
        if answer is None or answer.status in (423, 502):
            # 502 is the load balancer's, when it finds no replica at all.
            return None
        assert answer.status == 200, f"HEAD {upload.path}: {answer.status} {dict(answer.headers)}"
        offset = int(answer.headers["Upload-Offset"])
        assert offset >= floor, f"{upload.path}: byte {floor} was acknowledged, and now it is byte {offset}"
        upload.floor = max(upload.floor, offset)
        return offset

    async def stands_at(self, upload: Upload) -> int:
        """HEAD, until it is answered with an offset."""
        while (offset := await self.head(upload)) is None:
            await self._wait_a_little()
        return offset

    async def patch(self, upload: Upload, offset: int, data: bytes) -> Answer | None:
        self.counts.bytes_sent += len(data)
        answer = await self.ask("PATCH", upload.path, {**BYTES, "Upload-Offset": str(offset)}, data)
        if answer is not None and answer.status == 204:
            assert int(answer.headers["Upload-Offset"]) == offset + len(data)
            upload.floor = max(upload.floor, int(answer.headers["Upload-Committed-Offset"]))
        if answer is not None:
            assert answer.problem != "chunk-conflict", f"{upload.path}: its own bytes are refused: {answer.body!r}"
        return answer

    async def patch_until_taken(self, upload: Upload, offset: int, data: bytes) -> None:
        while not await self._passed(await self.patch(upload, offset, data), 204, f"{upload.path} at {offset}"):
            pass

    async def any_order(self, upload: Upload) -> None:
        """Chunks in any order, three at a time, a part of them twice."""
        await self.create(upload, "any")
        cuts = sorted({0, len(upload.content), *self._cuts(len(upload.content))})
        chunks = list(pairwise(cuts))
        chunks += self._random.sample(chunks, len(chunks) // 3)
        self._random.shuffle(chunks)

        async def send_some() -> None:
            while chunks:
                start, end = chunks.pop()
                await self.patch_until_taken(upload, start, upload.content[start:end])

        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(send_some())
        await self._until_published(upload)

    async def sequential(self, upload: Upload) -> None:
        """As every TUS client does: HEAD, the rest in one body, and again."""
        await self.create(upload, "sequential")
        while (offset := await self.stands_at(upload)) != len(upload.content):
            end = min(len(upload.content), offset + self._random.choice((1 << 18, 1 << 20, 1 << 30)))
            await self._passed(await self.patch(upload, offset, upload.content[offset:end]), 204, upload.path)
        upload.done = True

    async def contradicted(self, upload: Upload) -> None:
        """Somebody else sends other bytes to the same place, after ours were promised: they must be refused."""
        await self.create(upload, "any")
        half = len(upload.content) // 2
        await self.patch_until_taken(upload, 0, upload.content[:half])
        others = bytes(byte ^ 0xFF for byte in upload.content[:half])
        answer = await self.ask("PATCH", upload.path, {**BYTES, "Upload-Offset": "0"}, others)
        assert answer is None or answer.status in PASSING, f"{upload.path}: other bytes were taken: {answer}"
        await self.patch_until_taken(upload, half, upload.content[half:])
        await self._until_published(upload)

    def _cuts(self, length: int) -> list[int]:
        return [self._random.randrange(length) for _ in range(self._random.randint(2, 12))]

    async def _until_published(self, upload: Upload) -> None:
        while await self.stands_at(upload) != len(upload.content):
            await self._wait_a_little()
        upload.done = True

    # ---- all of them ------------------------------------------------------------------------------------------------

    async def upload_until(self, stop: asyncio.Event, at_once: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(at_once):
                tasks.create_task(self._one_after_the_other(stop, number))

    async def _one_after_the_other(self, stop: asyncio.Event, number: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            await self.one(f"client{number}-{count}.bin", self._random.randint(1_000, 1_500_000))

    async def one(self, name: str, size: int) -> Upload:
        upload = Upload(name, self._random.randbytes(size))
        self.uploads.append(upload)
        kind = self._random.choice((self.any_order, self.any_order, self.sequential, self.contradicted))
        self.counts.kinds[kind.__name__] += 1
        await kind(upload)
        return upload
