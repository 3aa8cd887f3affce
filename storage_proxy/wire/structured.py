"""Structured fields (RFC 9651): the shapes that newer headers share, read strictly.

Rules: `http_sf` parses and writes; here its errors become core's, and types that look alike in Python (a boolean is an
integer there, a token nearly a string) are told apart. Parameters are dropped: no field of ours gives one a
meaning, and the RFC asks that unknown ones be ignored.
"""

from collections.abc import Mapping

import http_sf

from storage_proxy.wire.fields import Headers, find, malformed

BareItem = object
"""what a member or an item holds: int, bool, str, bytes, and what no field of ours wants"""

_LENGTH_MAX = 8 * 1024


def parse_dictionary(name: str, text: str, expected: str) -> Mapping[str, BareItem]:
    """Key -> value, in the order sent; of a key that comes twice the last one counts (RFC 9651 3.2)."""
    parsed = _parse(name, text, "dictionary", expected)
    assert isinstance(parsed, dict)
    return {key: _bare(member) for key, member in parsed.items()}


def render_dictionary(members: Mapping[str, int | bool | str | bytes]) -> str:
    """Not for an empty one: such a field is left out."""
    return http_sf.ser(dict(members))


def find_boolean(headers: Headers, name: str) -> bool | None:
    expected = "?1 or ?0"
    value = _find_item(headers, name, expected)
    if value is None or isinstance(value, bool):
        return value
    raise malformed(name, find(headers, name) or "", expected)


def render_boolean(value: bool) -> str:
    return http_sf.ser(value)


def find_integer(headers: Headers, name: str) -> int | None:
    """May be negative; up to 15 digits, which is all the RFC has."""
    expected = "a whole number"
    value = _find_item(headers, name, expected)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise malformed(name, find(headers, name) or "", expected)


def find_string(headers: Headers, name: str) -> str | None:
    expected = 'a text in double quotes, like "6d0c…"'
    value = _find_item(headers, name, expected)
    if value is None or isinstance(value, str):
        return value
    raise malformed(name, find(headers, name) or "", expected)


def render_string(value: str) -> str:
    """Raises ValueError for a text that is not printable ASCII."""
    return http_sf.ser(value)


def _find_item(headers: Headers, name: str, expected: str) -> BareItem | None:
    text = find(headers, name)
    return None if text is None else _bare(_parse(name, text, "item", expected))


def _parse(name: str, text: str, shape: str, expected: str) -> object:
    if len(text) > _LENGTH_MAX or not text.isascii():
        raise malformed(name, text, expected)
    try:
        return http_sf.parse(text.encode("ascii"), tltype=shape)
    except (ValueError, OverflowError):  # the latter for a date that no calendar has
        raise malformed(name, text, expected) from None


def _bare(member: object) -> BareItem:
    """http_sf gives a value alone, or a pair of it and its parameters."""
    return member[0] if isinstance(member, tuple) else member
