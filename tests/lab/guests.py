"""One guest: a Linux kernel of its own, and everything that can befall it.

Rules: a guest is a child process of this one, signalled only by its process id. Its two networks are two bridges: over
the first it is told what to do, over the second it speaks NFS, so it can be cut off from the share and still be asked.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import executable
from typing import Any

from tests.lab.packages import run

NET = "10.77"
AGENT_PORT = 7000
MANAGE, SHARE = 1, 2
BRIDGES = {MANAGE: "manage", SHARE: "share"}
READY_SECONDS = 30
STARTS_MAX = 3
SOURCE = Path(__file__).parent


class GuestFailed(Exception):
    """A guest did not do what it was told; the end of its console is in the text."""


@dataclass(frozen=True, slots=True)
class Done:
    code: int | None
    """None: its time was up"""
    said: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What all guests of a laboratory have in common."""

    home: Path
    memory_mib: int = 512
    lease_seconds: int = 10


class Guest:
    def __init__(self, machine: Machine, name: str, number: int, disks: Sequence[Path] = ()) -> None:
        self.name = name
        self.address = f"{NET}.{MANAGE}.{number}"
        self.share_address = f"{NET}.{SHARE}.{number}"
        self.console = machine.home / f"{name}.log"
        self._machine = machine
        self._number = number
        self._disks = disks
        self._process: subprocess.Popen[bytes] | None = None
        self._taps: dict[int, str] = {}
        self._formats = False

    def __repr__(self) -> str:
        return f"<guest {self.name}>"

    # ---- power ------------------------------------------------------------------------------------------------------

    def start(self, *, format_disks: bool = False) -> None:
        self._formats = format_disks
        # What a guest that was killed left there would be taken for a running one.
        shutil.rmtree(self._machine.home / "uml" / self.name, ignore_errors=True)
        for net, bridge in BRIDGES.items():
            if net not in self._taps:
                self._taps[net] = f"{bridge}-{self.name}"
                run("ip", "tuntap", "add", "dev", self._taps[net], "mode", "tap")
                run("ip", "link", "set", self._taps[net], "master", bridge, "up")
        with self.console.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(format_disks),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Its memory is a file there, and must not be on a disk.
                env={**os.environ, "TMPDIR": "/dev/shm"},
            )

    def _command(self, format_disks: bool) -> list[str]:
        machine, home = self._machine, self._machine.home
        said = {
            "name": self.name,
            "number": self._number,
            "net": NET,
            "home": home,
            "source": SOURCE,
            "python": executable,
            "lease": machine.lease_seconds,
            "format": int(format_disks),
        }
        processors = sorted(os.sched_getaffinity(0))
        return [
            # A guest has one processor, and its switches between kernel and programs are quick only on one of ours.
            *("taskset", "-c", str(processors[self._number % len(processors)])),
            *(str(home / "layer/usr/bin/linux.uml"), f"mem={machine.memory_mib}M", f"initrd={home}/initramfs.gz"),
            *("con=null", "con0=null,fd:1", f"umid={self.name}", f"uml_dir={home}/uml/", "quiet", "panic=-1"),
            *(f"eth{net - 1}=tuntap,{tap},{self._mac(net)}" for net, tap in self._taps.items()),
            *(f"ubd{number}={disk}" for number, disk in enumerate(self._disks)),
            *(f"lab_{name}={value}" for name, value in said.items()),
        ]

    def _mac(self, net: int) -> str:
        return f"52:54:00:77:{net:02x}:{self._number:02x}"

    def ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until it answers. A user-mode kernel now and then stops in its first second; then it is started anew."""
        for _ in range(STARTS_MAX):
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if self._answers():
                    return
            self.power_off()
            self.start(format_disks=self._formats)
        raise GuestFailed(f"guest {self.name} does not answer:\n{self.last_lines()}")

    def _answers(self) -> bool:
        if not self.runs:
            raise GuestFailed(f"guest {self.name} has ended:\n{self.last_lines()}")
        try:
            return self.run(["true"], seconds=3).code == 0
        except OSError:
            time.sleep(0.1)
            return False

    def power_off(self) -> None:
        """At once, with all that was in its memory."""
        process, self._process = self._process, None
        if process is not None:
            # Its own session, so this group is the guest and nothing else, as long as it was not waited for.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    # ---- troubles ---------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Time stands still in it, and it does not know."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def cut(self) -> None:
        """From the share; what it is told to do still arrives."""
        run("ip", "link", "set", self._taps[SHARE], "down")

    def mend(self) -> None:
        run("ip", "link", "set", self._taps[SHARE], "up")

    # ---- commands ---------------------------------------------------------------------------------------------------

    def run(self, argv: Sequence[str], seconds: float = 60.0, env: Mapping[str, str] | None = None) -> Done:
        """OSError: the guest does not answer."""
        answer = self._ask({"argv": list(argv), "seconds": seconds, "env": dict(env or {})}, seconds + 5)
        return Done(answer["code"], answer["said"])

    def check(self, *argv: str, seconds: float = 60.0) -> str:
        done = self.run(argv, seconds)
        if done.code != 0:
            raise GuestFailed(f"on {self.name}, `{' '.join(argv)}` ended with {done.code}: {done.said.strip()}")
        return done.said

    def begin(self, argv: Sequence[str], log: str, cwd: str = "/", env: Mapping[str, str] | None = None) -> int:
        """A command that goes on by itself; its process id in the guest."""
        answer = self._ask({"argv": list(argv), "log": log, "cwd": cwd, "env": dict(env or {})}, 10)
        pid: int = answer["pid"]
        if not pid:
            raise GuestFailed(f"on {self.name}, `{' '.join(argv)}` cannot be run: {answer['said']}")
        return pid

    def _ask(self, wanted: Mapping[str, object], seconds: float) -> dict[str, Any]:
        with socket.create_connection((self.address, AGENT_PORT), timeout=3) as connection:
            connection.settimeout(seconds)
            connection.sendall(json.dumps(wanted).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
        if not line:
            raise ConnectionError(f"guest {self.name} hung up")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def last_lines(self, count: int = 25) -> str:
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-count:])
