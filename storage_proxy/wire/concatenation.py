"""Upload-Concat (TUS 1.0, concatenation): `partial`, or `final;` and the URLs of the parts.

Rules: the URLs name uploads of this service and nothing else; nothing is ever fetched. They may be absolute or relative
to the URL that was asked. Only their paths count: behind proxies a service does not know all names that its host has,
and an upload's key, which nobody can guess, is found by its path alone.
"""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from storage_proxy.core.errors import HeaderMalformed
from storage_proxy.wire.fields import malformed

UPLOAD_CONCAT = "Upload-Concat"

PARTIAL = "partial"
_FINAL = "final;"
_EXPECTED = "'partial', or 'final;' and the URLs of the parts with a space between them"


@dataclass(frozen=True, slots=True)
class Concat:
    text: str
    """as sent, and proven safe to be echoed"""
    parts: tuple[str, ...] = ()
    """URLs, in order; none: it is a part itself"""


def parse_concat(text: str) -> Concat:
    # M: one of the two; M: it is echoed as it came.
    if text == PARTIAL:
        return Concat(text)
    parts = tuple(text.removeprefix(_FINAL).split(" "))
    urls = tuple(part for part in parts if part)
    if not text.startswith(_FINAL) or not urls or not (text.isascii() and text.isprintable()):
        raise malformed(UPLOAD_CONCAT, text, _EXPECTED)
    return Concat(text, urls)


def render_concat(parts: Collection[str]) -> str:
    return _FINAL + " ".join(parts)


def is_final(text: str) -> bool:
    return text.startswith(_FINAL)


def part_named(url: str, asked: str, collections: Collection[str]) -> str:
    """The id in the URL of a part. `asked` is the path of the request, `collections` those that uploads are in."""
    try:
        # M: absolute and relative URLs.
        found = urlsplit(urljoin(f"http://host{asked}", url))
    except ValueError:
        raise _strange(url) from None
    collection, _, identity = found.path.rpartition("/")
    if found.scheme not in ("http", "https") or collection not in collections or not identity:
        raise _strange(url)
    return identity


def _strange(url: str) -> HeaderMalformed:
    return malformed(UPLOAD_CONCAT, url, "URLs of uploads that were created here with Upload-Concat: partial")
