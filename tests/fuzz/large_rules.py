"""Bodies so large that they bypass the parser (`server/straight_bodies.py`): alone, with the next requests right behind
them, and broken off.
"""

from base64 import b64encode

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.fuzz import wild
from tests.fuzz.connection import Request
from tests.fuzz.machine import BYTES, DIGESTS, TUS, Protocol
from tests.fuzz.protocol_model import Phase, Upload

# From just what takes that lane, up to several of its pieces.
LARGE = st.integers(1 << 20, 3 << 20) | st.sampled_from([1 << 20, (1 << 20) + (256 << 10), 3 << 20])
BEHIND = b"small"


class Large(Protocol):
    @rule(
        target=Protocol.uploads,
        size=LARGE,
        already=st.sampled_from([0, 0, 1, 5000]),
        checked=st.booleans(),
        pieces=st.integers(1, 3),
    )
    def send_a_large_body(self, size: int, already: int, checked: bool, pieces: int) -> Upload:
        """With a creation and a question behind it, before it is answered."""
        large = self.created(Upload(len(self.all), "", already + size, any_order=False), _length(already + size))
        if already:
            self.append_bytes(large, already)
        small = Upload(len(self.all), "", len(BEHIND) + 1, any_order=False)
        body = large.bytes_at(already, size)
        headers = {**BYTES, "Upload-Offset": str(already)}
        if checked:
            headers["Upload-Checksum"] = f"sha1 {b64encode(DIGESTS['sha1'](body)).decode()}"
        stored, made, told = self.connection.ask_all(
            Request("PATCH", large.path, headers, body, pieces=pieces),
            Request("POST", "/files", {**BYTES, **_length(len(BEHIND) + 1)}, small.bytes_at(0, len(BEHIND))),
            Request("HEAD", large.path, TUS),
        )
        assert (stored.status, stored.offset) == (204, already + size), stored
        large.put(already, body)
        assert (made.status, made.offset) == (201, len(BEHIND)), made
        small.path = made.headers["Location"]
        small.put(0, small.bytes_at(0, len(BEHIND)))
        self.all.append(small)
        assert (told.status, told.offset) == (200, already + size), told
        return large

    @rule(target=Protocol.uploads, size=LARGE, wrong=st.sampled_from(["checksum", "offset"]))
    def send_a_large_body_wrongly(self, size: int, wrong: str) -> Upload:
        """What is refused is read on and not kept, or the connection ends; in any case it is answered."""
        upload = self.created(Upload(len(self.all), "", size, any_order=False), _length(size))
        headers = {**BYTES, "Upload-Offset": "0"}
        headers |= {"Upload-Checksum": f"sha1 {'A' * 27}="} if wrong == "checksum" else {"Upload-Offset": "5"}
        answer = self.ask("PATCH", upload.path, headers, upload.bytes_at(0, size))
        assert answer.status == (460 if wrong == "checksum" else 409), answer
        return upload

    @rule(target=Protocol.uploads, size=LARGE, percent=st.integers(0, 99), checked=st.booleans())
    def break_off_a_large_body(self, size: int, percent: int, checked: bool) -> Upload:
        upload = self.created(Upload(len(self.all), "", size, any_order=False), _length(size))
        body = upload.bytes_at(0, size * percent // 100)
        checksum = {"Upload-Checksum": f"sha1 {b64encode(DIGESTS['sha1'](body)).decode()}"} if checked else {}
        request = Request("PATCH", upload.path, {**BYTES, "Upload-Offset": "0", **checksum}, body)
        self.connection.break_off(request, size)
        if not checked:
            upload.put(0, body)
            self.comes_to(upload)
            assert upload.phase is Phase.OPEN
        self.append_bytes(upload, size - upload.prefix)
        return upload

    def append_bytes(self, upload: Upload, size: int) -> None:
        body = upload.bytes_at(upload.prefix, size)
        answer = self.ask("PATCH", upload.path, {**BYTES, "Upload-Offset": str(upload.prefix)}, body)
        assert answer.status == 204, answer
        upload.put(upload.prefix, body)


def _length(size: int) -> dict[str, str]:
    return {"Upload-Length": str(size), "Upload-Metadata": wild.metadata(filename="large")}
