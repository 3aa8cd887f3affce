"""Upload-Metadata in both directions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core.errors import HeaderMalformed
from storage_proxy.wire.metadata import (
    METADATA_BYTES_MAX,
    Fields,
    echoed,
    metadata_text,
    parse_metadata,
    render_metadata,
)

# text, fields, and whether rendering the fields gives the same text
GOOD: list[tuple[str, Fields, bool]] = [
    ("", (), True),
    ("filename YS50eHQ=", (("filename", b"a.txt"),), True),
    ("filename YS50eHQ=,is_confidential", (("filename", b"a.txt"), ("is_confidential", b"")), True),
    ("is_confidential ", (("is_confidential", b""),), False),
    ("a QQ==, b Qg==", (("a", b"A"), ("b", b"B")), False),
    ("b Qg==,a QQ==", (("b", b"B"), ("a", b"A")), True),
    ("a-._~!$&'()*+;=:@/?%\"\\ QQ==", (("a-._~!$&'()*+;=:@/?%\"\\", b"A"),), True),
    ("A QQ==,a QQ==", (("A", b"A"), ("a", b"A")), True),
    ("nl DQo=", (("nl", b"\r\n"),), True),
]
BAD = [
    " ",
    ",",
    "a QQ==,",
    ",a QQ==",
    "a QQ==,,b Qg==",
    "a QQ==,a Qg==",
    "a,a",
    "a  QQ==",
    "a QQ== QQ==",
    "a QQ",
    "a QR==",
    "a -_-_",
    "a\tQQ==",
    "ä QQ==",
    "a ä",
    "a QQ==\r\nX-Evil: 1",
    "a\r\nX-Evil: 1",
    "a\n",
    "a\x00",
    "a\x7f",
    "a\ud800",
    "a\u2028b",
]


@pytest.mark.parametrize(("text", "fields", "canonical"), GOOD)
def test_metadata_is_pairs_of_a_key_and_base64(text: str, fields: Fields, canonical: bool) -> None:
    assert parse_metadata(text) == fields
    assert echoed(text) == text
    assert (render_metadata(fields) == text) is canonical
    assert parse_metadata(render_metadata(fields)) == fields


@pytest.mark.parametrize("text", BAD)
def test_metadata_outside_the_grammar_is_refused(text: str) -> None:
    for parse in (parse_metadata, echoed):
        with pytest.raises(HeaderMalformed) as caught:
            parse(text)
        assert caught.value.header == "Upload-Metadata"


def test_metadata_has_a_size_limit_that_is_exact() -> None:
    fits = "a" * METADATA_BYTES_MAX
    assert parse_metadata(fits) == ((fits, b""),)
    with pytest.raises(HeaderMalformed) as caught:
        parse_metadata(fits + "a")
    assert len(str(caught.value)) < 500


KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1, max_size=20)
FIELDS = st.lists(st.tuples(KEYS, st.binary(max_size=60)), max_size=8, unique_by=lambda pair: pair[0]).map(tuple)


@given(FIELDS)
def test_metadata_reads_back(fields: Fields) -> None:
    assert parse_metadata(render_metadata(fields)) == fields


@given(st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=3)), max_size=3))
def test_fields_that_have_no_text_are_not_rendered(fields: list[tuple[str, bytes]]) -> None:
    try:
        text = render_metadata(fields)
    except HeaderMalformed:
        return
    assert parse_metadata(text) == tuple(fields)


@pytest.mark.parametrize("key", ["", "a,b", " a", "a b", "a\r\nb", "ä"])
def test_a_key_cannot_smuggle_in_another_field(key: str) -> None:
    with pytest.raises(HeaderMalformed):
        render_metadata([(key, b"")])
    with pytest.raises(HeaderMalformed):
        render_metadata([(key, b"value")])


@given(st.text() | st.text(alphabet="ab ,=QR\r\n\t\u00e9"))
def test_what_may_be_echoed_is_one_printable_ascii_line(text: str) -> None:
    try:
        line = echoed(text)
    except HeaderMalformed:
        return
    assert line == text
    assert line.isascii()
    assert all(" " <= letter <= "~" for letter in line)


def test_a_value_that_people_read_is_utf8() -> None:
    fields = parse_metadata("filename w6QudHh0,half w6Q=,bad /w==,surrogate 7aCA")
    assert metadata_text(fields, "filename") == "ä.txt"
    assert metadata_text(fields, "nothing") == ""
    for key in ("bad", "surrogate"):
        with pytest.raises(HeaderMalformed) as caught:
            metadata_text(fields, key)
        assert key in str(caught.value)
