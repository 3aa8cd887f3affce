"""`verify` and `repair`: what lies on the volumes, against what was promised."""

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storage_proxy.cli.choosing import CONFIG, DATA, JSON, looked, maintained, upload_named, worst
from storage_proxy.cli.tables import aligned, heading
from storage_proxy.core.manifest import UploadId
from storage_proxy.operations import repair as repairing
from storage_proxy.operations import verify as verifying
from storage_proxy.operations.verify import Discovery, Report
from storage_proxy.settings import Settings

if TYPE_CHECKING:
    from storage_proxy.operations.service import Service, Volume

Work = Callable[["Service", "Volume", float, UploadId | None], Coroutine[Any, Any, Report]]

_UPLOAD = click.option("--upload", metavar="ID", help="Only this upload, as <volume>.<32 hex digits>.")


@click.command()
@CONFIG
@DATA
@_UPLOAD
@JSON
@click.pass_context
def verify(context: click.Context, config: Path | None, data: Path | None, upload: str | None, as_json: bool) -> None:
    """Hash what was promised, and list what nobody promised. Changes nothing; replicas may run.

    Ends with 0 when nothing is wrong, 1 when something is to be mended or decided, 3 when it could not look.
    """

    async def work(service: "Service", volume: "Volume", orphan_seconds: float, only: UploadId | None) -> Report:
        return await verifying.verify(service, volume, orphan_seconds, only=only)

    _run(context, maintained(config, data), upload, as_json, work)


@click.command()
@CONFIG
@DATA
@_UPLOAD
@JSON
@click.option("--retry", is_flag=True, help="Try uploads again that failed, once their reason is mended.")
@click.pass_context
def repair(
    context: click.Context, config: Path | None, data: Path | None, upload: str | None, as_json: bool, retry: bool
) -> None:
    """Finish what can be finished, remove what nobody can need; say what is left for a person. Replicas may run.

    Ends with 0 when nothing is left, 1 when something is to be decided, 3 when it could not look.
    """

    async def work(service: "Service", volume: "Volume", orphan_seconds: float, only: UploadId | None) -> Report:
        return await repairing.repair(service, volume, orphan_seconds, only=only, retry=retry)

    _run(context, maintained(config, data), upload, as_json, work)


def _run(context: click.Context, settings: Settings, upload: str | None, as_json: bool, work: Work) -> None:
    # Here, because it brings the whole service along.
    from storage_proxy.app.maintenance import open_service

    only = upload_named(upload, settings) if upload is not None else None
    names = [only.volume] if only is not None else list(settings.volumes)

    async def each() -> dict[str, Report]:
        async with open_service(settings) as service:
            return {name: await work(service, service.volumes[name], settings.expiry.orphans, only) for name in names}

    reports = looked(context, settings, names, each())
    status = worst([report.exit_status for report in reports.values()])
    if as_json:
        volumes = {name: _as_json(report) for name, report in reports.items()}
        click.echo(json.dumps({"exit_status": status, "volumes": volumes}, indent=2, ensure_ascii=False))
    else:
        for name, report in reports.items():
            click.echo(_as_text(f"{name}: {settings.volumes[name].path}", report))
    context.exit(status)


def _as_text(title: str, report: Report) -> str:
    phases = ", ".join(f"{count} {phase}" for phase, count in sorted(report.phases.items())) or "none"
    parts = [
        heading(title),
        f"  uploads: {phases}",
        f"  hashed: {report.files_hashed} files, {report.bytes_hashed / (1 << 20):.1f} MiB",
    ]
    if report.deeds:
        parts += ["", "Done", aligned([("done", _where(deed), deed.sentence) for deed in report.deeds])]
    if report.discoveries:
        rows = [(str(found.severity), _where(found), _sentence(found)) for found in _sorted(report)]
        parts += ["", "Found" if not report.deeds else "Left", aligned(rows)]
    else:
        parts += ["", "Nothing is wrong." if not report.deeds else "Nothing is left."]
    return "\n".join([*parts, ""])


def _sorted(report: Report) -> list[Discovery]:
    order = ["decide", "untried", "mend", "note"]
    return sorted(report.discoveries, key=lambda found: order.index(found.severity))


def _where(discovery: Discovery) -> str:
    # The volume stands above; so much of the key tells any two uploads apart, and the whole of it is in the JSON.
    return f"{discovery.upload.key[:8]}…" if discovery.upload is not None else ".uploads"


def _sentence(found: Discovery) -> str:
    rest = [name for name in found.files if name not in found.sentence]
    shown = ", ".join(rest[:3]) + (f" and {len(rest) - 3} more" if len(rest) > 3 else "")
    return f"{found.sentence}\n{shown}" if shown else found.sentence


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "exit_status": report.exit_status,
        "uploads": dict(report.phases),
        "files_hashed": report.files_hashed,
        "bytes_hashed": report.bytes_hashed,
        "done": [_discovery(deed) for deed in report.deeds],
        "found": [_discovery(found) for found in _sorted(report)],
    }


def _discovery(found: Discovery) -> dict[str, Any]:
    return {
        "upload": str(found.upload) if found.upload is not None else None,
        "what": found.what,
        "severity": str(found.severity),
        "sentence": found.sentence,
        "files": list(found.files),
    }
