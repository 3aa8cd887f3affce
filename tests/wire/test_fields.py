"""The shapes that every header parser stands on."""

import calendar
import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from storage_proxy.core.errors import HeaderMalformed, HeaderMissing
from storage_proxy.wire import fields

INTEGERS = [
    ("0", 0),
    ("7", 7),
    ("007", 7),
    ("9223372036854775807", 2**63 - 1),
]
NOT_INTEGERS = [
    "",
    " ",
    "-1",
    "+1",
    "1_000",
    "1.0",
    "1e3",
    "0x10",
    "1 2",
    "1\n",
    "\n1",
    "١٢",  # Arabic-Indic digits, which `int` reads
    "\uff11\uff12",  # full-width digits
    "²",
    "9223372036854775808",
    "0" * 20,
    "9" * 5000,  # `int` itself refuses so many digits, by ValueError
]


@pytest.mark.parametrize(("text", "value"), INTEGERS)
def test_an_integer_is_decimal_digits(text: str, value: int) -> None:
    assert fields.parse_integer("Upload-Offset", text) == value


@pytest.mark.parametrize("text", NOT_INTEGERS)
def test_what_is_not_plain_digits_or_too_large_is_no_integer(text: str) -> None:
    with pytest.raises(HeaderMalformed) as caught:
        fields.parse_integer("Upload-Offset", text)
    assert caught.value.header == "Upload-Offset"
    assert len(caught.value.received) <= 100


@given(st.integers(0, fields.INTEGER_MAX))
def test_an_integer_reads_back(value: int) -> None:
    assert fields.parse_integer("Upload-Offset", str(value)) == value


@given(st.text())
def test_an_integer_parser_answers_any_text_with_a_value_or_a_refusal(text: str) -> None:
    try:
        value = fields.parse_integer("Upload-Offset", text)
    except HeaderMalformed:
        return
    assert text.isascii()
    assert text.isdecimal()
    assert int(text) == value


def test_a_field_is_found_whatever_its_case_and_without_the_space_around_it() -> None:
    headers = CIMultiDict({"upload-OFFSET": " \t5 "})
    assert fields.find(headers, "Upload-Offset") == "5"
    assert fields.demand_integer(headers, "Upload-Offset") == 5


def test_a_field_that_is_not_there_is_none_or_a_refusal_that_names_it() -> None:
    assert fields.find(CIMultiDict[str](), "Upload-Offset") is None
    assert fields.find_integer(CIMultiDict[str](), "Upload-Offset") is None
    with pytest.raises(HeaderMissing) as caught:
        fields.demand_integer(CIMultiDict[str](), "Upload-Offset")
    assert caught.value.header == "Upload-Offset"


@pytest.mark.parametrize("second", ["5", "6", ""])
def test_a_field_with_one_value_that_comes_in_two_lines_is_refused_and_not_repeated(second: str) -> None:
    headers = CIMultiDict([("Upload-Offset", "5"), ("upload-offset", second)])
    with pytest.raises(HeaderMalformed) as caught:
        fields.find(headers, "Upload-Offset")
    assert (caught.value.header, caught.value.received) == ("Upload-Offset", "2 lines")
    with pytest.raises(HeaderMalformed):
        fields.demand_integer(headers, "Upload-Offset")


def test_the_lines_of_a_list_are_one() -> None:
    headers = CIMultiDict([("Trailer", " a "), ("Host", "x"), ("trailer", "b,c\t")])
    assert fields.find_list(headers, "Trailer") == "a, b,c"
    assert fields.find_list(headers, "Host") == "x"
    assert fields.find_list(headers, "Upload-Metadata") is None
    assert fields.find_list({"trailer": "a"}, "trailer") == "a"


BASE64 = [("", b""), ("QQ==", b"A"), ("QUI=", b"AB"), ("QUJD", b"ABC"), ("+/+/", b"\xfb\xff\xbf")]
NOT_BASE64 = [
    "QQ",
    "QQ=",
    "QQ===",
    "QR==",  # unused bits set
    "QUJD\n",
    "QU JD",
    "-_-_",  # the alphabet for URLs
    "QQ==QQ==",
    "=QQ=",
    "é",
    "\ud800",
]


@pytest.mark.parametrize(("text", "value"), BASE64)
def test_base64_is_read_and_written(text: str, value: bytes) -> None:
    assert fields.parse_base64(text) == value
    assert fields.render_base64(value) == text


@pytest.mark.parametrize("text", NOT_BASE64)
def test_base64_is_strict(text: str) -> None:
    assert fields.parse_base64(text) is None


@given(st.binary())
def test_base64_reads_back(value: bytes) -> None:
    assert fields.parse_base64(fields.render_base64(value)) == value


@given(st.text(alphabet="AQRUIJD+/=-_ \n\u00e9"))
def test_base64_has_one_text_for_one_value(text: str) -> None:
    value = fields.parse_base64(text)
    assert value is None or fields.render_base64(value) == text


DATES = [
    ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
    ("Thu, 29 Feb 2024 23:59:59 GMT", 1709251199),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799),
]
NOT_DATES = [
    "",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 06 Nov 1994 08:49:37 +0000",
    "Mon, 06 Nov 1994 08:49:37 GMT",  # it was a Sunday
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "Fri, 30 Feb 2024 00:00:00 GMT",
    "Sun, 06 Foo 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 1994 08:60:00 GMT",
    "Sat, 01 Jan 0000 00:00:00 GMT",
    "Mon, 00 Jan 0001 00:00:00 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT\n",
    "Sun, 06 Nov 1994 08:49:37 GMT\r\nX: y",
    "Sun, ٠٦ Nov 1994 08:49:37 GMT",
]


@pytest.mark.parametrize(("text", "seconds"), DATES)
def test_a_date_is_an_imf_fixdate(text: str, seconds: int) -> None:
    assert fields.render_date(seconds) == text
    assert fields.parse_date(text) == seconds


@pytest.mark.parametrize("text", NOT_DATES)
def test_no_other_date_is_read(text: str) -> None:
    assert fields.parse_date(text) is None


@given(st.floats(0, 253402300799))
def test_a_date_reads_back_rounded_down_and_other_readers_agree(seconds: float) -> None:
    text = fields.render_date(seconds)
    assert fields.parse_date(text) == int(seconds)
    assert calendar.timegm(email.utils.parsedate_to_datetime(text).timetuple()) == int(seconds)


@given(st.from_regex(r"\A(Sun|Mon|Thu), [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT\Z"))
def test_a_date_that_looks_right_is_read_exactly_or_not_at_all(text: str) -> None:
    seconds = fields.parse_date(text)
    assert seconds is None or fields.render_date(seconds) == text


@given(st.text(min_size=101))
def test_an_error_repeats_only_the_beginning_of_a_long_text(text: str) -> None:
    assert len(fields.shown(text)) == 100
    assert fields.shown(text).endswith("…")
