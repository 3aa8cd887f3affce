"""On what was measured: the machine, the versions, the day and the command."""

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.servers import ROOT


def about(home: Path, command: str) -> dict[str, Any]:
    return {
        "about": {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "command": command,
            "commit": _said("git", "describe", "--always", "--dirty", "--exclude", "*"),
            "processor": f"{os.cpu_count()} x {_processor()}",
            "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
            "kernel": f"{platform.system()} {platform.release()}",
            "disk": _file_system(home),
            "python": platform.python_version(),
            "go": _said("go", "version").removeprefix("go version "),
            "node": _said("node", "--version"),
            "rust": _said("rustc", "--version"),
        }
    }


def _processor() -> str:
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    return " ".join(
        [facts.get("vendor_id", ""), "model", facts.get("model name", facts.get("model", "unknown"))]
    ).strip()


def _file_system(home: Path) -> str:
    return _said("stat", "--file-system", "--format=%T", str(home)) or sys.platform


def _said(*command: str) -> str:
    """Nothing, where the program is not there or does not know."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""
