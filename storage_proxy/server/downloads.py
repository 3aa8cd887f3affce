"""GET of a finished file: whole, or one range of it.

Rules: what was uploaded is never a page of ours: it is sent as bytes to be saved, whatever its name says. A file that
cannot be read to its end ends the connection, so that no client takes a part for the whole.
"""

from aiohttp import web

from storage_proxy.core.errors import StorageProxyError
from storage_proxy.core.extents import Extent
from storage_proxy.core.manifest import Manifest, UploadId
from storage_proxy.operations.download import download
from storage_proxy.operations.service import Service
from storage_proxy.ports import Entry, OpenTarget
from storage_proxy.wire.digests import render_digests
from storage_proxy.wire.downloads import (
    CONTENT_DISPOSITION,
    CONTENT_RANGE,
    RANGE,
    parse_range,
    render_content_range,
    render_disposition,
)
from storage_proxy.wire.fields import find


async def send_file(service: Service, upload: UploadId, request: web.Request) -> web.StreamResponse:
    manifest, file = await download(service, upload)
    try:
        size, etag = file.entry.size, _etag(upload, file.entry)
        asked = _asked(request, etag, size)
        response = web.StreamResponse(status=200 if asked is None else 206, headers=_headers(manifest, etag))
        if size == manifest.length:
            # Of the whole file, also beside a part of it (RFC 9530 3.1); not where its owner has made it another.
            response.headers.update(render_digests(manifest.digests))
        if asked is not None:
            response.headers[CONTENT_RANGE] = render_content_range(asked, size)
        extent = asked or Extent(0, size)
        response.content_length = extent.length
        await response.prepare(request)
        await _send(file, extent, request, response)
        return response
    finally:
        await file.close()


async def _send(file: OpenTarget, extent: Extent, request: web.Request, response: web.StreamResponse) -> None:
    left = extent.length
    try:
        async for piece in file.read(extent.start, extent.length):
            await response.write(piece)
            left -= len(piece)
    except StorageProxyError:
        pass  # the status is sent already; the missing bytes tell
    if left == 0:
        await response.write_eof()
    elif request.transport is not None:
        request.transport.abort()


def _asked(request: web.Request, etag: str, size: int) -> Extent | None:
    text = find(request.headers, RANGE)
    # RFC 9110 13.1.5: for another version of the file the range means nothing.
    if text is None or find(request.headers, "If-Range") not in (None, etag):
        return None
    return parse_range(text, size)


def _headers(manifest: Manifest, etag: str) -> dict[str, str]:
    assert manifest.publication is not None, "only a published upload has a file"
    return {
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        CONTENT_DISPOSITION: render_disposition(manifest.publication.path.rpartition("/")[2]),
        "ETag": etag,
        # Behind a key or a secret address, and it may be moved at any time.
        "Cache-Control": "private, no-cache",
    }


def _etag(upload: UploadId, entry: Entry) -> str:
    """Promised bytes never change, but a published file is its owner's: it may be written to, and another one may get
    its inode. So the key alone says too little."""
    return f'"{upload.key}-{entry.size:x}-{round(entry.modified * 1e9):x}"'
