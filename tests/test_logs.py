"""Log lines: their two forms, what is bridged into them, and what must never be in one."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy import logs
from storage_proxy.core import events
from storage_proxy.core.manifest import UploadId

# header.payload.signature, put together so that no scanner takes this file for a leak
JWT = ".".join(["eyJhbGciOiJIUzI1NiJ9", "eyJvcCI6InVwbG9hZCJ9", "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"])
SECRET = "hunter2-hunter2"
UPLOAD = UploadId("main", "0123456789abcdef" * 2)


class Lines(io.StringIO):
    def __init__(self, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.getvalue().splitlines()[-1])
        return found


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, gunicorn = logging.getLogger(), logging.getLogger("gunicorn.error")
    before = (root.handlers[:], root.level, gunicorn.handlers[:], gunicorn.level)
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(False)
    root.handlers[:], gunicorn.handlers[:] = before[0], before[2]
    root.setLevel(before[1])
    gunicorn.setLevel(before[3])


@pytest.fixture
def lines() -> Lines:
    stream = Lines()
    logs.configure("json", "debug", stream)
    return stream


# ---- forms -------------------------------------------------------------------------------------------------------


def test_a_line_is_json_with_time_level_event_and_the_fields(lines: Lines) -> None:
    structlog.get_logger().info("upload_created", length=5)
    line = lines.last
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "info", "event": "upload_created", "length": 5}


@pytest.mark.parametrize(
    ("form", "terminal", "json_lines"),
    [("auto", True, False), ("auto", False, True), ("json", True, True), ("console", False, False)],
)
def test_auto_is_for_people_on_a_terminal_and_for_machines_elsewhere(
    form: logs.Format, terminal: bool, json_lines: bool
) -> None:
    stream = Lines(terminal)
    logs.configure(form, "info", stream)
    structlog.get_logger().info("ready", volume="main")
    assert stream.getvalue().startswith("{") is json_lines
    assert "ready" in stream.getvalue()


def test_less_important_lines_are_left_out() -> None:
    stream = Lines()
    logs.configure("json", "warning", stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("aiohttp").info("quiet")
    structlog.get_logger().warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_a_logger_made_before_configure_follows_it() -> None:
    logger = structlog.get_logger()
    for stream in (Lines(), Lines()):
        logs.configure("json", "info", stream)
        logger.info("here")
        assert stream.last["event"] == "here"


def test_context_is_in_every_line_also_of_other_libraries(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(**{logs.REQUEST_ID: "r1", logs.UPLOAD: str(UPLOAD)})
    structlog.get_logger().info("ours")
    assert lines.last["request_id"] == "r1"
    logging.getLogger("aiohttp.server").error("theirs %s", 1)
    assert lines.last["upload"] == str(UPLOAD)
    assert (lines.last["event"], lines.last["level"], lines.last["logger"]) == ("theirs 1", "error", "aiohttp.server")


def test_gunicorn_and_warnings_go_the_same_way(lines: Lines) -> None:
    from gunicorn.config import Config  # type: ignore[import-untyped,unused-ignore] # gunicorn carries no types

    logger = logs.GunicornLog(Config())
    logger.info("Booting worker with pid: %s", 7)
    assert lines.last["event"] == "Booting worker with pid: 7"
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("take care", stacklevel=1)
    assert "take care" in lines.last["event"]
    assert lines.last["logger"] == "py.warnings"


def test_an_exception_comes_with_its_traceback(lines: Lines) -> None:
    try:
        raise RuntimeError("no")
    except RuntimeError:
        structlog.get_logger().exception("failed")
    assert "RuntimeError: no" in lines.last["exception"]
    assert lines.last["level"] == "error"


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_value_can_begin_a_second_line(form: logs.Format) -> None:
    stream = Lines()
    logs.configure(form, "info", stream)
    structlog.get_logger().info("refused\nx", path="a\r\nb\x1b[31m\u2028", names=["c\nd"], more={"e\n": "f\n"})
    logging.getLogger("asyncio").error("one\ntwo")
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b[31m" not in stream.getvalue()


def test_a_stream_that_fails_fails_nobody() -> None:
    class Full(Lines):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    for stream in (Full(), Lines()):
        stream.close()
        logs.configure("json", "info", stream)
        logs.EventLog(replica="r").hear(events.UploadClosed(UPLOAD, 5))
        logging.getLogger("aiohttp").error("lost")


@given(st.dictionaries(st.text(max_size=5), st.recursive(st.text() | st.binary() | st.floats(), st.lists), max_size=3))
def test_any_value_makes_one_line_of_json(values: dict[str, Any]) -> None:
    stream = Lines()
    logs.configure("json", "info", stream)
    structlog.get_logger().info("x", values=values)
    assert len(stream.getvalue().splitlines()) == 1
    assert stream.last["event"] == "x"


# ---- secrets -----------------------------------------------------------------------------------------------------

NAMES = ["token", "Token", "secret", "authorization", "Authorization", "key", "keys", "password", "Cookie"]
NAMES += ["access_token", "X-BackendAI-Storage-Auth-Token", "manager.secret", "set-cookie"]


@pytest.mark.parametrize("name", NAMES)
def test_the_value_of_a_telling_name_is_hidden_however_deep(lines: Lines, name: str) -> None:
    structlog.get_logger().info("x", **{name: SECRET}, deep={"headers": [{name: SECRET}]}, many={name: [SECRET]})
    assert SECRET not in lines.getvalue()
    assert logs.HIDDEN in lines.getvalue()


TEXTS = [
    f"GET /upload?token={SECRET}&dst_dir=a",
    f"GET /upload?dst_dir=a&access_token={SECRET}",
    f"/login?next=%2Fupload%3Ftoken%3D{SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"Authorization: Digest {SECRET}",
    f"bearer {SECRET}",
    f"X-BackendAI-Storage-Auth-Token: {SECRET}",
    f"{{'token': '{SECRET}'}}",
    json.dumps({"secret": SECRET}),
    f"<CIMultiDict('Authorization': 'Bearer {SECRET}', 'X-Auth-Token': '{SECRET}')>",
    f"((b'Host', b'a'), (b'Cookie', b'{SECRET}'))",
    f"Settings(secret='{SECRET}', lifetime=3)",
    f"bad token {JWT}",
    f"{JWT[:40]}",
    f"/upload/{JWT.replace('.', '%2E')}",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("form", ["json", "console"])
def test_what_looks_like_a_secret_is_masked_in_any_text(text: str, form: logs.Format) -> None:
    stream = Lines()
    logs.configure(form, "info", stream)
    logger = structlog.get_logger()
    logger.info("x", path=text)
    logger.info(text, parts=[text], raw=text.encode(), thing=ValueError(text))
    logging.getLogger("aiohttp.server").error("%s", text)
    try:
        raise RuntimeError(text)
    except RuntimeError:
        logger.exception("failed")
        logging.getLogger("asyncio").exception("failed")
    logged = stream.getvalue()
    assert [part for part in (SECRET, *JWT.split("."), "eyJ") if part in logged] == []
    if form == "json":
        assert [json.loads(line)["level"] for line in logged.splitlines()]


def test_a_traceback_on_a_terminal_shows_no_local_variables() -> None:
    stream = Lines(terminal=True)
    logs.configure("auto", "info", stream)
    try:
        hidden = SECRET + "x"
        raise RuntimeError(len(hidden))
    except RuntimeError:
        structlog.get_logger().error("failed", exc_info=sys.exc_info())
    assert "RuntimeError" in stream.getvalue()
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("text", ["upload main.0123 offset=5", "offset mismatch: expected 5", "tokens, keys", "a=b"])
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert logs.masked(text) == text


# ---- events ------------------------------------------------------------------------------------------------------

EVENTS: list[tuple[events.Fact, str]] = [
    (events.UploadCreated(UPLOAD, 5, "a/b"), "info"),
    (events.ChunkCommitted(UPLOAD, 0, 5, 5, True), "debug"),
    (events.ChunkDiscarded(UPLOAD, 0, 5, "overlap"), "info"),
    (events.UploadClosed(UPLOAD, 5), "info"),
    (events.AssemblyAdvanced(UPLOAD, 5, 5), "debug"),
    (events.UploadPublished(UPLOAD, "a/b", 5), "info"),
    (events.PublishRefused(UPLOAD, "taken"), "warning"),
    (events.UploadTerminated(UPLOAD, 5), "info"),
    (events.UploadExpired(UPLOAD, 5), "info"),
    (events.UploadReaped(UPLOAD), "info"),
    (events.LeftoversSwept(UPLOAD, ("a", "b")), "info"),
    (events.NoticesWaiting(UPLOAD), "debug"),
    (events.NoticeDelivered(UPLOAD, 1, "post-create"), "debug"),
    (events.NoticeDelayed(UPLOAD, 1, "post-create", "answered 502"), "warning"),
    (events.NoticeDropped(UPLOAD, 1, "post-create", "answered 502"), "error"),
    (events.CarryOnFailed(UPLOAD, "gone", "ShareFault"), "warning"),
    (events.AppendEnded(UPLOAD, 0, 5, 0.5, "BodyBrokenOff"), "debug"),
    (events.PublishRetried(UPLOAD), "info"),
    (events.FenceContended(UPLOAD, 1, 0), "info"),
    (events.VolumeSurveyed("main", (), 5, 0, 0.5), "debug"),
    (events.VolumeProbed("main", None, 5, 9), "debug"),
    (events.VolumeTurned("main", "it hangs"), "warning"),
]


@pytest.mark.parametrize(("event", "level"), EVENTS, ids=lambda value: type(value).__name__)
def test_each_event_is_a_line_with_its_facts(lines: Lines, event: events.Fact, level: str) -> None:
    logs.EventLog(replica="r7").hear(event)
    line = lines.last
    assert (line["level"], line["replica"]) == (level, "r7")
    assert line["volume"] == "main"
    if isinstance(event, events.Event):
        assert line["upload"] == str(UPLOAD)
    for field in set(event.__dataclass_fields__) - {"upload"}:
        fact = getattr(event, field)
        assert line[field] == (list(fact) if isinstance(fact, tuple) else fact)


def test_no_event_is_forgotten() -> None:
    # by name: a dataclass with slots is made twice
    kinds = {kind.__name__ for kind in (*events.Event.__subclasses__(), *events.Fact.__subclasses__())}
    # A request has a line of its own, with more in it.
    assert {type(event).__name__ for event, _ in EVENTS} == kinds - {"Event", "RequestAnswered"}


def test_an_event_is_named_after_its_class() -> None:
    assert logs.event_name(events.UploadPublished) == "upload_published"
