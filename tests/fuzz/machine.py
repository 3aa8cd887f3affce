"""Random sequences of requests, right and wrong ones, against a service, each answer compared with the model.

What stands here is plain TUS; the rules of parts, of the IETF draft, of digests and keys, of large bodies and of the
manager's listener are files of their own beside it, and `surface.py` puts all of them together.

Rules: a rule sends one thing and knows what must come of it. No answer may be a 500 nor be late, whatever was sent
before; after each example nothing may lie outside the volume, and every finished upload must be on it as it was sent.
Where an answer is predicted the request has one fault at the most; one with several is wild, and only its harm is
judged.
"""

import hashlib
import time
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from tests.fuzz import wild
from tests.fuzz.connection import DEADLINE_SECONDS, Answer, Connection, Request
from tests.fuzz.protocol_model import Declared, Expected, Phase, Takes, Upload, expect
from tests.fuzz.served import UPLOAD_BYTES_MAX, Served

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}

LENGTH_MAX = 20_000
SIZES = st.integers(0, 6_000) | st.sampled_from([0, 1, 4096, LENGTH_MAX])
FRAMED = st.tuples(st.booleans(), st.integers(1, 3))
"""chunked or not, and sent in so many goes"""

# Never in the way of each other; "taken" is taken again and again, and numbered.
NAMES = st.sampled_from(["taken", "taken.bin", "ünïcödé.txt", "a folder/b/c", "a folder/b/d", "'; --", "x" * 255])

# A request's one fault, and what it must be answered with; nothing may have changed then.
APPEND_FAULTS: Mapping[str, tuple[Mapping[str, str | None], int]] = {
    "no version": ({"Tus-Resumable": None}, 412),
    "another version": ({"Tus-Resumable": "0.2.2"}, 412),
    "another type": ({"Content-Type": "text/plain"}, 415),
    "no offset": ({"Upload-Offset": None}, 400),
    "no number": ({"Upload-Offset": "-1"}, 400),
    "no length": ({"Upload-Length": "five"}, 400),
    "unknown checksum": ({"Upload-Checksum": "sha0 AAAA"}, 400),
    "no checksum": ({"Upload-Checksum": "sha1 AAAA"}, 400),
    "encoded": ({"Content-Encoding": "gzip"}, 400),
    "no method": ({"X-HTTP-Method-Override": "PROPFIND"}, 400),
}
CREATION_FAULTS: Mapping[str, tuple[Mapping[str, str | None], int]] = {
    "no version": ({"Tus-Resumable": None}, 412),
    "neither length": ({"Upload-Length": None}, 400),
    "both lengths": ({"Upload-Defer-Length": "1"}, 400),
    "negative": ({"Upload-Length": "-1"}, 400),
    "deferred oddly": ({"Upload-Length": None, "Upload-Defer-Length": "2"}, 400),
    "too long": ({"Upload-Length": str(UPLOAD_BYTES_MAX + 1)}, 413),
    "beyond any file": ({"Upload-Length": str(2**63)}, 400),
    "no base64": ({"Upload-Metadata": "filename *"}, 400),
    "a key twice": ({"Upload-Metadata": "a QQ==,a QQ=="}, 400),
    "no order": ({"Upload-Order": "backwards"}, 400),
    "no volume": ({"Upload-Metadata": wild.metadata(volume="elsewhere")}, 403),
    # Known names with what can be no digest of theirs.
    "a short digest": ({"Repr-Digest": "sha-256=:AAAA:"}, 400),
    "a digest as a word": ({"Repr-Digest": "sha-256=AAAA"}, 400),
    "a digest as a boolean": ({"Repr-Digest": "sha-512"}, 400),
    "no dictionary": ({"Repr-Digest": "="}, 400),
    "a short digest in the metadata": ({"Upload-Metadata": wild.metadata(sha256="AAAA")}, 400),
    "another digest in the metadata": ({"Upload-Metadata": wild.metadata(sha512="0" * 64)}, 400),
    "a key without quotes": ({"Idempotency-Key": "unquoted-and-long-enough"}, 400),
    "a short key": ({"Idempotency-Key": '"short"'}, 400),
    "a long key": ({"Idempotency-Key": f'"{"x" * 256}"'}, 400),
    "a key without end": ({"Idempotency-Key": '"sixteen letters, and no end'}, 400),
    "neither part nor final": ({"Upload-Concat": "whole"}, 400),
}
DIGESTS = {
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "crc32": lambda data: zlib.crc32(data).to_bytes(4),
}


