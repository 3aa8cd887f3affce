"""Where the client believes this service to be, as told by a proxy in front of it (RFC 7239 and X-Forwarded-*).

Rules: give this only the headers of a request whose sender is a *trusted* proxy; for any other sender give none. The
leftmost element counts, which is what the client itself asked for; so the outermost proxy must replace what clients
send. A value that is not exactly a scheme, an authority or a path is ignored, as if it had not been sent: no URL ever
holds CR, LF, a space, or a slash where the host should be. Forwarded, the standard, wins over X-Forwarded-*.
"""

import re

from storage_proxy.wire.fields import Headers, find, malformed

FORWARDED = "Forwarded"
FORWARDED_PROTO = "X-Forwarded-Proto"
FORWARDED_HOST = "X-Forwarded-Host"
FORWARDED_PREFIX = "X-Forwarded-Prefix"

# What proxies add to the requests that they pass on; the last two are common, too.
TRACES = (FORWARDED, "X-Forwarded-For", FORWARDED_PROTO, FORWARDED_HOST, FORWARDED_PREFIX, "X-Real-IP", "Via")

_SCHEMES = ("http", "https")
_PORT_MAX = 65_535

# A name or an IPv4 address, or an IPv6 address in brackets (RFC 3986 3.2.2, without user and percent signs).
_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,254}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?")
# Not empty parts, so no `//host` that a browser would take for another site; `.` and `..` are seen to below.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
# RFC 7239 4: `name=token` or `name="quoted"`, or nothing, separated by semicolons; a comma ends the element. Colons
# and brackets belong into quotes, but proxies exist that write `host=[::1]:8080`.
_PAIR = re.compile(
    r"[ \t]*(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r"(?:(?P<token>[][:!#$%&'*+.^_`|~0-9A-Za-z-]+)|\"(?P<quoted>(?:[^\"\\]|\\.)*)\")[ \t]*)?(?P<then>;|,|\Z)"
)


def external_base(headers: Headers, scheme: str, host: str) -> str:
    """`https://host/prefix`, without a slash at its end; `scheme` and `host` are what this service itself sees."""
    told = _forwarded(find(headers, FORWARDED) or "")
    proto = told.get("proto", "").lower()
    if proto not in _SCHEMES:
        proto = _first(headers, FORWARDED_PROTO).lower()
    authority = told.get("host", "")
    if not _is_authority(authority):
        authority = _first(headers, FORWARDED_HOST)
    if not _is_authority(authority):
        authority = host
    # `host` is the Host header, a client's text like the others, but there is nothing to fall back to.
    if not _is_authority(authority):
        raise malformed("Host", host, "the name of this service")
    return f"{proto if proto in _SCHEMES else scheme}://{authority}{_prefix(headers)}"


def passed_on(headers: Headers) -> bool:
    """Whether somebody on the way says that he was there; no word of it proves nothing."""
    return any(find(headers, name) is not None for name in TRACES)


def _is_authority(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int(found["port"] or 0) <= _PORT_MAX


def _prefix(headers: Headers) -> str:
    """Each proxy that strips a part of the path adds it at the end of the list."""
    parts = [part.strip(" \t").rstrip("/") for part in (find(headers, FORWARDED_PREFIX) or "").split(",")]
    prefix = "".join(parts)
    if not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/")):
        return ""
    return prefix


def _first(headers: Headers, name: str) -> str:
    return (find(headers, name) or "").partition(",")[0].strip(" \t")


def _forwarded(text: str) -> dict[str, str]:
    """The first element's pairs; none if it breaks the grammar or says one thing twice (RFC 7239 4: once each)."""
    told: dict[str, str] = {}
    at, then = 0, ";"
    while then == ";":
        found = _PAIR.match(text, at)
        if found is None:
            return {}
        at, then = found.end(), found["then"]
        if found["name"] is None:
            continue
        name, quoted = found["name"].lower(), found["quoted"]
        if name in told:
            return {}
        told[name] = found["token"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return told
