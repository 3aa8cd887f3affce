"""Options that several commands share, and the settings that they choose."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import TypeAdapter, ValidationError

from storage_proxy import settings as settings_room
from storage_proxy.core.errors import StorageProxyError, UploadNotFound
from storage_proxy.core.manifest import UploadId
from storage_proxy.hooks.plugins import PluginMissing
from storage_proxy.ports import NameMissing
from storage_proxy.settings import Settings, SettingsError, spellings

T = TypeVar("T")

FILE = click.Path(dir_okay=False, path_type=Path)
DIRECTORY = click.Path(file_okay=False, path_type=Path)

CONFIG = click.option("--config", type=FILE, help="The TOML file that the replicas run with.")
DATA = click.option("--data", type=DIRECTORY, help="Without --config: the directory. [default: ./data]")
JSON = click.option("--json", "as_json", is_flag=True, help="For scripts.")

# The third code of the commands that look: 0 all is well, 1 something is not, 2 wrong usage.
COULD_NOT_LOOK = 3
INTERRUPTED = 130


class SettingsWrong(click.ClickException):
    """The same code as click's own for wrong options."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        click.echo(f"The settings cannot be used:\n{self.message}", err=True)


class CannotLook(click.ClickException):
    exit_code = COULD_NOT_LOOK

    def show(self, file: object = None) -> None:
        click.echo(f"Could not look: {self.message}", err=True)


def chosen(config: Path | None, data: Path | None, overrides: Mapping[str, object] | None = None) -> Settings:
    """What `serve` with the same options would run with."""
    try:
        return settings_room.load(config, overrides or {}) if config else settings_room.embedded(data, overrides)
    except SettingsError as error:
        raise SettingsWrong(str(error)) from None


def maintained(config: Path | None, data: Path | None) -> Settings:
    """For the commands that work on a share."""
    if config is not None and data is not None:
        raise click.UsageError("--data is for a directory without --config; with it, volumes are named in the file.")
    return chosen(config, data)


def looked(context: click.Context, settings: Settings, volumes: Iterable[str], work: Coroutine[Any, Any, T]) -> T:
    """Do the work on these volumes; whatever stops it becomes a sentence and an exit code."""
    try:
        return asyncio.run(work)
    except PluginMissing as error:
        raise SettingsWrong(f"hooks.plugins: {error}") from None
    except NameMissing:
        paths = ", ".join(str(settings.volumes[name].path) for name in volumes)
        raise CannotLook(f"there is no .uploads in {paths}; no service has stored anything there.") from None
    except StorageProxyError as error:
        raise CannotLook(str(error)) from None
    except KeyboardInterrupt:
        click.echo("Interrupted; running it again is safe.", err=True)
        context.exit(INTERRUPTED)


def upload_named(text: str, settings: Settings) -> UploadId:
    try:
        upload = UploadId.parse(text)
    except UploadNotFound:
        raise click.UsageError(f"{text!r} is no upload's id: <volume>.<32 hex digits>.") from None
    if upload.volume not in settings.volumes:
        raise click.UsageError(f"{text!r} names the volume {upload.volume!r}; there is: {', '.join(settings.volumes)}.")
    return upload


class Duration(click.ParamType):  # type: ignore[type-arg] # only newer versions of click take an argument
    """As in the settings: 90s, 12h, 7d."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return _DURATION.validate_python(value)
        except ValidationError:
            self.fail(f"{value!r} is no time such as 90s, 12h or 7d.", param, ctx)


_DURATION: TypeAdapter[float] = TypeAdapter(spellings.Duration)


def worst(statuses: list[int]) -> int:
    """Of several volumes: something that is wrong goes before something that could not be looked at."""
    return next((status for status in (1, COULD_NOT_LOOK) if status in statuses), 0)
