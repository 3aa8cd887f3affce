"""The first minutes of a new user: one command, the lines that it prints, and curl."""

import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.replicas import ROOT, STOP_SECONDS, Port, environment
from tests.end_to_end.serving import wait_until_ready

CURL, BASH = shutil.which("curl"), shutil.which("bash")
pytestmark = [
    pytest.mark.skipif(CURL is None or BASH is None, reason="curl and bash are needed; install them"),
    pytest.mark.timeout(60),
]

TUS = ("-H", "Tus-Resumable: 1.0.0")
BYTES = ("-H", "Content-Type: application/offset+octet-stream")


@dataclass(frozen=True)
class Service:
    url: str
    data: Path
    process: subprocess.Popen[bytes]
    printed: Path

    @property
    def tour(self) -> str:
        return self.printed.read_text()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """`serve --data DIR --listen HOST:PORT` in an empty directory, and nothing else."""
    port, data, printed = Port(), tmp_path / "uploads here", tmp_path / "printed.txt"
    address = f"127.0.0.1:{port.number}"
    command = [sys.executable, "-m", "storage_proxy", "serve", "--data", str(data), "--listen", address]
    with printed.open("wb") as out, (tmp_path / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment() | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until_ready(port.number, process, tmp_path / "log.txt")
        yield Service(f"http://{address}", data, process, printed)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_SECONDS)
        port.close()


def curl(*words: str, stdin: bytes = b"") -> bytes:
    assert CURL is not None
    done = subprocess.run([CURL, "-sS", "--max-time", "20", *words], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def paste(lines: str, directory: Path) -> bytes:
    """Into a shell that stops at the first failure."""
    assert BASH is not None
    done = subprocess.run([BASH, "-eu", "-c", lines], capture_output=True, check=False, timeout=30, cwd=directory)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def headers_of(answer: bytes) -> dict[str, str]:
    first, *lines = answer.decode().replace("\r", "").strip().split("\n")
    pairs = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if value}
    return {"status": first.split(" ")[1], **pairs}


def test_the_printed_lines_do_what_they_say_when_they_are_pasted(service: Service) -> None:
    pasted = "\n".join(line for line in service.tour.splitlines() if line.startswith("  "))
    assert pasted.count("curl") == 2
    assert paste(textwrap.dedent(pasted), service.data).endswith(b"hello")
    assert (service.data / "note.txt").read_bytes() == b"hello"


def test_the_shell_lines_of_the_readme_do_what_they_say_when_they_are_pasted(service: Service) -> None:
    text = (ROOT / "README.md").read_text()
    tour = text.partition("## Thirty seconds")[2].partition("\n## ")[0]
    pasted = "\n".join(re.findall(r"```sh\n(.*?)```", tour, re.DOTALL))
    assert pasted.count("curl") >= 3
    # There it is ./data on port 8080.
    (service.data.parent / "data").symlink_to(service.data)
    said = paste(pasted.replace("http://127.0.0.1:8080", service.url), service.data.parent)
    assert b"hello" in said
    assert b"upload-offset: 5" in said.lower()


def test_an_upload_by_curl_in_two_parts_is_asked_about_resumed_and_fetched(service: Service, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    half = len(data) // 2
    made = headers_of(
        curl("-D-", "-o/dev/null", "-X", "POST", f"{service.url}/files", *TUS, "-H", f"Upload-Length: {len(data)}")
    )
    assert made["status"] == "201"
    at = service.url + made["location"]
    send = ("-D-", "-X", "PATCH", at, *TUS, *BYTES, "--data-binary", "@-")
    sent = headers_of(curl(*send, "-H", "Upload-Offset: 0", stdin=data[:half]))
    assert (sent["status"], sent["upload-offset"]) == ("204", str(half))
    asked = headers_of(curl("--head", at, *TUS))
    assert (asked["status"], asked["upload-offset"], asked["upload-length"]) == ("200", str(half), str(len(data)))
    rest = headers_of(curl(*send, "-H", f"Upload-Offset: {half}", stdin=data[half:]))
    assert (rest["status"], rest["upload-offset"]) == ("204", str(len(data)))
    assert curl(at) == data
    assert curl("-r", "1000-1999", at) == data[1000:2000]
    # Without a file name in the metadata the upload's own name is the file's.
    assert [path.read_bytes() for path in service.data.iterdir() if path.is_file()] == [data]


def test_ctrl_c_ends_it_and_what_was_not_finished_goes_on_later(service: Service) -> None:
    made = headers_of(curl("-D-", "-o/dev/null", "-X", "POST", f"{service.url}/files", *TUS, "-H", "Upload-Length: 9"))
    at = service.url + made["location"]
    curl("-X", "PATCH", at, *TUS, *BYTES, "-H", "Upload-Offset: 0", "--data-binary", "half ")
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(STOP_SECONDS) == 0
    records = list(service.data.glob(".uploads/*/*/info.json"))
    assert len(records) == 1
    assert re.search(r'"phase": ?"open"', records[0].read_text())
