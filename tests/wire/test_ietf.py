"""Each interop version as its draft has it, and nothing that a later or an earlier one brought."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from storage_proxy.core.errors import HeaderMalformed, LengthInconsistent, MediaTypeUnsupported
from storage_proxy.core.manifest import SHA_256, Digest
from storage_proxy.wire import ietf
from storage_proxy.wire.ietf import DIALECTS, UNVERSIONED, Content, Dialect, Limits, Standing

EVERY = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: f"interop {dialect.version}")

TYPED = {"Content-Type": "application/partial-upload"}


def headers(**fields: str) -> CIMultiDict[str]:
    return CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()})


def complete(dialect: Dialect, whether: bool) -> dict[str, str]:
    """As the drafts spell it, written down here once more."""
    if dialect.version == 3:
        return {"Upload-Incomplete": "?0" if whether else "?1"}
    return {"Upload-Complete": "?1" if whether else "?0"}


# ---- which protocol is spoken -------------------------------------------------------------------------------------

NEWEST = ietf._V9


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        *(({"Upload-Draft-Interop-Version": str(version)}, version) for version in range(3, 10)),
        # With TUS's own field the draft's is still the one that was written on purpose.
        ({"Upload-Draft-Interop-Version": "6", "Tus-Resumable": "1.0.0"}, 6),
        ({"Upload-Draft-Interop-Version": "6;a=1"}, 6),
        ({}, None),
        ({"Tus-Resumable": "1.0.0"}, None),
        ({"Upload-Draft-Interop-Version": "2"}, None),
        ({"Upload-Draft-Interop-Version": "six"}, None),
        ({"Upload-Draft-Interop-Version": "?1"}, None),
        ({"Upload-Draft-Interop-Version": "-6"}, None),
        ({"Upload-Draft-Interop-Version": "3, 6"}, None),
        ({"Upload-Incomplete": "?0"}, None),
        ({"Upload-Complete": "1"}, None),
        ({"Upload-Complete": "?1", "Tus-Resumable": "1.0.0"}, None),
    ],
)
def test_the_version_that_is_named_is_the_one_that_is_spoken(fields: dict[str, str], version: int | None) -> None:
    dialect = ietf.spoken(CIMultiDict(fields))
    assert (None if dialect is None else dialect.version) == version


@pytest.mark.parametrize(
    "fields",
    [
        {"Upload-Complete": "?1"},
        {"Upload-Complete": "?0"},
        {"Upload-Draft-Interop-Version": "10", "Upload-Complete": "?1"},
        {"Upload-Draft-Interop-Version": "10"},
        {"Upload-Draft-Interop-Version": "2", "Upload-Complete": "?1"},
    ],
)
def test_who_names_a_later_version_or_none_is_served_as_the_newest_but_gets_no_104(fields: dict[str, str]) -> None:
    dialect = ietf.spoken(CIMultiDict(fields))
    assert dialect is UNVERSIONED
    assert (dialect.interim, dialect.progress) == (False, False)
    assert ietf.render_version(dialect) == {}


def test_the_table_of_versions_says_when_each_thing_changed() -> None:
    def since(field: str) -> dict[int, Any]:
        """The versions at which it became something else."""
        changes, last = {}, object()
        for version, dialect in DIALECTS.items():
            if (value := getattr(dialect, field)) != last:
                changes[version] = last = value
        return changes

    assert since("interim") == {3: True}
    assert since("completeness") == {3: "Upload-Incomplete", 4: "Upload-Complete"}
    assert since("silence_completes") == {3: True, 7: False}
    assert since("typed") == {3: False, 6: True}
    assert since("bare") == {3: True, 7: False}
    assert since("ended_is_missing") == {3: True, 7: False}
    assert since("progress") == {3: False, 5: True}
    assert since("lifetime") == {3: None, 6: "expires", 7: "max-age"}
    assert since("appended") == {3: 201, 7: 204}
    # tus-js-client speaks 5 and 6.
    assert since("head_in_trouble") == {3: 503, 5: 423, 7: 503}
    assert since("mismatch") == {3: None, 6: "mismatching-upload-offset"}
    assert since("inconsistent") == {3: None, 7: "inconsistent-upload-length"}
    assert since("completed") == {3: None, 6: "completed-upload", 8: None}
    assert since("ends_told") == {3: False, 7: True}
    assert since("get_tells") == {3: False, 9: True}


# ---- requests -----------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize(
    ("whole", "more", "content"),
    [
        (True, {"Content-Length": "5"}, Content(0, True, 5, 5)),
        (True, {"Content-Length": "5", "Upload-Length": "5"}, Content(0, True, 5, 5)),
        (True, {}, Content(0, True, 0, 0)),
        (True, {"Transfer-Encoding": "chunked"}, Content(0, True, None, None)),
        (True, {"Transfer-Encoding": "chunked", "Upload-Length": "9"}, Content(0, True, 9, None)),
        (False, {"Content-Length": "5"}, Content(0, False, None, 5)),
        (False, {"Content-Length": "5", "Upload-Length": "9"}, Content(0, False, 9, 5)),
        (False, {}, Content(0, False, None, 0)),
        # State, M: what is no such field is ignored.
        (False, {"Upload-Length": "-9"}, Content(0, False, None, 0)),
        (False, {"Upload-Length": "9.5"}, Content(0, False, None, 0)),
        (False, {"Upload-Length": "1234567890123456"}, Content(0, False, None, 0)),
    ],
)
def test_a_creation_says_what_comes_and_what_is_to_come(
    dialect: Dialect, whole: bool, more: dict[str, str], content: Content
) -> None:
    assert ietf.parse_creation(dialect, CIMultiDict({**complete(dialect, whole), **more})) == content


@EVERY
@pytest.mark.parametrize("told", [None, "1", "true", "?2", "?1, ?1", ""])
def test_a_creation_that_does_not_say_that_it_is_all_is_not_all(dialect: Dialect, told: str | None) -> None:
    fields = {} if told is None else {dialect.completeness: told}
    assert not ietf.parse_creation(dialect, CIMultiDict({**fields, "Content-Length": "5"})).complete


@EVERY
def test_an_append_without_the_field_is_the_last_one_only_in_the_old_drafts(dialect: Dialect) -> None:
    fields = CIMultiDict({**TYPED, "Upload-Offset": "7", "Content-Length": "5"})
    old = dialect.version <= 6
    assert ietf.parse_append(dialect, fields) == Content(7, old, 12 if old else None, 5)


@EVERY
@pytest.mark.parametrize("whole", [True, False])
def test_the_length_is_the_offset_and_the_content_of_the_last_append(dialect: Dialect, whole: bool) -> None:
    fields = {**TYPED, **complete(dialect, whole), "Upload-Offset": "7", "Content-Length": "5"}
    assert ietf.parse_append(dialect, CIMultiDict(fields)) == Content(7, whole, 12 if whole else None, 5)


@EVERY
def test_two_lengths_in_one_request_must_be_the_same(dialect: Dialect) -> None:
    fields = {**complete(dialect, True), "Content-Length": "5", "Upload-Length": "6"}
    with pytest.raises(LengthInconsistent) as caught:
        ietf.parse_creation(dialect, CIMultiDict(fields))
    assert (caught.value.known, caught.value.declared) == (5, 6)


@EVERY
@pytest.mark.parametrize("kind", [None, "application/octet-stream", "application/offset+octet-stream"])
def test_an_append_has_its_own_media_type_from_draft_04_on(dialect: Dialect, kind: str | None) -> None:
    fields = {**complete(dialect, False), "Upload-Offset": "0"} | ({} if kind is None else {"Content-Type": kind})
    if dialect.version < 6:
        assert ietf.parse_append(dialect, CIMultiDict(fields)).offset == 0
    else:
        with pytest.raises(MediaTypeUnsupported):
            ietf.parse_append(dialect, CIMultiDict(fields))


@EVERY
@pytest.mark.parametrize("offset", [None, "", "-1", "1.0", "seven", '"7"', "?1", "1234567890123456"])
def test_an_append_without_an_offset_is_refused(dialect: Dialect, offset: str | None) -> None:
    fields = {**TYPED, **complete(dialect, False)} | ({} if offset is None else {"Upload-Offset": offset})
    with pytest.raises(HeaderMalformed):
        ietf.parse_append(dialect, CIMultiDict(fields))


@EVERY
@pytest.mark.parametrize("name", ["Upload-Offset", "itself"])
def test_the_old_drafts_want_head_and_delete_without_the_fields_of_an_append(dialect: Dialect, name: str) -> None:
    ietf.check_bare(dialect, headers())
    fields = CIMultiDict({dialect.completeness if name == "itself" else name: "?0"})
    if dialect.version <= 6:
        with pytest.raises(HeaderMalformed):
            ietf.check_bare(dialect, fields)
    else:
        ietf.check_bare(dialect, fields)


@given(st.dictionaries(st.sampled_from(sorted({
    "Upload-Draft-Interop-Version", "Upload-Complete", "Upload-Incomplete", "Upload-Offset", "Upload-Length",
    "Content-Type", "Content-Length", "Transfer-Encoding", "Tus-Resumable",
})), st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(["?1", "?0", "6", "12"])))  # fmt: skip
def test_whatever_the_headers_say_there_is_a_value_or_a_refusal(fields: dict[str, str]) -> None:
    dialect = ietf.spoken(CIMultiDict(fields)) or NEWEST
    for parse in (ietf.parse_creation, ietf.parse_append):
        try:
            content = parse(dialect, CIMultiDict(fields))
        except (HeaderMalformed, LengthInconsistent, MediaTypeUnsupported):
            continue
        assert content.offset >= 0
        assert content.length is None or content.length >= 0


# ---- answers ------------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("whole", [True, False])
def test_the_answer_to_head_has_all_that_its_version_asks_for(dialect: Dialect, whole: bool) -> None:
    standing = Standing(5, whole, 9, Limits(size_max=100, seconds_left=60.9))
    told = ietf.render_standing(dialect, standing)
    limits = {6: "max-size=100, expires=60"}.get(dialect.version, "max-size=100, max-age=60")
    assert told == {
        "Upload-Draft-Interop-Version": str(dialect.version),
        "Upload-Offset": "5",
        **complete(dialect, whole),
        "Upload-Length": "9",
        "Cache-Control": "no-store",
        **({} if dialect.version < 6 else {"Upload-Limit": limits}),
    }
    assert "Upload-Length" not in ietf.render_standing(dialect, Standing(5, False, None))


@EVERY
def test_a_digest_is_that_of_the_whole_file_and_told_when_that_is_there(dialect: Dialect) -> None:
    digests = (Digest(SHA_256, "00" * 32),)
    told = {"Repr-Digest": "sha-256=:" + "A" * 43 + "=:"}
    for render in (ietf.render_standing, ietf.render_reached):
        assert render(dialect, Standing(5, True, 5, digests=digests)).items() >= told.items()
        assert told.keys().isdisjoint(render(dialect, Standing(3, False, 5, digests=digests)))


def test_limits_that_nobody_set_are_told_in_the_one_way_there_is() -> None:
    assert ietf.render_limits(NEWEST, Limits()) == {"Upload-Limit": "min-size=0"}


def test_limits_stay_within_what_a_structured_integer_holds() -> None:
    assert ietf.render_limits(NEWEST, Limits(2**63, -5.0)) == {"Upload-Limit": "max-size=999999999999999, max-age=0"}


def test_options_tells_the_limits_and_the_media_type() -> None:
    assert ietf.render_offer(100) == {"Upload-Limit": "max-size=100", "Accept-Patch": "application/partial-upload"}


@EVERY
def test_104_is_a_whole_answer_that_names_its_version(dialect: Dialect) -> None:
    assert ietf.render_interim(dialect, {"Location": "/files/x"}) == (
        b"HTTP/1.1 104 Upload Resumption Supported\r\n"
        b"Upload-Draft-Interop-Version: " + str(dialect.version).encode() + b"\r\n"
        b"Location: /files/x\r\n\r\n"
    )


def test_no_line_end_gets_into_a_104() -> None:
    with pytest.raises(AssertionError):
        ietf.render_interim(NEWEST, {"Location": "/files/x\r\nSet-Cookie: a"})
