"""104 (Upload Resumption Supported): what a client of the IETF draft is told before its answer.

Rules: aiohttp knows no interim answer but 100, so these bytes go to the connection as it sends those, and before the
answer proper begins. HTTP/1.0 has none. What cannot be told is not worth an error: the draft lets a server leave them
out, and whoever is gone asks HEAD. Some proxies take a 104 for the answer itself; so by default there is none for a
request that came through one, as far as its headers tell.
"""

from collections.abc import Mapping
from typing import Literal

from aiohttp import web

from storage_proxy.wire.forwarded import passed_on
from storage_proxy.wire.ietf import Dialect, render_interim
from storage_proxy.wire.tus import UPLOAD_OFFSET

When = Literal["direct", "always", "never"]


class Interim:
    def __init__(self, request: web.BaseRequest, dialect: Dialect, when: When) -> None:
        self._request = request
        self._dialect = dialect
        wanted = when == "always" or (when == "direct" and not passed_on(request.headers))
        self._possible = wanted and request.version >= (1, 1)

    def created(self, headers: Mapping[str, str]) -> None:
        """Location and Upload-Limit, as soon as the upload is there."""
        if self._dialect.interim:
            self._tell(headers)

    def reached(self, offset: int) -> None:
        """Bytes below the offset need not be kept by their client any more."""
        # Upload Append (-03 on): S (on creation MAY); M never smaller than before, which no committed prefix is.
        if self._dialect.progress:
            self._tell({UPLOAD_OFFSET: str(offset)})

    def _tell(self, headers: Mapping[str, str]) -> None:
        transport = self._request.transport
        if self._possible and transport is not None and not transport.is_closing():
            transport.write(render_interim(self._dialect, headers))
