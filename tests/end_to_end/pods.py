"""The pods of deploy/kubernetes, as far as one machine without Kubernetes can run them: what the manifests say, done.

Rules: everything comes from the manifests (arguments, environment, mounts, account, read-only root, probes, pauses),
nothing is said twice here. The container is made by bubblewrap: this machine's own file system for the image's, read
only, with the manifest's mounts in it. Only the ports are others, on loopback, because all pods share one network.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.end_to_end.replicas import ROOT, Port, until

MANIFESTS = ROOT / "deploy" / "kubernetes"

# The image's entry point, in this environment.
ENTRYPOINT = [sys.executable, "-m", "storage_proxy"]

Manifest = dict[str, Any]


def manifests() -> list[Manifest]:
    """Everything that `kubectl apply -k` would send, but for the names it makes from contents."""
    kustomization = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
    files = [MANIFESTS / name for name in kustomization["resources"]]
    found = [document for file in files for document in yaml.safe_load_all(file.read_text())]
    for generated in kustomization["configMapGenerator"]:
        data = {name: (MANIFESTS / name).read_text() for name in generated["files"]}
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generated["name"]}, "data": data})
    return found


def one(kind: str, name: str | None = None) -> Manifest:
    of_that_kind = [manifest for manifest in manifests() if manifest["kind"] == kind]
    [found] = [manifest for manifest in of_that_kind if name in (None, manifest["metadata"]["name"])]
    return found


class Pod:
    """One pod of the Deployment."""

    def __init__(self, name: str, share: Path, home: Path, secrets: Mapping[str, str]) -> None:
        """`secrets`: what the operator puts into the Secret, by its keys."""
        self.name = name
        self.spec: Manifest = one("Deployment")["spec"]["template"]["spec"]
        [self.container] = self.spec["containers"]
        self._port, self._manager_port = Port(), Port()
        self._share = share
        self._secrets = secrets
        self._settings = home / name
        self.log = home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port.number}"

    @property
    def manager_url(self) -> str:
        return f"http://127.0.0.1:{self._manager_port.number}"

    # ---- what the manifest says, as bubblewrap's words --------------------------------------------------------------

    def _command(self) -> list[str]:
        account, container = self.spec["securityContext"], self.container["securityContext"]
        assert container["readOnlyRootFilesystem"] is True
        assert container["capabilities"] == {"drop": ["ALL"]}
        words = ["bwrap", "--die-with-parent", "--unshare-user", "--unshare-pid"]
        words += ["--uid", str(account["runAsUser"]), "--gid", str(account["runAsGroup"])]
        words += ["--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
        # The image brings these mount points along; this machine's root may not have them, and cannot be written to.
        words += ["--tmpfs", "/srv", "--tmpfs", "/etc"]
        for mount in self.container["volumeMounts"]:
            words += [*self._volume(mount["name"], bool(mount.get("readOnly"))), mount["mountPath"]]
        # The code under test may lie below one of the directories that are covered above.
        words += ["--ro-bind", str(ROOT), str(ROOT), "--chdir", "/", "--clearenv"]
        for name, value in self._environment().items():
            words += ["--setenv", name, value]
        return [*words, "--", *ENTRYPOINT, *self.container["args"]]

    def _volume(self, name: str, read_only: bool) -> list[str]:
        [volume] = [volume for volume in self.spec["volumes"] if volume["name"] == name]
        match volume:
            case {"persistentVolumeClaim": {"claimName": claim}}:
                assert one("PersistentVolumeClaim")["metadata"]["name"] == claim
                return ["--bind", str(self._share)]
            case {"configMap": {"name": wanted}}:
                settings = one("ConfigMap")
                assert settings["metadata"]["name"] == wanted
                assert read_only
                self._settings.mkdir(exist_ok=True)
                for file, text in settings["data"].items():
                    (self._settings / file).write_text(text)
                return ["--ro-bind", str(self._settings)]
            case {"emptyDir": _}:
                return ["--tmpfs"]
        raise AssertionError(f"no pod of this test has a volume {volume}")

    def _environment(self) -> dict[str, str]:
        secret = one("Secret")
        said = {
            "PATH": os.environ["PATH"],
            "STORAGE_PROXY_SERVER__LISTEN": self.url.removeprefix("http://"),
            # Only another address: a pod whose settings have no such listener has none here.
            **(
                {"STORAGE_PROXY_MANAGER__LISTEN": self.manager_url.removeprefix("http://")}
                if "manager" in tomllib.loads(one("ConfigMap")["data"]["storage-proxy.toml"])
                else {}
            ),
        }
        for variable in self.container["env"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            assert secret["metadata"]["name"] == reference["name"]
            assert reference["key"] in secret["stringData"]
            said[variable["name"]] = self._secrets[reference["key"]]
        return said

    # ---- its life ---------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    async def ready(self) -> None:
        async with aiohttp.ClientSession() as session:
            await until(f"{self.name} is ready", lambda: self._probe(session, "readinessProbe"), 30.0)
            assert await self._probe(session, "livenessProbe")

    async def _probe(self, session: aiohttp.ClientSession, which: str) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended:\n{self.last_lines()}"
        probe = self.container[which]
        timeout = aiohttp.ClientTimeout(probe["timeoutSeconds"])
        try:
            async with session.get(self.url + probe["httpGet"]["path"], timeout=timeout) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def replaced(self) -> None:
        """As the kubelet does it: what is to be done first, SIGTERM, the time of grace. Not gone by then: a failure."""
        grace_seconds = self.spec["terminationGracePeriodSeconds"]
        process = self._process
        assert process is not None
        async with asyncio.timeout(grace_seconds):
            before = await asyncio.create_subprocess_exec(*self.container["lifecycle"]["preStop"]["exec"]["command"])
            assert await before.wait() == 0
            os.kill(_inside(process.pid), signal.SIGTERM)
            await asyncio.to_thread(process.wait)
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        self._port.close()
        self._manager_port.close()

    def last_lines(self, count: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:]) if self.log.exists() else ""


def _inside(bubblewrap: int) -> int:
    """The service's own process. Bubblewrap stays outside and starts the init of the container, which starts it."""
    init = _only_child(bubblewrap)
    return _only_child(init)


def _only_child(pid: int) -> int:
    [child] = (Path("/proc") / str(pid) / "task" / str(pid) / "children").read_text().split()
    return int(child)


def why_not() -> str | None:
    """Why pods cannot be run here, if they cannot."""
    if shutil.which("bwrap") is None:
        return "there is no bubblewrap (Debian: apt install bubblewrap)"
    tried = subprocess.run(
        ["bwrap", "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"],
        capture_output=True,
        text=True,
    )
    return None if tried.returncode == 0 else f"bubblewrap cannot make a container here: {tried.stderr.strip()}"
