"""What every answer has, whatever was asked: id, CORS, problem, and one log line without a secret."""

import io
import json
import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from yarl import URL

from storage_proxy import logs
from storage_proxy.server.requests import QuietNoise
from storage_proxy.wire import tokens
from storage_proxy.wire.tokens import SessionClaims
from tests.server.proxy import BYTES, TUS, Proxy, Start, metadata, opening, problem, until

KEY = "a-key-of-the-tests-0123456789"
TOKEN_SECRET = "a secret of the tests, for tokens"
UNKNOWN = "/files/main." + "0" * 32


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """All that is logged, at the lowest level, as it would be written in production."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    # `configure` would take pytest's own handlers away.
    root.handlers.clear()
    logs.configure("json", "debug", stream)
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


# ---- request ids --------------------------------------------------------------------------------------------------


async def test_a_sane_request_id_is_given_back(proxy: Proxy) -> None:
    answer = await proxy.client.get("/health/live", headers={"X-Request-ID": "a1-b2.c3"})
    assert answer.headers["X-Request-ID"] == "a1-b2.c3"


@pytest.mark.parametrize("told", ["", "a b", "é", "x" * 101, '"}'])
async def test_any_other_request_id_is_replaced(proxy: Proxy, told: str) -> None:
    answer = await proxy.client.get("/health/live", headers={"X-Request-ID": told})
    assert len(answer.headers["X-Request-ID"]) == 32


# ---- CORS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/files", UNKNOWN, "/nothing/here", "/upload", "/health/live"])
async def test_a_page_may_ask_before_it_sends(start: Start, path: str) -> None:
    proxy = await start(access={"keys": [KEY]}, tokens={"secret": TOKEN_SECRET})
    asking = {
        "Origin": "https://app.example.org",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "tus-resumable,upload-offset,authorization,x-request-id",
    }
    answer = await proxy.client.options(path, headers=asking)
    assert answer.status in (200, 204)
    allowed = {name.lower() for name in answer.headers["Access-Control-Allow-Headers"].split(", ")}
    assert {
        "authorization", "content-type", "tus-resumable", "upload-length", "upload-offset", "upload-metadata",
        "upload-checksum", "upload-defer-length", "upload-concat", "upload-order", "x-request-id",
        "x-http-method-override", "x-requested-with", "idempotency-key", "upload-complete", "upload-incomplete",
        "upload-draft-interop-version", "content-disposition",
    } <= allowed  # fmt: skip
    methods = answer.headers["Access-Control-Allow-Methods"].split(", ")
    assert {"POST", "PUT", "HEAD", "PATCH", "DELETE", "GET", "OPTIONS"} == set(methods)
    assert answer.headers["Access-Control-Max-Age"] == "86400"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("PUT", "/health/live", {}, 405),
        ("PATCH", UNKNOWN, {}, 412),
        ("PATCH", UNKNOWN, {**BYTES, "Upload-Offset": "0"}, 404),
        ("GET", UNKNOWN + "/status", {}, 404),
        ("GET", UNKNOWN, {}, 404),
        ("PUT", "/files", {}, 405),
    ],
)
async def test_early_errors_can_be_read_by_pages(
    proxy: Proxy, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = await proxy.client.request(method, path, headers={"Origin": "https://x.example", **headers})
    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Location" in answer.headers["Access-Control-Expose-Headers"]
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_with_named_origins_only_these_are_allowed(start: Start) -> None:
    named = "https://app.example.org"
    proxy = await start(cors={"origins": [named], "credentials": True})
    allowed = await proxy.client.get("/nothing", headers={"Origin": named})
    assert allowed.headers["Access-Control-Allow-Origin"] == named
    assert allowed.headers["Access-Control-Allow-Credentials"] == "true"
    for origin in ("https://evil.example", "https://app.example.org.evil.example", "null"):
        refused = await proxy.client.get("/nothing", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in refused.headers
        assert refused.headers["Vary"] == "Origin"


LOCAL = ["http://localhost:5173", "http://localhost", "https://127.0.0.1:8443", "http://[::1]:3000"]
FOREIGN = [
    "https://evil.example",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example:80",
    "http://evil.example:80@localhost",
    "http://localhost:5173.evil.example",
    "http://192.168.0.2",
    "ftp://localhost",
    "null",
]


async def test_without_a_key_and_a_word_on_it_pages_of_this_machine_are_allowed_and_no_others(start: Start) -> None:
    proxy = await start(cors={})
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "tus-resumable"}
    for origin in LOCAL:
        allowed = await proxy.client.options("/files", headers={"Origin": origin, **asking})
        assert allowed.headers["Access-Control-Allow-Origin"] == origin
        assert "Tus-Resumable" in allowed.headers["Access-Control-Allow-Headers"]
    for origin in FOREIGN:
        refused = await proxy.client.options("/files", headers={"Origin": origin, **asking})
        assert not [name for name in refused.headers if name.lower().startswith("access-control")], origin
        assert refused.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    "sections",
    [
        {"access": {"keys": [KEY]}},
        {"access": {"open_to_everyone": True}},
        {"cors": {"origins": ["*"]}},
        {"files": {"enabled": False}, "tokens": {"secret": TOKEN_SECRET}},
    ],
    ids=str,
)
async def test_who_has_a_key_or_says_so_takes_uploads_from_pages_of_everywhere(
    start: Start, sections: dict[str, Any]
) -> None:
    proxy = await start(**{"cors": {}, **sections})
    answer = await proxy.client.options("/files", headers={"Origin": "https://app.example.org"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_without_origins_there_is_no_cors(start: Start) -> None:
    proxy = await start(cors={"origins": []})
    answer = await proxy.client.options("/files", headers={"Origin": "https://x.example"})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


# ---- keys ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def locked(start: Start) -> Proxy:
    return await start(access={"keys": ["first-" + KEY, KEY]})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_each_key_opens(locked: Proxy, scheme: str) -> None:
    for key in (KEY, "first-" + KEY):
        headers = {**TUS, "Upload-Length": "5", "Authorization": f"{scheme} {key}"}
        assert (await locked.client.post("/files", headers=headers)).status == 201


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/files"), ("HEAD", UNKNOWN), ("GET", UNKNOWN), ("GET", UNKNOWN + "/status"), ("DELETE", UNKNOWN)],
)
async def test_without_a_key_nothing_opens(locked: Proxy, method: str, path: str) -> None:
    answer = await locked.client.request(method, path, headers={**TUS, "Upload-Length": "5"})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    if method != "HEAD":
        await problem(answer, 401, "key-missing")


@pytest.mark.parametrize(
    "told", ["Bearer x", "Bearer", f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", KEY, "Bearer é"]
)
async def test_a_wrong_key_does_not_open(locked: Proxy, told: str) -> None:
    headers = {**TUS, "Upload-Length": "5", "Authorization": told}
    body = await problem(await locked.client.post("/files", headers=headers), 403, "key-rejected")
    assert KEY not in json.dumps(body)


async def test_the_method_override_needs_the_key_as_well(locked: Proxy) -> None:
    headers = {**TUS, "X-HTTP-Method-Override": "DELETE"}
    assert (await locked.client.options(UNKNOWN, headers=headers)).status == 401


# ---- Location -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "headers", "prefix"),
    [
        ({}, {}, ""),
        ({"base_path": "/storage"}, {}, "/storage"),
        ({"base_path": "/storage"}, {"X-Forwarded-Prefix": "/evil"}, "/storage"),
        ({"trusted_proxies": ["127.0.0.0/8"]}, {"X-Forwarded-Prefix": "/pre"}, "/pre"),
        ({"trusted_proxies": ["127.0.0.0/8"]}, {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "h"}, ""),
        ({"trusted_proxies": ["10.0.0.0/8"]}, {"X-Forwarded-Prefix": "/evil"}, ""),
        ({"trusted_proxies": ["127.0.0.0/8"], "base_path": "/b"}, {"X-Forwarded-Prefix": "//evil"}, "/b"),
    ],
)
async def test_location_is_a_path_that_is_right_for_the_client(
    start: Start, server: dict[str, Any], headers: dict[str, str], prefix: str
) -> None:
    proxy = await start(server=server)
    answer = await proxy.client.post("/files", headers={**TUS, "Upload-Length": "5", **headers})
    assert answer.headers["Location"].startswith(prefix + "/files/main.")


async def test_under_a_base_path_the_service_answers_with_and_without_it(start: Start) -> None:
    proxy = await start(server={"base_path": "/storage"})
    path = await proxy.create(3)
    assert path.startswith("/storage/files/")
    assert await proxy.offset(path) == await proxy.offset(path.removeprefix("/storage")) == 0
    assert (await proxy.client.get("/storage/health/live")).status == 200


# ---- the log ------------------------------------------------------------------------------------------------------


async def test_each_request_is_one_line(lines: io.StringIO, proxy: Proxy) -> None:
    path = await proxy.create(3)
    await proxy.patch(path + "?secret=1", 0, b"abc", **{"X-Request-ID": "mine"})
    requests = [line for line in read(lines) if line["event"] == "request"]
    assert [line["method"] for line in requests] == ["POST", "PATCH"]
    patch = requests[1]
    assert (patch["path"], patch["status"], patch["bytes_in"], patch["bytes_out"]) == (path, 204, 3, 0)
    assert (patch["request_id"], patch["upload"]) == ("mine", path.removeprefix("/files/"))
    assert patch["ms"] > 0
    assert patch["replica"]
    # What the operation tells bears the same ids.
    published = [line for line in read(lines) if line["event"] == "upload_published"]
    assert published[0]["request_id"] == "mine"


@pytest.mark.parametrize(
    ("trusted", "client"), [(["127.0.0.0/8"], "192.0.2.60"), (["10.0.0.0/8"], "127.0.0.1"), ([], "127.0.0.1")]
)
@pytest.mark.parametrize("told", [{"X-Forwarded-For": "6.6.6.6, 192.0.2.60"}, {"Forwarded": "for=192.0.2.60"}])
async def test_the_line_says_whose_request_it_was_as_far_as_that_can_be_believed(
    lines: io.StringIO, start: Start, trusted: list[str], client: str, told: dict[str, str]
) -> None:
    proxy = await start(server={"trusted_proxies": trusted})
    await proxy.client.post("/files", headers={**TUS, "Upload-Length": "5", **told})
    (line,) = [line for line in read(lines) if line["event"] == "request"]
    assert line["client"] == client


async def test_a_refusal_is_a_line_with_its_problem(lines: io.StringIO, proxy: Proxy) -> None:
    await proxy.client.head(UNKNOWN, headers=TUS)
    (line,) = [line for line in read(lines) if line["event"] == "request"]
    assert (line["problem"], line["status"], line["level"]) == ("upload-not-found", 404, "info")


async def test_an_unexpected_error_is_an_incident(
    lines: io.StringIO, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await proxy.create(3)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug at /some/path")

    monkeypatch.setattr(proxy.service.volumes["main"].filesystem, "refresh", broken)
    answer = await proxy.client.delete(path, headers=TUS)
    body = await problem(answer, 500, "incident")
    assert "bug" not in json.dumps(body)
    (line,) = [line for line in read(lines) if line["event"] == "incident"]
    assert line["incident"] == body["incident"]
    assert "a bug at /some/path" in line["exception"]
    assert (await proxy.client.head(path, headers=TUS)).status == 423


async def test_no_key_and_no_token_is_in_any_line(lines: io.StringIO, start: Start) -> None:
    proxy = await start(access={"keys": [KEY]}, tokens={"secret": TOKEN_SECRET})
    token = tokens.mint(SessionClaims("main", "f", "x", 3, "0" * 32, 4e9), TOKEN_SECRET)
    url = str(URL("/upload").with_query({"token": token}))
    bearing = {**BYTES, "Upload-Offset": "0", "Authorization": f"Bearer {KEY}"}
    for method in ("OPTIONS", "HEAD", "PATCH", "POST", "GET", "PUT"):
        for address in (url, url.replace("?", "/status?"), "/files?token=" + token, "/nothing?token=" + token):
            await proxy.client.request(method, address, headers=bearing)
    await proxy.client.post("/files", headers={**bearing, "Upload-Length": "3", "Upload-Metadata": metadata(name="n")})
    # Nor when it is no HTTP at all, in the middle of a line with the token in it.
    for garbage in (f"GET {url} HTTP/9.x\n", opening("GET", url, f"Authorization Bearer {KEY}", "no colon")):
        raw = await proxy.raw(garbage)
        assert (await raw.head())[0] == 400
        await raw.close()
    text = lines.getvalue()
    assert text.count('"event": "request"') >= 25
    for secret in (token, *token.split("."), KEY, TOKEN_SECRET):
        assert secret not in text
    assert "Traceback" not in text


async def test_what_is_not_http_is_refused_in_one_quiet_line(lines: io.StringIO, proxy: Proxy) -> None:
    reader_writer = await proxy.raw("\x16\x03\x01 hello\n")
    assert (await reader_writer.head())[0] == 400
    await reader_writer.close()
    (line,) = [line for line in read(lines) if line.get("logger") == "storage_proxy.connections"]
    assert line["level"] == "info"
    assert "not HTTP" in line["event"]
    assert "exception" not in line


@pytest.mark.parametrize(
    ("error", "level", "words"),
    [
        (ConnectionResetError("gone"), "INFO", "a client hung up: ConnectionResetError"),
        (KeyError("a bug"), "ERROR", "Error handling request from ::1"),
    ],
)
def test_a_client_that_hangs_up_on_its_answer_is_a_short_line_and_a_bug_is_a_traceback(
    error: Exception, level: str, words: str
) -> None:
    """As aiohttp logs what comes out of a handler; also of its own, for "100 Continue" at an unknown address."""
    record = logging.LogRecord(
        "x", logging.ERROR, "x", 1, "Error handling request from %s", ("::1",), (type(error), error, None)
    )
    assert QuietNoise().filter(record)
    assert (record.levelname, record.exc_info is None, record.getMessage()) == (level, level == "INFO", words)


# ---- health -------------------------------------------------------------------------------------------------------


async def test_health_is_live_and_ready(proxy: Proxy) -> None:
    assert (await proxy.client.get("/health/live")).status == 200
    ready = await proxy.client.get("/health/ready")
    assert (ready.status, await ready.json()) == (200, {"status": "ready", "volumes": {"main": "ready"}})


async def test_ready_names_the_volume_that_is_not(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr("storage_proxy.operations.readiness.PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("storage_proxy.operations.readiness.PAUSE_SECONDS_UNREADY", 0.02)
    proxy = await start(volumes={"other": {"path": other}})

    async def status(wanted: int) -> bool:
        return (await proxy.client.get("/health/ready")).status == wanted

    assert await status(200)
    os.rename(other, tmp_path / "unmounted")
    await until(partial(status, 503))
    told = await (await proxy.client.get("/health/ready")).json()
    assert (told["status"], told["volumes"]["main"]) == ("not ready", "ready")
    assert told["volumes"]["other"] == "There is no .uploads directory any more."
    assert (await proxy.client.get("/health/live")).status == 200
    os.rename(tmp_path / "unmounted", other)
    await until(partial(status, 200))


async def test_a_draining_replica_is_not_ready(proxy: Proxy) -> None:
    proxy.service.draining.set()
    ready = await proxy.client.get("/health/ready")
    assert (ready.status, (await ready.json())["status"]) == (503, "draining")


async def test_the_root_says_what_this_is(proxy: Proxy) -> None:
    told = await (await proxy.client.get("/")).json()
    assert (told["service"], told["files"]) == ("storage-proxy", "/files")
