"""`python -m tests.lab [pytest's arguments]`: the proofs on a real share, in one command.

Rules: everything runs in a network and a process namespace of its own. When this program ends, however it ends, the
kernel ends every guest with it, and the bridges are gone with the namespace: there is nothing to tidy up. What the
machine cannot do is said in one sentence, and is no failure (exit status 0), unless LAB=required.
"""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tests.lab.packages import CannotRun, home, prepare, tool

ROOT = Path(__file__).parents[2]
INSIDE = "LAB_INSIDE"
SECONDS_MAX = int(os.environ.get("LAB_SECONDS", "1800"))


def main(arguments: Sequence[str]) -> int:
    if os.environ.get(INSIDE):
        return _prove(arguments)
    try:
        _require_a_fit_machine()
        _claim(home())
        prepare()
    except CannotRun as reason:
        print(f"The laboratory cannot run here: {reason}")
        return 1 if os.environ.get("LAB") == "required" else 0
    _go_inside(arguments)


def _require_a_fit_machine() -> None:
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise CannotRun("it needs Linux on x86_64, for which Debian has user-mode kernels")
    if os.geteuid() != 0:
        raise CannotRun("it needs root, to make a network for its guests")
    if not os.path.exists("/dev/net/tun"):
        raise CannotRun("there is no /dev/net/tun, by which its guests would reach each other")
    for name in ("unshare", "taskset", "dpkg", "apt-get"):
        tool(name)
    done = subprocess.run([*_namespaces(), "true"], capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotRun(f"it may not make namespaces: {done.stderr.strip()}")


def _claim(at: Path) -> None:
    """One laboratory at a time has these disks; the claim is inherited, and ends with the last process inside."""
    at.mkdir(parents=True, exist_ok=True)
    claim = os.open(at / "claim", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CannotRun(f"another laboratory is at work in {at}; set LAB_HOME to another directory") from None
    os.set_inheritable(claim, True)


def _namespaces() -> list[str]:
    return [*tool("unshare")[0], "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _go_inside(arguments: Sequence[str]) -> NoReturn:
    os.environ[INSIDE] = "1"
    command = [*_namespaces(), sys.executable, "-m", "tests.lab", *arguments]
    os.chdir(ROOT)
    os.execv(command[0], command)  # noqa: S606 - on purpose: this program goes on, inside


def _prove(arguments: Sequence[str]) -> int:
    """As the namespace's first process: start the tests, bury every orphan, end all with the tests' end."""
    named = any(argument.startswith("tests/") for argument in arguments)
    wanted = arguments if named else ["tests/lab", *arguments]
    tests = subprocess.Popen([sys.executable, "-m", "pytest", "-rs", "--timeout=600", *wanted])
    signal.signal(signal.SIGTERM, lambda *_: tests.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: _out_of_time(tests))
    signal.alarm(SECONDS_MAX)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == tests.pid:
            return os.waitstatus_to_exitcode(status)


def _out_of_time(tests: "subprocess.Popen[bytes]") -> None:
    print(f"The laboratory was not done after {SECONDS_MAX} s (LAB_SECONDS).", flush=True)
    tests.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
