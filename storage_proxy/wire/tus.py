"""TUS 1.0: header text <-> values, in both directions.

Rules: `parse_x` reads what `render_x` writes; the clause of the specification (https://tus.io/protocols/resumable-upload)
stands beside each check, MUST as M and SHOULD as S. Nothing is decided here about an upload: whether an offset is the
right one is the core's to say. Nothing is hashed here. All parsers raise core's `Refused` leaves and nothing else.

Three values cross the wire: `CreationTerms` (a POST), `AppendTerms` (a PATCH, or the body of a POST) and `Standing`
(the answer to HEAD); a fourth, `Offer`, is the answer to OPTIONS. Upload-Metadata, Upload-Checksum and Upload-Concat
have files of their own.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from storage_proxy.core.errors import HeaderMissing, MediaTypeUnsupported, VersionUnsupported
from storage_proxy.core.manifest import Digest, Order
from storage_proxy.wire.checksums import CHECKSUMS, UPLOAD_CHECKSUM, Checksum, parse_checksum, render_checksum
from storage_proxy.wire.concatenation import UPLOAD_CONCAT, Concat, is_final, parse_concat
from storage_proxy.wire.digests import declared, find_digests, render_digests
from storage_proxy.wire.fields import (
    Headers,
    demand,
    demand_integer,
    find,
    find_integer,
    find_list,
    malformed,
    parse_date,
    parse_integer,
    render_date,
    shown,
)
from storage_proxy.wire.metadata import UPLOAD_METADATA, Fields, echoed, parse_metadata
from storage_proxy.wire.trailers import TRAILER, announces

VERSION = "1.0.0"
VERSIONS = (VERSION,)
MEDIA_TYPE = "application/offset+octet-stream"

TUS_RESUMABLE = "Tus-Resumable"
TUS_VERSION = "Tus-Version"
TUS_EXTENSION = "Tus-Extension"
TUS_MAX_SIZE = "Tus-Max-Size"
TUS_CHECKSUM_ALGORITHM = "Tus-Checksum-Algorithm"
UPLOAD_OFFSET = "Upload-Offset"
UPLOAD_LENGTH = "Upload-Length"
UPLOAD_DEFER_LENGTH = "Upload-Defer-Length"
UPLOAD_EXPIRES = "Upload-Expires"
UPLOAD_ORDER = "Upload-Order"
"""ours: `any` lets chunks come in any order, `sequential` is what TUS says"""
METHOD_OVERRIDE = "X-HTTP-Method-Override"
CONTENT_TYPE = "Content-Type"
CONTENT_LENGTH = "Content-Length"
TRANSFER_ENCODING = "Transfer-Encoding"
CACHE_CONTROL = "Cache-Control"

UNORDERED = "unordered"
"""ours: chunks may come in any order, see Upload-Order"""

EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "checksum",
    "checksum-trailer",
    "termination",
    "expiration",
    "concatenation",
    "concatenation-unfinished",
    UNORDERED,
)
"""what is announced"""

METHODS_OVERRIDING = ("HEAD", "PATCH", "DELETE", "GET", "POST", "OPTIONS")


@dataclass(frozen=True, slots=True)
class AppendTerms:
    """What a request says about the bytes it carries."""

    offset: int
    length: int | None = None
    """the upload's length, when it is declared only now"""
    checksum: Checksum | None = None
    content_length: int | None = None
    """None: the body is chunked, its end is not known before"""
    checksum_follows: bool = False
    """behind the body (checksum-trailer)"""


