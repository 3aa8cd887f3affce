"""What a download of a finished file needs: Range, Content-Range (RFC 9110 14) and Content-Disposition (RFC 6266).

Rules: a Range that is not understood is ignored, as RFC 9110 14.2 allows, and the whole file is the answer; only one
that is understood and lies behind the end is refused. A file name comes from people: whatever it holds, the rendered
header is one line of ASCII, and no quote or backslash ends its string early. Where a client sends one with its upload,
a header that is not understood is refused: a file must not appear under another name than it was given.
"""

import re
import urllib.parse

from storage_proxy.core.errors import HeaderMalformed, RangeUnsatisfiable
from storage_proxy.core.extents import Extent
from storage_proxy.wire.fields import INTEGER_MAX, malformed, parse_integer

RANGE = "Range"
CONTENT_RANGE = "Content-Range"
CONTENT_DISPOSITION = "Content-Disposition"

# More digits than any file needs, and few enough for `int`, which refuses thousands.
_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,30})-(?P<last>[0-9]{0,30})", re.IGNORECASE | re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (?:(?P<first>[0-9]+)-(?P<last>[0-9]+)|\*)/(?P<size>[0-9]+)")

# RFC 6266 4.1: a type, then parameters, whose values are tokens or quoted strings; UTF-8 is common in the latter. The
# value of a `*` form is one token, too (RFC 8187 3.2.1).
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_DISPOSITION = re.compile(rf"{_WORD}(?P<rest>.*)", re.DOTALL)
_PARAMETER = re.compile(
    rf'[ \t]*;[ \t]*(?P<name>{_WORD})[ \t]*=[ \t]*(?:(?P<token>{_WORD})|"(?P<text>(?:[^"\\]|\\.)*)")'
)
_FILENAME_MAX = 4096

# RFC 8187 3.2.1: `attr-char` besides letters and digits (`quote` always adds `_.-~`, which are among them).
_ATTRIBUTE_SAFE = "!#$&+-.^_`|~"
# RFC 6266 appendix D: what old clients misread in a plain filename: quotes, backslashes, %XX, everything not ASCII.
_PLAIN_UNSAFE = re.compile(r"[^ -~]|[\"\\%/]")


def parse_range(text: str, size: int) -> Extent | None:
    """The one range that is asked for; None: send the whole file."""
    found = _RANGE.fullmatch(text.strip(" \t"))
    # Several ranges are ignored, too: they would need multipart/byteranges (RFC 9110 14.2: a server may).
    # Of an empty file any range would be unsatisfiable, but clients that always send one want the empty file.
    if found is None or size == 0:
        return None
    first, last = found["first"], found["last"]
    if first and last and int(last) < int(first):
        return None  # 14.1.1: invalid, which is not the same as unsatisfiable
    if first:
        start, end = int(first), int(last) + 1 if last else size
    elif last:
        start, end = max(0, size - int(last)), size  # 14.1.2: the last so many bytes, or all there are
    else:
        return None
    if start >= size:
        raise RangeUnsatisfiable(size=size)
    return Extent(start, min(end, size))


def render_range(extent: Extent) -> str:
    assert extent.length > 0, "no Range means zero bytes"
    return f"bytes={extent.start}-{extent.end - 1}"


def render_content_range(extent: Extent | None, size: int) -> str:
    """For a 206 the extent that is sent; None for a 416 (RFC 9110 14.4)."""
    if extent is None:
        return f"bytes */{size}"
    assert 0 < extent.length <= size - extent.start, f"{extent} is no part of {size} bytes"
    return f"bytes {extent.start}-{extent.end - 1}/{size}"


def parse_content_range(text: str) -> tuple[Extent | None, int]:
    expected = "bytes <first>-<last>/<size>, or bytes */<size>"
    found = _CONTENT_RANGE.fullmatch(text)
    if found is None:
        raise malformed(CONTENT_RANGE, text, expected)
    size = parse_integer(CONTENT_RANGE, found["size"])
    if found["first"] is None:
        return None, size
    first, last = (parse_integer(CONTENT_RANGE, found[name]) for name in ("first", "last"))
    if not first <= last < size <= INTEGER_MAX:
        raise malformed(CONTENT_RANGE, text, expected)
    return Extent(first, last + 1), size


def render_disposition(filename: str) -> str:
    """Save as this name: always an attachment, so that no browser runs what somebody uploaded."""
    plain = _PLAIN_UNSAFE.sub("_", filename)
    disposition = f'attachment; filename="{plain}"'
    if plain == filename:
        return disposition
    # RFC 6266 4.3: recipients that know `filename*` prefer it, wherever it stands.
    exact = urllib.parse.quote(filename, safe=_ATTRIBUTE_SAFE, encoding="utf-8", errors="replace")
    return f"{disposition}; filename*=UTF-8''{exact}"


def parse_disposition(text: str) -> str | None:
    """The file name that a Content-Disposition gives, without any directory; None when it gives none."""
    found = _DISPOSITION.fullmatch(text) if len(text) <= _FILENAME_MAX else None
    parameters = None if found is None else _parameters(found["rest"].rstrip(" \t"))
    if parameters is None:
        raise _odd(text)
    # RFC 6266 4.3: `filename*` is preferred, wherever it stands.
    name = _extended(text, parameters["filename*"]) if "filename*" in parameters else parameters.get("filename")
    # RFC 6266 4.3: only the last segment of a path counts; nobody stores elsewhere than he was told to.
    return None if name is None else name.rpartition("/")[2]


def _parameters(rest: str) -> dict[str, str] | None:
    parameters: dict[str, str] = {}
    position = 0
    while position < len(rest):
        found = _PARAMETER.match(rest, position)
        if found is None or found["name"].lower() in parameters:
            return None
        text = found["text"]
        parameters[found["name"].lower()] = found["token"] if text is None else re.sub(r"\\(.)", r"\1", text)
        position = found.end()
    return parameters


def _extended(text: str, value: str) -> str:
    charset, _, rest = value.partition("'")
    _, quote, encoded = rest.partition("'")
    if charset.lower() != "utf-8" or not quote:
        raise _odd(text)
    try:
        return urllib.parse.unquote(encoded, encoding="utf-8", errors="strict")
    except UnicodeDecodeError:
        raise _odd(text) from None


def _odd(text: str) -> HeaderMalformed:
    return malformed(CONTENT_DISPOSITION, text, "like: inline; filename=\"name.txt\" (or filename*=UTF-8''name.txt)")
