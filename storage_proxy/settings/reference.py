"""Every key of the settings, as a page for people: docs/configuration.md, and `storage-proxy config reference`.

Rules: nothing is said here about a key; its type, default and text are those of `sections.py`. Sizes and times are
written as people write them, so that a default can be copied into a file.
"""

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from storage_proxy.settings.sections import Settings, Volume
from storage_proxy.settings.spellings import (
    DAY,
    GIB,
    HOUR,
    KIB,
    MIB,
    MINUTE,
    TIB,
    Address,
    Listed,
    read_duration,
    read_size,
)

HEAD = """\
# Configuration

Made by `storage-proxy config reference`; a test holds this page to the code.

Settings come from, in this order: options of the command line, environment variables, the file of `--config`, defaults.
A key of the file is a variable, too: `[server] listen` is `STORAGE_PROXY_SERVER__LISTEN`, and `[volumes.main] path` is
`STORAGE_PROXY_VOLUMES__MAIN__PATH`; lists are written with commas there. Secrets may so stay out of the file.
`storage-proxy config check FILE` says whether the service would start with it: everything that is wrong at once, a line
each. Unknown keys are errors.

Commented samples: [production](../config/production.toml), [session tokens](../config/session-tokens.toml),
[development](../config/development.toml).
"""

_SIZES = ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))
_TIMES = ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (1.0, "s"))


def render() -> str:
    return "\n".join((HEAD, *_tables()))


def _tables() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        section, title = (Volume, "volumes.<name>") if name == "volumes" else (field.annotation, name)
        assert isinstance(section, type) and issubclass(section, BaseModel), name
        yield f"## [{title}]\n\n{_one_line(section.__doc__)}\n\n| Key | Value | Default | |\n|---|---|---|---|"
        for key, described in section.model_fields.items():
            row = (f"`{key}`", _kind(described), _default(described), _one_line(described.description))
            yield f"| {' | '.join(row)} |"
        yield ""


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


# ---- what may stand there -------------------------------------------------------------------------------------------


def _kind(field: FieldInfo) -> str:
    annotation = field.annotation
    if Listed in field.metadata:
        return f"a list of {_plural(get_args(annotation)[0])}"
    return _spelled(field) or _typed(annotation) + _bounds(field)


def _plural(item: object) -> str:
    if _holds(item, SecretStr):
        return "secrets"
    return "networks" if _holds(item, IPv4Network) else "texts"


def _spelled(field: FieldInfo) -> str | None:
    """Sizes and times are numbers in Python, and more than that in a file."""
    validators = [getattr(entry, "func", None) for entry in field.metadata]
    if read_size in validators:
        return "a size: `64MiB`, `100GB`"
    if read_duration in validators:
        return "a time: `90s`, `12h`, `7d`"
    return None


def _typed(annotation: object) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f'`"{choice}"`' for choice in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(f'`"{choice}"`' for choice in annotation)
    named = {SecretStr: "a secret", Address: "host:port", Path: "a path"}
    for kind, name in named.items():
        if _holds(annotation, kind):
            return name
    plain: dict[object, str] = {bool: "`true` or `false`", int: "a number", float: "seconds"}
    return plain.get(annotation, "a text")


def _holds(annotation: object, kind: type) -> bool:
    return annotation is kind or any(_holds(part, kind) for part in get_args(annotation))


def _bounds(field: FieldInfo) -> str:
    said = []
    for entry in field.metadata:
        match entry:
            case Ge(ge=least):
                said.append(f"{least} or more")
            case Le(le=most):
                said.append(f"{most} at most")
            case Gt(gt=least) if field.annotation is not float:
                said.append(f"more than {least}")
    return f", {', '.join(said)}" if said else ""


# ---- what stands there if nobody says anything ----------------------------------------------------------------------


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be said"
    value: Any = field.default
    spelled = _spelled(field) or ""
    if value is None:
        return "none"
    if "a size" in spelled:
        return "`0`" if value == 0 else f"`{_largest_unit(value, _SIZES)}`"
    if "a time" in spelled:
        return f"`{_largest_unit(value, _TIMES)}`"
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return f"`[{', '.join(_quoted(item) for item in value)}]`"
        case int() | float():
            return f"`{value:g}`"
        case _:
            return f"`{_quoted(value)}`"


def _quoted(value: object) -> str:
    return f'"{value}"'


def _largest_unit(value: float, units: tuple[tuple[float, str], ...]) -> str:
    return next((f"{value / unit:g}{name}" for unit, name in units if value % unit == 0), f"{value:g}")
