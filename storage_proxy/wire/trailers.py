"""Fields behind a chunked body (RFC 9112 7.1.2): whether they are announced, and what they say.

Rules: `read_trailers` is given the last raw bytes of a body whose framing a parser has found good, up to its very end
and no further: of a chunked body that follows it would find the end, so who calls sees to it that there is none
(`server/connections.py`). It goes back line by line to the chunk that is the last one, of size 0. Every line in between
is a field, and no field's line can look like such a chunk's, so what stands there cannot be taken for anything else.
Whatever is not exactly so gives None: no trailers, never wrong ones.
"""

import re
from collections.abc import Mapping

from storage_proxy.wire.fields import Headers, find_list

TRAILER = "Trailer"

TRAILERS_BYTES_MAX = 16 * 1024

_LAST_CHUNK = re.compile(rb"0+[ \t]*(?:;[^\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~]*?)[ \t]*")


def announces(headers: Headers, name: str) -> bool:
    """Will a field of this name follow the body?"""
    names = (find_list(headers, TRAILER) or "").split(",")
    return name.lower() in (each.strip(" \t").lower() for each in names)


def read_trailers(raw: bytes) -> Mapping[str, str] | None:
    """`raw`: the end of a chunked body as it was on the wire, and a line before. Names are in small letters."""
    lines = raw.split(b"\r\n")
    if lines[-2:] != [b"", b""]:
        return None
    fields: dict[str, str] = {}
    # The first line may be the end of a longer one.
    for line in reversed(lines[1:-2]):
        if _LAST_CHUNK.fullmatch(line):
            return fields
        found = _FIELD.fullmatch(line)
        if found is None:
            return None
        name, text = found[1].decode("ascii").lower(), found[2].decode("ascii")
        # RFC 9110 5.3: several fields of one name are one.
        fields[name] = f"{text}, {fields[name]}" if name in fields else text
    return None
