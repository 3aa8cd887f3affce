"""Options that several commands share, and the settings that they choose."""

from collections.abc import Mapping
from pathlib import Path

import click

from storage_proxy import settings as settings_room
from storage_proxy.settings import Settings, SettingsError

FILE = click.Path(dir_okay=False, path_type=Path)
DIRECTORY = click.Path(file_okay=False, path_type=Path)

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


def worst(statuses: list[int]) -> int:
    """Of several volumes: something that is wrong goes before something that could not be looked at."""
    return next((status for status in (1, COULD_NOT_LOOK) if status in statuses), 0)
