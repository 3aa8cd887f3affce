"""One header field's text: finding it, and the shapes that must be read strictly.

Rules: a parser accepts what its grammar allows and nothing else; whatever comes in, it answers with a value or raises
one of core's errors. What a client sent is shortened before an error holds it. No value that is rendered can carry CR
or LF, because no grammar here has them.

A field with one value has one line. RFC 9110 5.3 lets whoever passes a request on join the lines of one name with
commas, and `5, 5` is no length: so two lines are refused as that text is, equal ones too, for no answer may depend on
who stands in between, nor on which line a server happens to read. Only what is defined as a list may come in several.
"""

import base64
import calendar
import email.utils
import re
from collections.abc import Mapping

from multidict import MultiMapping

from storage_proxy.core.errors import HeaderMalformed, HeaderMissing

Headers = Mapping[str, str]
"""Names compare without regard to case, as in multidict's `CIMultiDict`, which also holds several lines of one name."""

INTEGER_MAX = 2**63 - 1
"""what a file system's offsets can hold"""

_SHOWN_MAX = 100
# `[0-9]`, not `\d`: the latter and `int` itself know the digits of every script, signs and underscores.
_DECIMAL = re.compile(r"[0-9]{1,19}")
_IMF_FIXDATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")


def find(headers: Headers, name: str) -> str | None:
    """The text of a field that has one value."""
    lines = _lines(headers, name)
    if len(lines) > 1:
        # Not what they say: this is also asked for keys.
        raise HeaderMalformed(header=name, received=f"{len(lines)} lines", expected="one line of it")
    return lines[0] if lines else None


def find_list(headers: Headers, name: str) -> str | None:
    """The text of a field that is a list or a dictionary: of all its lines together (RFC 9110 5.3, RFC 9651 4.2)."""
    lines = _lines(headers, name)
    return ", ".join(lines) if lines else None


def _lines(headers: Headers, name: str) -> list[str]:
    """Without the white space around each (RFC 9110 5.5)."""
    if isinstance(headers, MultiMapping):
        texts: list[str] = headers.getall(name, [])
    else:
        texts = [headers[name]] if name in headers else []
    return [text.strip(" \t") for text in texts]


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
