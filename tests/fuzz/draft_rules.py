"""Resumable Uploads for HTTP (the IETF draft), each interop version of it, on the same uploads as plain TUS.

Rules: what the versions do differently is written down here once more, from the drafts and not from the service.
"""

from collections.abc import Mapping
from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.fuzz import wild
from tests.fuzz.connection import Answer, Request
from tests.fuzz.machine import FRAMED, LENGTH_MAX, NAMES, SIZES, Protocol, with_fault
from tests.fuzz.protocol_model import Phase, Upload, expect_of_the_draft

VERSIONS = st.sampled_from([5, 6, 9, 3, 4, 7, 8])

# What every version refuses, and with what.
FAULTS: Mapping[str, tuple[Mapping[str, str | None], int]] = {
    "no offset": ({"Upload-Offset": None}, 400),
    "no number": ({"Upload-Offset": "five"}, 400),
    "negative": ({"Upload-Offset": "-1"}, 400),
    "a text": ({"Upload-Offset": '"0"'}, 400),
    "sixteen digits": ({"Upload-Offset": "1" * 16}, 400),
    "encoded": ({"Content-Encoding": "gzip"}, 400),
}


def spoken(version: int, whole: bool | None = None) -> dict[str, str]:
    told = {"Upload-Draft-Interop-Version": str(version)}
    if whole is not None:
        told |= {"Upload-Incomplete": f"?{int(not whole)}"} if version == 3 else {"Upload-Complete": f"?{int(whole)}"}
    return told


def is_complete(version: int, answer: Answer) -> bool:
    told = answer.headers["Upload-Incomplete" if version == 3 else "Upload-Complete"]
    assert told in ("?0", "?1")
    return (told == "?1") is not (version == 3)


