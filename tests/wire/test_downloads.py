"""Range, Content-Range and Content-Disposition."""

import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core.errors import HeaderMalformed, RangeUnsatisfiable
from storage_proxy.core.extents import Extent
from storage_proxy.wire.downloads import (
    parse_content_range,
    parse_disposition,
    parse_range,
    render_content_range,
    render_disposition,
    render_range,
)

RANGES: list[tuple[str, int, Extent | None]] = [
    ("bytes=0-499", 1000, Extent(0, 500)),
    ("bytes=500-999", 1000, Extent(500, 1000)),
    ("bytes=500-", 1000, Extent(500, 1000)),
    ("bytes=999-", 1000, Extent(999, 1000)),
    ("bytes=-1", 1000, Extent(999, 1000)),
    ("bytes=-5000", 1000, Extent(0, 1000)),
    ("bytes=0-0", 1000, Extent(0, 1)),
    ("bytes=0-99999999999999999999999999", 1000, Extent(0, 1000)),
    ("BYTES=1-2", 1000, Extent(1, 3)),
    (" bytes=1-2\t", 1000, Extent(1, 3)),
    # understood, but of an empty file
    ("bytes=0-", 0, None),
    ("bytes=-5", 0, None),
    # invalid, or not ours: ignored
    ("", 1000, None),
    ("bytes", 1000, None),
    ("bytes=", 1000, None),
    ("bytes=-", 1000, None),
    ("bytes=5-4", 1000, None),
    ("bytes=5000-4000", 1000, None),
    ("bytes=0-1,5-6", 1000, None),
    ("bytes=0-1,", 1000, None),
    ("bytes = 0-1", 1000, None),
    ("bytes=+1-2", 1000, None),
    ("bytes=1_0-20", 1000, None),
    ("bytes=--5", 1000, None),
    ("bytes=٣-٤", 1000, None),
    ("bytes=0-1\n", 1000, None),
    ("lines=0-1", 1000, None),
    ("bytes=0x1-0x2", 1000, None),
    ("bytes=0-" + "9" * 5000, 1000, None),
]


@pytest.mark.parametrize(("text", "size", "extent"), RANGES)
def test_one_range_of_bytes_is_understood_and_all_else_means_the_whole_file(
    text: str, size: int, extent: Extent | None
) -> None:
    assert parse_range(text, size) == extent


