"""`doctor`: whether a directory can keep what the service promises, in words, a table or JSON."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import click

from storage_proxy.adapters.doctor.examination import CouldNotLook, Wanted, examine
from storage_proxy.adapters.doctor.findings import Finding
from storage_proxy.adapters.doctor.speeds import QUICK, Scale
from storage_proxy.adapters.doctor.verdicts import Verdict, exit_status, judge
from storage_proxy.cli.choosing import COULD_NOT_LOOK, FILE, INTERRUPTED, chosen, worst
from storage_proxy.cli.tables import aligned, heading

PARTNER_SECONDS = 60.0


@click.command()
# Not click's own type for paths: that looks at the directory, and would hang with it.
@click.argument("directory", type=Path, required=False)
@click.option("--config", type=FILE, help="A TOML file: all its volumes are examined, with its settings.")
@click.option("--with-partner", is_flag=True, help="Examine together with a doctor that runs on another machine.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=3600),
    default=PARTNER_SECONDS,
    show_default=True,
    help="How long to wait for the other doctor.",
)
@click.option("--quick", is_flag=True, help="Write a few MiB instead of some hundred, and race less.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_context
def doctor(
    context: click.Context,
    directory: Path | None,
    config: Path | None,
    with_partner: bool,
    seconds: float,
    quick: bool,
    as_json: bool,
) -> None:
    """Examine DIRECTORY, or the volumes of a configuration, as a place for uploads.

    Ends with 0 when every promise is kept, 1 when one is not, 3 when it could not look. Removes what it made.
    """
    if (directory is None) == (config is None):
        raise click.UsageError("Name a DIRECTORY, or a file of settings with --config.")
    roots, sync = [directory] if directory is not None else [], True
    if config is not None:
        settings = chosen(config, None)
        roots, sync = [volume.path for volume in settings.volumes.values()], settings.storage.sync
    wanted = Wanted(sync, seconds if with_partner else None, QUICK if quick else Scale())
    # A service manager's way to say Ctrl-C: what was made is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    examined: list[dict[str, Any]] = []
    for root in roots:
        assert root is not None, "one of the two was named"
        try:
            findings = examine(root, wanted, _tell)
        except CouldNotLook as error:
            click.echo(f"Could not look at {root}: {error}", err=True)
            examined.append({"directory": str(root), "error": str(error), "exit_status": COULD_NOT_LOOK})
            continue
        except KeyboardInterrupt:
            click.echo("Interrupted; what was made was removed.", err=True)
            context.exit(INTERRUPTED)
        verdicts = judge(findings)
        examined.append(_as_json(root, findings, verdicts))
        if not as_json:
            click.echo(_as_text(root, findings, verdicts))
    status = worst([volume["exit_status"] for volume in examined])
    if as_json:
        click.echo(json.dumps({"exit_status": status, "volumes": examined}, indent=2, ensure_ascii=False))
    context.exit(status)


def _tell(doing: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"looking at: {doing}", err=True)


def _as_text(root: Path, findings: list[Finding], verdicts: tuple[Verdict, ...]) -> str:
    seen = [(str(finding.grade), finding.probe, str(finding)) for finding in findings]
    said = [(str(verdict.standing), f"{verdict.promise.number:>2}", _sentence(verdict)) for verdict in verdicts]
    return "\n".join([heading(str(root)), "", "What was seen", aligned(seen), "", "The promises", aligned(said), ""])


def _sentence(verdict: Verdict) -> str:
    lines = [f"{verdict.promise.text}.", f"Because: {verdict.because}" if verdict.because else ""]
    return "\n".join([*filter(None, lines), *([f"Do: {verdict.do}"] if verdict.do else [])])


def _as_json(root: Path, findings: list[Finding], verdicts: tuple[Verdict, ...]) -> dict[str, Any]:
    return {
        "directory": str(root),
        "exit_status": exit_status(verdicts),
        "findings": [
            {
                "probe": finding.probe,
                "grade": str(finding.grade),
                "sentence": finding.sentence,
                "do": finding.do,
                "facts": dict(finding.facts),
            }
            for finding in findings
        ],
        "promises": [
            {
                "promise": verdict.promise.number,
                "text": verdict.promise.text,
                "standing": str(verdict.standing),
                "because": verdict.because,
                "do": verdict.do,
            }
            for verdict in verdicts
        ],
    }
