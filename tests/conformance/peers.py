"""`python -m tests.conformance.peers`: this service and its peers judged side by side; what `make conformance` runs.

Each is started on an empty directory and judged by the command that anyone can run. The tables, the versions, the day
and the machine are written into docs/conformance.md between two marks; every figure there is made here. No part of the
package that others install: it builds the peers, as the benchmark does.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import builds
from bench.machine import about
from bench.servers import ROOT, SERVERS, Running, Server
from tests.conformance import side_by_side
from tests.end_to_end.proxies import PROGRAMS, haproxy_cfg

PAGE = ROOT / "docs" / "conformance.md"
BEGIN, END = "<!-- made by `make conformance`: nothing here is written by hand -->", "<!-- end -->"
PATIENCE_SECONDS = 75
LOOK_SECONDS = 0.2
ENDS_MAX = 20
STALLED = "interruption.idle-closed"
PORT = re.compile(r"(http://127\.0\.0\.1):\d+")
REPLICAS = 3
# HAProxy hands on 104, which nothing in a request tells (docs/ietf-draft.md).
BEHIND_SETTING = 'interim_responses = "always"'


# ---- who takes part -------------------------------------------------------------------------------------------------


def _ours(data: Path, port: int) -> Sequence[str]:
    return ["serve", "--data", str(data), "--listen", f"127.0.0.1:{port}"]


def _behind(data: Path, port: int) -> Sequence[str]:
    config = data.parent / f"{port}.toml"
    config.write_text(
        f'[server]\nlisten = "127.0.0.1:{port}"\n[volumes.main]\npath = "{data}"\n[files]\n{BEHIND_SETTING}\n'
    )
    return ["serve", "--config", str(config)]


def _tusd(data: Path, port: int) -> Sequence[str]:
    said = ["-host", "127.0.0.1", "-port", str(port), "-max-size", str(2**40), "-enable-experimental-protocol"]
    return [*said, "-upload-dir", str(data)]


def _node() -> Sequence[str]:
    # Beside the modules that it imports.
    made = builds.tus_node_server().with_name("conformance.mjs")
    shutil.copy(Path(__file__).with_name("tus_node_server.mjs"), made)
    return ["node", str(made)]


def _rustus(data: Path, port: int) -> Sequence[str]:
    said = ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(data), "--info-dir", f"{data}-records"]
    return [*said, "--max-body-size", str(16 << 20), "--log-level", "ERROR"]


OURS = replace(SERVERS["ours"], name="storage-proxy", arguments=_ours)
BEHIND = replace(OURS, name="storage-proxy through HAProxy", arguments=_behind, replicas=REPLICAS)
PEERS = (
    replace(SERVERS["tusd"], arguments=_tusd),
    replace(SERVERS["@tus/server"], program=_node),
    replace(SERVERS["rustus"], arguments=_rustus),
)


@dataclass(frozen=True)
class _Named:
    """As a replica is named in deploy/haproxy.cfg."""

    name: str
    port: int


def _haproxy(urls: Sequence[str]) -> Server:
    """Round robin over them, with the very file of deploy/."""
    named = [_Named(f"replica-{number}", int(url.split(":")[2].split("/")[0])) for number, url in enumerate(urls, 1)]

    def arguments(data: Path, port: int) -> Sequence[str]:
        config = data.parent / "haproxy.cfg"
        config.write_text(haproxy_cfg(port, named, data.parent, {}))  # type: ignore[arg-type] # it asks for no more
        return ["-db", "-f", str(config)]

    return Server("haproxy", lambda: [str(PROGRAMS["haproxy"])], arguments, "")


def _haproxy_version() -> str:
    if PROGRAMS["haproxy"] is None:
        return "no haproxy"
    said = subprocess.run([PROGRAMS["haproxy"], "-v"], capture_output=True, text=True, check=False).stdout
    return said.partition(" - ")[0].split("\n")[0]


# ---- judging --------------------------------------------------------------------------------------------------------


class Watched(Running):
    """Started again whenever it ends by itself."""

    def __init__(self, server: Server, data: Path) -> None:
        super().__init__(server, data)
        self._server = server
        self._data = data
        self.ends = 0

    def look(self) -> None:
        for place, process in enumerate(self._processes):
            if process.poll() is not None:
                self.ends += 1
                assert self.ends <= ENDS_MAX, f"{self._server.name} ends again and again"
                port = int(self.urls[place].split(":")[2].split("/")[0])
                self._processes[place] = self._start(
                    [*self._server.program(), *self._server.arguments(self._data, port)]
                )
                self._wait_for(self._processes[place], port)

    def last_error(self) -> str:
        """What it said when it ended."""
        lines = self._log.read_text(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if "Error" in line and not line.startswith(" ")), "")


@dataclass(frozen=True)
class Judged:
    server: Server
    found: Mapping[str, Any]
    """what `--json` wrote"""
    ends: int = 0
    """how often it ended by itself"""
    last_error: str = ""


def judged(server: Server, home: Path, patience: float = PATIENCE_SECONDS) -> Judged:
    data, written = home / "data", home / "found.json"
    data.mkdir(parents=True)
    running = Watched(server, data)
    proxy: Running | None = None
    try:
        url = running.urls[0]
        if server is BEHIND:
            (home / "haproxy").mkdir()
            proxy = Running(_haproxy(running.urls), home / "haproxy" / "data")
            url = proxy.urls[0]
        _judge(f"{url}/" if server.name == "rustus" else url, written, patience, running)
        return Judged(server, json.loads(written.read_text()), running.ends, running.last_error())
    finally:
        for each in (proxy, running):
            if each is not None:
                each.stop()


def _judge(url: str, written: Path, patience: float, running: Watched) -> None:
    said = ["--url", url, "--patience", f"{patience:g}", "--json", str(written)]
    judge = subprocess.Popen([sys.executable, "-m", "tests.conformance", *said], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                judge.wait(LOOK_SECONDS)
                return
            except subprocess.TimeoutExpired:
                running.look()
    finally:
        if judge.poll() is None:
            judge.kill()
            judge.wait()


# ---- the page -------------------------------------------------------------------------------------------------------


def rendered(told: Mapping[str, Any], results: Iterable[Judged], missing: Mapping[str, str]) -> str:
    judged = list(results)
    found = {one.server.name: dict(one.found) for one in judged}
    rows = [(one.server.name, one.server.version, _started(one.server)) for one in judged]
    lines = [
        f"{told['date']}, commit {told['commit']}, {told['kernel']}, {told['processor']}, loopback, each server on an "
        f"empty directory, judged with `--patience {PATIENCE_SECONDS}` by Python {told['python']}:",
        "",
        "| Server | Version | Started with |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        *(f"Left out: {name} ({reason}).\n" for name, reason in missing.items()),
        f"go: {told['go']}; node: {told['node']}; rust: {told['rust']}; {told['haproxy']}.",
        "",
        "Kept / judged; a dash where nothing is announced:",
        "",
        *(PORT.sub(r"\1:PORT", line) for line in side_by_side.tables(found)),
        "",
        "Seen besides:",
        "",
        f"- A stalled body was ended within {PATIENCE_SECONDS} s by {_listed(one for one in judged if _ended(one))}; "
        f"not by {_listed(one for one in judged if not _ended(one))}.",
        *(_own_end(one) for one in judged if one.ends),
    ]
    return "\n".join([BEGIN, "", *lines, "", END])


def _started(server: Server) -> str:
    if server is BEHIND:
        return f"{REPLICAS} of these on one directory with `{BEHIND_SETTING}`, round robin by deploy/haproxy.cfg"
    number = 12345
    arguments = [Path(word).name if "/" in word else word for word in server.program()]
    arguments += [word.replace(str(number), "PORT") for word in server.arguments(Path("DIR"), number)]
    return f"`{shlex.join(arguments)}`"


def _ended(one: Judged) -> bool:
    return any(result["id"] == STALLED and result["verdict"] == "pass" for result in one.found["results"])


def _listed(several: Iterable[Judged]) -> str:
    return ", ".join(one.server.name for one in several) or "none"


def _own_end(one: Judged) -> str:
    times = "once" if one.ends == 1 else f"{one.ends} times"
    return (
        f"- The process of {one.server.name} ended by itself {times} (`{one.last_error}`). It was started again, and "
        "clauses that got no answer were judged once more."
    )


def replaced(page: str, made: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{PAGE.name} has no place for it"
    return before + made + after


# ---- the command ----------------------------------------------------------------------------------------------------


def main() -> int:
    missing: dict[str, str] = {}
    results = []
    builds.HOME.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=builds.HOME, prefix="conformance-") as home:
        told = about(Path(home), "make conformance")["about"] | {"haproxy": _haproxy_version()}
        for number, server in enumerate((OURS, BEHIND, *PEERS)):
            if server is BEHIND and PROGRAMS["haproxy"] is None:
                missing[server.name] = "haproxy is not installed"
                continue
            try:
                server.program()
            except builds.CannotBuild as reason:
                missing[server.name] = str(reason)
                continue
            print(f"judging {server.name}", flush=True)
            results.append(judged(server, Path(home) / str(number)))
    PAGE.write_text(replaced(PAGE.read_text(), rendered(told, results, missing)))
    print(f"written: {PAGE}")
    # The peers may break what they like; what we announce has to be kept.
    return int(any(one.found["exit_status"] for one in results if one.server in (OURS, BEHIND)))


if __name__ == "__main__":
    sys.exit(main())
