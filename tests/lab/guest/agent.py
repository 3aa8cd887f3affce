"""Runs commands in a guest for the laboratory outside: one connection, one line of JSON each way.

Rules: this file knows nothing of the project, and imports nothing but the standard library. A command that hangs holds
up no other. {"argv", "env"?, "seconds"} is answered by {"code", "said"} when the command has ended, or with
{"code": null} when its time was up and it was killed; with a "log" the command goes on by itself: {"pid"}.
"""

import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from typing import Any


class Command(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        wanted = json.loads(self.rfile.readline())
        try:
            answer = _begin(wanted) if "log" in wanted else _run(wanted)
        except OSError as error:
            answer = {"code": 127, "said": str(error), "pid": 0}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Agent(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def _started(wanted: dict[str, Any], output: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        wanted["argv"],
        env={**os.environ, **wanted.get("env", {})},
        cwd=wanted.get("cwd", "/"),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _begin(wanted: dict[str, Any]) -> dict[str, Any]:
    with open(wanted["log"], "ab") as log:
        process = _started(wanted, log)
    threading.Thread(target=process.wait, daemon=True).start()
    return {"pid": process.pid}


def _run(wanted: dict[str, Any]) -> dict[str, Any]:
    process = _started(wanted, subprocess.PIPE)
    try:
        said, _ = process.communicate(timeout=wanted["seconds"])
    except subprocess.TimeoutExpired:
        # It may hang in the kernel, waiting for a dead server; then nobody can wait for it.
        os.killpg(process.pid, signal.SIGKILL)
        return {"code": None, "said": ""}
    return {"code": process.returncode, "said": said.decode(errors="replace")}


if __name__ == "__main__":
    Agent(("0.0.0.0", int(sys.argv[1])), Command).serve_forever()
