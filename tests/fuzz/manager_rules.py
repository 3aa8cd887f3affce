"""The manager's listener: whoever has its secret is trusted, but not to send what can be understood."""

import json

from hypothesis import strategies as st
from hypothesis.stateful import rule
from yarl import URL

from tests.fuzz import wild
from tests.fuzz.connection import Answer, Connection, Request
from tests.fuzz.machine import TUS, Protocol
from tests.fuzz.protocol_model import Phase, Upload
from tests.fuzz.served import MANAGER_SECRET, UPLOAD_BYTES_MAX, Served

SECRET = {"X-BackendAI-Storage-Auth-Token": MANAGER_SECRET}
BEARER = {"Authorization": f"Bearer {MANAGER_SECRET}"}
OPEN = "/folder/file/upload"
UPLOADS = "/operator/api/uploads"

NAMES = st.sampled_from(wild.PATHS_THAT_CLIMB) | st.text(max_size=20)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "volume": st.just("main") | ANYTHING,
        "vfid": NAMES | ANYTHING,
        "relpath": NAMES | ANYTHING,
        "size": st.integers(-1, UPLOAD_BYTES_MAX + 1) | st.sampled_from([2**63 - 1, 2**63]) | ANYTHING,
        "session": st.sampled_from(["0" * 32, "f" * 31, "0" * 32 + "\n", "../" * 10]) | ANYTHING,
        "sha256": st.sampled_from(["0" * 64, "0" * 63, "\uff10" * 64]) | ANYTHING,
    },
)
NO_JSON = st.sampled_from(
    [
        b"",
        b"{",
        b"[" * 20_000,
        b'{"size": ' + b"9" * 5000 + b"}",
        b'"\xff"',
        b'{"size": NaN}',
        b"\xef\xbb\xbf{}",
        b"null",
    ]
) | st.binary(max_size=50)

QUERIES = st.dictionaries(
    st.sampled_from(["volume", "phase", "older_than", "limit", "after", "else"]),
    st.sampled_from(
        [
            *wild.NUMBERS[:-1],
            "9" * 500,
            "main",
            "open",
            "published",
            "0" * 32,
            "f" * 32,
            "F" * 32,
            "..",
            "\0",
            "\u202e",
            "",
        ]
    )
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    max_size=4,
)
PATHS = st.sampled_from(
    [
        *("/", "/health/live", "/health/ready", "/metrics", "/operator", "/operator/", "/operator/api", OPEN, UPLOADS),
        *("/operator/api/volumes", "/operator/../files", "/operator/%2e%2e/%2e%2e/etc/passwd", "/files", "/upload"),
        *(
            f"{UPLOADS}/x",
            f"{UPLOADS}/main.{'0' * 32}",
            f"{UPLOADS}/main.{'0' * 32}/finish",
            f"{UPLOADS}/%00/terminate",
        ),
        *(f"{UPLOADS}?limit=%ED%A0%80", f"{UPLOADS}?phase=&phase=", f"{UPLOADS}?after=%00", "/operator/app.js"),
    ]
)


class Manager(Protocol):
    def __init__(self, served: Served) -> None:
        super().__init__(served)
        self.manager = Connection(served.manager_port)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.manager.close()

    def ask_manager(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        answer = self.manager.ask(Request(method, path, headers, body))
        assert answer.status < 500, answer
        return answer

    # ---- opening uploads --------------------------------------------------------------------------------------------

    @rule(name=NAMES, size=st.integers(1, 50))
    def open_and_fill(self, name: str, size: int) -> None:
        body = {"volume": "main", "vfid": "folder", "relpath": name, "size": size}
        answer = self.ask_manager("POST", OPEN, SECRET, json.dumps(body).encode())
        assert answer.status in (200, 400, 403), answer
        if answer.status == 200:
            path = self.served.session_path(json.loads(answer.body)["token"])
            told = self.ask("HEAD", path, TUS)
            assert (told.status, told.offset, told.headers["Upload-Length"]) == (200, 0, str(size)), told
            answer = self.ask("PATCH", path, {"Upload-Offset": "0"}, b"m" * size)
            # 422: a file stands where its directory should be, or the other way round.
            assert answer.status in (204, 422), answer

    @rule(asked=ASKED, body=st.none() | NO_JSON, secret=st.sampled_from([SECRET, SECRET, SECRET, {}, BEARER]))
    def open_wildly(self, asked: dict[str, object], body: bytes | None, secret: dict[str, str]) -> None:
        sent = json.dumps(asked).encode() if body is None else body
        answer = self.ask_manager("POST", OPEN, secret, sent)
        if secret is not SECRET:
            assert answer.status == 403, answer
            return
        assert answer.status in (200, 400, 403, 404, 413, 422), answer
        assert answer.status == 200 or answer.headers["Content-Type"] == "application/problem+json"
        if answer.status == 200:
            assert 0 <= int(str(asked["size"])) <= UPLOAD_BYTES_MAX, asked

    # ---- the operator's view ----------------------------------------------------------------------------------------

    @rule(query=QUERIES, secret=st.sampled_from([SECRET, BEARER]))
    def browse(self, query: dict[str, str], secret: dict[str, str]) -> None:
        answer = self.ask_manager("GET", str(URL(UPLOADS).with_query(query)), secret)
        assert answer.status in (200, 400, 404), answer
        if answer.status == 200:
            told = json.loads(answer.body)
            assert len(told["uploads"]) <= 200

    @rule(upload=Protocol.uploads)
    def look_closely(self, upload: Upload) -> None:
        answer = self.ask_manager("GET", f"{UPLOADS}/{_id(upload)}", BEARER)
        assert answer.status == 200, answer
        told = json.loads(answer.body)
        wanted = {Phase.GONE: "terminated"}.get(upload.phase, upload.phase.value)
        assert told["phase"] == wanted
        if upload.phase is not Phase.GONE:
            assert told["length"] == upload.length
            assert upload.phase is not Phase.OPEN or told["offset"] == upload.prefix

    @rule(upload=Protocol.uploads)
    def finish_at_once(self, upload: Upload) -> None:
        """Nothing is forced: what lacks bytes is open afterwards, and what is not what was declared fails again."""
        answer = self.ask_manager("POST", f"{UPLOADS}/{_id(upload)}/finish", BEARER, b"")
        wanted = {Phase.DONE: 200, Phase.GONE: 404, Phase.FAILED: 422}
        assert answer.status == wanted.get(upload.phase, 409), answer

    @rule(upload=Protocol.uploads)
    def terminate_as_operator(self, upload: Upload) -> None:
        if upload.phase is Phase.DONE:
            self.finished[bytes(self.ask("GET", upload.path, {}).body)] += 1
        answer = self.ask_manager("POST", f"{UPLOADS}/{_id(upload)}/terminate", SECRET, b"")
        assert answer.status == (404 if upload.phase is Phase.GONE else 204), answer
        upload.phase = Phase.GONE

    # ---- wild -------------------------------------------------------------------------------------------------------

    @rule(data=wild.requests(PATHS) | wild.GARBAGE)
    def throw_at_the_manager(self, data: bytes) -> None:
        self.check_thrown(self.manager.throw(data))


def _id(upload: Upload) -> str:
    return upload.path.rpartition("/")[2]
