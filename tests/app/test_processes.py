"""The life of real processes: start, several workers on one port, drain, and the end in any case."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
PATIENCE_SECONDS = 30.0

MANAGER_SECRET = "a secret of the tests, for managers"
TOKEN_SECRET = "a secret of the tests, for tokens"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


@dataclass
class Running:
    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def ask(
        self, method: str, path: str, body: bytes = b"", port: int | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE_SECONDS)
        try:
            told = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, {**TUS, **told})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "/health/ready")[0] == 200
        except OSError:
            return False

    def create(self, length: int) -> str:
        return self.ask("POST", "/files", Upload_Length=str(length))[1]["Location"]

    def begin_patch(self, path: str, length: int, data: bytes) -> socket.socket:
        """A PATCH whose body has only begun, and of which the server has read what there is."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        lines = [f"PATCH {path} HTTP/1.1", "Host: t", "Upload-Offset: 0", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in BYTES.items()]
        connection.sendall("\r\n".join([*lines, "Expect: 100-continue", "", ""]).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        connection.sendall(data)
        return connection

    def events(self) -> list[str]:
        lines = self.log.read_text().splitlines()
        return [str(json.loads(line)["event"]) for line in lines if line.startswith("{")]

    def end(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)


Serve = Callable[..., Running]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    share = tmp_path / "share"
    share.mkdir()
    return share


@pytest.fixture
def serve(tmp_path: Path, directory: Path) -> Iterator[Serve]:
    started: list[Running] = []

    def go(*, ready: bool = True, port: int = 0, **sections: str) -> Running:
        port = port or free_port()
        number = len(started)
        text = f"""
            [server]
            listen = "127.0.0.1:{port}"
            {sections.get("server", "drain_seconds = 10")}
            [volumes.main]
            path = "{directory}"
            [log]
            format = "json"
            {sections.get("more", "")}
        """
        config = tmp_path / f"{number}.toml"
        config.write_text(text)
        log = tmp_path / f"{number}.log"
        words = [sys.executable, "-m", "storage_proxy", "serve", "--config", str(config)]
        with log.open("wb") as stream:
            process = subprocess.Popen(words, stdout=stream, stderr=stream)
        running = Running(process, port, log)
        started.append(running)
        if ready:
            eventually(running.is_ready)
        return running

    yield go
    for running in started:
        running.process.kill()
        running.process.wait()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_sigterm_commits_what_an_open_body_brought_and_another_replica_goes_on(
    serve: Serve, directory: Path, loop: str
) -> None:
    first = serve(server=f'drain_seconds = 10\nevent_loop = "{loop}"')
    path = first.create(10)
    with first.begin_patch(path, 10, b"abcd") as client:
        first.process.send_signal(signal.SIGTERM)
        answer = client.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Connection: close" in answer
    assert first.end() == 0
    second = serve()
    offset = int(second.ask("HEAD", path)[1]["Upload-Offset"])
    assert offset in (0, 4)  # 0: the signal was faster than the bytes
    status, _, _ = second.ask(
        "PATCH", path, b"abcdefghij"[offset:], Upload_Offset=str(offset), Content_Type=BYTES["Content-Type"]
    )
    assert status == 204
    published = directory / path.rpartition(".")[2]
    assert published.read_bytes() == b"abcdefghij"


def test_a_process_without_work_ends_at_once(serve: Serve) -> None:
    running = serve()
    began = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 0
    assert time.monotonic() - began < 8
    assert running.events()[-1] == "stopping"


def test_a_second_signal_ends_it_whatever_is_open(serve: Serve, directory: Path) -> None:
    running = serve(server="drain_seconds = 600")
    # A mount that hangs: opening a pipe that nobody reads waits for ever.
    path = running.create(4)
    key = path.rpartition(".")[2]
    blocked = directory / ".uploads" / key[:2] / key / "info.json"
    hang(blocked)
    connection = socket.create_connection(("127.0.0.1", running.port))
    with connection:
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: t\r\nTus-Resumable: 1.0.0\r\n\r\n".encode())
        eventually(lambda: hangs(running))
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in running.events())
        assert running.process.poll() is None
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == 1


