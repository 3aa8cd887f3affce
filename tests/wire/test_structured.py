"""Structured fields: strict, told apart where Python does not, and never anything but a value or a refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from storage_proxy.core.errors import HeaderMalformed
from storage_proxy.wire.structured import (
    find_boolean,
    find_integer,
    find_string,
    parse_dictionary,
    render_boolean,
    render_dictionary,
    render_string,
)


def headers(text: str) -> CIMultiDict[str]:
    return CIMultiDict({"X-Field": text})


def test_a_dictionary_keeps_its_members_in_order_and_drops_their_parameters() -> None:
    members = parse_dictionary("X-Field", "sha-256=:aGk=:;weak, b, c=?0, n=-3, t=word", "a dictionary")
    assert list(members) == ["sha-256", "b", "c", "n", "t"]
    assert (members["sha-256"], members["b"], members["c"], members["n"]) == (b"hi", True, False, -3)
    assert not isinstance(members["t"], str), "a token is no string"


def test_of_a_key_that_comes_twice_the_last_one_counts() -> None:
    assert parse_dictionary("X-Field", "a=1, a=2", "a dictionary") == {"a": 2}


def test_a_missing_field_is_none() -> None:
    assert find_boolean({}, "X-Field") is None
    assert find_integer({}, "X-Field") is None
    assert find_string({}, "X-Field") is None


def test_booleans_integers_and_strings_are_told_apart() -> None:
    assert find_boolean(headers("?1"), "X-Field") is True
    assert find_boolean(headers(" ?0;a=1 "), "X-Field") is False
    assert find_integer(headers("100"), "X-Field") == 100
    assert find_integer(headers("-1"), "X-Field") == -1
    assert find_string(headers('"a \\"b\\" \\\\"'), "X-Field") == 'a "b" \\'


@pytest.mark.parametrize("text", ["1", "true", '"?1"', "?2", "?1, ?1", "", "?"])
def test_what_is_no_boolean_is_refused(text: str) -> None:
    with pytest.raises(HeaderMalformed):
        find_boolean(headers(text), "X-Field")


@pytest.mark.parametrize("text", ["?1", "1.0", '"1"', "", "+1", "1000000000000000", "1,2", "①"])
def test_what_is_no_integer_is_refused(text: str) -> None:
    with pytest.raises(HeaderMalformed):
        find_integer(headers(text), "X-Field")


@pytest.mark.parametrize(
    "text", ["word", "1", '"open', '"a", "b"', ":aGk=:", "", '"ü"', '%"a"', '"' + "x" * 9000 + '"']
)
def test_what_is_no_string_is_refused(text: str) -> None:
    with pytest.raises(HeaderMalformed) as caught:
        find_string(headers(text), "X-Field")
    assert len(caught.value.received) <= 100


@given(st.dictionaries(st.from_regex(r"[a-z*][a-z0-9_*.-]*", fullmatch=True), st.binary() | st.booleans(), min_size=1))
def test_a_dictionary_reads_back(members: dict[str, bytes | bool]) -> None:
    assert parse_dictionary("X-Field", render_dictionary(members), "a dictionary") == members


@given(st.booleans(), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def test_items_read_back(flag: bool, text: str) -> None:
    assert find_boolean(headers(render_boolean(flag)), "X-Field") is flag
    assert find_string(headers(render_string(text)), "X-Field") == text


FRAGMENTS = st.lists(
    st.sampled_from(["sha-256", "=", ":", "aGk=", ",", " ", "\t", "?1", '"', "\\", "(", ")", ";", "@1", "%"])
)


@given(st.text(max_size=50) | FRAGMENTS.map("".join))
def test_any_text_is_a_value_or_refused(text: str) -> None:
    for read in (find_boolean, find_integer, find_string):
        try:
            read(headers(text), "X-Field")
        except HeaderMalformed:
            continue
    try:
        parse_dictionary("X-Field", text, "a dictionary")
    except HeaderMalformed:
        return
