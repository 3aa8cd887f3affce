"""The document that hooks get, and what is made of their replies."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core.errors import HookFailed
from storage_proxy.core.manifest import (
    Final,
    Manifest,
    Notice,
    Order,
    Part,
    Phase,
    Piece,
    Policy,
    Publication,
    UploadId,
)
from storage_proxy.core.target import Target
from storage_proxy.hooks import documents
from storage_proxy.ports import Asked, Asker, Verdict

MANIFEST = Manifest(
    UploadId("main", "0" * 32),
    1,
    Phase.OPEN,
    10,
    Order.ANY,
    Policy.REFUSE,
    Target("main", "folder/file"),
    metadata="filename bm90ZS50eHQ=,broken /w==,empty",
)


def test_a_notice_has_tusds_fields_and_ours() -> None:
    published = replace(MANIFEST, phase=Phase.PUBLISHED, publication=Publication("folder/file (1)", 5))
    document = documents.notice("id", Notice(4, "post-finish", 7.5, 10), published)
    assert document == {
        "Type": "post-finish",
        "Id": "id",
        "At": 7.5,
        "Number": 4,
        "Event": {
            "Upload": {
                "ID": f"main.{'0' * 32}",
                "Size": 10,
                "SizeIsDeferred": False,
                "Offset": 10,
                "MetaData": {"filename": "note.txt", "broken": "\ufffd", "empty": ""},
                "IsPartial": False,
                "IsFinal": False,
                "PartialUploads": None,
                "Storage": {"Type": "share", "Volume": "main", "Path": "folder/file (1)"},
                "Phase": "published",
                "Reason": None,
            },
            "HTTPRequest": None,
        },
    }


def test_parts_and_final_uploads_are_told_as_such() -> None:
    part = documents.notice("id", Notice(1, "post-create", 7.5, 0), replace(MANIFEST, part=Part()))
    assert (part["Event"]["Upload"]["IsPartial"], part["Event"]["Upload"]["IsFinal"]) == (True, False)
    final = Final("final;x", (Piece("a" * 32), Piece("b" * 32)))
    upload = documents.notice("id", Notice(1, "post-create", 7.5, 0), replace(MANIFEST, final=final))["Event"]["Upload"]
    assert (upload["IsPartial"], upload["IsFinal"]) == (False, True)
    assert upload["PartialUploads"] == [f"main.{'a' * 32}", f"main.{'b' * 32}"]


def test_a_question_shows_who_has_asked() -> None:
    asker = Asker("POST", "/files", "10.0.0.1", {"X-User": "7"})
    document = documents.question(Asked.CREATION, "id", 7.5, replace(MANIFEST, length=None), asker)
    assert document["Event"]["HTTPRequest"] == {
        "Method": "POST",
        "URI": "/files",
        "RemoteAddr": "10.0.0.1",
        "Header": {"X-User": ["7"]},
    }
    assert (document["Event"]["Upload"]["Size"], document["Event"]["Upload"]["SizeIsDeferred"]) == (0, True)


def test_metadata_that_cannot_be_read_fails_no_notice() -> None:
    document = documents.notice("id", Notice(1, "post-create", 0.0, 0), replace(MANIFEST, metadata="a a,a"))
    assert document["Event"]["Upload"]["MetaData"] == {}


@pytest.mark.parametrize("reply", [None, {}, {"RejectUpload": False}, {"Unknown": 1}, {"HTTPResponse": {"Body": "x"}}])
def test_what_says_nothing_against_it_allows(reply: object) -> None:
    assert documents.verdict(Asked.CREATION, reply) == Verdict()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("Too big", "Too big"),
        ('{"message": "Too big"}', "Too big"),
        ('{"other": 1}', '{"other": 1}'),
        ("[1]", "[1]"),
        ("", ""),
        ("x" * 2000, "x" * 1000),
    ],
)
def test_a_refusal_has_the_sentence_for_the_client(body: str, message: str) -> None:
    reply = {"RejectUpload": True, "HTTPResponse": {"Body": body, "StatusCode": 418, "Header": {"X": "y"}}}
    assert documents.verdict(Asked.CREATION, reply) == Verdict(refusal=message)
    assert documents.verdict(Asked.PUBLISHING, reply) == Verdict(refusal=message)


def test_each_question_is_refused_in_its_own_word() -> None:
    assert documents.verdict(Asked.TERMINATION, {"RejectUpload": True}) == Verdict()
    assert documents.verdict(Asked.TERMINATION, {"RejectTermination": True}) == Verdict(refusal="")
    assert documents.verdict(Asked.CREATION, {"RejectTermination": True}) == Verdict()


def test_only_a_creation_can_be_sent_elsewhere() -> None:
    reply = {"ChangeFileInfo": {"ID": "mine", "Storage": {"Path": "a/b"}}}
    assert documents.verdict(Asked.CREATION, reply) == Verdict(path="a/b")
    assert documents.verdict(Asked.PUBLISHING, reply) == Verdict()


@pytest.mark.parametrize(
    "reply",
    [[], "no", 1, {"RejectUpload": "false"}, {"RejectUpload": 1}, {"ChangeFileInfo": {"Storage": {"Path": 7}}}],
)
def test_a_reply_that_cannot_be_understood_is_no_permission(reply: object) -> None:
    with pytest.raises(HookFailed, match="cannot be read"):
        documents.verdict(Asked.CREATION, reply)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["RejectUpload", "HTTPResponse", "Body", "ChangeFileInfo", "Storage", "Path", "x"]), inner
        )
    ),
)


@given(JSON)
def test_no_reply_upsets_the_reader(reply: object) -> None:
    try:
        verdict = documents.verdict(Asked.CREATION, reply)
    except HookFailed:
        return
    assert verdict.refusal is None or isinstance(verdict.refusal, str)
