"""The fuse box: settings -> adapters -> store -> operations -> server (`wiring.py`), and the life of a process
(`processes.py`). Everything real is plugged in here and nowhere else."""

from storage_proxy.app.processes import run
from storage_proxy.app.wiring import SERVICE, CannotStart, build, build_manager

__all__ = ["SERVICE", "CannotStart", "build", "build_manager", "run"]