@pytest.mark.parametrize("text", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=99999999999999999999-"])
def test_a_range_behind_the_end_is_refused_with_the_size(text: str) -> None:
    with pytest.raises(RangeUnsatisfiable) as caught:
        parse_range(text, 1000)
    assert caught.value.size == 1000


@st.composite
def extents_of_files(draw: st.DrawFn) -> tuple[Extent, int]:
    size = draw(st.integers(1, 2**63 - 1))
    start = draw(st.integers(0, size - 1))
    return Extent(start, draw(st.integers(start + 1, size))), size


@given(extents_of_files())
def test_a_range_and_its_answer_read_back(part: tuple[Extent, int]) -> None:
    extent, size = part
    assert parse_range(render_range(extent), size) == extent
    assert parse_content_range(render_content_range(extent, size)) == (extent, size)
    assert parse_content_range(render_content_range(None, size)) == (None, size)


@given(st.text() | st.from_regex(r"\Abytes=[0-9]{0,4}-[0-9]{0,4}\Z"), st.integers(0, 1000))
def test_any_range_lies_in_the_file_or_is_ignored_or_refused(text: str, size: int) -> None:
    try:
        extent = parse_range(text, size)
    except RangeUnsatisfiable:
        return
    assert extent is None or (extent.length > 0 and extent.end <= size)


@given(st.text() | st.from_regex(r"\Abytes ([0-9]{1,4}-[0-9]{1,4}|\*)/[0-9]{1,4}\Z"))
def test_any_content_range_is_read_or_refused(text: str) -> None:
    try:
        extent, size = parse_content_range(text)
    except HeaderMalformed:
        return
    assert extent is None or (extent.length > 0 and extent.end <= size)


@pytest.mark.parametrize(
    "text", ["", "bytes 5-4/9", "bytes 0-9/9", "bytes 0-1/*", "bytes 0-1/2\n", "bytes */-1", "0-1/2"]
)
def test_a_content_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(HeaderMalformed):
        parse_content_range(text)


DISPOSITIONS = [
    ("report.pdf", 'attachment; filename="report.pdf"'),
    ("my report (1).pdf", 'attachment; filename="my report (1).pdf"'),
    ("ä.txt", "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%A4.txt"),
    ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
    ("a\\b.txt", "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%5Cb.txt"),
    ("100%41.txt", "attachment; filename=\"100_41.txt\"; filename*=UTF-8''100%2541.txt"),
    ("a/b", "attachment; filename=\"a_b\"; filename*=UTF-8''a%2Fb"),
    ("a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
    ("a\x00b", "attachment; filename=\"a_b\"; filename*=UTF-8''a%00b"),
    ("it's*(é)", "attachment; filename=\"it's*(_)\"; filename*=UTF-8''it%27s%2A%28%C3%A9%29"),
    ("\ud800", "attachment; filename=\"_\"; filename*=UTF-8''%3F"),
    ("\U0001f600", "attachment; filename=\"_\"; filename*=UTF-8''%F0%9F%98%80"),
]


@pytest.mark.parametrize(("filename", "text"), DISPOSITIONS)
def test_a_file_name_becomes_an_attachment(filename: str, text: str) -> None:
    assert render_disposition(filename) == text


def name_as_a_browser_reads_it(disposition: str) -> str:
    plain, _, exact = disposition.removeprefix("attachment; ").partition("; filename*=UTF-8''")
    if exact:
        return urllib.parse.unquote(exact, errors="strict")
    return plain.removeprefix('filename="').removesuffix('"')


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_file_name_survives_in_one_safe_line(filename: str) -> None:
    disposition = render_disposition(filename)
    assert all(" " <= letter <= "~" for letter in disposition)
    assert disposition.count('"') == 2
    assert name_as_a_browser_reads_it(disposition) == filename


# ---- the name that comes with an upload ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("inline", None),
        ("attachment; size=5", None),
        ('inline; filename="a.txt"', "a.txt"),
        ("inline;filename=a.txt", "a.txt"),
        ('attachment ; FileName = "a b.txt" ; size=5', "a b.txt"),
        ('inline; filename="a\\"b\\\\c.txt"', 'a"b\\c.txt'),
        ('inline; filename="ü;x.txt"', "ü;x.txt"),
        ("inline; filename*=UTF-8''f%C3%BC%20r.txt", "fü r.txt"),
        ("inline; filename*=utf-8'de'x.txt; filename=\"other.txt\"", "x.txt"),
        ('inline; filename="../../etc/passwd"', "passwd"),
        ("inline; filename*=UTF-8''a%2Fb.txt", "b.txt"),
        ('inline; filename=""', ""),
    ],
)
def test_the_name_of_an_upload_is_read_from_its_disposition(text: str, name: str | None) -> None:
    assert parse_disposition(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "inline; filename",
        "inline; filename=",
        "inline; filename=a b.txt",
        'inline; filename="a.txt',
        "inline filename=a.txt",
        "inline; filename=a.txt; filename=b.txt",
        "inline; filename*=a.txt",
        "inline; filename*=ISO-8859-1''%FC.txt",
        "inline; filename*=UTF-8''%FF.txt",
        "inline; filename=" + "a" * 5000,
    ],
)
def test_a_disposition_that_is_not_understood_is_refused_rather_than_misread(text: str) -> None:
    with pytest.raises(HeaderMalformed):
        parse_disposition(text)


@given(st.text(st.characters(codec="utf-8"), max_size=100).filter(lambda name: "/" not in name))
def test_a_name_that_was_rendered_is_read_back(name: str) -> None:
    assert parse_disposition(render_disposition(name)) == name


@given(st.text(max_size=200))
def test_any_text_is_a_disposition_or_is_refused(text: str) -> None:
    try:
        name = parse_disposition("inline" + text)
    except HeaderMalformed:
        return
    assert name is None or "/" not in name