@dataclass(frozen=True, slots=True)
class CreationTerms:
    """What a POST asks for."""

    length: int | None
    """None: deferred, or the sum of the parts' lengths"""
    metadata: str = ""
    """as sent, and proven safe to be echoed"""
    order: Order | None = None
    body: AppendTerms | None = None
    """the first bytes come along (creation-with-upload)"""
    concat: Concat | None = None
    digests: tuple[Digest, ...] = ()
    """of the whole file, by header or in the metadata"""

    @property
    def fields(self) -> Fields:
        return parse_metadata(self.metadata)

    @property
    def has_body(self) -> bool:
        return self.body is not None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an upload is, as HEAD says it."""

    offset: int | None
    """None: a final upload whose parts have not been joined yet"""
    length: int | None
    metadata: str = ""
    expires_at: float | None = None
    concat: str = ""
    """Upload-Concat as it came"""
    digests: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server can do, as OPTIONS says it."""

    size_max: int | None = None
    checksums: tuple[str, ...] = tuple(CHECKSUMS)
    extensions: tuple[str, ...] = EXTENSIONS
    versions: tuple[str, ...] = VERSIONS


# ---- every request ------------------------------------------------------------------------------------------------


def check_version(headers: Headers) -> None:
    """Not for OPTIONS (M: ignored there), nor for a plain GET, which is no part of TUS: callers decide."""
    # M: in every request; M: 412 with Tus-Version for a version that is not supported. A missing one is none.
    received = find(headers, TUS_RESUMABLE) or ""
    if received not in VERSIONS:
        raise VersionUnsupported(received=shown(received), supported=VERSIONS)


def method_of(method: str, headers: Headers) -> str:
    """M: X-HTTP-Method-Override, where present, is the method, and the actual one is ignored."""
    text = find(headers, METHOD_OVERRIDE)
    if text is None:
        return method
    # Compared as it came: `upper` turns some letters outside ASCII into ASCII ones.
    if not text.isascii() or text.upper() not in METHODS_OVERRIDING:
        raise malformed(METHOD_OVERRIDE, text, f"one of {', '.join(METHODS_OVERRIDING)}")
    return text.upper()


def parse_offset(headers: Headers) -> int:
    # M: a non-negative integer.
    return demand_integer(headers, UPLOAD_OFFSET)


def find_length(headers: Headers) -> int | None:
    # M: a non-negative integer.
    return find_integer(headers, UPLOAD_LENGTH)


def parse_length(headers: Headers) -> int | None:
    """The length that a POST or an answer to HEAD declares; None: deferred."""
    length, deferred = find_length(headers), find(headers, UPLOAD_DEFER_LENGTH)
    if deferred is None:
        # M: one of the two.
        return demand_integer(headers, UPLOAD_LENGTH) if length is None else length
    # M: "Upload-Defer-Length: 1", and the value 1 only.
    if deferred != "1":
        raise malformed(UPLOAD_DEFER_LENGTH, deferred, "1, or leave it out and send Upload-Length")
    if length is not None:
        raise malformed(UPLOAD_DEFER_LENGTH, deferred, "either this or Upload-Length, not both")
    return None


def render_length(length: int | None) -> dict[str, str]:
    return {UPLOAD_DEFER_LENGTH: "1"} if length is None else {UPLOAD_LENGTH: str(length)}


def content_length_of(headers: Headers) -> int | None:
    """How many bytes the body has; None: its end is marked in the body itself, or nothing is said."""
    # RFC 9112 6.3: Transfer-Encoding overrides Content-Length.
    if find_list(headers, TRANSFER_ENCODING) is not None:
        return None
    return find_integer(headers, CONTENT_LENGTH)


def media_type_of(headers: Headers) -> str:
    """Without its parameters (RFC 9110 8.3.1); empty when nothing is said."""
    return (find(headers, CONTENT_TYPE) or "").partition(";")[0].strip(" \t").lower()


def carries_bytes(headers: Headers) -> bool:
    """Is the body of the one type that holds an upload's bytes?"""
    return media_type_of(headers) == MEDIA_TYPE


# ---- PATCH ----------------------------------------------------------------------------------------------------------


def parse_append(headers: Headers, known: Iterable[str] = CHECKSUMS) -> AppendTerms:
    # M: all PATCH requests use this type; S: 415 otherwise.
    if not carries_bytes(headers):
        raise MediaTypeUnsupported(received=shown(find(headers, CONTENT_TYPE) or ""), expected=MEDIA_TYPE)
    # creation-defer-length: the length may come with any PATCH, as soon as it is known.
    return _body_terms(headers, known, offset=parse_offset(headers), length=find_length(headers))


