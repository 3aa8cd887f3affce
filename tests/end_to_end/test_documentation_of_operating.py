"""The commands and settings that the pages for operators show, run on a directory that a replica has used."""

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from storage_proxy.adapters.doctor import mount_options
from storage_proxy.adapters.mounts import Mount
from tests.end_to_end.clients import Client
from tests.end_to_end.pods import one
from tests.end_to_end.replicas import ROOT, Replicas, environment
from tests.end_to_end.test_documentation import examples
from tests.examples import block

DOCS = ROOT / "docs"
COMMAND = (sys.executable, "-m", "storage_proxy")


def shown(page: str, first: str) -> list[str]:
    return block(DOCS / page, first).lines


def run(line: str, cwd: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """A line as it is typed: what stands behind two spaces or a # explains it."""
    name, *words = shlex.split(re.split(r"\s{2,}", line.strip())[0], comments=True)
    assert name == "storage-proxy"
    return subprocess.run(
        [*COMMAND, *words, *more],
        cwd=cwd,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
async def used(replicas: Replicas, client: Client) -> tuple[str, str]:
    """The ids of an upload that failed, and of one that is open and three days old."""
    [replica] = await replicas.start(1)
    failed = await client.create(replica.url, 5, filename="a.txt", sha256="0" * 64)
    assert (await client.patch(replica.url, failed, 0, b"hello")).status == 422
    old = await client.create(replica.url, 5, filename="b.txt")
    assert (await client.patch(replica.url, old, 0, b"he")).status == 204
    replica.kill()
    ids = [path.rpartition("/")[2] for path in (failed, old)]
    [record] = replicas.data.glob(f".uploads/*/{ids[1].rpartition('.')[2]}/info.json")
    told = json.loads(record.read_text())
    record.write_text(json.dumps({**told, "changed_at": told["changed_at"] - 3 * 86400}))
    (replicas.home / "production.toml").write_text(f'[volumes.main]\npath = "{replicas.data}"\n')
    return ids[0], ids[1]


async def test_the_commands_for_uploads_find_the_one_that_is_looked_for(
    used: tuple[str, str], replicas: Replicas
) -> None:
    failed, old = used
    lines = shown("operating.md", "storage-proxy uploads list")
    assert len(lines) == 3
    lines[2] = re.sub(r"main\.[0-9a-f]{32}", failed, lines[2])
    said = [run(line.replace("/etc/storage-proxy.toml", "production.toml"), replicas.home) for line in lines]
    assert [(done.returncode, done.stderr) for done in said] == [(0, "")] * 3
    assert [failed in done.stdout for done in said] == [True, False, True]
    assert [old in done.stdout for done in said] == [False, True, False]


async def test_verify_and_repair_run_as_the_page_on_trouble_has_them(used: tuple[str, str], replicas: Replicas) -> None:
    short = used[0].partition(".")[2][:8]
    verify, repair = shown("troubleshooting.md", "storage-proxy verify")
    for line in (verify, repair):
        done = run(line, replicas.home)
        assert (done.returncode, f"decide  {short}" in done.stdout, done.stderr) == (1, True, ""), done


def test_the_usage_of_verify_and_repair_is_that_of_the_commands(tmp_path: Path) -> None:
    for line in shown("doctor.md", "storage-proxy verify"):
        told = run(" ".join(line.split()[:2]), tmp_path, "--help").stdout
        assert set(re.findall(r"--[a-z]+", line)) == set(re.findall(r"--[a-z]+", told)) - {"--help"}


# ---- the doctor -----------------------------------------------------------------------------------------------------


def test_the_doctor_looks_at_a_directory_and_at_the_volumes_of_a_configuration(tmp_path: Path) -> None:
    one_machine, configuration, _ = shown("doctor.md", "storage-proxy doctor")
    share = tmp_path / "share"
    share.mkdir()
    (tmp_path / "production.toml").write_text(f'[volumes.main]\npath = "{share}"\n')
    for line in (one_machine.replace("/mnt/share", str(share)), configuration):
        done = run(line, tmp_path, "--quick")
        # What this machine's temporary directory lies on (a tmpfs?) is not what is tried here.
        assert done.returncode in (0, 1), done
        assert re.search(r"^  kept +4  There is one history", done.stdout, re.MULTILINE), done
    assert list(share.iterdir()) == []


async def test_two_doctors_find_each_other_in_the_share(tmp_path: Path) -> None:
    *_, line = shown("doctor.md", "storage-proxy doctor")
    both = [asyncio.to_thread(run, line.replace("/mnt/share", str(tmp_path)), ROOT, "--quick") for _ in range(2)]
    for done in await asyncio.gather(*both):
        assert done.returncode in (0, 1), done
        assert re.search(r"^  (good|note) +partner ", done.stdout, re.MULTILINE), done


def test_what_the_doctor_is_shown_to_print_is_what_it_can_print() -> None:
    """The runs on the page were those of a laboratory; names and grades are those of the code still."""
    code = "".join(path.read_text() for path in (ROOT / "storage_proxy/adapters/doctor").glob("*.py"))
    printed = [*shown("doctor.md", "good  mount"), *shown("doctor.md", "fenced  locks")]
    rows = [found for line in printed if (found := re.match(r"  (good|note|fenced|bad) +(\S+(?: \S+)*?)  ", line))]
    assert len(rows) == 9
    for row in rows:
        assert f'"{row[2]}"' in code, row[2]


# ---- where the share comes from, where the metrics go ---------------------------------------------------------------


def test_the_line_of_fstab_is_one_that_the_doctor_has_nothing_against() -> None:
    _, line = shown("nfs.md", "# /etc/fstab")
    source, point, kind, text, dump, check = line.split()
    assert (kind, dump, check) == ("nfs", "0", "0")
    words = [word for word in text.split(",") if word != "_netdev"]  # systemd's, not the mount's
    assert words == one("PersistentVolume")["spec"]["mountOptions"]
    options = {name: value for name, _, value in (word.partition("=") for word in words)}
    found = mount_options.judge(Mount(point, "nfs4", source, options))
    assert {finding.grade.value for finding in found} == {"good"}, found


def test_the_line_of_exports_syncs() -> None:
    _, line = shown("nfs.md", "# /etc/exports")
    path, clients = line.split()
    assert path == "/srv/storage"
    options = re.fullmatch(r"[\d.]+/\d+\((.*)\)", clients)
    assert options is not None
    assert {"rw", "sync"} <= set(options[1].split(","))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool (Debian: prometheus)")
def test_prometheus_takes_the_lines_by_which_it_finds_the_replicas(tmp_path: Path) -> None:
    [example] = examples("operating.md", "yaml")
    config = tmp_path / "prometheus.yaml"
    config.write_text(example)
    done = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    [job] = yaml.safe_load(example)["scrape_configs"]
    [dns] = job["dns_sd_configs"]
    service = one("Service", "storage-proxy-manager")
    assert dns["names"] == [f"{service['metadata']['name']}.default.svc.cluster.local"]
    assert dns["port"] == service["spec"]["ports"][0]["port"]
    listen = tomllib.loads(one("ConfigMap")["data"]["storage-proxy.toml"])["manager"]["listen"]
    assert listen.endswith(f":{dns['port']}")
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    assert compose["services"]["replica"]["expose"] == [str(dns["port"])]
