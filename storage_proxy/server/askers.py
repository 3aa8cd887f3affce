"""Who sent a request, as far as a hook is to know.

Rules: only the headers that the settings name are shown, and never the query, which holds tokens.
"""

from collections.abc import Sequence

from aiohttp import web

from storage_proxy.ports import Asker


def asker_of(request: web.Request, headers_shown: Sequence[str]) -> Asker:
    headers = {name: request.headers[name] for name in headers_shown if name in request.headers}
    return Asker(request.method, request.rel_url.raw_path, request.remote or "", headers)