class Draft(Protocol):
    def ask_in_draft(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | None = None,
        framed: tuple[bool, int] = (False, 1),
    ) -> Answer:
        answer = self.connection.ask(Request(method, path, headers, body, *framed))
        # 423 is none of the draft's statuses.
        self.checked(method, answer, come_again=503)
        assert int(headers["Upload-Draft-Interop-Version"]) >= 5 or not answer.interim
        return answer

    # ---- creation ---------------------------------------------------------------------------------------------------

    @rule(
        target=Protocol.uploads,
        version=VERSIONS,
        method=st.sampled_from(["POST", "PUT", "PATCH"]),
        size=SIZES,
        more=st.none() | st.integers(0, 3000),
        whole=st.booleans(),
        name=NAMES,
        framed=FRAMED,
    )
    def create_in_draft(
        self, version: int, method: str, size: int, more: int | None, whole: bool, name: str, framed: tuple[bool, int]
    ) -> Upload:
        """`more`: bytes of the declared length that are still to come."""
        length = None if more is None else size + (0 if whole else more)
        upload = Upload(len(self.all), "", length, any_order=False)
        body = upload.bytes_at(0, size)
        headers = spoken(version, whole) | {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"
        }
        if length is not None:
            headers["Upload-Length"] = str(length)
        answer = self.ask_in_draft(method, "/files", headers, body, framed)
        assert answer.status == 201, answer
        upload.path = answer.headers["Location"]
        self.took(upload, 0, body, size if whole else length)
        self.all.append(upload)
        self.check_reached(version, upload, answer)
        return upload

    def check_reached(self, version: int, upload: Upload, answer: Answer) -> None:
        assert answer.offset == upload.prefix
        assert is_complete(version, answer) is (upload.phase in (Phase.DONE, Phase.WHOLE))
        assert answer.headers["Upload-Draft-Interop-Version"] == str(version)
        # What a 104 has told is a promise.
        assert all(offset <= upload.prefix for offset in answer.interim)

    @rule(version=VERSIONS, size=SIZES, other=st.integers(1, 3000))
    def create_inconsistently_in_draft(self, version: int, size: int, other: int) -> None:
        headers = spoken(version, True) | {"Upload-Length": str(size + other)}
        assert self.ask_in_draft("POST", "/files", headers, b"x" * size).status == 400

    @rule(version=VERSIONS, name=st.sampled_from(wild.PATHS_THAT_CLIMB) | st.text(max_size=30), quoted=st.booleans())
    def create_with_any_name_in_draft(self, version: int, name: str, quoted: bool) -> None:
        encoded = quote(name.encode(errors="replace"), safe="")
        plain = "".join(letter for letter in name if letter.isprintable()).encode(errors="replace").decode()
        told = f'filename="{plain}"' if quoted else f"filename*=UTF-8''{encoded}"
        headers = spoken(version, True) | {"Content-Disposition": f"inline; {told}"}
        answer = self.ask_in_draft("POST", "/files", headers, b"n")
        assert answer.status in (201, 400, 403, 422), answer

    # ---- going on ---------------------------------------------------------------------------------------------------

    @rule(
        upload=Protocol.uploads,
        version=VERSIONS,
        place=st.sampled_from(["here", "here", "here", "before", "behind"]),
        size=SIZES,
        whole=st.booleans(),
        framed=FRAMED,
    )
    def append_in_draft(
        self, upload: Upload, version: int, place: str, size: int, whole: bool, framed: tuple[bool, int]
    ) -> None:
        offset = upload.prefix
        if not upload.any_order:
            offset = {"here": offset, "before": offset // 2, "behind": offset + 100}[place]
        # Mostly as much as fits, sometimes too much.
        if upload.length is not None and size % 5:
            size = max(0, min(size, upload.length - offset))
        if upload.any_order or (upload.declared and upload.length is not None and offset + size > upload.length):
            # What is kept of too much would not show.
            framed = (False, framed[1])
        body = upload.bytes_at(offset, size)
        headers = spoken(version, whole) | {"Upload-Offset": str(offset), "Content-Type": "application/partial-upload"}
        expected = expect_of_the_draft(upload, offset, size, whole=whole, chunked=framed[0])
        answer = self.ask_in_draft("PATCH", upload.path, headers, body, framed)
        if expected.status == 409:
            assert answer.offset == upload.prefix
        declared = offset + size if whole and expected.status == 201 else None
        self.take(expected, upload, offset, body, declared)
        if expected.status != 201:
            assert answer.status == expected.status, (answer, expected)
            return
        ends = upload.phase in (Phase.DONE, Phase.WHOLE)
        assert answer.status == (201 if ends or version <= 6 else 204), answer
        self.check_reached(version, upload, answer)

    @rule(upload=Protocol.uploads, version=VERSIONS, fault=st.sampled_from(sorted(FAULTS)), size=SIZES)
    def append_wrongly_in_draft(self, upload: Upload, version: int, fault: str, size: int) -> None:
        changed, status = FAULTS[fault]
        headers = spoken(version, False) | {"Upload-Offset": str(upload.prefix)}
        headers["Content-Type"] = "application/partial-upload"
        answer = self.ask_in_draft("PATCH", upload.path, with_fault(headers, changed), b"x" * size)
        assert answer.status == status, answer

    @rule(upload=Protocol.uploads, version=st.sampled_from([6, 7, 8, 9]), size=SIZES)
    def append_of_another_type_in_draft(self, upload: Upload, version: int, size: int) -> None:
        headers = spoken(version, False) | {"Upload-Offset": str(upload.prefix), "Content-Type": "text/plain"}
        assert self.ask_in_draft("PATCH", upload.path, headers, b"x" * size).status == 415

    @rule(upload=Protocol.uploads, version=VERSIONS, size=st.integers(0, 9000), missing=st.integers(1, 100))
    def break_off_in_draft(self, upload: Upload, version: int, size: int, missing: int) -> None:
        offset = upload.prefix
        size = min(size, (LENGTH_MAX if upload.length is None else upload.length - offset) - missing)
        if upload.phase is not Phase.OPEN or size < 0:
            return
        body = upload.bytes_at(offset, size)
        headers = spoken(version, False) | {"Upload-Offset": str(offset), "Content-Type": "application/partial-upload"}
        self.connection.break_off(Request("PATCH", upload.path, headers, body), size + missing)
        upload.put(offset, body)
        self.comes_to(upload)

    # ---- asking, and the end ----------------------------------------------------------------------------------------

    @rule(upload=Protocol.uploads, version=VERSIONS, method=st.sampled_from(["HEAD", "GET"]))
    def look_in_draft(self, upload: Upload, version: int, method: str) -> None:
        if method == "GET" and version < 9:
            return  # there it is the file
        answer = self.ask_in_draft(method, upload.path, spoken(version))
        if upload.phase in (Phase.GONE, Phase.FAILED):
            assert answer.status == (404 if upload.phase is Phase.GONE else 422), answer
            return
        assert answer.status == 204, answer
        assert answer.headers.get("Upload-Length") == (None if upload.length is None else str(upload.length))
        assert answer.headers["Cache-Control"] == "no-store"
        self.check_reached(version, upload, answer)

    @rule(upload=Protocol.uploads, version=VERSIONS)
    def cancel_in_draft(self, upload: Upload, version: int) -> None:
        if upload.phase is Phase.DONE:
            self.finished[bytes(self.ask("GET", upload.path, {}).body)] += 1
        answer = self.ask_in_draft("DELETE", upload.path, spoken(version))
        assert answer.status == (404 if upload.phase is Phase.GONE else 204), answer
        upload.phase = Phase.GONE
