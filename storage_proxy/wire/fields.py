"""One header field's text: finding it, and the shapes that must be read strictly.

Rules: a parser accepts what its grammar allows and nothing else; whatever comes in, it answers with a value or raises
one of core's errors. What a client sent is shortened before an error holds it. No value that is rendered can carry CR
or LF, because no grammar here has them.
"""

import base64
import calendar
import email.utils
import re
from collections.abc import Mapping

from storage_proxy.core.errors import HeaderMalformed, HeaderMissing

Headers = Mapping[str, str]
"""Names compare without regard to case, as in multidict's `CIMultiDict`."""

INTEGER_MAX = 2**63 - 1
"""what a file system's offsets can hold"""

_SHOWN_MAX = 100
# `[0-9]`, not `\d`: the latter and `int` itself know the digits of every script, signs and underscores.
_DECIMAL = re.compile(r"[0-9]{1,19}")
_IMF_FIXDATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")


def find(headers: Headers, name: str) -> str | None:
    """The field's text without the white space around it (RFC 9110 5.5)."""
    text = headers.get(name)
    return None if text is None else text.strip(" \t")


def demand(headers: Headers, name: str, expected: str) -> str:
    text = find(headers, name)
    if text is None:
        raise HeaderMissing(header=name, expected=expected)
    return text


def malformed(name: str, received: str, expected: str) -> HeaderMalformed:
    return HeaderMalformed(header=name, received=shown(received), expected=expected)


def shown(text: str) -> str:
    """As much of a client's text as an error may repeat."""
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


def parse_integer(name: str, text: str) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) > INTEGER_MAX:
        raise malformed(name, text, f"a whole number from 0 to {INTEGER_MAX}")
    return int(text)


def find_integer(headers: Headers, name: str) -> int | None:
    text = find(headers, name)
    return None if text is None else parse_integer(name, text)


def demand_integer(headers: Headers, name: str) -> int:
    return parse_integer(name, demand(headers, name, "a whole number of bytes"))


def parse_base64(text: str) -> bytes | None:
    """RFC 4648 section 4, padded and canonical; None for everything else."""
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    # Unused bits that are set would give two texts for one value (RFC 4648 3.5).
    return value if render_base64(value) == text else None


def render_base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def render_date(seconds: float) -> str:
    """The IMF-fixdate of RFC 9110 5.6.7, rounded down."""
    return email.utils.formatdate(int(seconds // 1), usegmt=True)


def parse_date(text: str) -> int | None:
    """Seconds since the epoch; None for everything that is not the IMF-fixdate of a real day."""
    parts = email.utils.parsedate(text) if _IMF_FIXDATE.fullmatch(text) else None
    if parts is None:
        return None
    try:
        seconds = calendar.timegm(parts)
        # A date that no calendar has, or on another day of the week, comes back as another text.
        return seconds if render_date(seconds) == text else None
    except (ValueError, OverflowError):
        return None
