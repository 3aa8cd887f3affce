"""`uploads`: which there are, how far each is, and to finish or end one by hand; on the share itself.

Rules: replicas may run or not; what is done here is safe beside them. `--json` prints what the operator's API answers,
and nothing else, on standard output. An upload is named by its whole id, which `list` prints: part of one would end
the wrong upload some day.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from storage_proxy.cli.choosing import (
    CONFIG,
    DATA,
    JSON,
    Duration,
    looked,
    maintained,
    upload_named,
)
from storage_proxy.cli.extent_map import drawn
from storage_proxy.cli.tables import aligned, heading, size, span
from storage_proxy.core.errors import NotFinished, NotYetPublished, Refused, UploadNotFound
from storage_proxy.core.manifest import Phase, UploadId
from storage_proxy.operations import overview
from storage_proxy.operations.resume import resume
from storage_proxy.operations.terminate import terminate as end
from storage_proxy.settings import Settings

if TYPE_CHECKING:
    from storage_proxy.operations.service import Service

T = TypeVar("T")
Row = dict[str, Any]

_UPLOADS = click.argument("ids", metavar="ID...", nargs=-1, required=True)


@click.group()
def uploads() -> None:
    """Look at uploads, and finish or terminate one by hand."""


@uploads.command("list")
@CONFIG
@DATA
@click.option("--volume", metavar="NAME", help="Only this one. [default: all]")
@click.option(
    "--phase", "phases", multiple=True, type=click.Choice([phase.value for phase in Phase]), help="Also more than one."
)
@click.option("--older-than", type=Duration(), default=0.0, metavar="TIME", help="Without a change for 90s, 12h, 2d.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many.")
@JSON
@click.pass_context
def list_(
    context: click.Context,
    config: Path | None,
    data: Path | None,
    volume: str | None,
    phases: tuple[str, ...],
    older_than: float,
    limit: int | None,
    as_json: bool,
) -> None:
    """Every upload that there is a record of, on each volume."""
    settings = maintained(config, data)
    if volume is not None and volume not in settings.volumes:
        raise click.UsageError(f"there is no volume {volume!r}; there is: {', '.join(settings.volumes)}.")
    names = [volume] if volume is not None else list(settings.volumes)
    wanted = tuple(map(Phase, phases))

    async def work(service: "Service") -> list[Row]:
        found: list[Row] = []
        for name in names:
            async for row in _rows(service, name, wanted, older_than):
                found.append(row)
                if len(found) == limit:
                    return found
        return found

    rows = _run(context, settings, work)
    if as_json:
        click.echo(json.dumps({"uploads": rows}, indent=2, ensure_ascii=False))
    elif rows:
        click.echo(aligned([("phase", "there", "size", "changed", "file"), *map(_cells, rows)], indent=0))
    else:
        click.echo("There are none.")


@uploads.command()
@CONFIG
@DATA
@click.argument("id_", metavar="ID")
@JSON
@click.pass_context
def show(context: click.Context, config: Path | None, data: Path | None, id_: str, as_json: bool) -> None:
    """One upload closely, with a map of what is there, arriving and missing."""
    settings = maintained(config, data)
    upload = upload_named(id_, settings)

    async def work(service: "Service") -> Row:
        closely = await overview.look_closely(service, upload)
        return overview.details(closely, service.clock.now())

    told = _run(context, settings, work)
    click.echo(json.dumps(told, indent=2, ensure_ascii=False) if as_json else _closely(told))


@uploads.command()
@CONFIG
@DATA
@_UPLOADS
@JSON
@click.pass_context
def finish(context: click.Context, config: Path | None, data: Path | None, ids: tuple[str, ...], as_json: bool) -> None:
    """Publish what is whole, however long it takes; try again what had failed, once its reason is mended.

    Ends with 1 when one of them lacks bytes, has ended, or fails again. Its bytes stay.
    """

    async def one(service: "Service", upload: UploadId) -> str:
        while True:
            try:
                manifest = await resume(service, upload)
            except NotYetPublished as error:
                click.echo(f"{upload}: {size(error.assembled)} of {size(error.length)} assembled", err=True)
                continue
            path = manifest.publication.path if manifest.publication is not None else manifest.target.path
            return f"It is published as {path!r}."

    _each(context, maintained(config, data), ids, one, as_json)


@uploads.command()
@CONFIG
@DATA
@_UPLOADS
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
@click.pass_context
def terminate(
    context: click.Context, config: Path | None, data: Path | None, ids: tuple[str, ...], yes: bool, as_json: bool
) -> None:
    """Delete what clients have sent. A file that was published stays.

    Ends with 1 when one of them is being published, or has ended.
    """
    settings = maintained(config, data)
    for each in ids:
        upload_named(each, settings)
    if not yes:
        click.confirm(f"Delete what was sent to {', '.join(ids)}?", abort=True, err=True)

    async def one(service: "Service", upload: UploadId) -> str:
        await end(service, upload)
        return "It is terminated."

    _each(context, settings, ids, one, as_json)


# ---- working on the share -------------------------------------------------------------------------------------------


def _run(context: click.Context, settings: Settings, work: Callable[["Service"], Awaitable[T]]) -> T:
    # Here, because it brings the whole service along.
    from storage_proxy.app.maintenance import open_service

    async def working() -> T:
        async with open_service(settings) as service:
            return await work(service)

    return looked(context, settings, settings.volumes, working())


async def _rows(service: "Service", volume: str, phases: tuple[Phase, ...], older_than: float) -> AsyncIterator[Row]:
    after: str | None = ""
    while after is not None:
        now = service.clock.now()
        wanted = overview.wanted(phases, older_than, now)
        page = await overview.browse(service.volumes[volume], after, overview.READS_MAX, wanted)
        for listed in page.uploads:
            yield overview.summary(listed, now)
        after = page.after


def _each(
    context: click.Context,
    settings: Settings,
    ids: tuple[str, ...],
    one: Callable[["Service", UploadId], Awaitable[str]],
    as_json: bool,
) -> None:
    named = [upload_named(each, settings) for each in ids]

    async def work(service: "Service") -> list[Row]:
        done = []
        for upload in named:
            try:
                sentence, succeeded = await one(service, upload), True
            except UploadNotFound:
                sentence, succeeded = await _why_not_found(service, upload), False
            except NotFinished as error:
                of = "" if error.length is None else f" of {error.length}"
                sentence, succeeded = f"Bytes are missing: it stands at byte {error.prefix}{of}.", False
            except (Refused, NotYetPublished) as error:
                sentence, succeeded = str(error), False
            done.append({"upload": str(upload), "done": succeeded, "sentence": sentence})
        return done

    done = _run(context, settings, work)
    if as_json:
        click.echo(json.dumps({"uploads": done}, indent=2, ensure_ascii=False))
    else:
        rows = [("done" if each["done"] else "not done", f"{each['upload']}\n{each['sentence']}") for each in done]
        click.echo(aligned(rows, indent=0))
    context.exit(0 if all(each["done"] for each in done) else 1)


async def _why_not_found(service: "Service", upload: UploadId) -> str:
    """To clients the two are the same."""
    try:
        return f"It is {(await service.read(upload)).phase} already."
    except UploadNotFound:
        return "There is no such upload."


# ---- words ----------------------------------------------------------------------------------------------------------


def _cells(row: Row) -> tuple[str, ...]:
    if "problem" in row:
        return (row["phase"], "", "", "", f"{row['upload']}\n{row['problem']}")
    return (
        row["phase"],
        _share_of(row),
        size(row["length"]),
        f"{span(row['idle_seconds'])} ago",
        "\n".join(filter(None, (row["target"], row["upload"], row["reason"]))),
    )


def _share_of(row: Row) -> str:
    if not row["length"]:
        return size(row["promised"]) if row["length"] is None else "100 %"
    # Rounded down: 100 must mean all of it.
    return f"{row['promised'] * 100 // row['length']} %"


def _closely(told: Row) -> str:
    facts = [
        ("phase", told["phase"] + (f": {told['reason']}" if told["reason"] else "")),
        ("file", told["target"]),
        ("there", f"{size(told['promised'])} of {size(told['length'])}"),
        ("offset", f"{told['offset']}: so many bytes from the start without a gap"),
        ("assembled", f"{size(told['assembled'])}; {told['pieces']} pieces wait"),
        ("order", f"{told['order']}; when the name is taken: {told['policy']}"),
        ("created", f"{span(told['age_seconds'])} ago"),
        ("changed", f"{span(told['idle_seconds'])} ago, revision {told['revision']}"),
    ]
    extents = [
        *((start, f"{start} to {end}", "there") for start, end in told["there"]),
        *(
            (each["start"], f"{each['start']} to {each['end']}", f"arriving, quiet for {span(each['idle_seconds'])}")
            for each in told["arriving"]
        ),
        *((start, f"{start} to {end}", "missing") for start, end in told["missing"]),
    ]
    return "\n".join(
        [
            heading(told["upload"]),
            aligned(facts),
            "",
            *(f"  {line}" for line in drawn(told)),
            "",
            aligned([("", place, what) for _, place, what in sorted(extents)], indent=0),
        ]
    )
