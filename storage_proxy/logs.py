"""Log lines: structlog for ours, the same processors for what aiohttp, gunicorn and asyncio say by stdlib logging.

Rules: one event, one line (a traceback on a terminal is the exception). Secrets are kept out where they are used; what
is here is the last line of defence: values under telling names are hidden, and so is what looks like a token in any
text, tracebacks and reprs included. A line that cannot be written is lost: no upload fails for the sake of a log.
"""

import dataclasses
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TextIO

import structlog
from gunicorn.glogging import Logger as GunicornLogger
from structlog.typing import EventDict, Processor, WrappedLogger

from storage_proxy.core.events import (
    AppendEnded,
    AssemblyAdvanced,
    CarryOnFailed,
    ChunkCommitted,
    Event,
    Fact,
    NoticeDelayed,
    NoticeDelivered,
    NoticeDropped,
    NoticesWaiting,
    PublishRefused,
    RequestAnswered,
    VolumeProbed,
    VolumeSurveyed,
    VolumeTurned,
)

REQUEST_ID: Final = "request_id"
UPLOAD: Final = "upload"
REPLICA: Final = "replica"
VOLUME: Final = "volume"

HIDDEN: Final = "***"

Format = Literal["auto", "json", "console"]


def configure(format: Format, level: str, stream: TextIO | None = None) -> None:
    """Log to the stream (standard error) from now on, whatever was configured before."""
    stream = sys.stderr if stream is None else stream
    console = format == "console" or (format == "auto" and stream.isatty())
    importance = logging.getLevelNamesMapping()[level.upper()]
    ours = _preparations()
    lines = _rendering(console, colors=console and stream.isatty())
    structlog.configure(
        processors=[*ours, *lines],
        wrapper_class=structlog.make_filtering_bound_logger(importance),
        logger_factory=structlog.WriteLoggerFactory(file=_Unbreakable(stream)),  # type: ignore[arg-type] # it needs no more than write and flush
        cache_logger_on_first_use=False,  # module-level loggers must follow a later configure
    )
    handler = logging.StreamHandler(_Unbreakable(stream))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *ours],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *lines],
        )
    )
    logging.basicConfig(handlers=[handler], level=importance, force=True)
    logging.captureWarnings(True)


class EventLog:
    """`ports.Listener`: a line for each fact, named after its class; requests have lines of their own."""

    def __init__(self, **context: str) -> None:
        """`context`: fields that every line bears, such as the replica."""
        self._logger = structlog.get_logger().bind(**context)

    def hear(self, fact: Fact) -> None:
        if isinstance(fact, RequestAnswered):
            return
        facts = {field.name: getattr(fact, field.name) for field in dataclasses.fields(fact)}
        if isinstance(fact, Event):
            facts[UPLOAD] = str(fact.upload)
            facts[VOLUME] = fact.upload.volume
        self._logger.log(_LEVELS.get(type(fact), logging.INFO), event_name(type(fact)), **facts)


_LEVELS: Mapping[type[Fact], int] = {
    AppendEnded: logging.DEBUG,
    ChunkCommitted: logging.DEBUG,
    AssemblyAdvanced: logging.DEBUG,
    CarryOnFailed: logging.WARNING,
    PublishRefused: logging.WARNING,
    NoticesWaiting: logging.DEBUG,
    NoticeDelivered: logging.DEBUG,
    NoticeDelayed: logging.WARNING,
    NoticeDropped: logging.ERROR,
    VolumeProbed: logging.DEBUG,
    VolumeSurveyed: logging.DEBUG,
    VolumeTurned: logging.WARNING,
}
"""All others are worth a line in production."""


def event_name(kind: type[Fact]) -> str:
    """UploadPublished -> upload_published"""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


class GunicornLog(GunicornLogger):  # type: ignore[misc] # gunicorn carries no types
    """Gunicorn's `logger_class`, without handlers of its own: what it says goes the way of all other lines."""

    def setup(self, cfg: object) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True


# ---- secrets -----------------------------------------------------------------------------------------------------

