"""Upload-Metadata (TUS 1.0, creation): comma-separated pairs of a key and a Base64 value.

Rules: a text that was parsed consists of keys, Base64, spaces and commas, so it can be echoed as it came; a text that
is rendered parses to exactly the fields it was made of. What a value means is nobody's business here, but a value that
people read is UTF-8.
"""

import re
from collections.abc import Iterable

from storage_proxy.core.errors import HeaderMalformed
from storage_proxy.wire.fields import malformed, parse_base64, render_base64

UPLOAD_METADATA = "Upload-Metadata"
METADATA_BYTES_MAX = 8 * 1024

Fields = tuple[tuple[str, bytes], ...]
"""the pairs, in the order in which they were sent"""

# M: ASCII, not empty, without space and comma. Control characters would let a key break out of its line.
_KEY = re.compile(r"[!-+\--~]+")


def parse_metadata(text: str) -> Fields:
    if not text:
        return ()
    if len(text) > METADATA_BYTES_MAX:
        raise _refused(text)
    fields: dict[str, bytes] = {}
    for pair in text.split(","):
        # M: key and value are separated by a space; the value may be empty, and then the space may be left out.
        # The grammar has no space after the comma, but some clients do.
        key, _, encoded = pair.strip(" ").partition(" ")
        value = parse_base64(encoded)
        # M: keys are ASCII, not empty, and unique; M: values are Base64.
        if value is None or key in fields or not _KEY.fullmatch(key):
            raise _refused(text)
        fields[key] = value
    return tuple(fields.items())


def render_metadata(fields: Iterable[tuple[str, bytes]]) -> str:
    """Raises HeaderMalformed for fields that have no text: on a client's side, its user has named them."""
    fields = tuple(fields)
    text = ",".join(f"{key} {render_base64(value)}" if value else key for key, value in fields)
    # Not only "does it parse": the key "a,b" would parse, as two fields.
    if parse_metadata(text) != fields:
        raise _refused(text)
    return text


def echoed(text: str) -> str:
    """The same text, if it may stand in a header."""
    parse_metadata(text)
    return text


def metadata_text(fields: Fields, key: str) -> str:
    """A value that people read; empty when it was not sent."""
    value = dict(fields).get(key, b"")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise malformed(UPLOAD_METADATA, f"{key} {render_base64(value)}", f"a {key} in UTF-8") from None


def _refused(text: str) -> HeaderMalformed:
    expected = f"comma-separated 'key base64' pairs, each key once, {METADATA_BYTES_MAX} bytes at the most"
    return malformed(UPLOAD_METADATA, text, expected)
