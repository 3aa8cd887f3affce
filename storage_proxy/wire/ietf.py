"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload): header text <-> values, in each interop version.

Rules: what the versions do differently stands in `DIALECTS`, written as their history, and nowhere else. The clause
stands beside each check by the title of its section in draft -12, or of the older draft where it is gone there; MUST is
M and SHOULD is S. A field that is no such structured field is ignored (State, M), not refused; what must not be missed
is then missing. Nothing is decided here about an upload.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from storage_proxy.core.errors import HeaderMalformed, LengthInconsistent, MediaTypeUnsupported
from storage_proxy.core.manifest import Digest
from storage_proxy.wire import structured
from storage_proxy.wire.digests import render_digests
from storage_proxy.wire.fields import Headers, find, find_list, malformed, shown
from storage_proxy.wire.tus import (
    CACHE_CONTROL,
    CONTENT_TYPE,
    TRANSFER_ENCODING,
    TUS_RESUMABLE,
    UPLOAD_LENGTH,
    UPLOAD_OFFSET,
    content_length_of,
    media_type_of,
)

INTEROP_VERSION = "Upload-Draft-Interop-Version"
UPLOAD_COMPLETE = "Upload-Complete"
UPLOAD_INCOMPLETE = "Upload-Incomplete"
UPLOAD_LIMIT = "Upload-Limit"
MEDIA_TYPE = "application/partial-upload"

PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types#"

# RFC 9651 3.3.1: no more than 15 digits.
INTEGER_MAX = 10**15 - 1


@dataclass(frozen=True, slots=True)
class Dialect:
    """One interop version."""

    version: int
    drafts: str
    interim: bool
    """104 with Location once the upload is there (Draft Version Identification, M: only for a version that is known)"""
    completeness: str
    """the field that says whether this is all"""
    silence_completes: bool
    """an append without that field is the last one (-01 to -05, Upload Append: M to say so when it is not)"""
    typed: bool
    """an append's content must be application/partial-upload"""
    bare: bool
    """HEAD and DELETE with the fields of an append are refused (-01 to -05, M 400)"""
    ended_is_missing: bool
    """an upload that is not active is 404 whatever became of it (-01 to -05, M)"""
    progress: bool
    """104 with Upload-Offset on the way"""
    lifetime: str | None
    """the key in Upload-Limit; None: there is no Upload-Limit"""
    appended: int
    """the status of an append that does not complete"""
    head_in_trouble: int
    """what passes on HEAD: 423 where tus-js-client speaks this version, for it starts over at anything else; the draft
    itself lets clients come again after 5xx"""
    mismatch: str | None
    inconsistent: str | None
    completed: str | None
    """problem types, where the version has them"""
    ends_told: bool
    """refusals say whether they are about the upload or about what became of it (Upload Append, M)"""
    get_tells: bool
    """GET of the upload is an offset retrieval, too"""


_V3 = Dialect(
    version=3,
    drafts="-01",
    interim=True,
    completeness=UPLOAD_INCOMPLETE,
    silence_completes=True,
    typed=False,
    bare=True,
    ended_is_missing=True,
    progress=False,
    lifetime=None,
    appended=201,
    head_in_trouble=503,
    mismatch=None,
    inconsistent=None,
    completed=None,
    ends_told=False,
    get_tells=False,
)
_V4 = replace(_V3, version=4, drafts="-02", completeness=UPLOAD_COMPLETE)
_V5 = replace(_V4, version=5, drafts="-03", progress=True, head_in_trouble=423)
_V6 = replace(
    _V5,
    version=6,
    drafts="-04, -05",
    typed=True,
    lifetime="expires",
    mismatch="mismatching-upload-offset",
    completed="completed-upload",
)
_V7 = replace(
    _V6,
    version=7,
    drafts="-06 to -08",
    silence_completes=False,
    bare=False,
    ended_is_missing=False,
    lifetime="max-age",
    appended=204,
    head_in_trouble=503,
    inconsistent="inconsistent-upload-length",
    ends_told=True,
)
_V8 = replace(_V7, version=8, drafts="-09 to -11", completed=None)
_V9 = replace(_V8, version=9, drafts="-12", get_tells=True)

DIALECTS: Mapping[int, Dialect] = MappingProxyType({each.version: each for each in (_V3, _V4, _V5, _V6, _V7, _V8, _V9)})

UNVERSIONED = replace(_V9, interim=False, progress=False)
"""the newest, for clients that name a later version or none: no 104 for them (Draft Version Identification, M)"""


@dataclass(frozen=True, slots=True)
class Content:
    """What a request says about the bytes it carries."""

    offset: int
    complete: bool
    """they are the last ones"""
    length: int | None
    """the upload's, where this request tells it"""
    content_length: int | None
    """None: the body is chunked, its end is not known before"""