_TELLING_NAME = re.compile(r"(?:^|[_.-])(?:tokens?|secrets?|authorization|keys?|passwords?|cookie)$", re.IGNORECASE)

# What is left of a name and its value in text; the names are those of headers, query parameters and dict keys.
_NAME = r"[\w-]*(?:token|secret|authorization|password|cookie|key)"
_QUOTE = r"""(?:\\*["'])"""  # in a repr, or in a repr within JSON
_LESSER = r"""(?:\\*'|\\+")"""  # any but the ones that JSON itself writes
_QUOTED = r"""(?:(?!\\*["']).)*"""
_VALUE = r"""[^\s"'\\&;,<>)}\]]+"""
_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    # a JSON web token, or what a cut has left of it: its parts are base64, and the first of them is that of '{"'
    (re.compile(r"eyJ[\w-]{4,}(?:(?:\.|%2E)[\w-]*){1,4}|eyJ[\w-]{20,}", re.IGNORECASE), HIDDEN),
    # Authorization: Bearer abc
    (re.compile(rf"\b(Bearer|Basic)(\s+|%20|\+){_VALUE}", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    # ?token=abc, also percent-encoded within another URL
    (re.compile(rf"\b({_NAME})(=|%3D)(?!{_QUOTE}){_VALUE}", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    # {'token': 'abc'}, "X-Auth-Token": "abc", token='abc', (b'Cookie', b'abc'); the latter not in double quotes: in a
    # line of JSON what follows a comma is the next name
    (
        re.compile(rf"({_QUOTE}{_NAME}{_QUOTE}\s*:\s*b?|\b{_NAME}=b?)({_QUOTE}){_QUOTED}", re.IGNORECASE),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(rf"({_LESSER}{_NAME}{_LESSER}\s*,\s*b?)({_LESSER}){_QUOTED}", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    # Authorization: Digest abc, X-Auth-Token: abc
    (
        re.compile(rf"\b([\w-]*(?:authorization|-token|cookie)\s*:\s*){_VALUE}(?: {_VALUE})?", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
)

# No mask can match without one of these. Nearly all lines have none, and this costs a hundredth of the masks.
_HINTS = ("token", "secret", "authorization", "password", "cookie", "key", "bearer", "basic", "eyj")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_SPELLED = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160), 0x2028, 0x2029)} | {
    10: "\\n"
}


def masked(text: str) -> str:
    """The text without anything that looks like a secret."""
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):
        return text
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text


def hide_telling_names(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    """Plain values only, none of them a secret's, none of them a second line's beginning."""
    return {name: _plain(value, name) for name, value in event_dict.items()}


_RENDERED_LATER = {"exc_info", "_record", "_from_structlog"}
"""structlog's own: a traceback is made, and masked, further on."""


def _plain(value: object, name: str = "") -> Any:
    if name in _RENDERED_LATER:
        return value
    if name and value is not None and _TELLING_NAME.search(name):
        return HIDDEN
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _one_line(value)
        case Mapping():
            return {str(key): _plain(item, str(key)) for key, item in value.items()}
        case bytes() | bytearray():
            return repr(bytes(value))
        case Sequence() | set() | frozenset():
            return [_plain(item) for item in value]
        case _:
            return _one_line(str(value))


def _one_line(text: str) -> str:
    return text.translate(_CONTROL_SPELLED) if _CONTROL.search(text) else text


def _mask_line(_: WrappedLogger, __: str, line: Any) -> Any:
    return masked(line)


# ---- the two forms of a line -------------------------------------------------------------------------------------


def _preparations() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_telling_names,
    ]


def _rendering(console: bool, colors: bool) -> list[Processor]:
    if console:
        # Not rich's tracebacks, which it would take if it is installed: they show local variables.
        renderer = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
        return [renderer, _mask_line]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(), _mask_line]


class _Unbreakable:
    """A stream that never raises: a full disk or a reader that went away must not fail what is being logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            pass  # nowhere to tell it

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            pass  # as above
