"""The command line.

Rules: a command reads settings, says what a person should know and hands over to `app`; what is wrong with the settings
goes to standard error without a traceback, exit code 2, as for wrong options. The commands that look at a share end
with 0 when all is well, 1 when something is not, 3 when they could not look.
"""

import click

from storage_proxy.cli.doctor import doctor
from storage_proxy.cli.serving import config, serve
from storage_proxy.cli.upkeep import repair, verify
from storage_proxy.cli.uploads import uploads


@click.group(name="storage-proxy", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="storage-proxy", prog_name="storage-proxy")
def main() -> None:
    """Resumable uploads (TUS) onto a shared directory."""


for command in (serve, config, doctor, verify, repair, uploads):
    main.add_command(command)
