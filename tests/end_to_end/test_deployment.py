"""deploy/: what is in it fits together, says what is true, and has been run."""

import asyncio
import configparser
import math
import random
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

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

DEPLOY = ROOT / "deploy"

KEY = "the-key-of-this-test-and-of-no-other"

# The oldest that is still kept by its makers, and the newest whose schemas the validator has.
KUBERNETES = ("1.33", "1.34")


# ---- Kubernetes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("manifest", manifests(), ids=lambda manifest: str(manifest["kind"]))
def test_each_manifest_is_one_that_kubernetes_takes(manifest: pods.Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


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
        one("Service")["spec"]["selector"],
        deployment["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)


def test_the_service_leads_to_the_port_that_is_listened_on() -> None:
    [container] = one("Deployment")["spec"]["template"]["spec"]["containers"]
    [port] = container["ports"]
    listen = tomllib.loads(one("ConfigMap")["data"]["storage-proxy.toml"])["server"]["listen"]
    assert one("Service")["spec"]["ports"][0]["targetPort"] == port["name"]
    assert listen.endswith(f":{port['containerPort']}")


@pytest.fixture
def share(tmp_path: Path) -> Path:
    share = tmp_path / "share"
    share.mkdir()
    return share


@pytest.fixture
def group(tmp_path: Path, share: Path) -> Iterator[list[Pod]]:
    if (reason := pods.why_not()) is not None:
        pytest.skip(reason)
    made = [Pod(f"pod-{number}", share, tmp_path, KEY) for number in range(4)]
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


async def test_a_pod_with_the_sample_secret_does_not_start(group: list[Pod], tmp_path: Path, share: Path) -> None:
    sample = one("Secret")["stringData"]["keys"]
    pod = Pod("careless", share, tmp_path, sample)
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


# ---- systemd --------------------------------------------------------------------------------------------------------

UNIT = DEPLOY / "systemd" / "storage-proxy.service"


def test_systemd_gives_longer_than_the_service_takes_to_drain() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # as the documentation of configparser says
    unit.read_string(UNIT.read_text())
    assert int(unit["Service"]["TimeoutStopSec"]) >= math.ceil(Server().drain_seconds) + 10


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
    assert load(DEPLOY / "kubernetes" / "storage-proxy.toml", {}).server.workers > 1