def test_the_end_comes_in_time_although_a_mount_hangs(serve: Serve, directory: Path) -> None:
    running = serve(server="drain_seconds = 2")
    path = running.create(4)
    key = path.rpartition(".")[2]
    hang(directory / ".uploads" / key[:2] / key / "info.json")
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: t\r\nTus-Resumable: 1.0.0\r\n\r\n".encode())
        eventually(lambda: hangs(running))
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == 0
    assert time.monotonic() - began < 8


def test_several_workers_serve_one_port_and_end_together(serve: Serve, directory: Path) -> None:
    manager_port = free_port()
    running = serve(
        server="drain_seconds = 5\nworkers = 2",
        more=f"""
            [manager]
            listen = "127.0.0.1:{manager_port}"
            secret = "{MANAGER_SECRET}"
            [tokens]
            secret = "{TOKEN_SECRET}"
        """,
    )
    replicas: set[str] = set()

    def both_have_answered() -> bool:
        path = running.create(2)
        assert running.ask("PATCH", path, b"ab", Upload_Offset="0", Content_Type=BYTES["Content-Type"])[0] == 204
        lines = [json.loads(line) for line in running.log.read_text().splitlines() if line.startswith("{")]
        replicas.update(line["replica"] for line in lines if line["event"] == "request")
        return len(replicas) == 2

    eventually(both_have_answered)
    body = json.dumps({"volume": "main", "vfid": "f", "relpath": "x", "size": 3}).encode()
    for _ in range(8):
        status, _, answer = running.ask(
            "POST", "/folder/file/upload", body, manager_port, X_BackendAI_Storage_Auth_Token=MANAGER_SECRET
        )
        assert status == 200, answer
    path = running.create(10)
    with running.begin_patch(path, 10, b"abcd") as client:
        running.process.send_signal(signal.SIGTERM)
        assert client.recv(10_000).startswith(b"HTTP/1.1 503")
    assert running.end() == 0
    assert "Traceback" not in running.log.read_text()
    assert not list((directory / ".uploads").rglob("*.staged"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_directory_that_is_not_there_is_said_in_a_sentence(serve: Serve, directory: Path, workers: int) -> None:
    directory.rmdir()
    running = serve(ready=False, server=f"workers = {workers}")
    assert running.end() != 0
    assert f"there is no directory {directory}; mount or create it" in running.log.read_text()


def test_a_link_in_place_of_our_directory_is_refused(serve: Serve, directory: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (directory / ".uploads").symlink_to(outside)
    running = serve(ready=False)
    assert running.end() == 1
    assert "is not a directory of this service's own" in running.log.read_text()
    assert "Traceback" not in running.log.read_text()


def test_a_port_that_is_taken_is_said_in_a_sentence(serve: Serve) -> None:
    first = serve()
    second = serve(ready=False, port=first.port)
    assert second.end() == 1
    assert f"server.listen: 127.0.0.1:{first.port} cannot be listened on" in second.log.read_text()
    assert "Traceback" not in second.log.read_text()


def test_our_directory_is_closed_to_others(serve: Serve, directory: Path) -> None:
    serve()
    assert (directory / ".uploads").stat().st_mode & 0o777 == 0o700


def hang(path: Path) -> None:
    """Let whoever opens this file wait for ever, as on a mount whose server is gone."""
    path.unlink()
    os.mkfifo(path)


def hangs(running: Running) -> bool:
    """Is one of its threads in an open that does not come back?"""
    tasks = Path(f"/proc/{running.process.pid}/task")
    return any((task / "wchan").read_text().startswith(("wait_for_partner", "fifo_open")) for task in tasks.iterdir())
