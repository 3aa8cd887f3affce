"""TUS 1.0 requests and answers, each header by a table, both directions by round trips."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from storage_proxy.core.errors import (
    ChecksumUnknown,
    HeaderMalformed,
    HeaderMissing,
    MediaTypeUnsupported,
    Refused,
    VersionUnsupported,
)
from storage_proxy.core.manifest import Order
from storage_proxy.wire import tus
from storage_proxy.wire.checksums import CHECKSUMS, Checksum
from storage_proxy.wire.concatenation import Concat, parse_concat, render_concat
from storage_proxy.wire.metadata import render_metadata
from storage_proxy.wire.tus import AppendTerms, CreationTerms, Offer, Standing

TYPE = {"Content-Type": tus.MEDIA_TYPE}
SHA1 = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="
SHA1_VALUE = Checksum("sha1", bytes.fromhex("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"))
LENGTH_MAX = 2**63 - 1


def ci(headers: dict[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(headers)


# ---- every request


@pytest.mark.parametrize("received", ["1.0.0", " 1.0.0 "])
def test_the_supported_version_passes(received: str) -> None:
    tus.check_version(ci({"tus-resumable": received}))


@pytest.mark.parametrize("received", [None, "", "0.2.2", "1.0", "1.0.1", "1.0.0, 1.0.0", "\uff11.0.0", "x" * 5000])
def test_a_missing_or_other_version_is_refused_with_the_supported_ones(received: str | None) -> None:
    with pytest.raises(VersionUnsupported) as caught:
        tus.check_version(ci({} if received is None else {"Tus-Resumable": received}))
    assert caught.value.supported == ("1.0.0",)
    assert len(caught.value.received) <= 100
    assert received is not None or caught.value.received == ""


METHODS = [
    ("PATCH", {}, "PATCH"),
    ("PROPFIND", {}, "PROPFIND"),
    ("POST", {"X-HTTP-Method-Override": "PATCH"}, "PATCH"),
    ("POST", {"x-http-method-override": "delete"}, "DELETE"),
    ("GET", {"X-HTTP-Method-Override": "Head"}, "HEAD"),
    ("POST", {"X-HTTP-Method-Override": " OPTIONS "}, "OPTIONS"),
]


@pytest.mark.parametrize(("method", "headers", "meant"), METHODS)
def test_an_overriding_method_is_the_method(method: str, headers: dict[str, str], meant: str) -> None:
    assert tus.method_of(method, ci(headers)) == meant


@pytest.mark.parametrize("text", ["", "PUT", "CONNECT", "TRACE", "PATCH, DELETE", "PATCH\r\n", "PO\u017fT", "x" * 5000])
def test_another_overriding_method_is_refused(text: str) -> None:
    with pytest.raises(HeaderMalformed) as caught:
        tus.method_of("POST", ci({"X-HTTP-Method-Override": text}))
    assert caught.value.header == "X-HTTP-Method-Override"


# ---- PATCH

GOOD_APPENDS: list[tuple[dict[str, str], AppendTerms]] = [
    ({"Upload-Offset": "0"}, AppendTerms(0)),
    ({"Upload-Offset": "5", "Content-Length": "7"}, AppendTerms(5, content_length=7)),
    ({"Upload-Offset": "5", "Content-Length": "7", "Transfer-Encoding": "chunked"}, AppendTerms(5)),
    ({"Upload-Offset": "5", "Upload-Length": "5", "Content-Length": "0"}, AppendTerms(5, 5, content_length=0)),
    ({"upload-offset": "5", "upload-checksum": SHA1}, AppendTerms(5, checksum=SHA1_VALUE)),
    ({"Upload-Offset": "0", "Content-Type": "Application/Offset+Octet-Stream"}, AppendTerms(0)),
    ({"Upload-Offset": "0", "Content-Type": f"{tus.MEDIA_TYPE} ; charset=UTF-8"}, AppendTerms(0)),
    ({"Upload-Offset": str(LENGTH_MAX)}, AppendTerms(LENGTH_MAX)),
]
BAD_APPENDS: list[tuple[dict[str, str | None], type[Refused], str]] = [
    ({"Content-Type": None}, MediaTypeUnsupported, ""),
    ({"Content-Type": ""}, MediaTypeUnsupported, ""),
    ({"Content-Type": "application/octet-stream"}, MediaTypeUnsupported, ""),
    ({"Content-Type": "application/offset+octet-stream2"}, MediaTypeUnsupported, ""),
    ({"Content-Type": "text/plain; x=application/offset+octet-stream"}, MediaTypeUnsupported, ""),
    ({"Upload-Offset": None}, HeaderMissing, "Upload-Offset"),
    ({"Upload-Offset": ""}, HeaderMalformed, "Upload-Offset"),
    ({"Upload-Offset": "-1"}, HeaderMalformed, "Upload-Offset"),
    ({"Upload-Offset": "1_0"}, HeaderMalformed, "Upload-Offset"),
    ({"Upload-Offset": "٣"}, HeaderMalformed, "Upload-Offset"),
    ({"Upload-Offset": str(LENGTH_MAX + 1)}, HeaderMalformed, "Upload-Offset"),
    ({"Upload-Length": "five"}, HeaderMalformed, "Upload-Length"),
    ({"Upload-Length": ""}, HeaderMalformed, "Upload-Length"),
    ({"Content-Length": "-1"}, HeaderMalformed, "Content-Length"),
    ({"Content-Length": "5, 5"}, HeaderMalformed, "Content-Length"),
    ({"Upload-Checksum": "sha1"}, HeaderMalformed, "Upload-Checksum"),
    ({"Upload-Checksum": ""}, ChecksumUnknown, ""),
    ({"Upload-Checksum": "rot13 QQ=="}, ChecksumUnknown, ""),
]


@pytest.mark.parametrize(("headers", "terms"), GOOD_APPENDS)
def test_a_patch_says_what_its_bytes_are(headers: dict[str, str], terms: AppendTerms) -> None:
    assert tus.parse_append(ci(TYPE | headers)) == terms


@pytest.mark.parametrize(("changed", "error", "header"), BAD_APPENDS)
def test_a_patch_that_breaks_a_clause_is_refused(
    changed: dict[str, str | None], error: type[Refused], header: str
) -> None:
    headers = {name: text for name, text in (TYPE | {"Upload-Offset": "0"} | changed).items() if text is not None}
    with pytest.raises(error) as caught:
        tus.parse_append(ci(headers))
    assert getattr(caught.value, "header", "") == header


def test_a_patch_may_only_use_the_checksums_that_the_server_offers() -> None:
    with pytest.raises(ChecksumUnknown) as caught:
        tus.parse_append(ci(TYPE | {"Upload-Offset": "0", "Upload-Checksum": SHA1}), known=("sha256",))
    assert caught.value.known == ("sha256",)


# ---- POST

GOOD_CREATIONS: list[tuple[dict[str, str], CreationTerms]] = [
    ({"Upload-Length": "0"}, CreationTerms(0)),
    ({"Upload-Length": str(LENGTH_MAX)}, CreationTerms(LENGTH_MAX)),
    ({"Upload-Defer-Length": "1"}, CreationTerms(None)),
    ({"Upload-Length": "9", "Upload-Order": "any"}, CreationTerms(9, order=Order.ANY)),
    ({"Upload-Length": "9", "Upload-Order": "sequential"}, CreationTerms(9, order=Order.SEQUENTIAL)),
    ({"Upload-Length": "9", "Upload-Metadata": "a QQ==, b"}, CreationTerms(9, "a QQ==, b")),
    ({"Upload-Length": "9", "Upload-Metadata": ""}, CreationTerms(9)),
    ({"Upload-Length": "9", "Content-Length": "0"}, CreationTerms(9)),
    ({"Upload-Length": "9", "Content-Type": "text/plain", "Content-Length": "3"}, CreationTerms(9)),
    ({"Upload-Length": "9", "Upload-Offset": "4"}, CreationTerms(9)),
    (
        {"Upload-Length": "9", "Content-Length": "3", "Upload-Checksum": SHA1} | TYPE,
        CreationTerms(9, body=AppendTerms(0, checksum=SHA1_VALUE, content_length=3)),
    ),
    ({"Upload-Defer-Length": "1", "Transfer-Encoding": "chunked"} | TYPE, CreationTerms(None, body=AppendTerms(0))),
    ({"Upload-Length": "9", "Upload-Concat": "partial"}, CreationTerms(9, concat=Concat("partial"))),
    (
        {"Upload-Concat": "final;/files/a  https://other/files/b", "Upload-Metadata": "a QQ==", "Content-Length": "0"}
        | TYPE,
        CreationTerms(
            None,
            "a QQ==",
            concat=Concat("final;/files/a  https://other/files/b", ("/files/a", "https://other/files/b")),
        ),
    ),
]
BAD_CREATIONS: list[tuple[dict[str, str], type[Refused], str]] = [
    ({}, HeaderMissing, "Upload-Length"),
    ({"Upload-Length": ""}, HeaderMalformed, "Upload-Length"),
    ({"Upload-Length": "-5"}, HeaderMalformed, "Upload-Length"),
    ({"Upload-Length": "5.0"}, HeaderMalformed, "Upload-Length"),
    ({"Upload-Length": str(LENGTH_MAX + 1)}, HeaderMalformed, "Upload-Length"),
    ({"Upload-Length": "5", "Upload-Defer-Length": "1"}, HeaderMalformed, "Upload-Defer-Length"),
    ({"Upload-Length": "5", "Upload-Defer-Length": "0"}, HeaderMalformed, "Upload-Defer-Length"),
    ({"Upload-Defer-Length": "0"}, HeaderMalformed, "Upload-Defer-Length"),
    ({"Upload-Defer-Length": "true"}, HeaderMalformed, "Upload-Defer-Length"),
    ({"Upload-Defer-Length": ""}, HeaderMalformed, "Upload-Defer-Length"),
    ({"Upload-Defer-Length": "01"}, HeaderMalformed, "Upload-Defer-Length"),
    ({"Upload-Length": "5", "Upload-Order": "random"}, HeaderMalformed, "Upload-Order"),
    ({"Upload-Length": "5", "Upload-Order": ""}, HeaderMalformed, "Upload-Order"),
    ({"Upload-Length": "5", "Upload-Metadata": "a QQ"}, HeaderMalformed, "Upload-Metadata"),
    ({"Upload-Length": "5", "Upload-Metadata": "a\r\nX: y"}, HeaderMalformed, "Upload-Metadata"),
    ({"Upload-Length": "5", "Upload-Concat": "neither"}, HeaderMalformed, "Upload-Concat"),
    ({"Upload-Concat": "partial"}, HeaderMissing, "Upload-Length"),
    ({"Upload-Length": "5", "Upload-Concat": "final;/files/a /files/b"}, HeaderMalformed, "Upload-Length"),
    ({"Upload-Defer-Length": "1", "Upload-Concat": "final;/files/a"}, HeaderMalformed, "Upload-Defer-Length"),
    (
        {"Upload-Concat": "final;/files/a", "Content-Length": "5"} | TYPE,
        HeaderMalformed,
        "Content-Length",
    ),
    ({"Upload-Length": "5", "Content-Length": "x"} | TYPE, HeaderMalformed, "Content-Length"),
    ({"Upload-Length": "5", "Upload-Checksum": "x"} | TYPE, ChecksumUnknown, ""),
]


@pytest.mark.parametrize(("headers", "terms"), GOOD_CREATIONS)
def test_a_post_says_what_is_created(headers: dict[str, str], terms: CreationTerms) -> None:
    assert tus.parse_creation(ci(headers)) == terms


@pytest.mark.parametrize(("headers", "error", "header"), BAD_CREATIONS)
def test_a_post_that_breaks_a_clause_is_refused(headers: dict[str, str], error: type[Refused], header: str) -> None:
    with pytest.raises(error) as caught:
        tus.parse_creation(ci(headers))
    assert getattr(caught.value, "header", "") == header


def test_the_metadata_of_a_post_is_read_as_fields() -> None:
    terms = tus.parse_creation(ci({"Upload-Length": "1", "Upload-Metadata": "filename YS50eHQ=, x"}))
    assert terms.fields == (("filename", b"a.txt"), ("x", b""))
    assert not terms.has_body


# ---- answers


def test_the_answer_to_head_has_what_the_specification_demands() -> None:
    assert tus.render_standing(Standing(0, 9, "a QQ==", 784111777.9)) == {
        "Upload-Offset": "0",
        "Upload-Length": "9",
        "Upload-Metadata": "a QQ==",
        "Upload-Expires": "Sun, 06 Nov 1994 08:49:37 GMT",
        "Cache-Control": "no-store",
    }
    assert tus.render_standing(Standing(3, None)) == {
        "Upload-Offset": "3",
        "Upload-Defer-Length": "1",
        "Cache-Control": "no-store",
    }
    assert tus.render_standing(Standing(None, None, concat="final;/files/a")) == {
        "Upload-Concat": "final;/files/a",
        "Cache-Control": "no-store",
    }
    assert tus.render_standing(Standing(9, 9, concat="final;/files/a")) == {
        "Upload-Offset": "9",
        "Upload-Length": "9",
        "Upload-Concat": "final;/files/a",
        "Cache-Control": "no-store",
    }


def test_the_answer_to_patch_has_the_offset_and_when_it_expires() -> None:
    assert tus.render_reached(7) == {"Upload-Offset": "7"}
    assert tus.render_reached(7, 0) == {"Upload-Offset": "7", "Upload-Expires": "Thu, 01 Jan 1970 00:00:00 GMT"}


def test_metadata_that_was_altered_on_the_share_is_not_echoed_as_a_second_header() -> None:
    with pytest.raises(HeaderMalformed):
        tus.render_standing(Standing(0, 9, "a QQ==\r\nSet-Cookie: x"))


def test_the_answer_to_options_lists_what_is_offered() -> None:
    assert tus.render_offer(Offer(size_max=5)) == {
        "Tus-Version": "1.0.0",
        "Tus-Extension": "creation,creation-with-upload,creation-defer-length,checksum,checksum-trailer,termination"
        ",expiration,concatenation,concatenation-unfinished,unordered",
        "Tus-Max-Size": "5",
        "Tus-Checksum-Algorithm": "sha1,sha256,sha512,md5,crc32",
    }
    assert tus.render_offer(Offer(checksums=(), extensions=())) == {"Tus-Version": "1.0.0"}


def test_an_offer_of_another_server_is_read_with_spaces_in_its_lists() -> None:
    headers = ci({"Tus-Version": "1.0.0, 0.2.2,", "tus-extension": "creation ,\tchecksum"})
    assert tus.parse_offer(headers) == Offer(None, (), ("creation", "checksum"), ("1.0.0", "0.2.2"))
    with pytest.raises(HeaderMissing):
        tus.parse_offer(ci({}))


@pytest.mark.parametrize("text", ["", "0", "tomorrow", "Mon, 06 Nov 1994 08:49:37 GMT"])
def test_a_date_of_expiry_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(HeaderMalformed) as caught:
        tus.parse_expires(text)
    assert caught.value.header == "Upload-Expires"


# ---- both directions

LENGTHS = st.integers(0, LENGTH_MAX)
MAYBE_LENGTHS = st.none() | LENGTHS
CHECKSUM = st.sampled_from(sorted(CHECKSUMS)).flatmap(
    lambda name: st.builds(Checksum, st.just(name), st.binary(min_size=CHECKSUMS[name], max_size=CHECKSUMS[name]))
)
METADATA = st.dictionaries(st.from_regex(r"\A[!-+\--~]{1,9}\Z"), st.binary(max_size=20), max_size=4).map(
    lambda fields: render_metadata(fields.items())
)
BODIES = st.builds(AppendTerms, st.just(0), st.none(), st.none() | CHECKSUM, MAYBE_LENGTHS) | st.just(
    AppendTerms(0, checksum_follows=True)
)
APPENDS = st.builds(AppendTerms, LENGTHS, MAYBE_LENGTHS, st.none() | CHECKSUM, MAYBE_LENGTHS) | st.builds(
    AppendTerms, LENGTHS, MAYBE_LENGTHS, checksum_follows=st.just(True)
)
URLS = st.lists(st.from_regex(r"\A(http://a:1)?/[!-:<-~]{1,9}\Z"), min_size=1, max_size=3)
FINALS = URLS.map(lambda urls: parse_concat(render_concat(urls)))
CREATIONS = st.builds(
    CreationTerms,
    MAYBE_LENGTHS,
    METADATA,
    st.none() | st.sampled_from(Order),
    st.none() | BODIES,
    st.none() | st.just(Concat("partial")),
) | st.builds(CreationTerms, st.none(), METADATA, concat=FINALS)
EXPIRIES = st.none() | st.integers(0, 253402300799)
STANDINGS = st.builds(
    Standing, LENGTHS, MAYBE_LENGTHS, METADATA, EXPIRIES, st.sampled_from(("", "partial"))
) | st.builds(Standing, st.none(), MAYBE_LENGTHS, METADATA, concat=FINALS.map(lambda concat: concat.text))
WORDS = st.lists(st.from_regex(r"\A[a-z0-9.-]{1,8}\Z"), max_size=4).map(tuple)
OFFERS = st.builds(Offer, MAYBE_LENGTHS, WORDS, WORDS, WORDS)


def assert_safe(headers: dict[str, str]) -> None:
    for text in headers.values():
        assert all(" " <= letter <= "~" for letter in text), f"{text!r} may not stand in a header"


@given(APPENDS)
def test_a_rendered_patch_reads_back(terms: AppendTerms) -> None:
    headers = tus.render_append(terms)
    assert tus.parse_append(ci(headers)) == terms
    assert_safe(headers)


@given(CREATIONS)
def test_a_rendered_post_reads_back(terms: CreationTerms) -> None:
    headers = tus.render_creation(terms)
    assert tus.parse_creation(ci(headers)) == terms
    assert_safe(headers)


@given(STANDINGS)
def test_a_rendered_answer_to_head_reads_back(standing: Standing) -> None:
    headers = tus.render_standing(standing)
    assert tus.parse_standing(ci(headers)) == standing
    assert_safe(headers)


@given(OFFERS)
def test_a_rendered_answer_to_options_reads_back(offer: Offer) -> None:
    headers = tus.render_offer(offer)
    assert tus.parse_offer(ci(headers)) == offer
    assert_safe(headers)


# ---- whatever comes in

RENDERED: list[tuple[Callable[[CIMultiDict[str]], object], Callable[..., dict[str, str]] | None]] = [
    (tus.check_version, None),
    (lambda headers: tus.method_of("POST", headers), None),
    (tus.parse_append, tus.render_append),
    (tus.parse_creation, tus.render_creation),
    (tus.parse_standing, tus.render_standing),
    (tus.parse_offer, None),
]
NAMES = sorted(
    text for name, text in vars(tus).items() if name.isupper() and isinstance(text, str) and text[:1].isupper()
)
TEXTS = (
    st.text(max_size=12)
    | st.sampled_from(
        [
            "0",
            "1",
            "5",
            "1.0.0",
            tus.MEDIA_TYPE,
            "any",
            SHA1,
            "a QQ==",
            "partial",
            "final;/a",
            "chunked",
            "PATCH",
            "a\r\nb: c",
        ]
    )
    | st.sampled_from(["Sun, 06 Nov 1994 08:49:37 GMT", "99999999999999999999", "a,b", "\ud800", "5\n"])
)


def test_the_hostile_headers_are_the_ones_that_are_read() -> None:
    assert {"Upload-Offset", "Upload-Metadata", "Upload-Checksum", "Content-Type", "Tus-Resumable"} <= set(NAMES)


@given(st.dictionaries(st.sampled_from(NAMES), TEXTS))
def test_any_headers_are_read_or_refused_and_what_was_read_is_safe_to_send(headers: dict[str, str]) -> None:
    for parse, render in RENDERED:
        try:
            value = parse(ci(headers))
        except Refused as refused:
            assert_safe({"sentence": str(refused).encode("ascii", "replace").decode()})
        else:
            assert_safe(render(value) if render else {})


RIGHT = (
    APPENDS.map(tus.render_append).map(lambda headers: (tus.parse_append, tus.render_append, headers))
    | CREATIONS.map(tus.render_creation).map(lambda headers: (tus.parse_creation, tus.render_creation, headers))
    | STANDINGS.map(tus.render_standing).map(lambda headers: (tus.parse_standing, tus.render_standing, headers))
)


@given(RIGHT, st.sampled_from(NAMES), st.none() | TEXTS)
def test_with_one_field_changed_it_is_refused_or_means_one_thing(
    right: tuple[Callable[..., object], Callable[..., dict[str, str]], dict[str, str]], name: str, text: str | None
) -> None:
    """Nearly right gets further into a parser than anything at all."""
    parse, render, headers = right
    changed = {**headers, name: text} if text is not None else {key: headers[key] for key in headers if key != name}
    try:
        value = parse(ci(changed))
    except Refused:
        return
    # What was read is written in one way, and that is read as the same again.
    assert_safe(render(value))
    assert parse(ci(render(value))) == value