@dataclass(frozen=True, slots=True)
class Limits:
    size_max: int | None = None
    seconds_left: float | None = None
    """None: it does not expire"""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an upload is."""

    offset: int
    complete: bool
    length: int | None
    limits: Limits = Limits()
    digests: tuple[Digest, ...] = ()
    """of the whole file"""


# ---- requests -----------------------------------------------------------------------------------------------------


def spoken(headers: Headers) -> Dialect | None:
    """The version of the draft that a request speaks; None: it speaks something else."""
    version = _find_integer(headers, INTEROP_VERSION) or 0
    if (dialect := DIALECTS.get(version)) is not None:
        return dialect
    if find(headers, TUS_RESUMABLE) is not None:
        return None
    newer = version > _V9.version
    return UNVERSIONED if newer or _find_boolean(headers, UPLOAD_COMPLETE) is not None else None


def parse_creation(dialect: Dialect, headers: Headers) -> Content:
    # Upload Creation, M: the field is there. Without it nothing is known to be complete, so nothing is published.
    return _content(headers, offset=0, complete=_find_complete(dialect, headers) or False)


def parse_append(dialect: Dialect, headers: Headers) -> Content:
    # Media Type (-04 on): M.
    if dialect.typed and media_type_of(headers) != MEDIA_TYPE:
        raise MediaTypeUnsupported(received=shown(find(headers, CONTENT_TYPE) or ""), expected=MEDIA_TYPE)
    offset = _find_integer(headers, UPLOAD_OFFSET)
    # Upload Append, M: the offset of the content.
    if offset is None:
        raise malformed(UPLOAD_OFFSET, find(headers, UPLOAD_OFFSET) or "", "the number of the first byte sent")
    complete = _find_complete(dialect, headers)
    return _content(headers, offset, dialect.silence_completes if complete is None else complete)


def check_bare(dialect: Dialect, headers: Headers) -> None:
    """Of HEAD and DELETE."""
    if not dialect.bare:
        return
    for name in (UPLOAD_OFFSET, dialect.completeness):
        if (text := find(headers, name)) is not None:
            raise malformed(name, text, "no such field with HEAD and DELETE")


def find_offset(headers: Headers) -> int | None:
    return _find_integer(headers, UPLOAD_OFFSET)


def _content(headers: Headers, offset: int, complete: bool) -> Content:
    size = content_length_of(headers)
    if size is None and find_list(headers, TRANSFER_ENCODING) is None:
        size = 0  # RFC 9112 6.3: a request that says nothing has no content
    # Length: two ways to tell it, M the same if both are used.
    declared = _find_integer(headers, UPLOAD_LENGTH)
    reached = offset + size if complete and size is not None else None
    if declared is not None and reached is not None and declared != reached:
        raise LengthInconsistent(known=reached, declared=declared)
    return Content(offset, complete, reached if declared is None else declared, size)


def _find_complete(dialect: Dialect, headers: Headers) -> bool | None:
    told = _find_boolean(headers, dialect.completeness)
    return not told if told is not None and dialect.completeness == UPLOAD_INCOMPLETE else told


def _find_boolean(headers: Headers, name: str) -> bool | None:
    try:
        return structured.find_boolean(headers, name)
    except HeaderMalformed:
        return None  # State, M: the entire field is ignored


def _find_integer(headers: Headers, name: str) -> int | None:
    try:
        value = structured.find_integer(headers, name)
    except HeaderMalformed:
        return None  # State, M: likewise
    return value if value is not None and value >= 0 else None


# ---- answers --------------------------------------------------------------------------------------------------------


def render_version(dialect: Dialect) -> dict[str, str]:
    # Draft Version Identification, M on 104; on the others it tells a person what was spoken.
    return {INTEROP_VERSION: str(dialect.version)} if dialect is not UNVERSIONED else {}


def render_complete(dialect: Dialect, complete: bool) -> dict[str, str]:
    told = not complete if dialect.completeness == UPLOAD_INCOMPLETE else complete
    return {dialect.completeness: structured.render_boolean(told)}


def render_limits(dialect: Dialect, limits: Limits) -> dict[str, str]:
    if dialect.lifetime is None:
        return {}
    members: dict[str, int] = {}
    if limits.size_max is not None:
        members["max-size"] = min(limits.size_max, INTEGER_MAX)
    if limits.seconds_left is not None:
        # Rounded down: what is promised may last longer but not end sooner.
        members[dialect.lifetime] = max(0, min(int(limits.seconds_left), INTEGER_MAX))
    # Limits, M: this instead of an empty value.
    return {UPLOAD_LIMIT: structured.render_dictionary(members or {"min-size": 0})}


def render_reached(dialect: Dialect, standing: Standing) -> dict[str, str]:
    """The answer to a creation or an append."""
    # -01 to -05, M: Upload-Offset; later it may be there. Upload Append, M: Upload-Complete.
    return {
        **render_version(dialect),
        UPLOAD_OFFSET: str(standing.offset),
        **render_complete(dialect, standing.complete),
        **render_limits(dialect, standing.limits),
        # Representation Digests: before the end it would be that of the bytes so far, not the declared one.
        **(render_digests(standing.digests) if standing.complete else {}),
    }


def render_standing(dialect: Dialect, standing: Standing) -> dict[str, str]:
    """The answer to HEAD; Responses to Uploads: all that the last answer has told is told again, should it be lost."""
    # Offset Retrieval, M: offset, completeness, limits, and the length if it was told; S: no cache keeps it.
    headers = render_reached(dialect, standing) | {CACHE_CONTROL: "no-store"}
    return headers if standing.length is None else headers | {UPLOAD_LENGTH: str(standing.length)}


def render_offer(size_max: int | None) -> dict[str, str]:
    """What OPTIONS says where uploads are created."""
    # Limits, M: Upload-Limit; -10 and -11, M: Accept-Patch with the full media type.
    return {**render_limits(_V9, Limits(size_max)), "Accept-Patch": MEDIA_TYPE}


def render_interim(dialect: Dialect, headers: Mapping[str, str]) -> bytes:
    """A whole 104 (Upload Resumption Supported) as HTTP/1.1 has it."""
    lines = ["HTTP/1.1 104 Upload Resumption Supported"]
    # Draft Version Identification, M: the version on each.
    lines += [f"{name}: {value}" for name, value in {**render_version(dialect), **headers}.items()]
    assert all(line.isprintable() for line in lines), "a line end in a header"
    return "\r\n".join([*lines, "", ""]).encode()
