"""One `serve` as a page or a file of deploy/ has it: its own words and variables, on ports that nobody else gets.

Rules: nothing is added to what stands there but addresses. Where clients are to come it listens on `url`, whether that
was said by an option, a variable or a file; the manager's listener is moved to `manager_url` where there is one.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from tests.end_to_end.replicas import ROOT, START_SECONDS, STOP_SECONDS, Port, environment

PROGRAM = (sys.executable, "-m", "storage_proxy")
LISTEN, MANAGER = "STORAGE_PROXY_SERVER__LISTEN", "STORAGE_PROXY_MANAGER__LISTEN"


@dataclass(frozen=True)
class Serving:
    url: str
    manager_url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")


@contextmanager
def serving(
    words: Sequence[str], home: Path, variables: Mapping[str, str], program: Sequence[str] = PROGRAM, cwd: Path = ROOT
) -> Iterator[Serving]:
    """`words` begin with `serve`. Ready when it is yielded, killed afterwards, unless it has ended by itself."""
    public, manager = Port(), Port()
    addresses = [f"127.0.0.1:{port.number}" for port in (public, manager)]
    said = {**environment(), **variables, LISTEN: addresses[0]}
    if MANAGER in variables:
        said[MANAGER] = addresses[1]
    words = list(words)
    if "--listen" in words:
        words[words.index("--listen") + 1] = addresses[0]
    log = home / "serving.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*program, *words],
            cwd=cwd,
            env=said,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        wait_until_ready(public.number, process, log)
        yield Serving(f"http://{addresses[0]}", f"http://{addresses[1]}", process, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # a group of its own, workers included
        process.wait(STOP_SECONDS)
        for port in (public, manager):
            port.close()


def wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, f"it ended:\n{log.read_text()}"
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass  # not yet
        finally:
            connection.close()
        assert time.monotonic() < deadline, f"not ready:\n{log.read_text()}"
        time.sleep(0.05)
