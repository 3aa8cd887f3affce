"""tus-js-client in a Node process of its own, as an object with its events."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.end_to_end.clients import Acknowledged

HERE = Path(__file__).parent
NODE = shutil.which("node")

# Like its own 0, 1, 3, 5 s, but for a test that has no time.
RETRY_DELAYS = [0, 100, 200, 400, 800, 1600, 3200]

Event = Mapping[str, Any]


def missing() -> str | None:
    """Why these tests cannot run here; None when they can."""
    if NODE is None:
        return "node is not on the path; install Node.js 18 or newer, with npm"
    if not (HERE / "node_modules" / "tus-js-client").is_dir():
        return f"tus-js-client is not installed; `make test` does it, or `npm install` in {HERE.name}"
    return None


class TusJs:
    def __init__(self, endpoint: str, file: Path, **options: object) -> None:
        self._options = {"endpoint": endpoint, "file": str(file), "retryDelays": RETRY_DELAYS, **options}
        self._heard = asyncio.Condition()
        self._ended = False
        self.events: list[Event] = []

    async def __aenter__(self) -> "TusJs":
        assert NODE is not None
        process = await asyncio.create_subprocess_exec(
            NODE,
            str(HERE / "upload.mjs"),
            json.dumps(self._options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        self._started = process, asyncio.create_task(self._listen(process.stdout))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, listening = self._started
        if process.returncode is None:
            try:
                process.kill()
            except ProcessLookupError:
                pass  # it has just ended
        assert process.stdin is not None
        process.stdin.close()
        await listening
        await process.wait()

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            async with self._heard:
                self.events.append(json.loads(line))
                self._heard.notify_all()
        async with self._heard:
            self._ended = True
            self._heard.notify_all()

    # ---- what it says -------------------------------------------------------------------------------------------

    def all(self, event: str) -> list[Event]:
        return [each for each in self.events if each["event"] == event]

    async def says(self, event: str, fits: Callable[[Event], bool] = lambda _: True, seconds: float = 60.0) -> Event:
        """Wait for the first such event."""
        deadline = time.monotonic() + seconds
        looked = 0
        async with self._heard:
            while True:
                for each in self.events[looked:]:
                    if each["event"] == event and fits(each):
                        return each
                looked = len(self.events)
                assert not self._ended, f"tus-js-client ended without {event!r}: {self._tail()}"
                try:
                    await asyncio.wait_for(self._heard.wait(), max(0.0, deadline - time.monotonic()))
                except TimeoutError:
                    raise AssertionError(f"no {event!r} in {seconds:.0f} s: {self._tail()}") from None

    async def sent(self, count: int) -> None:
        """Wait until it has handed so many bytes to the network."""
        await self.says("progress", lambda event: event["sent"] >= count)

    async def path(self) -> str:
        return urlsplit((await self.says("url"))["url"]).path

    async def succeeds(self, seconds: float = 90.0) -> str:
        """Wait for the end; the path of the upload."""
        return urlsplit((await self.says("success", seconds=seconds))["url"]).path

    async def abort(self, *, terminate: bool = False) -> None:
        process, _ = self._started
        assert process.stdin is not None
        process.stdin.write(b"terminate\n" if terminate else b"abort\n")
        await process.stdin.drain()
        await self.says("aborted")

    @property
    def finished(self) -> bool:
        return bool(self.all("success"))

    def _tail(self) -> str:
        return "\n".join(json.dumps(event) for event in self.events[-20:])

    # ---- what it was told ---------------------------------------------------------------------------------------

    def check_answers(self, acknowledged: Acknowledged | None = None) -> list[int]:
        """No answer took back what an earlier one had acknowledged; the offsets that HEAD said."""
        return check_answers(self.all("answer"), acknowledged or Acknowledged())


def check_answers(answers: Sequence[Event], acknowledged: Acknowledged) -> list[int]:
    """No answer took back what an earlier one had acknowledged; the offsets that HEAD said."""
    heads: list[int] = []
    for answer in answers:
        path = urlsplit(answer["url"]).path
        # tus-js-client starts over from byte 0 at any other answer.
        assert answer["method"] != "HEAD" or answer["status"] in (200, 204, 423), answer
        if answer["method"] == "HEAD" and answer["status"] in (200, 204):
            heads.append(answer["offset"])
            acknowledged.told(path, answer["offset"], acknowledged.floor(path))
        elif answer["method"] == "PATCH" and answer["status"] in (201, 204):
            acknowledged.told(path, answer["offset"], acknowledged.floor(path))
    return heads
