"""`python -m bench`: the works, on each server in turn, in several rounds; what `make bench` runs.

A run of everything writes docs/performance.md with its pictures and results. Any other run (`--short`, `--work`,
`--servers`) writes the same into .bench/page, so that a page is never made of two runs.
"""

import argparse
import json
import resource
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import page
from bench.builds import HOME, CannotBuild
from bench.machine import about
from bench.running import Run
from bench.servers import ROOT, SERVERS, Server
from bench.works import wanted

DESCRIPTORS = 8192


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    if given.page:
        page.write(json.loads((given.page / page.RESULTS).read_text()), given.page)
        return 0
    try:
        cases, servers = wanted(given.work), _servers(given.servers)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    # Ended from outside, it has disks to unmount and servers to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _allow_descriptors()
    HOME.mkdir(exist_ok=True)
    missing = _build(servers)
    whole = not (given.short or given.work or given.servers or given.rounds)
    calls = given.work is None or "calls" in given.work.split(",")
    with tempfile.TemporaryDirectory(dir=given.directory or HOME, prefix="run-") as home:
        run = Run(Path(home), servers, missing, short=given.short, rounds=given.rounds or (1 if given.short else 3))
        results = about(
            Path(home), " ".join(["make bench", *([f'ARGS="{shlex.join(arguments)}"'] if arguments else [])])
        )
        results |= run.everything(cases, calls=calls)
    out = ROOT / "docs" if whole else HOME / "page"
    page.write(results, out)
    print(f"written: {out / page.PAGE}")
    return 1 if run.wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="everything, small and once: does it work at all?")
    parser.add_argument("--work", help="which works, with commas: W1 to W8, growth, calls")
    parser.add_argument("--servers", help=f"which servers, with semicolons (or a beginning): {'; '.join(SERVERS)}")
    parser.add_argument("--rounds", type=int, help="how often, instead of 3")
    parser.add_argument("--directory", type=Path, help="where the servers store, instead of .bench")
    parser.add_argument("--page", type=Path, metavar="DIR", help="measure nothing; make the page in DIR once more")
    return parser


def _servers(named: str | None) -> list[Server]:
    """`ours` is ours in every form, `ceiling in C` both of them."""
    if named is None:
        return list(SERVERS.values())
    beginnings = [name.strip() for name in named.split(";")]
    if strange := [one for one in beginnings if not any(name.startswith(one) for name in SERVERS)]:
        raise ValueError(f"there is no {strange[0]}; there are {'; '.join(SERVERS)}")
    return [server for name, server in SERVERS.items() if name.startswith(tuple(beginnings))]


def _build(servers: Sequence[Server]) -> dict[str, str]:
    missing = {}
    for server in servers:
        try:
            program = server.program()[0]
            if shutil.which(program) is None:
                raise CannotBuild(f"there is no {program}")
        except CannotBuild as reason:
            print(f"{server.name} is left out: {reason}")
            missing[server.name] = str(reason)
    return missing


def _allow_descriptors() -> None:
    """500 connections and 500 files are more than many systems grant unasked; servers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = hard if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS else DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
