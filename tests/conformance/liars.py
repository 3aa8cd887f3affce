"""Servers that store nothing and have an answer to everything: for clauses about what the server at hand cannot do.

Rules: each answers by one rule that is wrong on purpose; the clauses that must not be taken in stand beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

ALL = "creation,checksum,checksum-trailer,concatenation,concatenation-unfinished"


def _never(request: web.Request, finals: int) -> bool:
    return False


@dataclass
class Liar:
    defect: str
    caught_by: tuple[str, ...]
    extensions: str = ALL
    refuses: Callable[[web.Request, int], bool] = _never
    """by the request, and the number of final uploads before it"""
    refusal: int = 400
    finals: int = field(default=0, init=False)
    made: int = field(default=0, init=False)

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/{rest:.*}", self.answer)
        return application

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        if self.refuses(request, self.finals):
            return web.Response(status=self.refusal)
        match request.method:
            case "OPTIONS":
                headers = {"Tus-Version": "1.0.0", "Tus-Extension": self.extensions, "Tus-Checksum-Algorithm": "sha1"}
                return web.Response(status=204, headers=headers)
            case "POST":
                self.made += 1
                self.finals += _is_final(request)
                return web.Response(status=201, headers={"Location": f"/files/{self.made:032x}"})
            case "HEAD":
                headers = {"Upload-Offset": "2", "Upload-Length": "7", "Upload-Metadata": "part b25l"}
                return web.Response(headers=headers)
            case "PATCH":
                return web.Response(status=204, headers={"Upload-Offset": "2"})
        return web.Response(body=b"not what was sent")


def _is_final(request: web.Request) -> bool:
    return request.headers.get("Upload-Concat", "").startswith("final;")


def liars() -> tuple[Liar, ...]:
    """New ones: they count."""
    concatenation, unfinished, trailer = "concatenation", "concatenation-unfinished", "checksum-trailer"
    return (
        Liar(
            "agrees to everything",
            (
                *(f"{concatenation}.{name}" for name in ("part-echo", "part-offset", "part-length", "value")),
                *(f"{concatenation}.final-{name}" for name in ("length", "offset", "echo", "order")),
                *(f"{concatenation}.final-{name}" for name in ("patch-403", "patch-untouched")),
                *(f"{concatenation}.{name}" for name in ("part-missing", "part-repeated", "resumable")),
                *(f"{concatenation}.{name}" for name in ("metadata-own", "metadata-not-inherited")),
                *(f"{unfinished}.{name}" for name in ("no-offset", "length", "completes", "bytes-right", "patch-403")),
                *(f"{trailer}.{name}" for name in ("match-204", "mismatch-refused", "mismatch-460")),
                *(f"{trailer}.{name}" for name in ("mismatch-untouched", "unknown-refused")),
            ),
        ),
        Liar(
            "joins nothing",
            (
                *(f"{concatenation}.{name}" for name in ("final-201", "relative-urls", "absolute-urls")),
                f"{unfinished}.final-201",
            ),
            refuses=lambda request, finals: _is_final(request),
        ),
        Liar(
            "joins once",
            (f"{concatenation}.part-reused",),
            refuses=lambda request, finals: _is_final(request) and finals > 0,
        ),
        Liar(
            "knows no parts",
            (f"{concatenation}.part-201",),
            refuses=lambda request, _: "Upload-Concat" in request.headers,
        ),
        Liar("joins unannounced", (f"{concatenation}.announced",), "creation"),
        Liar("joins unfinished parts unannounced", (f"{unfinished}.announced",), "creation,concatenation"),
        Liar(
            "heeds trailers unannounced",
            (f"{trailer}.announced",),
            "creation,checksum",
            refuses=lambda request, _: "Trailer" in request.headers,
            refusal=460,
        ),
    )
