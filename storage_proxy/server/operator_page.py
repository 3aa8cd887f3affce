"""The operator's page: three files of this package, hand-written, served as they are.

Rules: read once, at the start. The page loads nothing from anywhere else, and its policy keeps it from doing so; what
it shows are other people's names, so it never makes markup of text.
"""

from functools import partial
from importlib.resources import files

from aiohttp import web

TYPES = {"index.html": "text/html", "operator.js": "text/javascript", "operator.css": "text/css"}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}


def routes() -> list[web.RouteDef]:
    folder = files(__package__) / "operator_page"
    pages = {name: (folder / name).read_bytes() for name in TYPES}
    served = [web.get(f"/operator/{name}", partial(_answer, pages[name], TYPES[name])) for name in TYPES]
    front = web.get("/operator/", partial(_answer, pages["index.html"], TYPES["index.html"]))
    return [web.get("/operator", _slash), front, *served]


async def _answer(body: bytes, kind: str, request: web.Request) -> web.Response:
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=HEADERS)


async def _slash(request: web.Request) -> web.Response:
    # Without the slash the page would look for its files one level too high.
    return web.Response(status=308, headers={"Location": "operator/"})
