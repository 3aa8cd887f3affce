"""deploy/: what is in it fits together, says what is true, and has been run."""

import asyncio
import configparser
import math
import os
import random
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from storage_proxy.settings import load
from storage_proxy.settings.sections import Server
from tests.end_to_end import pods
from tests.end_to_end.balancer import Balancer
from tests.end_to_end.clients import MIB, Client, sha256
from tests.end_to_end.pods import Pod, manifests, one
from tests.end_to_end.replicas import ROOT, until
from tests.end_to_end.serving import MANAGER, PROGRAM, serving

DEPLOY = ROOT / "deploy"

KEY = "the-key-of-this-test-and-of-no-other"
OPERATORS_KEY = "the-managers-secret-of-this-test"
SECRETS = {"keys": KEY, "manager": OPERATORS_KEY}

# The oldest that is still kept by its makers, and the newest whose schemas the validator has.
KUBERNETES = ("1.33", "1.34")


# ---- Kubernetes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("manifest", manifests(), ids=lambda manifest: str(manifest["kind"]))
def test_each_manifest_is_one_that_kubernetes_takes(manifest: pods.Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl to make the manifests by itself")
def test_kubectl_makes_of_the_folder_what_the_pods_of_these_tests_are_made_of() -> None:
    done = subprocess.run(["kubectl", "kustomize", pods.MANIFESTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [made] = [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest["kind"] == "ConfigMap"]
    # A name from the contents, wherever it is named; it is the only thing that these tests do not make.
    name = made["metadata"]["name"]
    assert re.fullmatch(r"storage-proxy-[a-z0-9]{10}", name)
    assert done.stdout.count(name) == 2
    sent = list(yaml.safe_load_all(done.stdout.replace(name, "storage-proxy")))
    for manifest in sent:
        assert manifest["metadata"].pop("labels") == {"app.kubernetes.io/name": "storage-proxy"}
    assert sorted(sent, key=str) == sorted((_in_order(manifest) for manifest in manifests()), key=str)


def _in_order(value: Any) -> Any:
    """Keys sorted, as kustomize writes them."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(each) for each in value] if isinstance(value, list) else value


def test_a_pod_has_time_to_drain_before_it_is_killed() -> None:
    spec = one("Deployment")["spec"]["template"]["spec"]
    pause = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = tomllib.loads(one("ConfigMap")["data"]["storage-proxy.toml"])["server"]["drain_seconds"]
    assert spec["terminationGracePeriodSeconds"] >= pause + drain + 10


def test_a_rolling_update_takes_no_pod_away_before_there_is_another() -> None:
    assert one("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_everything_that_selects_pods_selects_the_deployments() -> None:
    deployment = one("Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [
        deployment["selector"]["matchLabels"],
        one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(manifest["spec"]["selector"] for manifest in manifests() if manifest["kind"] == "Service"),
        deployment["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)


@pytest.mark.parametrize(("service", "section"), [("storage-proxy", "server"), ("storage-proxy-manager", "manager")])
def test_each_service_leads_to_the_port_that_is_listened_on(service: str, section: str) -> None:
    [container] = one("Deployment")["spec"]["template"]["spec"]["containers"]
    listen = tomllib.loads(one("ConfigMap")["data"]["storage-proxy.toml"])[section]["listen"]
    [leads] = one("Service", service)["spec"]["ports"]
    [port] = [port for port in container["ports"] if port["name"] == leads["targetPort"]]
    assert listen.endswith(f":{port['containerPort']}")


def test_prometheus_finds_each_pod_by_the_name_of_the_managers_service() -> None:
    spec = one("Service", "storage-proxy-manager")["spec"]
    assert spec["clusterIP"] == "None"  # its name is the pods' addresses, not one for all
    assert spec["publishNotReadyAddresses"] is True
    # A name has no port translation: the service's port is the pods' own.
    [container] = one("Deployment")["spec"]["template"]["spec"]["containers"]
    [port] = [port for port in container["ports"] if port["name"] == "manager"]
    assert spec["ports"][0]["port"] == port["containerPort"]


@pytest.fixture
def share(tmp_path: Path) -> Path:
    share = tmp_path / "share"
    share.mkdir()
    return share


@pytest.fixture
def group(tmp_path: Path, share: Path) -> Iterator[list[Pod]]:
    if (reason := pods.why_not()) is not None:
        pytest.skip(reason)
    made = [Pod(f"pod-{number}", share, tmp_path, SECRETS) for number in range(4)]
    yield made
    for pod in made:
        pod.stop()


@pytest.mark.timeout(180)
async def test_a_rolling_update_of_the_pods_loses_no_byte(group: list[Pod], share: Path, tmp_path: Path) -> None:
    """Two pods, each replaced by a new one while uploads go on through all that are ready."""
    old, new = group[:2], group[2:]
    for pod in old:
        pod.launch()
    await asyncio.gather(*(pod.ready() for pod in old))
    serving: list[Pod] = list(old)
    files = {f"{number}.bin": random.Random(number).randbytes(3 * MIB + number) for number in range(4)}
    async with Balancer(serving) as balancer, Client(Authorization=f"Bearer {KEY}") as client:
        rolled = asyncio.Event()

        async def upload(name: str, data: bytes) -> None:
            path = await client.create(balancer.url, len(data), filename=name)
            offset, piece = 0, 64 << 10
            while offset < len(data):
                # Until the update is through, each keeps its last piece back: there is always something under way.
                if offset + piece >= len(data):
                    await rolled.wait()
                await client.patch_until_taken(balancer.url, path, offset, data[offset : offset + piece], 60.0)
                offset += piece

        uploads = [asyncio.ensure_future(upload(name, data)) for name, data in files.items()]
        for leaving, coming in zip(old, new, strict=True):
            coming.launch()
            await coming.ready()
            balancer.add(coming)
            balancer.remove(leaving)
            await leaving.replaced()
        rolled.set()
        await asyncio.gather(*uploads)
        assert {pod.name for pod in new} <= set(balancer.served)
    for name, data in files.items():
        (tmp_path / "sent").write_bytes(data)
        assert sha256(share / name) == sha256(tmp_path / "sent")


async def test_a_pod_answers_prometheus_and_operators_on_the_managers_port_only(group: list[Pod]) -> None:
    pod = group[0]
    pod.launch()
    await pod.ready()
    async with Client() as client:
        await check_managers_listener(client, pod.url, pod.manager_url)


async def check_managers_listener(client: Client, url: str, manager_url: str) -> None:
    """As it is deployed: `/metrics` and the operator's page there, and not where clients are."""
    scraped = await client.ask("GET", f"{manager_url}/metrics")
    assert (scraped.status, b'storage_proxy_volume_ready{volume="main"}' in scraped.body) == (200, True)
    assert (await client.ask("GET", f"{manager_url}/operator/")).status == 200
    asked = f"{manager_url}/operator/api/volumes"
    assert (await client.ask("GET", asked)).status == 401
    told = await client.ask("GET", asked, {"Authorization": f"Bearer {OPERATORS_KEY}"})
    assert (told.status, b'"main"' in told.body) == (200, True)
    for path in ("/metrics", "/operator/", "/operator/api/volumes"):
        assert (await client.ask("GET", url + path, {"Authorization": f"Bearer {KEY}"})).status == 404


@pytest.mark.parametrize("key", SECRETS)
async def test_a_pod_with_a_sample_secret_does_not_start(
    group: list[Pod], tmp_path: Path, share: Path, key: str
) -> None:
    sample = one("Secret")["stringData"]
    pod = Pod("careless", share, tmp_path, {**SECRETS, key: sample[key]})
    group.append(pod)
    pod.launch()

    async def refused() -> bool:
        return "make your own" in pod.last_lines()

    await until("the pod says why it does not start", refused)


# ---- compose --------------------------------------------------------------------------------------------------------


def test_the_compose_file_gives_replicas_time_to_drain_and_one_share() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    replica = compose["services"]["replica"]
    drain = float(replica["environment"]["STORAGE_PROXY_SERVER__DRAIN_SECONDS"])
    assert int(replica["stop_grace_period"].removesuffix("s")) >= drain + 10
    [mount] = replica["volumes"]
    name, _, path = mount.partition(":")
    assert name in compose["volumes"]
    assert replica["command"][-2:] == ["--data", path]
    assert replica["read_only"] is True


async def test_a_replica_of_the_compose_file_answers_operators_inside_its_network_only(
    tmp_path: Path, share: Path
) -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    replica = compose["services"]["replica"]
    told = {"STORAGE_PROXY_KEY": KEY, "OPERATOR_KEY": OPERATORS_KEY}
    variables = {
        name: re.sub(r"\$\{(\w+):\?[^}]*\}", lambda asked: told[asked[1]], text)
        for name, text in replica["environment"].items()
    }
    [port] = replica["expose"]
    assert variables[MANAGER].endswith(f":{port}")
    assert "ports" not in replica
    assert port not in (DEPLOY / "nginx.conf").read_text()
    words = [str(share) if word == "/data" else word for word in replica["command"]]
    with serving(words, tmp_path, variables) as served:
        async with Client() as client:
            await check_managers_listener(client, served.url, served.manager_url)


# ---- the sample for production --------------------------------------------------------------------------------------

PRODUCTION = ROOT / "config" / "production.toml"


async def test_the_sample_for_production_serves_clients_and_operators(tmp_path: Path, share: Path) -> None:
    """The command of the README, with what everybody has to say for himself."""
    [command] = re.findall(r"```\nstorage-proxy (.*config/production.toml)\n```", (ROOT / "README.md").read_text())
    own = {
        "STORAGE_PROXY_ACCESS__KEYS": KEY,
        "STORAGE_PROXY_MANAGER__SECRET": OPERATORS_KEY,
        "STORAGE_PROXY_VOLUMES__MAIN__PATH": str(share),
        "STORAGE_PROXY_STORAGE__RESERVE": "0",  # the machine of a test may be small
    }
    if "manager" in tomllib.loads(PRODUCTION.read_text()):
        own[MANAGER] = ""
    with serving(command.split(), tmp_path, own) as served:
        async with Client(Authorization=f"Bearer {KEY}") as client:
            path = await client.create(served.url, 5, filename="note.txt")
            assert (await client.patch(served.url, path, 0, b"hello")).status == 204
        async with Client() as client:
            await check_managers_listener(client, served.url, served.manager_url)
    assert (share / "incoming" / "note.txt").read_bytes() == b"hello"


def test_the_hooks_of_the_sample_for_production_are_settings_when_their_marks_are_removed(tmp_path: Path) -> None:
    text = PRODUCTION.read_text().replace("replace-me", "my-own")
    _, hooks, _ = re.split(r"(^# \[hooks\].*?\n)(?=\n)", text, maxsplit=1, flags=re.MULTILINE | re.DOTALL)
    plain = re.sub(r"^# ", "", hooks, flags=re.MULTILINE).replace('"..."', f'"{KEY}"')
    own = tmp_path / "production.toml"
    own.write_text(text.replace(hooks, plain))
    assert load(own, {}).hooks.url == "https://hooks.example.org/uploads"


@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker to read the file")
def test_compose_reads_its_file() -> None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("docker has no compose here")
    words = ["docker", "compose", "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet"]
    keys = {"STORAGE_PROXY_KEY": KEY, "OPERATOR_KEY": OPERATORS_KEY}
    done = subprocess.run(words, env={**os.environ, **keys}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---- systemd --------------------------------------------------------------------------------------------------------

UNIT = DEPLOY / "systemd" / "storage-proxy.service"


def unit() -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # as the documentation of configparser says
    unit.read_string(UNIT.read_text())
    return unit


def test_systemd_gives_longer_than_the_service_takes_to_drain() -> None:
    assert int(unit()["Service"]["TimeoutStopSec"]) >= math.ceil(Server().drain_seconds) + 10


def sandboxed(share: Path, installed: Path, settings: Path) -> list[str]:
    """The unit's account and sandbox, by bubblewrap. Its filters of system calls, of address families and of memory
    that is written and run are systemd's own, and are not here."""
    service = unit()["Service"]
    strict = {"ProtectSystem": "strict", "PrivateTmp": "yes", "PrivateDevices": "yes", "CapabilityBoundingSet": ""}
    assert strict.items() <= dict(service).items()
    words = ["bwrap", "--die-with-parent", "--unshare-user", "--unshare-pid", "--uid", "10002", "--gid", "10002"]
    words += ["--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    words += [word for covered in ("/tmp", "/srv", "/etc", "/opt") for word in ("--tmpfs", covered)]
    words += ["--ro-bind", str(ROOT), str(ROOT), "--bind", str(share), service["ReadWritePaths"]]
    words += ["--ro-bind", str(installed), "/opt/storage-proxy/bin/storage-proxy"]
    words += ["--ro-bind", str(settings), "/etc/storage-proxy/storage-proxy.toml", "--chdir", "/", "--"]
    return [*words, "sh", "-c", f'umask {service["UMask"]} && exec "$@"', "systemd"]


async def test_what_the_unit_starts_runs_as_its_account_in_its_sandbox(tmp_path: Path, share: Path) -> None:
    if (reason := pods.why_not()) is not None:
        pytest.skip(reason)
    (tmp_path / "storage-proxy").write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    (tmp_path / "storage-proxy").chmod(0o755)
    settings = (
        PRODUCTION.read_text().replace("replace-me-by-a-long", KEY).replace("replace-me-by-another", OPERATORS_KEY)
    )
    (tmp_path / "storage-proxy.toml").write_text(settings.replace('"10GiB"', '"0"'))
    box = sandboxed(share, tmp_path / "storage-proxy", tmp_path / "storage-proxy.toml")
    before, (program, *words) = (shlex.split(unit()["Service"][key]) for key in ("ExecStartPre", "ExecStart"))
    checked = await asyncio.to_thread(subprocess.run, [*box, *before], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "/etc/storage-proxy/storage-proxy.toml: ok\n"), checked
    with serving(words, tmp_path, {MANAGER: ""}, program=[*box, program]) as served:
        async with Client(Authorization=f"Bearer {KEY}-random-text") as client:
            path = await client.create(served.url, 5, filename="note.txt")
            assert (await client.patch(served.url, path, 0, b"hello")).status == 204
    assert (share / "incoming" / "note.txt").read_bytes() == b"hello"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze (Debian: systemd)")
def test_systemd_understands_each_line_of_the_unit(tmp_path: Path) -> None:
    # The program it starts is not installed where it says; everything else must be right.
    program = shutil.which("true")
    text = UNIT.read_text().replace("/opt/storage-proxy/bin/storage-proxy", str(program))
    (tmp_path / UNIT.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / UNIT.name)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_settings_of_the_pods_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_PROXY_ACCESS__KEYS", KEY)
    monkeypatch.setenv("STORAGE_PROXY_MANAGER__SECRET", OPERATORS_KEY)
    assert load(DEPLOY / "kubernetes" / "storage-proxy.toml", {}).server.workers > 1
