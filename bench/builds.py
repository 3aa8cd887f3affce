"""Getting the peers: each built or installed once, in one exact version, into a directory that git ignores.

Rules: what cannot be had is `CannotBuild` with the reason in a sentence; the benchmark names it and goes on without.
A build is used again when its version stands in the name of its directory and what it makes is there.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".bench"
PEERS = Path(__file__).parent / "peers"
BUILD_SECONDS = 1800

TUSD = "2.10.0"
TUS_NODE_SERVER = "2.4.5"
TUS_FILE_STORE = "2.1.1"
RUSTUS = "0.5.10"


class CannotBuild(Exception):
    """A sentence with the reason."""


def tusd() -> Path:
    home = HOME / f"tusd-{TUSD}"
    made = home / "tusd"
    if not made.exists():
        home.mkdir(parents=True, exist_ok=True)
        # A module of its own that wants the program, so that Go's own check of what it downloads is in force.
        (home / "go.mod").write_text(f"module bench\n\ngo 1.25.8\n\nrequire github.com/tus/tusd/v2 v{TUSD}\n")
        (home / "tools.go").write_text(
            '//go:build tools\n\npackage bench\n\nimport _ "github.com/tus/tusd/v2/cmd/tusd"\n'
        )
        _build(home, "go", "build", "-mod=mod", "-o", made.name, "github.com/tus/tusd/v2/cmd/tusd")
    return made


def tus_node_server() -> Path:
    home = HOME / f"tus-node-server-{TUS_NODE_SERVER}"
    made = home / "tus_node_server.mjs"
    if not made.exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text('{"private": true}\n')
        _build(home, "npm", "install", "--save-exact", "--no-audit", "--no-fund",
               f"@tus/server@{TUS_NODE_SERVER}", f"@tus/file-store@{TUS_FILE_STORE}")  # fmt: skip
        # Beside the modules that it imports.
        shutil.copy(PEERS / made.name, made)
    return made


def rustus() -> Path:
    home = HOME / f"rustus-{RUSTUS}"
    made = home / "bin" / "rustus"
    if not made.exists():
        home.mkdir(parents=True, exist_ok=True)
        try:
            _build(home, "cargo", "install", "rustus", "--version", RUSTUS, "--locked", "--root", str(home),
                   "--target-dir", str(home / "target"))  # fmt: skip
        finally:
            shutil.rmtree(home / "target", ignore_errors=True)
    return made


def ceiling() -> Path:
    source, made = PEERS / "ceiling.c", HOME / "ceiling"
    if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
        HOME.mkdir(exist_ok=True)
        _build(HOME, "cc", "-O2", "-pthread", "-o", made.name, str(source))
    return made


def _build(home: Path, program: str, *arguments: str) -> None:
    if shutil.which(program) is None:
        raise CannotBuild(f"there is no {program}")
    print(f"building {home.name} with {program} (once; this may take minutes)", flush=True)
    log = home / "build.log"
    with log.open("wb") as output:
        done = _run([program, *arguments], home, output.fileno())
    if done != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise CannotBuild(f"{program} ended with {done}: {last[0][:200]}")


def _run(command: Sequence[str], home: Path, output: int) -> int:
    # Gently: whoever is at work on the machine meanwhile should not notice.
    gentle = ["nice", "-n", "10", *command] if shutil.which("nice") else list(command)
    environment = {**os.environ, "CARGO_TERM_COLOR": "never"}
    try:
        return subprocess.run(
            gentle, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            timeout=BUILD_SECONDS, check=False,
        ).returncode  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CannotBuild(f"{command[0]} was not done after {BUILD_SECONDS} s") from None
