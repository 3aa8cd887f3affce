"""Who sent a request, as far as a hook is to know.

Rules: only the headers that the settings name are shown, all lines of each, and never the query, which holds tokens.
"""

from collections.abc import Sequence

from aiohttp import web

from storage_proxy.ports import Asker
from storage_proxy.server.addresses import Addresses
from storage_proxy.wire.fields import find_list


def asker_of(request: web.Request, addresses: Addresses, headers_shown: Sequence[str]) -> Asker:
    told = ((name, find_list(request.headers, name)) for name in headers_shown)
    headers = {name: text for name, text in told if text is not None}
    client = addresses.client(request.headers, request.remote)
    return Asker(request.method, request.rel_url.raw_path, client, headers)
