"""tus-js-client and Uppy in a real browser: a page that does as it is told (clients_page.js), from its own origin.

Rules: what the page runs is what pages run, tus-js-client's browser build as it comes from npm and Uppy bundled by
esbuild. The page's origin is never that of the service, so that everything goes through CORS.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.end_to_end import chromium
from tests.end_to_end.chromium import Chromium, Tab
from tests.end_to_end.tus_js import HERE, RETRY_DELAYS

NEEDED = ("tus-js-client", "@uppy/core", "@uppy/tus", "esbuild")


def missing() -> str | None:
    """Why this cannot be run here; None when it can."""
    absent = [name for name in NEEDED if not (HERE / "node_modules" / name).is_dir()]
    if absent:
        return f"not installed: {', '.join(absent)}; `make test` does it, or `npm install` in {HERE.name}"
    return chromium.missing()


@asynccontextmanager
async def page_server(directory: Path) -> AsyncIterator[str]:
    """The address of the page; `directory` gets what is built for it."""
    built = await asyncio.to_thread(_bundle, directory / "uppy.js")
    files = {
        "/": HERE / "clients_page.html",
        "/clients_page.js": HERE / "clients_page.js",
        "/tus.min.js": HERE / "node_modules" / "tus-js-client" / "dist" / "tus.min.js",
        "/uppy.js": built,
    }

    async def file(request: web.Request) -> web.FileResponse:
        return web.FileResponse(files[request.path])

    app = web.Application()
    for path in files:
        app.router.add_get(path, file)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


def _bundle(file: Path) -> Path:
    esbuild = [str(HERE / "node_modules" / ".bin" / "esbuild"), "--bundle", "--log-level=warning"]
    subprocess.run([*esbuild, "uppy_bundle.mjs", "--global-name=Uppy", f"--outfile={file}"], cwd=HERE, check=True)
    return file


class ClientsPage:
    """One tab with that page; uploads are named by their files."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    @classmethod
    async def open(cls, browser: Chromium, address: str) -> "ClientsPage":
        return cls(await browser.tab(address))

    async def close(self) -> None:
        await self._tab.close()

    async def reload(self) -> None:
        await self._tab.reload()

    async def choose(self, *files: Path) -> None:
        await self._tab.choose("input", files)

    async def begin(self, file: Path, endpoint: str, **options: object) -> None:
        said = {"endpoint": endpoint, "retryDelays": RETRY_DELAYS, "storeFingerprintForResuming": False, **options}
        await self._tab.evaluate(f"begin({json.dumps(file.name)}, {json.dumps(said)})")

    async def begin_with_uppy(self, files: Sequence[Path], endpoint: str, **options: object) -> None:
        said = {"endpoint": endpoint, "retryDelays": RETRY_DELAYS, **options}
        await self._tab.evaluate(f"beginWithUppy({json.dumps([file.name for file in files])}, {json.dumps(said)})")

    async def abort(self, file: Path, *, terminate: bool) -> None:
        await self._tab.evaluate(f"abort({json.dumps(file.name)}, {json.dumps(terminate)})")

    async def told(self, file: Path) -> Any:
        """See clients_page.js."""
        return await self._tab.evaluate(f"told({json.dumps(file.name)})")

    async def sent(self, file: Path, count: int) -> None:
        """Wait until it has handed so many bytes to the network."""
        name = json.dumps(file.name)
        await self._tab.until(f"uploads[{name}].sent >= {count} || uploads[{name}].state !== 'running'")
        told = await self.told(file)
        assert told["sent"] >= count, told

    async def succeeds(self, file: Path, seconds: float = 90.0) -> str:
        """Wait for the end; the path of the upload."""
        await self._tab.until(f"uploads[{json.dumps(file.name)}].state !== 'running'", seconds)
        told = await self.told(file)
        assert told["state"] == "success", (told, self._tab.said[-20:])
        return str(urlsplit(told["url"]).path)
