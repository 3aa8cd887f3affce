"""Upload-Concat: what it may say, and which URLs are uploads of this service."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core.errors import HeaderMalformed
from storage_proxy.wire.concatenation import Concat, is_final, parse_concat, part_named, render_concat

COLLECTIONS = frozenset(("/files", "/storage/files"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("partial", ()),
        ("final;/files/a", ("/files/a",)),
        ("final;/files/a /files/b", ("/files/a", "/files/b")),
        ("final; /files/a  /files/a ", ("/files/a", "/files/a")),
        ("final;https://host/files/a b", ("https://host/files/a", "b")),
    ],
)
def test_what_is_sent_is_kept_as_it_came_and_read(text: str, parts: tuple[str, ...]) -> None:
    assert parse_concat(text) == Concat(text, parts)
    assert is_final(text) is bool(parts)


@pytest.mark.parametrize(
    "text",
    [
        *("", "Partial", "partial;", "partial /files/a", "final", "final;", "final; ", "FINAL;/files/a"),
        *("/files/a", "final;/files/a\r\nX: y", "final;/files/a\t/files/b", "final;/files/\u00e4", "final;\ud800"),
    ],
)
def test_anything_else_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(HeaderMalformed) as caught:
        parse_concat(text)
    assert caught.value.header == "Upload-Concat"


def test_what_is_rendered_is_read() -> None:
    assert parse_concat(render_concat(["/files/a", "b"])).parts == ("/files/a", "b")


@pytest.mark.parametrize(
    "url",
    [
        *("/files/main.ab", "/storage/files/main.ab", "http://127.0.0.1:8080/files/main.ab"),
        *("https://public.example/storage/files/main.ab?key=x#y", "main.ab", "./main.ab", "../files/main.ab"),
        "//public.example/files/main.ab",
    ],
)
def test_a_part_is_found_by_its_absolute_and_relative_urls(url: str) -> None:
    assert part_named(url, "/files/", COLLECTIONS) == "main.ab"


@pytest.mark.parametrize(
    "url",
    [
        *("", "/", "/files", "/files/", "/other/main.ab", "/files/x/main.ab", "/files/main.ab/status", "main.ab/.."),
        *("file:///files/main.ab", "ftp://host/files/main.ab", "javascript:/files/main.ab", "http://[/files/a"),
        *("/storage/../other/main.ab", "/files/%2e%2e/main.ab", "//files/main.ab"),
    ],
)
def test_what_is_no_upload_of_this_service_is_refused(url: str) -> None:
    with pytest.raises(HeaderMalformed):
        part_named(url, "/files/", COLLECTIONS)


@given(st.text(max_size=30))
def test_any_url_is_an_id_without_a_slash_or_refused(url: str) -> None:
    try:
        found = part_named(url, "/files", COLLECTIONS)
    except HeaderMalformed:
        return
    assert found
    assert "/" not in found