def render_append(terms: AppendTerms) -> dict[str, str]:
    headers = {CONTENT_TYPE: MEDIA_TYPE, UPLOAD_OFFSET: str(terms.offset)}
    if terms.length is not None:
        headers |= render_length(terms.length)
    return headers | _render_body_terms(terms)


def _body_terms(headers: Headers, known: Iterable[str], offset: int, length: int | None) -> AppendTerms:
    checksum = find(headers, UPLOAD_CHECKSUM)
    follows = announces(headers, UPLOAD_CHECKSUM)
    # M: only in chunked transfers; what has a length has no place for it, as behind a proxy that collects bodies.
    if follows and (checksum is not None or (find_list(headers, TRANSFER_ENCODING) or "").lower() != "chunked"):
        expected = "Upload-Checksum as a header, or behind a body with Transfer-Encoding: chunked, and not both"
        raise malformed(TRAILER, find_list(headers, TRAILER) or "", expected)
    return AppendTerms(
        offset=offset,
        length=length,
        checksum=None if checksum is None else parse_checksum(checksum, known),
        content_length=content_length_of(headers),
        checksum_follows=follows,
    )


def parse_trailing_checksum(trailers: Headers, known: Iterable[str] = CHECKSUMS) -> Checksum:
    """Of a body that was announced to be followed by it; the names of `trailers` are in small letters."""
    text = demand(trailers, UPLOAD_CHECKSUM.lower(), "it behind the body, as Trailer announced")
    return parse_checksum(text, known)


def _render_body_terms(terms: AppendTerms) -> dict[str, str]:
    headers: dict[str, str] = {}
    if terms.checksum is not None:
        headers[UPLOAD_CHECKSUM] = render_checksum(terms.checksum)
    if terms.checksum_follows:
        headers |= {TRAILER: UPLOAD_CHECKSUM, TRANSFER_ENCODING: "chunked"}
    if terms.content_length is not None:
        headers[CONTENT_LENGTH] = str(terms.content_length)
    return headers


# ---- POST -----------------------------------------------------------------------------------------------------------


def parse_creation(headers: Headers, known: Iterable[str] = CHECKSUMS) -> CreationTerms:
    concat = find(headers, UPLOAD_CONCAT)
    parsed = None if concat is None else parse_concat(concat)
    if parsed is not None and parsed.parts:
        return _parse_final(headers, parsed)
    length = parse_length(headers)
    metadata = find_list(headers, UPLOAD_METADATA) or ""
    digests = declared(headers, metadata)
    # creation-with-upload: M the same type; the body then begins at byte 0. Any other body is not the upload's.
    body = _body_terms(headers, known, offset=0, length=None) if carries_bytes(headers) else None
    return CreationTerms(length, metadata, parse_order(headers), body, parsed, digests)


def _parse_final(headers: Headers, concat: Concat) -> CreationTerms:
    for name in (UPLOAD_LENGTH, UPLOAD_DEFER_LENGTH):
        # M: no Upload-Length, for it is the sum of the parts'.
        if (text := find(headers, name)) is not None:
            raise malformed(name, text, "a final upload without it: its length is the sum of its parts'")
    if carries_bytes(headers) and (length := content_length_of(headers)) != 0:
        raise malformed(CONTENT_LENGTH, str(length), "a final upload without a body: all its bytes are its parts'")
    metadata = find_list(headers, UPLOAD_METADATA) or ""
    return CreationTerms(None, metadata, concat=concat, digests=declared(headers, metadata))


def render_creation(terms: CreationTerms) -> dict[str, str]:
    headers: dict[str, str] = {} if terms.concat is None else {UPLOAD_CONCAT: terms.concat.text}
    if terms.concat is None or not terms.concat.parts:
        headers |= render_length(terms.length)
    if terms.metadata:
        headers[UPLOAD_METADATA] = echoed(terms.metadata)
    if terms.order is not None:
        headers[UPLOAD_ORDER] = terms.order.value
    headers |= render_digests(terms.digests)
    if terms.body is not None:
        headers |= {CONTENT_TYPE: MEDIA_TYPE} | _render_body_terms(terms.body)
    return headers


