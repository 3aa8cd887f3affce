"""What proxies say of a request that they pass on (RFC 7239, X-Forwarded-*): who sent it, and what they cut off.

Rules: anybody can send these headers, so nothing of them counts unless it was added by a *trusted* proxy. Each adds
whom it got the request from behind what is there already: the list is read from its end, as far as one trusted proxy
vouches for the next, and the first sender who is none is the client; what he may have written before that is never
looked at. A proxy adds to one of the two lists and passes the other on as clients send it, so where both are there and
do not agree, neither counts. A value that is not exactly an address or a path is ignored, as if it had not been sent.

Scheme and host are not asked for: no answer holds a whole URL (`server/addresses.py`).
"""

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address

from storage_proxy.wire.fields import Headers, find_list

FORWARDED = "Forwarded"
FORWARDED_FOR = "X-Forwarded-For"
FORWARDED_PREFIX = "X-Forwarded-Prefix"

# What proxies add to the requests that they pass on; the last two are common, too.
TRACES = (FORWARDED, FORWARDED_FOR, "X-Forwarded-Proto", "X-Forwarded-Host", FORWARDED_PREFIX, "X-Real-IP", "Via")

# RFC 7239 6: an address, an IPv6 one in brackets, and perhaps a port, which may be made up; X-Forwarded-For often has
# IPv6 addresses without brackets. What is hidden ("unknown", "_x") is no address.
_NODE = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<four>[0-9.]{7,15}))(?::[0-9A-Za-z._-]{1,32})?"
    r"|(?P<bare>[0-9A-Fa-f:.]{2,45})"
)
# Not empty parts, so no `//host` that a browser would take for another site; `.` and `..` are seen to below.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
# RFC 7239 4: `name=token` or `name="quoted"`, or nothing, separated by semicolons; a comma ends the element. Colons
# and brackets belong into quotes, but proxies exist that write `for=[::1]:8080`.
_PAIR = re.compile(
    r"[ \t]*(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r"(?:(?P<token>[][:!#$%&'*+.^_`|~0-9A-Za-z-]+)|\"(?P<quoted>(?:[^\"\\]|\\.)*)\")[ \t]*)?(?P<then>;|,|\Z)"
)


def client_of(headers: Headers, peer: str, trusts: Callable[[str], bool]) -> str:
    """The address of who sent the request to the first of the trusted proxies; `peer`: who sent it to us."""
    if not trusts(peer):
        return peer
    told = [senders for senders in (_forwarded(headers), _forwarded_for(headers)) if senders is not None]
    found = {_first_untrusted(senders, peer, trusts) for senders in told}
    return found.pop() if len(found) == 1 else peer


def prefix_of(headers: Headers) -> str:
    """Each proxy that strips a part of the path adds it at the end of the list."""
    parts = [part.strip(" \t").rstrip("/") for part in (find_list(headers, FORWARDED_PREFIX) or "").split(",")]
    prefix = "".join(parts)
    if not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/")):
        return ""
    return prefix


def passed_on(headers: Headers) -> bool:
    """Whether somebody on the way says that he was there; no word of it proves nothing."""
    return any(name in headers for name in TRACES)


def _first_untrusted(senders: Sequence[str], peer: str, trusts: Callable[[str], bool]) -> str:
    client = peer
    for sender in reversed(senders):
        address = _address(sender)
        if address is None:
            break  # hidden: whoever stands before him is nobody's word
        client = address
        if not trusts(client):
            break
    return client


def _address(node: str) -> str | None:
    found = _NODE.fullmatch(node)
    try:
        address = ip_address(next(filter(None, found.groups()))) if found is not None else None
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return None if address is None else str(address)


def _forwarded_for(headers: Headers) -> Sequence[str] | None:
    text = find_list(headers, FORWARDED_FOR)
    return None if text is None else [sender.strip(" \t") for sender in text.split(",")]


def _forwarded(headers: Headers) -> Sequence[str] | None:
    """The `for` of each element. Where the grammar is broken or one says a thing twice (RFC 7239 4: once each), nobody
    is named, so that nobody else's word is taken either."""
    text = find_list(headers, FORWARDED)
    if text is None:
        return None
    senders: list[str] = []
    told: dict[str, str] = {}
    at, then = 0, ";"
    while then:
        found = _PAIR.match(text, at)
        if found is None:
            return ()
        at, then = found.end(), found["then"]
        if found["name"] is not None:
            name, quoted = found["name"].lower(), found["quoted"]
            if name in told:
                return ()
            told[name] = found["token"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if then != ";":
            senders.append(told.get("for", ""))
            told = {}
    # Some tell of nothing but `proto`, and leave the sender to the other list.
    return senders if any(senders) else None
