"""Where settings come from, and the words for what is wrong with them.

Rules: the command line goes before the environment, that before the file, that before the defaults. Everything wrong is
said at once, a line each: where it was said, which key, what was found, what was expected. A value is repeated only
where it is known not to be a secret: never for a secret key, never for a key or a table that is not understood.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from storage_proxy.settings.rules import TOGETHER
from storage_proxy.settings.sections import Settings, Volume

Tree = dict[str, Any]
Key = tuple[str | int, ...]

PREFIX = "STORAGE_PROXY_"
COMMAND_LINE = "command line"
DATA_BY_DEFAULT = Path("data")


@dataclass(frozen=True, slots=True)
class Problem:
    """`where` is a file, `environment variable X` or the command line; empty when the key is said nowhere."""

    where: str
    key: str
    sentence: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.sentence) if part)


class SettingsError(Exception):
    """The settings cannot be used; the text is for people, a line a problem."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def load(file: Path | None, overrides: Mapping[str, object]) -> Settings:
    """Read the file (if any) and the environment; `overrides` are dotted keys from the command line."""
    given = [(COMMAND_LINE, _nested(overrides)), ("environment", _environment())]
    if file is not None:
        given.append((str(file), _file(file)))
    merged: Tree = {"volumes": {}}
    for _, tree in reversed(given):
        merged = _merged(merged, tree)
    try:
        return Settings(**merged)
    except ValidationError as error:
        problems = [
            problem for details in error.errors(include_url=False) for problem in _problems(details, given, file)
        ]
    raise SettingsError(problems)  # outside the handler: pydantic's error would be its context, secrets and all


def embedded(data: Path | None = None, overrides: Mapping[str, object] | None = None) -> Settings:
    """Settings without a file: one volume `main` in `data`, or in ./data unless the environment names a volume."""
    overrides = dict(overrides or {})
    if data is not None or not _environment().get("volumes"):
        overrides["volumes.main.path"] = data or DATA_BY_DEFAULT
    return load(None, overrides)


# ---- where values come from --------------------------------------------------------------------------------------


def _file(file: Path) -> Tree:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        sentence = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        sentence = "is not UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        sentence = f"is not TOML: {error}"
    raise SettingsError([Problem(str(file), "", sentence)])


def _environment() -> Tree:
    source = EnvSettingsSource(Settings)
    # Only STORAGE_PROXY_<SECTION>__<KEY>: Kubernetes sets STORAGE_PROXY_PORT and the like for a service of our name.
    source.env_vars = {
        name: value
        for name, value in source.env_vars.items()
        if name.startswith(PREFIX.lower()) and "__" in name and value
    }
    tree = dict(source())
    # The source overlooks sections that it does not know; to us they are errors like any unknown key.
    for name in source.env_vars:
        section, _, rest = name.removeprefix(PREFIX.lower()).partition("__")
        if section not in Settings.model_fields:
            tree.setdefault(section, {})[rest] = ""
    return tree


def _nested(dotted: Mapping[str, object]) -> Tree:
    tree: Tree = {}
    for name, value in dotted.items():
        *sections, key = name.split(".")
        table = tree
        for section in sections:
            table = table.setdefault(section, {})
        table[key] = value
    return tree


def _merged(low: Tree, high: Tree) -> Tree:
    both = dict(low)
    for key, value in high.items():
        below = both.get(key)
        both[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


# ---- the words for what is wrong ---------------------------------------------------------------------------------

# What pydantic's kinds of error mean to a person, by the beginning of their names; `{...}` is the error's context.
_EXPECTED = (
    ("int_", "a whole number"),
    ("float_", "a number"),
    ("finite_number", "a finite number"),
    ("bool_", "true or false"),
    ("string_too_short", "some text"),
    ("string_", "text in quotes"),
    ("path_type", "the path of a directory, in quotes"),
    ("tuple_type", 'a list such as ["a", "b"]'),
    ("model_", "a table of keys"),
    ("dict_type", "tables, one for each name"),
    ("enum", "{expected}"),
    ("literal_error", "{expected}"),
    ("greater_than_equal", "at least {ge}"),
    ("greater_than", "more than {gt}"),
    ("less_than_equal", "at most {le}"),
)


def _problems(details: ErrorDetails, given: list[tuple[str, Tree]], file: Path | None) -> Iterator[Problem]:
    if details["type"] == TOGETHER:
        for key, sentence in details["ctx"]["problems"]:
            yield Problem(_where(tuple(key.partition("[")[0].split(".")), given, file), key, sentence)
        return
    # pydantic says "[key]" for the name of a table, where the name itself is what is wrong.
    key = tuple(part for part in details["loc"] if part != "[key]")
    yield Problem(_where(key, given, file), _spelled(key), _sentence(details, key))


def _sentence(details: ErrorDetails, key: Key) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown(key)
    if kind == "missing":
        return "missing"
    if kind == "value_error":
        expected = details["msg"].removeprefix("Value error, ")
    else:
        words = next((words for start, words in _EXPECTED if kind.startswith(start)), details["msg"])
        expected = "expected " + words.format(**details.get("ctx", {}))
    return f"found {_found(details['input'])}, {expected}" if _may_be_shown(key, details) else expected


def _unknown(key: Key) -> str:
    *above, name = key
    parent = _model(tuple(above))
    known = list(parent.model_fields) if parent else []
    likely = get_close_matches(str(name).replace("-", "_").lower(), known, n=1)
    if likely:
        return f"unknown key; did you mean {likely[0]}?"
    homes = [section for section in Settings.model_fields if (home := _model((section,))) and name in home.model_fields]
    if homes and not above:
        return f"unknown key; it belongs in {' or '.join(f'[{home}]' for home in homes)}"
    return f"unknown key; expected one of: {', '.join(known)}"


def _found(value: object) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return json.dumps(value, default=str, ensure_ascii=False)


def _may_be_shown(key: Key, details: ErrorDetails) -> bool:
    if "[key]" in details["loc"]:
        return True
    above, name = key[:-1], key[-1]
    if isinstance(name, int):  # an item of a list is as secret as the list
        above, name = above[:-1], above[-1]
    parent = _model(above)
    field = parent.model_fields.get(str(name)) if parent else None
    return field is not None and not _mentions(field.annotation, (SecretStr, BaseModel))


def _mentions(annotation: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, kinds):
        return True
    return any(_mentions(part, kinds) for part in get_args(annotation))


def _model(key: Key) -> type[BaseModel] | None:
    """The class of the table with this key."""
    match key:
        case ():
            return Settings
        case ("volumes", _):
            return Volume
        case (str(section),) if section in Settings.model_fields:
            kind = Settings.model_fields[section].annotation
            return cast(type[BaseModel], kind) if _mentions(kind, (BaseModel,)) and isinstance(kind, type) else None
    return None


def _spelled(key: Key) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")


def _where(key: Key, given: list[tuple[str, Tree]], file: Path | None) -> str:
    """Who said it; a key that nobody has said is missing from the file, if there is one."""
    names = [str(part) for part in key if not isinstance(part, int)]
    for where, tree in given:
        here: object = tree
        for depth, name in enumerate(names, start=1):
            if not isinstance(here, dict) or name not in here:
                break
            here = here[name]
            if depth == len(names):
                return f"environment variable {PREFIX}{'__'.join(names).upper()}" if where == "environment" else where
    return str(file) if file is not None else ""
