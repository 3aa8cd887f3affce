"""The servers that are measured: how each is started on a directory, and where it keeps what was uploaded.

Rules: each runs in a process group of its own on a port that was free a moment ago, is ready when it accepts a
connection, and is ended by its process id. Settings are those that a careful person would choose for speed; what
departs from a server's defaults is said in `settings`, and stands in the page of results.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench import builds
from bench.uploads import Upload

ROOT = Path(__file__).parents[1]
START_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """One contestant."""

    name: str
    program: Callable[[], Sequence[str]]
    """builds it where that is necessary, and says how it is started; `CannotBuild` where it cannot be had"""
    arguments: Callable[[Path, int], Sequence[str]]
    """from the directory to store in and a port"""
    version: str
    synced: bool = False
    """whether what it has acknowledged outlives a loss of power"""
    replicas: int = 1
    settings: str = ""
    """for people: what departs from its defaults"""
    names_files: bool = False
    """a finished file has the name that the client asked for, and not that of its URL"""

    def stored(self, data: Path, upload: Upload) -> Path:
        return data / (upload.name if self.names_files else upload.target.rstrip("/").rpartition("/")[2])


def _ours(name: str, sync: bool = True, workers: int = 1, replicas: int = 1) -> Server:
    def arguments(data: Path, port: int) -> Sequence[str]:
        config = data.parent / f"{name}-{port}.toml"
        config.write_text(
            f'[server]\nlisten = "127.0.0.1:{port}"\nworkers = {workers}\n'
            f'[volumes.main]\npath = "{data}"\n[storage]\nsync = {str(sync).lower()}\n[log]\nlevel = "warning"\n'
        )
        return ["serve", "--config", str(config)]

    said = [f"workers = {workers}"] * (workers > 1) + ["sync = false"] * (not sync)
    said += [f"{replicas} replicas on one directory"] * (replicas > 1)
    return Server(
        name, lambda: [sys.executable, "-m", "storage_proxy"], arguments, version("storage-proxy"), sync, replicas,
        ", ".join(said) or "defaults", names_files=True,
    )  # fmt: skip


def _ceiling(name: str, program: Callable[[], Sequence[str]], sync: bool, *more: str) -> Server:
    said = " and ".join(("syncs as ours does" if sync else "never syncs", *more))
    return Server(
        name, program, lambda data, port: [str(port), str(data), str(int(sync)), *more], "bench/peers", sync, 1, said
    )


def _c() -> Sequence[str]:
    return [str(builds.ceiling())]


def _python() -> Sequence[str]:
    return [sys.executable, str(builds.PEERS / "ceiling.py")]


def _tusd_arguments(data: Path, port: int) -> Sequence[str]:
    return ["-host", "127.0.0.1", "-port", str(port), "-upload-dir", str(data), "-verbose=false"]


def _rustus_arguments(data: Path, port: int) -> Sequence[str]:
    return [
        "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(data), "--info-dir", str(data.parent / "records"),
        "--max-body-size", str(2**40), "--log-level", "ERROR",
    ]  # fmt: skip


SERVERS = {
    server.name: server
    for server in (
        _ours("ours"),
        _ours("ours unsynced", sync=False),
        _ours("ours, 2 workers", workers=2),
        _ours("ours, 2 workers, unsynced", sync=False, workers=2),
        _ours("ours, 4 workers", workers=4),
        _ours("ours, 4 workers, unsynced", sync=False, workers=4),
        _ours("ours, 2 replicas", replicas=2),
        _ours("ours, 2 replicas, unsynced", sync=False, replicas=2),
        Server("tusd", lambda: [str(builds.tusd())], _tusd_arguments, builds.TUSD, settings="-verbose=false"),
        Server(
            "@tus/server", lambda: ["node", str(builds.tus_node_server())],
            lambda data, port: [str(port), str(data)], f"{builds.TUS_NODE_SERVER}, file store {builds.TUS_FILE_STORE}",
        ),
        Server(
            "rustus", lambda: [str(builds.rustus())], _rustus_arguments, builds.RUSTUS,
            settings="bodies of any size, no request log",
        ),
        _ceiling("ceiling in C", _c, True),
        _ceiling("ceiling in C, unsynced", _c, False),
        _ceiling("ceiling in Python", _python, True),
        _ceiling("ceiling in Python, unsynced", _python, False),
        _ceiling("ceiling in Python, hashing", _python, True, "hashes"),
    )
}  # fmt: skip


class Running:
    """A server that was started; its replicas share the directory."""

    def __init__(self, server: Server, data: Path) -> None:
        self._log = data.parent / "server.log"
        ports = [_free_port() for _ in range(server.replicas)]
        self.urls = [f"http://127.0.0.1:{port}/files" for port in ports]
        self._processes = [self._start([*server.program(), *server.arguments(data, port)]) for port in ports]
        try:
            for process, port in zip(self._processes, ports, strict=True):
                self._wait_for(process, port)
        except BaseException:
            self.stop()
            raise

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def _start(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STORAGE_PROXY_")}
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_for(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"it does not serve:\n{self._log.read_text(errors='replace')[-2000:]}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                # The group is its own, and has this id as long as the leader was not waited for.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
