"""What is refused to a client of the IETF draft, told as its version has it.

Rules: the row in `problems.PROBLEMS` is the answer wherever the draft says nothing of its own. What passes is 503,
which the draft's clients may come back after; 423 is none of its statuses, only tus-js-client waits for one on HEAD.
"""

from aiohttp import web

from storage_proxy.core import errors
from storage_proxy.core.errors import Contended, StorageProxyError, Unavailable
from storage_proxy.server import problems
from storage_proxy.wire import ietf
from storage_proxy.wire.ietf import Dialect, Limits

# About what became of the bytes, not about their transfer: sending them again would not mend it.
ENDS = (errors.PublishFailed, errors.TargetExists)


def draft_problem(dialect: Dialect, request: web.Request, error: StorageProxyError, method: str) -> web.Response:
    row = problems.PROBLEMS[type(error)]
    kind, title, facts = _kind(dialect, request, error)
    headers = {**problems.headers_of(error), **ietf.render_version(dialect)}
    if isinstance(error, errors.SizeExceeded):
        # Limits, S: on 413.
        headers |= ietf.render_limits(dialect, Limits(error.size_max))
    if dialect.ends_told and method not in ("HEAD", "GET", "DELETE"):
        # Upload Append, M: tells refusals of the bytes from refusals of what they are.
        headers |= ietf.render_complete(dialect, isinstance(error, ENDS))
    return problems.render(
        _status(dialect, error, method, row.status),
        f"{problems.TYPE_PREFIX}{row.slug}" if kind is None else f"{ietf.PROBLEM_TYPES}{kind}",
        row.title if kind is None else title,
        str(error),
        headers,
        problems.facts_of(error) | facts,
    )


def _status(dialect: Dialect, error: StorageProxyError, method: str, status: int) -> int:
    match error:
        case Contended() | Unavailable() if method == "HEAD":
            return dialect.head_in_trouble
        case errors.LengthExceeded() | errors.ChecksumMismatch():
            # Upload Append (-05), M: 400. TUS's 413 here means Upload-Limit, and its 460 nobody knows.
            return 400
        case errors.UploadGone() if dialect.ended_is_missing:
            return 404
        case _ if status == problems.LOCKED:
            return 503
    return status


def _kind(
    dialect: Dialect, request: web.Request, error: StorageProxyError
) -> tuple[str | None, str, dict[str, object]]:
    """Problem type, its title and its members (Problem Types)."""
    match error:
        case errors.OffsetMismatch(expected=expected, received=received):
            facts: dict[str, object] = {"expected-offset": expected, "provided-offset": received}
            return dialect.mismatch, "Mismatching Upload Offset", facts if dialect.mismatch else {}
        # Only a complete upload stands at its length.
        case errors.LengthExceeded(length=length) if dialect.completed and ietf.find_offset(request.headers) == length:
            return dialect.completed, "Upload Is Completed", {}
        case errors.LengthExceeded() | errors.LengthInconsistent():
            return dialect.inconsistent, "Inconsistent Upload Length Values", {}
    return None, "", {}
