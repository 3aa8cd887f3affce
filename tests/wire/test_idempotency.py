"""Idempotency-Key: what makes two requests the same, and what is no key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from storage_proxy.core.errors import HeaderMalformed
from storage_proxy.wire.idempotency import SHAPING, SHAPING_DRAFT, find_repeat, find_repeat_of_draft

KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'


def headers(**more: str) -> CIMultiDict[str]:
    return CIMultiDict({"Idempotency-Key": KEY} | {name.replace("_", "-"): text for name, text in more.items()})


def test_without_a_key_a_creation_is_like_no_other() -> None:
    assert find_repeat({"Upload-Length": "5"}, "somebody") is None


def test_the_same_request_of_the_same_sender_is_the_same() -> None:
    one = find_repeat(headers(Upload_Length="5", Upload_Metadata="a QQ=="), "somebody")
    two = find_repeat(headers(upload_length=" 5 ", Upload_Metadata="a QQ==", User_Agent="another"), "somebody")
    assert one == two
    assert one is not None
    assert len(one.name) == len(one.fingerprint) == 64
    assert "8e03978e" not in str(one)


@pytest.mark.parametrize("name", SHAPING)
def test_every_header_that_shapes_an_upload_tells_requests_apart(name: str) -> None:
    plain, other = find_repeat(headers(), ""), find_repeat(headers(**{name: "another"}), "")
    assert plain is not None
    assert other is not None
    assert plain.name == other.name
    assert plain.fingerprint != other.fingerprint


@pytest.mark.parametrize("name", SHAPING_DRAFT)
def test_every_header_that_shapes_an_upload_of_the_draft_tells_requests_apart(name: str) -> None:
    plain = find_repeat_of_draft(headers(), "")
    other, same = (find_repeat_of_draft(headers(**{each: "another"}), "") for each in (name, "Upload-Concat"))
    assert plain is not None
    assert other is not None
    assert plain.name == other.name
    assert plain.fingerprint != other.fingerprint
    # TUS's fields mean nothing there.
    assert plain == same


def test_a_second_line_makes_another_request() -> None:
    one, two = headers(Upload_Metadata="a QQ=="), headers(Upload_Metadata="a QQ==")
    two.add("Upload-Metadata", "b QQ==")
    assert find_repeat(one, "") != find_repeat(two, "")


def test_somebody_elses_key_is_another_key() -> None:
    one, two = find_repeat(headers(), "somebody"), find_repeat(headers(), "somebody else")
    assert one is not None
    assert two is not None
    assert one.name != two.name


@pytest.mark.parametrize("text", ["8e03978e-40d5-43dd-bc93-6894a57f9324", '"short"', '""', '"' + "x" * 256 + '"', "?1"])
def test_what_is_no_key_or_easily_guessed_is_refused(text: str) -> None:
    with pytest.raises(HeaderMalformed) as caught:
        find_repeat(headers(Idempotency_Key=text), "")
    assert caught.value.header == "Idempotency-Key"


def test_the_parts_of_one_file_are_never_taken_for_one_another() -> None:
    assert find_repeat(headers(Upload_Concat="partial"), "") is None
    assert find_repeat(headers(Upload_Concat="final;/files/a"), "") is None


@given(st.text(), st.text())
def test_any_text_is_a_key_or_refused(key: str, metadata: str) -> None:
    try:
        find_repeat({"Idempotency-Key": key, "Upload-Metadata": metadata}, "\udc80")
    except HeaderMalformed:
        return
