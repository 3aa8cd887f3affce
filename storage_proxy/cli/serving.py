"""`serve`, and `config check`, which says whether it would start."""

import shlex
from pathlib import Path

import click

from storage_proxy import settings as settings_room
from storage_proxy.adapters.page_files import read_page
from storage_proxy.cli.choosing import DIRECTORY, FILE, SettingsWrong, chosen
from storage_proxy.hooks import plugins
from storage_proxy.hooks.plugins import PluginMissing
from storage_proxy.settings import Settings, SettingsError
from storage_proxy.settings.reference import render


@click.command()
@click.option("--config", type=FILE, help="A TOML file; without it ./data is served on 127.0.0.1:8080.")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; goes before the file and the environment.")
@click.option("--data", type=DIRECTORY, help="Without --config: the directory to serve. [default: ./data]")
@click.option("--workers", type=int, metavar="N", help="Processes that share the port.")
def serve(config: Path | None, listen: str | None, data: Path | None, workers: int | None) -> None:
    """Serve until told to stop (SIGTERM, Ctrl-C)."""
    if config is not None and data is not None:
        raise click.UsageError("--data is for serving without --config; with it, volumes are named in the file.")
    said = {"server.listen": listen, "server.workers": workers}
    overrides = {key: value for key, value in said.items() if value is not None}
    settings = chosen(config, data, overrides)
    if config is None:
        # Of a volume that a file names this is not done: a share that is not mounted would silently be a local disk.
        for volume in settings.volumes.values():
            volume.path.mkdir(parents=True, exist_ok=True)
        click.echo(_tour(settings))
    # Here, because `config check` and --version need no server.
    from storage_proxy.app import run

    run(settings)


@click.group()
def config() -> None:
    """Look at settings."""


@config.command()
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Say whether `serve --config FILE` would start here, the environment included."""
    try:
        hooks = settings_room.load(file, {}).hooks
        # Their code is part of what would start.
        plugins.load(hooks.plugins, hooks.timeout_seconds)
    except SettingsError as error:
        raise SettingsWrong(str(error)) from None
    except PluginMissing as error:
        raise SettingsWrong(f"{file}: hooks.plugins: {error}") from None
    click.echo(f"{file}: ok")


@config.command()
def reference() -> None:
    """Print every key with its default and what it does, as Markdown."""
    click.echo(render(), nl=False)


def _tour(settings: Settings) -> str:
    """What is served, and three commands that show it."""
    server, volumes = settings.server, settings.volumes
    files = f"http://{server.listen}{server.base_path}"
    data = volumes[settings.files_volume].path / settings.files.directory
    shown = settings.page.enabled and settings.files.enabled and bool(read_page())
    page = f"Open {files}/ in a browser and drop files there.\n" if shown else ""
    key = "-H 'Authorization: Bearer YOUR-KEY' " if settings.access.keys else ""
    tus = f"{key}-H 'Tus-Resumable: 1.0.0'"
    name = "bm90ZS50eHQ="  # note.txt
    return f"""\
storage-proxy serves {files}/files; finished files appear in {data}
{page}Try it from another terminal (Ctrl-C ends the service, unfinished uploads go on later):
  # create an upload of 5 bytes; its URL is what the service answers as Location
  at=$(curl -sD- -X POST {files}/files {tus} \\
    -H 'Upload-Length: 5' -H 'Upload-Metadata: filename {name}' | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
  # send the bytes, from offset 0
  curl -X PATCH "http://{server.listen}$at" {tus} -H 'Upload-Offset: 0' \\
    -H 'Content-Type: application/offset+octet-stream' --data-binary hello
  # look
  cat {shlex.quote(str(data / "note.txt"))}
"""