def parse_order(headers: Headers) -> Order | None:
    text = find(headers, UPLOAD_ORDER)
    if text is None:
        return None
    try:
        return Order(text)
    except ValueError:
        raise malformed(UPLOAD_ORDER, text, " or ".join(Order)) from None


# ---- answers --------------------------------------------------------------------------------------------------------


def parse_expires(text: str) -> int:
    seconds = parse_date(text)
    if seconds is None:
        raise malformed(UPLOAD_EXPIRES, text, "a date like 'Sun, 06 Nov 1994 08:49:37 GMT'")
    return seconds


def render_expires(seconds: float) -> str:
    # M: the date format of RFC 9110; rounded down, for what is promised may last longer but not end sooner.
    return render_date(seconds)


def find_expires(headers: Headers) -> int | None:
    text = find(headers, UPLOAD_EXPIRES)
    return None if text is None else parse_expires(text)


def render_reached(offset: int, expires_at: float | None = None) -> dict[str, str]:
    """The answer to a PATCH, and to a POST with a body."""
    headers = {UPLOAD_OFFSET: str(offset)}
    if expires_at is not None:
        # M: in every PATCH answer if the upload is going to expire.
        headers[UPLOAD_EXPIRES] = render_expires(expires_at)
    return headers


def render_standing(standing: Standing) -> dict[str, str]:
    # M: Upload-Offset always, also at 0; but S: not while the parts of a final upload are not joined.
    headers = {} if standing.offset is None else render_reached(standing.offset, standing.expires_at)
    if standing.length is not None or not is_final(standing.concat):
        # M: Upload-Length if known, else M Upload-Defer-Length; M: a final upload's as soon as it can be calculated.
        headers |= render_length(standing.length)
    if standing.concat:
        # M: as it came.
        headers[UPLOAD_CONCAT] = standing.concat
    # M: no cache may keep this answer.
    headers[CACHE_CONTROL] = "no-store"
    if standing.metadata:
        # M: what came with the creation is echoed as it came.
        headers[UPLOAD_METADATA] = echoed(standing.metadata)
    return headers | render_digests(standing.digests)


def parse_standing(headers: Headers) -> Standing:
    metadata = echoed(find_list(headers, UPLOAD_METADATA) or "")
    told = find(headers, UPLOAD_CONCAT)
    concat = "" if told is None else parse_concat(told).text
    if is_final(concat):
        offset, length = find_integer(headers, UPLOAD_OFFSET), find_length(headers)
    else:
        offset, length = parse_offset(headers), parse_length(headers)
    return Standing(offset, length, metadata, find_expires(headers), concat, find_digests(headers))


def render_offer(offer: Offer) -> dict[str, str]:
    # M: Tus-Version, in the server's order of preference.
    headers = {TUS_VERSION: ",".join(offer.versions)}
    if offer.extensions:
        # M: left out when there is none.
        headers[TUS_EXTENSION] = ",".join(offer.extensions)
    if offer.size_max is not None:
        headers[TUS_MAX_SIZE] = str(offer.size_max)
    if offer.checksums:
        headers[TUS_CHECKSUM_ALGORITHM] = ",".join(offer.checksums)
    return headers


def parse_offer(headers: Headers) -> Offer:
    if TUS_VERSION not in headers:
        raise HeaderMissing(header=TUS_VERSION, expected="the versions this server speaks")
    size_max = find(headers, TUS_MAX_SIZE)
    return Offer(
        size_max=None if size_max is None else parse_integer(TUS_MAX_SIZE, size_max),
        checksums=_words(headers, TUS_CHECKSUM_ALGORITHM),
        extensions=_words(headers, TUS_EXTENSION),
        versions=_words(headers, TUS_VERSION),
    )


def _words(headers: Headers, name: str) -> tuple[str, ...]:
    words = (word.strip(" \t") for word in (find_list(headers, name) or "").split(","))
    return tuple(word for word in words if word)