def with_fault(headers: dict[str, str], fault: Mapping[str, str | None]) -> dict[str, str]:
    changed = {**headers, **{name: value for name, value in fault.items() if value is not None}}
    return {name: value for name, value in changed.items() if fault.get(name, "") is not None}


class Protocol(RuleBasedStateMachine):
    uploads = Bundle("uploads")

    def __init__(self, served: Served) -> None:
        super().__init__()
        self.served = served
        self.connection = Connection(served.port)
        self.all: list[Upload] = []
        self.finished: Counter[bytes] = Counter()
        """what was published and then forgotten by DELETE: its file stays"""

    def teardown(self) -> None:
        try:
            for upload in self.all:
                self.look(upload)
            self.settle()
            self.compare_files()
            self.served.check_outside()
            self.served.check_faults()
        finally:
            self.connection.close()
            # One example's fault is not the next one's.
            self.served.faults.clear()

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | None = None,
        framed: tuple[bool, int] = (False, 1),
    ) -> Answer:
        return self.checked(method, self.connection.ask(Request(method, path, headers, body, *framed)))

    def checked(self, method: str, answer: Answer, come_again: int = 423) -> Answer:
        assert answer.status < 500 or answer.status == come_again, answer
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        assert answer.status < 400 or method == "HEAD" or answer.headers["Content-Type"] == "application/problem+json"
        return answer

    # ---- creation ---------------------------------------------------------------------------------------------------

    @rule(
        target=uploads,
        length=st.none() | st.integers(0, LENGTH_MAX),
        any_order=st.booleans(),
        name=NAMES,
        first=st.none() | SIZES,
        framed=FRAMED,
    )
    def create(
        self, length: int | None, any_order: bool, name: str, first: int | None, framed: tuple[bool, int]
    ) -> Upload:
        upload = Upload(len(self.all), "", length, any_order)
        size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        order = {"Upload-Order": "any"} if any_order else {}
        headers = {**size, **order, "Upload-Metadata": wild.metadata(filename=name)}
        return self.created(upload, headers, first, framed)

    def created(
        self, upload: Upload, headers: dict[str, str], first: int | None = None, framed: tuple[bool, int] = (False, 1)
    ) -> Upload:
        """With so many of its bytes, or as many as it has."""
        body = None
        if first is not None:
            body = upload.bytes_at(0, first if upload.length is None else min(first, upload.length))
        answer = self.ask("POST", "/files", {**(TUS if body is None else BYTES), **headers}, body, framed)
        assert answer.status == 201, answer
        upload.path = answer.headers["Location"]
        upload.complete()
        if body is not None:
            assert answer.offset == len(body)
            upload.put(0, body)
        self.all.append(upload)
        return upload

    @rule(fault=st.sampled_from(sorted(CREATION_FAULTS)))
    def create_wrongly(self, fault: str) -> None:
        changed, status = CREATION_FAULTS[fault]
        answer = self.ask("POST", "/files", with_fault({**TUS, "Upload-Length": "5"}, changed))
        assert answer.status == status, answer

    @rule(
        name=st.sampled_from(wild.PATHS_THAT_CLIMB) | st.text(max_size=30),
        key=st.sampled_from(["filename", "relativePath"]),
    )
    def create_with_any_name(self, name: str, key: str) -> None:
        headers = {**TUS, "Upload-Length": "0", "Upload-Metadata": wild.metadata(**{key: name})}
        answer = self.ask("POST", "/files", headers)
        # 400: no UTF-8. 422: it is good, but a file stands where its directory should be, or the other way round.
        assert answer.status in (201, 400, 403, 422), answer

    @rule(size=st.integers(1, 50), directory=st.sampled_from(wild.PATHS_THAT_CLIMB) | st.text(max_size=30))
    def fill_a_session_in_any_directory(self, size: int, directory: str) -> None:
        token = self.served.open_session(size)
        path = self.served.session_path(token, dst_dir=directory.encode(errors="replace").decode())
        answer = self.ask("PATCH", path, {**BYTES, "Upload-Offset": "0"}, b"s" * size)
        assert answer.status in (204, 400, 403, 422), answer

    # ---- appending --------------------------------------------------------------------------------------------------

    @rule(
        upload=uploads,
        place=st.sampled_from(["here", "here", "here", "here", "before", "behind", "the end"]),
        size=SIZES,
        declares=st.none() | st.integers(0, 300),
        algorithm=st.none() | st.sampled_from(sorted(DIGESTS)),
        override=st.booleans(),
        framed=FRAMED,
    )
    def append(
        self,
        upload: Upload,
        place: str,
        size: int,
        declares: int | None,
        algorithm: str | None,
        override: bool,
        framed: tuple[bool, int],
    ) -> None:
        offset = {
            "here": upload.prefix,
            "before": upload.prefix // 2,
            "behind": upload.prefix + 100,
            "the end": upload.length or upload.reach,
        }[place]
        # Mostly as much as fits, sometimes too much.
        if upload.length is not None and size % 5:
            size = max(0, min(size, upload.length - offset))
        body = upload.bytes_at(offset, size)
        declared = None if declares is None else max(offset + size, upload.reach) + declares
        if upload.length is not None and declares is not None and (declares < 150 or offset + size > upload.length):
            declared = upload.length
        headers = {**BYTES, "Upload-Offset": str(offset)}
        if declared is not None:
            headers["Upload-Length"] = str(declared)
        if algorithm is not None:
            headers["Upload-Checksum"] = f"{algorithm} {b64encode(DIGESTS[algorithm](body)).decode()}"
        if override:
            headers["X-HTTP-Method-Override"] = "PATCH"
        if upload.length is not None and offset + size > upload.length and (upload.any_order or upload.declared):
            # What is kept of it behind a gap would not show; and what is kept of it all may be refused in the end.
            framed = (False, framed[1])
        expected = expect(upload, offset, size, declared, chunked=framed[0])
        answer = self.ask("POST" if override else "PATCH", upload.path, headers, body, framed)
        assert answer.status == expected.status, (answer, expected)
        if expected.status == 204:
            assert answer.offset == offset + size
        elif expected.status == 409:
            assert answer.offset == upload.prefix
        elif expected.status == 423:
            self.took(upload, offset, b"", declared)
            self.comes_to(upload)
        self.take(expected, upload, offset, body, declared)

    def take(self, expected: Expected, upload: Upload, offset: int, body: bytes, declared: int | None) -> None:
        if expected.takes is Takes.ALL:
            self.took(upload, offset, body, declared)
        elif expected.takes is Takes.SOME:
            self.took_some(upload, offset, body, declared)

    def took(self, upload: Upload, offset: int, body: bytes, declared: int | None) -> None:
        upload.length = upload.length if upload.length is not None else declared
        upload.put(offset, body)

    def took_some(self, upload: Upload, offset: int, body: bytes, declared: int | None) -> None:
        """Too long, which showed too late: any beginning of what fits may have been kept."""
        upload.length = upload.length if upload.length is not None else declared
        upload.put(offset, body[: self.offset_of(upload) - offset])

    @rule(upload=uploads, fault=st.sampled_from(sorted(APPEND_FAULTS)), size=SIZES)
    def append_wrongly(self, upload: Upload, fault: str, size: int) -> None:
        changed, status = APPEND_FAULTS[fault]
        offset = upload.prefix
        headers = with_fault({**BYTES, "Upload-Offset": str(offset)}, changed)
        answer = self.ask("POST" if "override" in str(changed).lower() else "PATCH", upload.path, headers, b"x" * size)
        assert answer.status == status, answer

    @rule(upload=uploads, algorithm=st.sampled_from(sorted(DIGESTS)), size=st.integers(1, 6000), framed=FRAMED)
    def append_with_a_wrong_checksum(self, upload: Upload, algorithm: str, size: int, framed: tuple[bool, int]) -> None:
        room = LENGTH_MAX if upload.length is None else upload.length - upload.prefix
        body = upload.bytes_at(upload.prefix, min(size, room))
        if upload.phase is not Phase.OPEN or not body:
            return
        checksum = f"{algorithm} {b64encode(DIGESTS[algorithm](body + b'another')).decode()}"
        headers = {**BYTES, "Upload-Offset": str(upload.prefix), "Upload-Checksum": checksum}
        assert self.ask("PATCH", upload.path, headers, body, framed).status == 460

    @rule(upload=uploads, size=st.integers(1, 6000), framed=FRAMED)
    def append_other_bytes(self, upload: Upload, size: int, framed: tuple[bool, int]) -> None:
        """In the place of acknowledged ones."""
        size = min(size, upload.reach)
        if not upload.any_order or upload.phase is Phase.GONE or not size or not upload.holds(0, size):
            return
        body = bytes(byte ^ 1 for byte in upload.data[:size])
        answer = self.ask("PATCH", upload.path, {**BYTES, "Upload-Offset": "0"}, body, framed)
        assert answer.status == 409, answer

    @rule(upload=uploads, size=st.integers(0, 9000), missing=st.integers(1, 100), checked=st.booleans())
    def break_off(self, upload: Upload, size: int, missing: int, checked: bool) -> None:
        offset = upload.prefix
        room = LENGTH_MAX if upload.length is None else upload.length - offset
        size = min(size, room - missing)
        if upload.phase is not Phase.OPEN or size < 0:
            return
        body = upload.bytes_at(offset, size)
        checksum = {"Upload-Checksum": f"sha1 {b64encode(DIGESTS['sha1'](body)).decode()}"} if checked else {}
        headers = {**BYTES, "Upload-Offset": str(offset), **checksum}
        self.connection.break_off(Request("PATCH", upload.path, headers, body), size + missing)
        if not checked:
            # S: all that arrived is kept; it takes a moment to be.
            upload.put(offset, body)
            self.comes_to(upload)

    def head_of(self, path: str) -> Answer:
        """HEAD, when it has stopped saying "come again"."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (answer := self.ask("HEAD", path, TUS)).status == 423:
            assert time.monotonic() < deadline, f"{path} does not come to an end"
        return answer

    def comes_to(self, upload: Upload) -> None:
        """Soon HEAD says so."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (answer := self.ask("HEAD", upload.path, TUS)).status == 423 or answer.offset < upload.prefix:
            assert time.monotonic() < deadline, f"{upload} does not come there: {answer}"

    # ---- asking, and the end ----------------------------------------------------------------------------------------

    def offset_of(self, upload: Upload) -> int:
        answer = self.ask("HEAD", upload.path, TUS)
        assert answer.status == 200, answer
        return answer.offset

    @rule(upload=uploads)
    def look(self, upload: Upload) -> None:
        answer = self.ask("HEAD", upload.path, TUS)
        if upload.phase in (Phase.GONE, Phase.FAILED):
            assert answer.status == (404 if upload.phase is Phase.GONE else 422), (answer, upload)
            return
        assert (answer.status, answer.offset) == (200, upload.prefix), (answer, upload)
        told = answer.headers.get("Upload-Length"), answer.headers.get("Upload-Defer-Length")
        assert told == ((None, "1") if upload.length is None else (str(upload.length), None))
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers.get("Upload-Concat") == ("partial" if upload.part else None)
        if upload.declared is not None:
            assert upload.declared.member in answer.headers["Repr-Digest"].split(", ")

    @rule(upload=uploads)
    def fetch(self, upload: Upload) -> None:
        answer = self.ask("GET", upload.path, {})
        expected = {Phase.DONE: 200, Phase.GONE: 404, Phase.FAILED: 422}
        assert answer.status == expected.get(upload.phase, 409), answer
        if upload.phase is Phase.DONE:
            assert upload.fits(answer.body)
            told = answer.headers.get("Repr-Digest", "").split(", ")
            assert {one.partition("=")[0] for one in told if one} == {
                name for name in ("sha-256", "sha-512") if Declared.of(name, answer.body).member in told
            }

    @rule(upload=uploads, first=st.integers(0, 300), last=st.integers(0, 300))
    def fetch_a_part(self, upload: Upload, first: int, last: int) -> None:
        if upload.phase is not Phase.DONE or not upload.length or last < first:
            return
        answer = self.ask("GET", upload.path, {"Range": f"bytes={first}-{last}"})
        if first >= upload.length:
            assert answer.status == 416
        else:
            assert answer.status == 206
            assert len(answer.body) == min(last + 1, upload.length) - first
            if upload.holds(0, upload.length):
                assert answer.body == upload.data[first : last + 1]

    @rule(upload=uploads)
    def terminate(self, upload: Upload) -> None:
        if upload.phase is Phase.DONE:
            self.finished[bytes(self.ask("GET", upload.path, {}).body)] += 1
        answer = self.ask("DELETE", upload.path, TUS)
        assert answer.status == (404 if upload.phase is Phase.GONE else 204), answer
        upload.phase = Phase.GONE

    # ---- wild -------------------------------------------------------------------------------------------------------

    @rule(data=wild.requests(wild.SOMEWHERE) | wild.GARBAGE)
    def throw(self, data: bytes) -> None:
        self.check_thrown(self.connection.throw(data))

    @rule(upload=uploads, data=st.data())
    def throw_at(self, upload: Upload, data: st.DataObject) -> None:
        thrown = data.draw(wild.requests(st.just(upload.path)))
        self.check_thrown(self.connection.throw(thrown))
        if upload.phase in (Phase.GONE, Phase.FAILED):
            return
        # It may have closed the upload and gone away.
        answer = self.head_of(upload.path)
        if answer.status == 422:
            # Not what was declared: all that was missing came, and it was something else.
            assert upload.declared is not None, answer
            upload.found_at(upload.length or 0)
            return
        assert answer.status == 200, answer
        # It may have told the length, and brought bytes: what exactly, who knows.
        length = answer.headers.get("Upload-Length")
        if upload.length is None and length is not None:
            upload.length = int(length)
        upload.found_at(answer.offset)
        if upload.any_order:
            upload.anything_behind()

    def check_thrown(self, statuses: list[int]) -> None:
        # 503: a body that broke off, which its client may send again.
        assert all(status < 500 or status == 503 for status in statuses), statuses

    # ---- what lies on the disk --------------------------------------------------------------------------------------

    def settle(self) -> None:
        """What goes on by itself has come to its end; for the rules that know of such."""

    def joined(self) -> list[bytes]:
        """Contents of files that several uploads have become."""
        return []

    def compare_files(self) -> None:
        """Every finished upload is a file of its own, whole; what failed has kept its bytes."""
        files = self.served.files()
        there = Counter(path.read_bytes() for path in files)
        wanted = self.finished + Counter(self.joined())
        for upload in self.all:
            if upload.phase is Phase.DONE:
                content = self.ask("GET", upload.path, {}).body
                assert upload.fits(content)
                wanted[content] += 1
            elif upload.phase is Phase.FAILED:
                assert any(upload.fits(bytes_kept) for bytes_kept in self.served.kept_of(upload.path)), upload
        assert wanted <= there, "a finished file is missing"
        for path in files:
            # Its owner takes it away: the next example's are looked for among its own.
            path.unlink(missing_ok=True)
