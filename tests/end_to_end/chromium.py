"""A headless Chromium, told what to do by its DevTools protocol.

Rules: a fresh profile for each browser, which may be killed and started again on it; input goes in as a person's does
(keys, clicks, files dropped from the disk); everything that the page says is wrong (exceptions, refused by its policy)
is collected, and `check_quiet` fails on it. A browser is only ever signalled by its process id.
"""

import asyncio
import base64
import json
import os
import shutil
import signal
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from tests.end_to_end.replicas import until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "Space": (32, " ")}
SHIFT = 8


def missing() -> str | None:
    """Why these tests cannot run here; None when they can."""
    return None if CHROMIUM else "chromium is not on the path; install it (on Debian: apt install chromium)"


class Chromium:
    name = "Chromium's tabs"

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._tabs: dict[str, Tab] = {}
        self._count = 0

    async def __aenter__(self) -> "Chromium":
        assert CHROMIUM is not None
        self._profile.mkdir(exist_ok=True)
        (self._profile / "DevToolsActivePort").unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={self._profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        port, path = await until("Chromium listens", self._address, 60)
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL to the browser and all its processes: a crash, as far as the page can tell."""
        if self._process.returncode is None:
            # The group is its own (start_new_session), and has this id as long as the leader was not waited for.
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._socket.close()
        await self._session.close()

    async def _address(self) -> tuple[str, str] | None:
        try:
            port, path = (self._profile / "DevToolsActivePort").read_text().splitlines()
        except (OSError, ValueError):
            return None
        return port, path

    async def tab(self, url: str, width: int = 1200, height: int = 900) -> "Tab":
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        tab = Tab(self, session)
        self._tabs[session] = tab
        for domain in ("Page", "Runtime", "Log", "DOM"):
            await tab.call(f"{domain}.enable")
        await tab.size(width, height)
        await tab.go(url)
        return tab

    def last_lines(self, count: int = 30) -> str:
        """What its tabs have said, to be shown when a test fails."""
        return "\n".join(line for tab in self._tabs.values() for line in tab.said[-count:])

    async def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        answer = self._calls[self._count] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(message)
        return await asyncio.wait_for(answer, 30)

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" not in told:
                if (tab := self._tabs.get(told.get("sessionId", ""))) is not None:
                    tab.heard(told["method"], told["params"])
                continue
            answer = self._calls.pop(told["id"])
            if answer.done():
                continue
            if "error" in told:
                answer.set_exception(AssertionError(f"DevTools: {told['error']}"))
            else:
                answer.set_result(told["result"])


class Tab:
    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self._loaded = asyncio.Event()
        self._answers: set[asyncio.Task[Any]] = set()
        self._chosen: list[str] = []
        self.complaints: list[str] = []
        self.said: list[str] = []
        """everything on its console, complaints of the browser's included"""

    async def call(self, method: str, **parameters: Any) -> Any:
        return await self._browser.call(method, self._session, **parameters)

    def heard(self, method: str, facts: Any) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Page.javascriptDialogOpening":  # "leave the page?": yes
                self._meanwhile(self.call("Page.handleJavaScriptDialog", accept=True))
            case "Page.fileChooserOpened":
                self._meanwhile(
                    self.call("DOM.setFileInputFiles", backendNodeId=facts["backendNodeId"], files=self._chosen)
                )
            case "Runtime.consoleAPICalled":
                words = (str(each.get("value", each.get("description"))) for each in facts["args"])
                self.said.append(f"{facts['type']}: {' '.join(words)}")
            case "Runtime.exceptionThrown":
                details = facts["exceptionDetails"]
                self._complain(details.get("exception", {}).get("description") or details["text"])
            case "Log.entryAdded" if facts["entry"]["source"] == "security":
                self._complain(facts["entry"]["text"])
            case "Log.entryAdded":
                self.said.append(f"{facts['entry']['level']}: {facts['entry']['text']} {facts['entry'].get('url', '')}")

    def _complain(self, words: str) -> None:
        self.complaints.append(words)
        self.said.append(words)

    def _meanwhile(self, answer: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(answer)
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    def check_quiet(self) -> None:
        assert self.complaints == []

    # ---- looking ------------------------------------------------------------------------------------------------

    async def evaluate(self, expression: str) -> Any:
        told = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, expression: str, seconds: float = 30.0) -> Any:
        return await until(f"the page has {expression}", lambda: self.evaluate(expression), seconds)

    async def text(self, selector: str) -> str:
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def says(self, selector: str, words: str, seconds: float = 30.0) -> None:
        try:
            await self.until(
                f"[...document.querySelectorAll({json.dumps(selector)})].some(e => "
                f"e.innerText.includes({json.dumps(words)}))",
                seconds,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; there is: {await self.text('body')}") from None

    async def picture(self) -> bytes:
        """As PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])

    # ---- doing --------------------------------------------------------------------------------------------------

    async def go(self, url: str) -> None:
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), 30)

    async def reload(self) -> None:
        self._loaded.clear()
        await self.call("Page.reload")
        await asyncio.wait_for(self._loaded.wait(), 30)

    async def close(self) -> None:
        await self.call("Page.close")

    async def size(self, width: int, height: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    async def has_touch(self) -> None:
        """A finger instead of a mouse, from the next page on."""
        await self.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=1)
        await self.call("Emulation.setEmitTouchEventsForMouse", enabled=False)

    async def tap(self, expression: str) -> None:
        """The middle of this element."""
        at = await self.evaluate(
            f"(element => {{ element.scrollIntoView({{block: 'center'}}); const box = element.getBoundingClientRect();"
            f"return {{x: box.x + box.width / 2, y: box.y + box.height / 2}} }})({expression})"
        )
        await self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[at])
        await self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    async def click(self, selector: str) -> None:
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def press(self, key: str, *, shift: bool = False) -> None:
        code, text = KEYS[key]
        facts = {"key": text if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code}
        held = {"modifiers": SHIFT if shift else 0}
        await self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **facts, **held)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **facts, **held)

    async def type(self, text: str) -> None:
        await self.call("Input.insertText", text=text)

    async def choose(self, selector: str, paths: Sequence[Path]) -> None:
        """What a person does in the dialog that an `<input type=file>` opens."""
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.call("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        await self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    async def answer_file_dialogs(self, paths: Sequence[Path]) -> None:
        """Whenever an input opens its dialog, these are chosen."""
        self._chosen = [str(path) for path in paths]
        await self.call("Page.setInterceptFileChooserDialog", enabled=True)

    async def prefer(self, scheme: str) -> None:
        """And nothing that moves, so that no picture meets it half way."""
        wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def drop(self, paths: Sequence[Path]) -> None:
        """Drag files and folders from the disk onto the middle of the page."""
        at = {"x": 400, "y": 300}
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            await self.call("Input.dispatchDragEvent", type=kind, **at, data=data)
