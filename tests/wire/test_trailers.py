"""What stands behind a chunked body, read from its end; and that nothing else is ever taken for it."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.wire.trailers import announces, read_trailers

BODY = b"\r5\r\nhello\r\n"


@pytest.mark.parametrize(
    ("text", "is_announced"),
    [
        *(("Upload-Checksum", True), ("upload-checksum", True), ("X-Other, Upload-Checksum ", True)),
        *(("", False), ("X-Upload-Checksum", False), ("Upload-Checksum2", False), ("Upload Checksum", False)),
    ],
)
def test_a_field_is_announced_by_its_name(text: str, is_announced: bool) -> None:
    assert announces({"Trailer": text}, "Upload-Checksum") is is_announced
    assert not announces({}, "Upload-Checksum")


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (BODY + b"0\r\nUpload-Checksum: sha1 abc=\r\n\r\n", {"upload-checksum": "sha1 abc="}),
        (BODY + b"000;x=a:b\r\nA: 1\r\nB:2 \t\r\nC:\r\n\r\n", {"a": "1", "b": "2", "c": ""}),
        (BODY + b"0\r\nA: 1\r\na: 2\r\n\r\n", {"a": "1, 2"}),
        (BODY + b"0\r\n\r\n", {}),
        (b"\r\n0\r\nA: 0\r\n\r\n", {"a": "0"}),
        # The body may hold what looks like its end.
        (b"\r26\r\n0\r\nA: wrong\r\n\r\n0\r\nA: wrong\r\n\r\n\r\n0\r\nA: right\r\n\r\n", {"a": "right"}),
    ],
)
def test_fields_behind_the_last_chunk_are_read(raw: bytes, fields: Mapping[str, str]) -> None:
    assert read_trailers(raw) == fields


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"\r\n", b"\r\n\r\n", BODY, BODY + b"0\r\n", BODY + b"0\r\nA: 1\r\n", BODY + b"0\r\nA: 1\r\n\r"),
        # Something follows: nobody can tell where the body ended.
        BODY + b"0\r\nA: 1\r\n\r\nGET /a:b HTTP/1.1\r\nHost: x\r\n\r\n",
        BODY + b"0\r\nA: 1\r\n\r\n0",
        # No field.
        *(BODY + b"0\r\nA 1\r\n\r\n", BODY + b"0\r\nA : 1\r\n\r\n", BODY + b"0\r\nA: 1\r\n folded\r\n\r\n"),
        *(BODY + b"0\r\nA: 1\nB: 2\r\n\r\n", BODY + b"0\r\nA: \x00\r\n\r\n", BODY + b"0\r\n: 1\r\n\r\n"),
        # The last chunk is out of sight.
        *(b"0\r\nA: 1\r\n\r\n", b"hello\r\nA: 1\r\n\r\n"),
    ],
)
def test_whatever_is_not_exactly_that_is_no_trailer(raw: bytes) -> None:
    assert read_trailers(raw) is None


@given(st.binary(max_size=60), st.lists(st.sampled_from(("A: 1", "B: 0", "0: 0", "C: 0;x")), max_size=3))
def test_no_body_can_pass_for_a_trailer(body: bytes, fields: list[str]) -> None:
    raw = b"\r%x\r\n%b\r\n0\r\n" % (len(body), body) + b"".join(field.encode() + b"\r\n" for field in fields) + b"\r\n"
    read = read_trailers(raw)
    assert read is not None
    assert set(read) == {field.partition(":")[0].lower() for field in fields}
