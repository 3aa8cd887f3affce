"""The one table: which status each error gets, and the problem+json (RFC 9457) that says it.

Rules: every leaf of `core/errors` has exactly one row; nobody else in the house knows a status of an error. What
decides a status is what real clients do with it: 5xx, 409 and 423 are tried again, every other 4xx is final. So what
nobody is to blame for is never a 4xx but these two, and what trying again cannot mend never a 5xx.

On HEAD, browsers' clients take every status but 2xx and 423 for "start over from byte 0": there all that will pass is
423. A wrong manifest is no such thing and stays 500.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from storage_proxy.core import errors
from storage_proxy.core.errors import Contended, Corrupt, StorageProxyError, Unavailable
from storage_proxy.wire import tus
from storage_proxy.wire.downloads import CONTENT_RANGE, render_content_range

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:storage-proxy:problem:"

LOCKED = 423
CHECKSUM_MISMATCH = 460
"""TUS 1.0, checksum: a status of its own"""


@dataclass(frozen=True, slots=True)
class Row:
    status: int
    slug: str
    title: str
    retry_after: int | None = None
    """seconds after which trying again makes sense"""


PROBLEMS: Mapping[type[StorageProxyError], Row] = {
    # the request itself
    errors.HeaderMissing: Row(400, "header-missing", "A header is missing"),
    errors.HeaderMalformed: Row(400, "header-malformed", "A header is malformed"),
    errors.ParameterMalformed: Row(400, "parameter-malformed", "A parameter is malformed"),
    errors.ChecksumUnknown: Row(400, "checksum-unknown", "Unknown checksum algorithm"),
    errors.ChecksumMismatch: Row(CHECKSUM_MISMATCH, "checksum-mismatch", "Checksum mismatch"),
    errors.PartUnusable: Row(400, "part-unusable", "Not to be joined"),
    errors.LengthInconsistent: Row(400, "length-inconsistent", "The length is another one"),
    errors.LengthExceeded: Row(413, "length-exceeded", "More bytes than the upload has"),
    errors.SizeExceeded: Row(413, "size-exceeded", "The file is too large"),
    # the draft on Idempotency-Key asks for this status
    errors.IdempotencyKeyReused: Row(422, "idempotency-key-reused", "The key belongs to another request"),
    errors.VolumeTooSmall: Row(413, "volume-too-small", "The volume is too small"),
    errors.VersionUnsupported: Row(412, "version-unsupported", "Unsupported TUS version"),
    errors.MediaTypeUnsupported: Row(415, "media-type-unsupported", "Unsupported media type"),
    errors.MethodUnsupported: Row(405, "method-unsupported", "Method not allowed"),
    errors.RangeUnsatisfiable: Row(416, "range-unsatisfiable", "Range not satisfiable"),
    # access; 400 for a token is what existing session clients know
    errors.TokenRejected: Row(400, "token-rejected", "The upload token is not valid"),
    errors.KeyMissing: Row(401, "key-missing", "A key is needed"),
    errors.KeyRejected: Row(403, "key-rejected", "The key is not valid"),
    errors.TargetNotAllowed: Row(403, "target-not-allowed", "Not allowed as a target"),
    # the state of the upload
    errors.UploadNotFound: Row(404, "upload-not-found", "No such upload"),
    errors.UploadGone: Row(410, "upload-gone", "The upload is gone"),
    errors.NotFinished: Row(409, "not-finished", "The upload is not finished"),
    errors.FinalTakesNoBytes: Row(403, "final-takes-no-bytes", "A final upload takes no bytes"),
    errors.PartHasNoFile: Row(409, "part-has-no-file", "A part has no file of its own"),
    errors.OffsetMismatch: Row(409, "offset-mismatch", "The upload stands elsewhere"),
    errors.ChunkConflict: Row(409, "chunk-conflict", "Other bytes are stored there"),
    errors.AppendSuperseded: Row(409, "append-superseded", "Another request went on"),
    errors.PiecesExhausted: Row(409, "pieces-exhausted", "Too many or too large pieces"),
    # final: the same bytes under the same name would fail again
    errors.TargetExists: Row(422, "target-exists", "The file exists already"),
    errors.PublishFailed: Row(422, "publish-failed", "The upload could not be published"),
    errors.HookRefused: Row(403, "hook-refused", "Refused by a hook"),
    # come again
    errors.UploadBusy: Row(LOCKED, "upload-busy", "The upload is being changed", retry_after=1),
    errors.NotYetPublished: Row(LOCKED, "not-yet-published", "The file is being assembled", retry_after=2),
    errors.PartsUnfinished: Row(LOCKED, "parts-unfinished", "The parts are not finished", retry_after=2),
    # 503, not 429: Uppy slows all its uploads down at that, and other replicas may have room
    errors.AppendsExhausted: Row(503, "appends-exhausted", "Too many bodies at once", retry_after=2),
    # not the 408 and 400 that others give: they would be final
    errors.BodyBrokenOff: Row(503, "body-broken-off", "The body broke off", retry_after=1),
    errors.BodyStalled: Row(503, "body-stalled", "The body stalled", retry_after=1),
    # the operator
    errors.ShareFull: Row(507, "share-full", "The share is full", retry_after=30),
    errors.SpaceShort: Row(507, "space-short", "Not enough space", retry_after=60),
    errors.ShareFault: Row(503, "share-fault", "The share failed", retry_after=5),
    errors.ShareStalled: Row(503, "share-stalled", "The share does not answer", retry_after=10),
    errors.HookFailed: Row(503, "hook-failed", "A hook failed", retry_after=5),
    errors.Draining: Row(503, "draining", "Shutting down", retry_after=1),
    # what was promised
    errors.ManifestUnreadable: Row(500, "manifest-unreadable", "The upload's record cannot be read"),
    errors.ManifestTooNew: Row(500, "manifest-too-new", "The upload's record is of a newer version"),
    errors.PromisedBytesMissing: Row(500, "promised-bytes-missing", "Stored bytes are missing"),
}


def problem(error: StorageProxyError, method: str) -> web.Response:
    """The answer to a request with this (effective) method."""
    row = PROBLEMS[type(error)]
    status = LOCKED if method == "HEAD" and isinstance(error, Contended | Unavailable) else row.status
    return render(status, f"{TYPE_PREFIX}{row.slug}", row.title, str(error), headers_of(error), facts_of(error))


def incident(number: str, method: str) -> web.Response:
    """A bug of ours. On HEAD it may pass, too, as far as anybody knows."""
    status = LOCKED if method == "HEAD" else 500
    detail = f"Something went wrong here; the operator finds it in the log as incident {number}. Come again."
    return render(status, f"{TYPE_PREFIX}incident", "Internal error", detail, {}, {"incident": number})


def http_problem(error: web.HTTPException) -> web.Response:
    """What aiohttp refused before a handler was reached, or while it read a small body."""
    detail = {
        404: "There is nothing at this address.",
        405: f"This method is not possible here; use {error.headers.get('Allow', 'another')}.",
        413: "The body is too large; send a smaller one.",
    }.get(error.status, f"{error.reason}.")
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    return render(error.status, "about:blank", error.reason, detail, headers, {})


def render(
    status: int, kind: str, title: str, detail: str, headers: Mapping[str, str], facts: Mapping[str, object]
) -> web.Response:
    body = {"type": kind, "title": title, "status": status, "detail": detail, **facts}
    return web.Response(
        status=status,
        # http.HTTPStatus does not know 460.
        reason=title if status == CHECKSUM_MISMATCH else None,
        # The default `ensure_ascii` also keeps half surrogates, which no UTF-8 has, from failing the answer.
        body=json.dumps(body).encode(),
        content_type=MEDIA_TYPE,
        # An error that passes must not be kept by anybody on the way.
        headers={**headers, "Cache-Control": "no-store"},
    )


def level(error: StorageProxyError) -> int:
    """How loud the log says it: by who must act."""
    if isinstance(error, Corrupt):
        return logging.ERROR
    return logging.WARNING if isinstance(error, Unavailable) else logging.INFO


def facts_of(error: StorageProxyError) -> dict[str, object]:
    return {field.name: getattr(error, field.name) for field in dataclasses.fields(error)}


def headers_of(error: StorageProxyError) -> dict[str, str]:
    """What the refusal tells machines."""
    pause = PROBLEMS[type(error)].retry_after
    return _told(error) if pause is None else {**_told(error), "Retry-After": str(pause)}


def _told(error: StorageProxyError) -> dict[str, str]:
    match error:
        case errors.OffsetMismatch(expected=offset):
            return {tus.UPLOAD_OFFSET: str(offset)}
        case (
            errors.ChunkConflict(prefix=offset)
            | errors.AppendSuperseded(prefix=offset)
            | errors.PiecesExhausted(prefix=offset)
            | errors.BodyStalled(committed=offset)
            | errors.BodyBrokenOff(committed=offset)
        ):
            return {tus.UPLOAD_OFFSET: str(offset)}
        case errors.VersionUnsupported(supported=versions):
            return {tus.TUS_VERSION: ",".join(versions)}
        case errors.ChecksumUnknown(known=algorithms):
            return {tus.TUS_CHECKSUM_ALGORITHM: ",".join(algorithms)}
        case errors.MethodUnsupported(allowed=methods):
            return {"Allow": ", ".join(methods)}
        case errors.MediaTypeUnsupported(expected=expected):
            return {"Accept-Patch": expected}
        case errors.RangeUnsatisfiable(size=size):
            return {CONTENT_RANGE: render_content_range(None, size)}
        case errors.KeyMissing():
            return {"WWW-Authenticate": "Bearer"}
    return {}
