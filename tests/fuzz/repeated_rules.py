"""Fields that come twice with different values: which of the two is meant nobody can say, so nothing is stored."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.fuzz import wild
from tests.fuzz.connection import Request
from tests.fuzz.machine import BYTES, TUS, Protocol
from tests.fuzz.protocol_model import Phase, Upload

# name: (what is sent with a request that is right, what is sent besides)
OF_A_CREATION = {
    "Upload-Length": ("5", "6"),
    "Upload-Metadata": (wild.metadata(filename="one"), wild.metadata(filename="two")),
    "Upload-Order": ("any", "sequential"),
    "Idempotency-Key": ('"the first of two keys"', '"the second of two keys"'),
    "Tus-Resumable": ("1.0.0", "0.2.2"),
}
OF_AN_APPEND = {
    "Upload-Offset": (None, "1000000"),
    "Upload-Length": ("20000", "20001"),
    "Upload-Checksum": ("sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
}


class Repeated(Protocol):
    @rule(name=st.sampled_from(sorted(OF_A_CREATION)), turned=st.booleans())
    def create_with_a_field_twice(self, name: str, turned: bool) -> None:
        first, second = OF_A_CREATION[name][:: -1 if turned else 1]
        before = self.served.uploads()
        headers = {**TUS, "Upload-Length": "5", name: first}
        answer = self.checked("POST", self.connection.ask(Request("POST", "/files", headers, again=[(name, second)])))
        assert answer.status == 400, (name, answer)
        assert self.served.uploads() == before

    @rule(upload=Protocol.uploads, name=st.sampled_from(sorted(OF_AN_APPEND)))
    def append_with_a_field_twice(self, upload: Upload, name: str) -> None:
        first, second = OF_AN_APPEND[name]
        headers = {**BYTES, "Upload-Offset": str(upload.prefix), name: first or str(upload.prefix)}
        request = Request("PATCH", upload.path, headers, b"", again=[(name, second)])
        answer = self.checked("PATCH", self.connection.ask(request))
        assert answer.status == 400, (name, answer)
        if upload.phase is not Phase.GONE:
            self.look(upload)
