"""Cross-origin requests: what a browser's page may send here and read from the answers.

Rules: the headers stand on every answer, early errors and unknown addresses included, or a page sees "network error"
where it could have read a sentence. The lists below are the whole of it: a header that is not in them does not exist
for pages.
"""

import re
from dataclasses import dataclass

METHODS = ("OPTIONS", "HEAD", "GET", "POST", "PUT", "PATCH", "DELETE")

REQUEST_HEADERS = (
    "Authorization",
    "Content-Disposition",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Range",
    "Repr-Digest",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Incomplete",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "Upload-Order",
    "Want-Repr-Digest",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
)

ANSWER_HEADERS = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Location",
    "Repr-Digest",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Committed-Offset",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Expires",
    "Upload-Incomplete",
    "Upload-Length",
    "Upload-Limit",
    "Upload-Metadata",
    "Upload-Offset",
    "Upload-Order",
    "Want-Repr-Digest",
    "X-Backend-Ai-Chunks-Received",
    "X-Backend-Ai-Progress-Percent",
    "X-Backend-Ai-Total-Expected",
    "X-Request-ID",
)


# Not `null`: a sandboxed frame on any page says that of itself.
_THIS_MACHINE = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class CorsRules:
    origins: tuple[str, ...] = ("*",)
    this_machine: bool = False
    """also every page that the browser's own machine serves, from whatever port"""
    credentials: bool = False
    max_age_seconds: float = 86400.0


def cors_headers(rules: CorsRules, origin: str | None, *, options: bool) -> dict[str, str]:
    """What to add to an answer; `options`: it may be the answer to a preflight question."""
    if not rules.origins and not rules.this_machine:
        return {}
    headers: dict[str, str] = {}
    if "*" in rules.origins:
        headers["Access-Control-Allow-Origin"] = "*"
    else:
        # Also without an origin of ours: a cache must not hand this answer to a page that would be allowed.
        headers["Vary"] = "Origin"
        if origin is None or not _is_allowed(rules, origin):
            return headers
        headers["Access-Control-Allow-Origin"] = origin
        if rules.credentials:
            headers["Access-Control-Allow-Credentials"] = "true"
    if options:
        headers["Access-Control-Allow-Methods"] = ", ".join(METHODS)
        headers["Access-Control-Allow-Headers"] = ", ".join(REQUEST_HEADERS)
        headers["Access-Control-Max-Age"] = str(int(rules.max_age_seconds))
    headers["Access-Control-Expose-Headers"] = ", ".join(ANSWER_HEADERS)
    return headers


def _is_allowed(rules: CorsRules, origin: str) -> bool:
    return origin in rules.origins or (rules.this_machine and _THIS_MACHINE.fullmatch(origin) is not None)
