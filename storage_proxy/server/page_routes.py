"""The front door: `/` is the upload page for browsers, and a few facts in JSON for everybody else.

    /                 GET; with the page where HTML is asked for
    /assets/{name}    GET

Rules: the page is made of files that are in memory already. It loads nothing from anywhere else, and its policy keeps
it from doing so; what it must know of the settings stands in its head, so that it asks no second question and works
under any prefix. Assets bear a hash in their name and may be kept for ever; the page itself is asked for each time.
"""

import gzip
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from storage_proxy.server.requests import Handler

INDEX = "index.html"
ASSETS = "assets/"

FACTS_HERE = b'name="service" content=""'
"""Where web/index.html wants to be told about the service."""

TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Names of files are other people's text: no way from a string to markup.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    # The address of an upload is all it takes to get the file, where no key is needed.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept, Accept-Encoding",
}
ASSET_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}

NOT_BUILT = (
    "The upload page is not built in this installation: run `make page` in a checkout (it needs npm), or turn it off "
    "by [page] enabled = false. Everything else works; uploads by TUS go to /files.\n"
)


@dataclass(frozen=True, slots=True)
class Page:
    files: Mapping[str, bytes]
    """as built, by path; none at all when nobody has built them"""
    volumes: Sequence[str]
    """where an upload may go, the usual one first"""
    needs_key: bool
    linked_seconds: float
    """how long the address of a finished file leads to it"""


class PageRoutes:
    def __init__(self, page: Page | None, about: Handler) -> None:
        """Without a page browsers find nothing here; `about` answers everybody else."""
        self._about = about
        self._page = page
        files = {} if page is None else page.files
        self._assets = {name: _File(name, content) for name, content in files.items() if name.startswith(ASSETS)}
        self._index = _File(INDEX, _with_facts(files[INDEX], page)) if page is not None and INDEX in files else None

    def routes(self, prefix: str) -> list[web.RouteDef]:
        # People leave out the last slash, without which the page would look for its assets one level too high.
        bare = [web.get(prefix, self.slash)] if prefix else []
        return [web.get(f"{prefix}/", self.front), web.get(f"{prefix}/{ASSETS}{{name}}", self.asset), *bare]

    async def front(self, request: web.Request) -> web.StreamResponse:
        if "text/html" not in request.headers.get("Accept", ""):
            answer = await self._about(request)
            answer.headers["Vary"] = "Accept"
            return answer
        if self._page is None:
            raise web.HTTPNotFound
        if self._index is None:
            return web.Response(status=404, text=NOT_BUILT, headers={"Cache-Control": "no-store", "Vary": "Accept"})
        return self._index.answer(request, PAGE_HEADERS)

    async def asset(self, request: web.Request) -> web.Response:
        file = self._assets.get(ASSETS + request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        return file.answer(request, ASSET_HEADERS)

    async def slash(self, request: web.Request) -> web.Response:
        last = request.rel_url.raw_path.rpartition("/")[2]
        return web.Response(status=308, headers={"Location": f"{last}/"})


class _File:
    def __init__(self, name: str, content: bytes) -> None:
        self._type = TYPES.get(name[name.rfind(".") :], "application/octet-stream")
        self._content = content
        packed = gzip.compress(content, mtime=0)
        self._packed = packed if len(packed) < len(content) else None

    def answer(self, request: web.Request, headers: Mapping[str, str]) -> web.Response:
        charset = "utf-8" if self._type.startswith("text/") else None
        if self._packed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers = {**headers, "Content-Encoding": "gzip"}
            return web.Response(body=self._packed, content_type=self._type, charset=charset, headers=headers)
        return web.Response(body=self._content, content_type=self._type, charset=charset, headers=headers)


def _with_facts(index: bytes, page: Page) -> bytes:
    facts = {"volumes": list(page.volumes), "needsKey": page.needs_key, "linkedSeconds": page.linked_seconds}
    told = f'name="service" content="{html.escape(json.dumps(facts))}"'
    return index.replace(FACTS_HERE, told.encode())
