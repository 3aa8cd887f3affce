"""Metrics, dashboard and alerts with a real Prometheus that scrapes real replicas, one of them with several workers."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from storage_proxy.adapters.metrics import Metrics
from tests.end_to_end.clients import BYTES, MIB, TUS, Client
from tests.end_to_end.processes import children
from tests.end_to_end.replicas import ROOT, Port, Replica, Replicas, until

ALERTS = ROOT / "deploy" / "prometheus-alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"

# What Grafana puts there.
VARIABLES = {"$__rate_interval": "20s", "$job": ".+", "$volume": ".+"}

ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}

MISSING = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not on the path: {', '.join(MISSING)}; install them (on Debian: apt install prometheus)"
)

CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{alerts}"]
scrape_configs:
  - job_name: storage-proxy
    static_configs: [{{targets: [{targets}]}}]
"""


def panels() -> list[tuple[str, str]]:
    """Title and query of everything on the dashboard."""
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for variable, value in VARIABLES.items():
                query = query.replace(variable, value)
            assert "$" not in query, query
            found.append((panel["title"], query))
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


class Prometheus:
    def __init__(self, home: Path, replicas: list[Replica]) -> None:
        self._port = Port()
        self.url = f"http://127.0.0.1:{self._port.number}"
        targets = ", ".join(f'"127.0.0.1:{replica.manager_port}"' for replica in replicas)
        config = home / "prometheus.yaml"
        config.write_text(CONFIG.format(alerts=ALERTS, targets=targets))
        self.log = home / "prometheus.log"
        words = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={home / 'tsdb'}"]
        words += [f"--web.listen-address=127.0.0.1:{self._port.number}"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._session = aiohttp.ClientSession()

    async def ask(self, path: str, **parameters: str) -> Any:
        assert self._process.poll() is None, self.log.read_text()
        async with self._session.get(f"{self.url}/api/v1/{path}", params=parameters) as answer:
            told = await answer.json()
            assert told["status"] == "success", told
            return told["data"]

    async def query(self, query: str) -> list[float]:
        return [float(series["value"][1]) for series in (await self.ask("query", query=query))["result"]]

    async def value(self, query: str) -> float | None:
        found = await self.query(query)
        return found[0] if found else None

    async def is_there(self) -> bool:
        try:
            return bool(await self.ask("targets"))
        except aiohttp.ClientError:
            return False

    async def stop(self) -> None:
        await self._session.close()
        self._process.terminate()
        self._process.wait(20)
        self._port.close()


@pytest.fixture
async def prometheus(replicas: Replicas, tmp_path: Path) -> AsyncIterator[Prometheus]:
    started = [*await replicas.start(1, workers=2), *await replicas.start(1)]
    prometheus = Prometheus(tmp_path, started)
    try:
        await until("Prometheus answers", prometheus.is_there)
        yield prometheus
    finally:
        await prometheus.stop()


async def upload(client: Client, url: str, name: str, content: bytes) -> None:
    path = await client.create(url, len(content), filename=name)
    half = len(content) // 2
    for offset, piece in ((0, content[:half]), (half, content[half:])):
        answer = await client.ask("PATCH", url + path, {**TUS, **BYTES, "Upload-Offset": str(offset)}, piece)
        assert answer.status == 204, answer
    assert (await client.ask("HEAD", url + path, TUS)).status == 200


async def test_every_query_of_the_dashboard_and_each_alert_finds_something_in_a_real_scrape(
    replicas: Replicas, prometheus: Prometheus, client: Client
) -> None:
    count = 0
    size = MIB // 4

    async def work_until_all_is_scraped() -> bool:
        nonlocal count
        for replica in replicas.all:
            await upload(client, replica.url, f"file-{count}", os.urandom(size))
            count += 1
        return await prometheus.value("min(count_over_time(storage_proxy_uploads_found[1m]))") not in (None, 1.0)

    await until("several scrapes of both replicas", work_until_all_is_scraped)

    expected = {
        "sum(storage_proxy_received_bytes_total)": count * size,
        "sum(storage_proxy_committed_bytes_total)": count * size,
        "sum(storage_proxy_published_bytes_total)": count * size,
        'sum(storage_proxy_uploads_total{event="published"})': count,
        'sum(storage_proxy_requests_total{method="HEAD", route="/files/{upload}", status="200"})': count,
    }

    async def everything_is_counted() -> bool:
        return {query: await prometheus.value(query) for query in expected} == expected

    await until("every byte of every worker is counted once", everything_is_counted)
    assert await prometheus.query("storage_proxy_volume_ready") == [1.0, 1.0]

    silent = [(title, query) for title, query in panels() if not await prometheus.query(query)]
    assert silent == []
    groups = (await prometheus.ask("rules"))["groups"]
    health = {rule["name"]: (rule["health"], rule.get("lastError")) for group in groups for rule in group["rules"]}
    assert health == {rule["alert"]: ("ok", None) for rule in rules()}
    firing = (await prometheus.ask("alerts"))["alerts"]
    assert [alert["labels"]["alertname"] for alert in firing if alert["state"] == "firing"] == []


async def test_whatever_an_alert_looks_for_is_there_before_anything_has_happened(prometheus: Prometheus) -> None:
    async def surveyed() -> bool:
        return len(await prometheus.query('storage_proxy_uploads_found{phase="closed"}')) == 2

    await until("both replicas have been scraped, after a round of their janitors", surveyed)
    watched = [selector for rule in rules() for selector in selectors(rule["expr"])]
    assert [selector for selector in watched if not await prometheus.query(selector)] == []


async def test_no_counter_falls_when_a_worker_is_killed_and_started_anew(
    replicas: Replicas, prometheus: Prometheus, client: Client
) -> None:
    (replica, _) = replicas.all
    instance = f'instance="127.0.0.1:{replica.manager_port}"'
    created = f'sum(storage_proxy_uploads_total{{{instance}, event="created"}})'
    for number in range(20):
        await client.create(replica.url, 5, filename=f"{number}")

    async def all_are_told(of: int) -> bool:
        return await prometheus.value(created) == of

    await until("all uploads are scraped", lambda: all_are_told(20))
    for _ in range(2):
        before = children(replica.pid)
        os.kill(min(before), signal.SIGKILL)

        async def replaced(before: set[int] = before) -> bool:
            return len(children(replica.pid) - before) == 1

        await until("there is a new worker", replaced)
    await replica.ready()
    for number in range(10):
        await client.create(replica.url, 5, filename=f"later-{number}")
    await until("all uploads are scraped", lambda: all_are_told(30))
    assert await prometheus.value(f'sum(resets(storage_proxy_uploads_total{{{instance}, event="created"}}[5m]))') == 0
    assert await prometheus.value(f"storage_proxy_appends_in_flight{{{instance}}}") == 0


async def test_promtool_has_nothing_against_the_scrape(replicas: Replicas, client: Client) -> None:
    (replica,) = await replicas.start(1, workers=2)
    await upload(client, replica.url, "file", b"content")
    text = (await client.ask("GET", f"http://127.0.0.1:{replica.manager_port}/metrics")).body
    found = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (found.returncode, found.stderr + found.stdout) == (0, b"")


def selectors(query: str) -> list[str]:
    """Each metric with each value that a rule wants of a label, by itself: one that is misspelt finds nothing."""
    found = []
    for metric, matchers in re.findall(r"\b(up\b|storage_proxy_\w+)(?:\{(.*?)\})?", query):
        wanted = re.findall(r'(\w+)(=~?)"(.*?)"', matchers)
        assert len(wanted) == len(re.findall(r'"', matchers)) / 2, f"cannot be read: {matchers}"
        for label, how, values in wanted:
            found += [
                f'{metric}{{{label}{how}"{value}"}}' for value in (values.split("|") if how == "=~" else [values])
            ]
        found += [] if wanted else [metric]
    return found


def named(query: str) -> set[str]:
    return set(re.findall(r"storage_proxy_\w+", query))


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Every name of a series that a scrape can have."""
    of = vars(metrics := Metrics(["main"]))
    names = set()
    for metric in (*of.values(), *metrics._per_volume.values()):
        if isinstance(metric, MetricWrapperBase):
            endings = ENDINGS.get(str(metric._type), ("",))
            names |= {f"{metric._name}{ending}" for ending in endings}
    return names


def test_dashboard_and_alerts_name_only_metrics_that_exist(known: set[str]) -> None:
    queries = [query for _, query in panels()] + [rule["expr"] for rule in rules()]
    assert set().union(*map(named, queries)) <= known


def test_every_metric_is_on_the_dashboard(known: set[str]) -> None:
    shown = set().union(*(named(query) for _, query in panels()))
    short = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in known} <= short


# Series that make each alert fire within two hours, a value a minute; `a+bxn`: from a, by b each time, n times.
FIRING = {
    "StorageProxyDown": {'up{job="storage-proxy", instance="a"}': "0x120"},
    "StorageProxyVolumeNotReady": {'storage_proxy_volume_ready{volume="main"}': "0x120"},
    "StorageProxyCallsHung": {'storage_proxy_share_calls_hung{volume="main", call="sync"}': "2x120"},
    "StorageProxyDataWrong": {'storage_proxy_faults_total{fault="promised-bytes-missing"}': "0x110 1x10"},
    "StorageProxyIncident": {'storage_proxy_faults_total{fault="incident"}': "0x110 1x10"},
    "StorageProxyShareFaults": {'storage_proxy_faults_total{fault="share-full"}': "0+60x120"},
    "StorageProxyUploadFailed": {'storage_proxy_uploads_total{event="failed", volume="main"}': "0x110 1x10"},
    "StorageProxySpaceOwed": {
        'storage_proxy_volume_owed_bytes{volume="main", instance="a"}': "10x120",
        'storage_proxy_volume_free_bytes{volume="main", instance="b"}': "9x120",
    },
    "StorageProxySpaceLow": {
        'storage_proxy_volume_free_bytes{volume="main"}': "4x120",
        'storage_proxy_volume_size_bytes{volume="main"}': "100x120",
    },
    "StorageProxyAssemblyBehind": {'storage_proxy_oldest_closed_seconds{volume="main"}': "0+60x120"},
    "StorageProxyNoticesDelayed": {
        'storage_proxy_notices_total{volume="main", outcome="delayed", instance="a"}': "0+1x120",
        'storage_proxy_notices_total{volume="main", outcome="delivered", instance="a"}': "5x120",
    },
    "StorageProxyNoticesDropped": {'storage_proxy_notices_total{volume="main", outcome="dropped"}': "0x110 1x10"},
    "StorageProxyJanitorStopped": {'storage_proxy_survey_timestamp_seconds{volume="main"}': "0x120"},
    "StorageProxyCommitsSlow": {
        'storage_proxy_commit_seconds_bucket{volume="main", le="10.0"}': "0x120",
        'storage_proxy_commit_seconds_bucket{volume="main", le="30.0"}': "0+60x120",
        'storage_proxy_commit_seconds_bucket{volume="main", le="+Inf"}': "0+60x120",
    },
    "StorageProxyLocksNotGot": {
        'storage_proxy_share_call_failures_total{volume="main", call="lock", failure="lock-timeout"}': "0+6x120"
    },
}


Judge = Callable[[dict[str, str], str], bool]


@pytest.fixture
def judged(tmp_path: Path) -> Judge:
    def judge(series: dict[str, str], alert: str) -> bool:
        """Whether it fires, by promtool, after two hours of these series."""
        file = tmp_path / "test.yaml"
        inputs = [{"series": name, "values": values} for name, values in series.items()]
        asked = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
        expected = {"expr": asked, "eval_time": "119m", "exp_samples": [{"labels": "{}", "value": 1}]}
        test = {"interval": "1m", "input_series": inputs, "promql_expr_test": [expected]}
        file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}))
        done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "got: nil" in done.stdout + done.stderr, done
        return done.returncode == 0

    return judge


# What looks like trouble and is none.
QUIET = {
    # A busy service has always some, and never the same.
    "StorageProxyAssemblyBehind": {
        'storage_proxy_uploads_found{volume="main", phase="closed"}': "3x120",
        'storage_proxy_oldest_closed_seconds{volume="main"}': "20x120",
    },
    # One that fails now and then among many that arrive.
    "StorageProxyNoticesDelayed": {
        'storage_proxy_notices_total{volume="main", outcome="delayed"}': "0+1x120",
        'storage_proxy_notices_total{volume="main", outcome="delivered"}': "0+5x120",
    },
}


@pytest.mark.parametrize("alert", QUIET)
def test_an_alert_is_quiet_while_all_goes_well(judged: Judge, alert: str) -> None:
    assert not judged(QUIET[alert], alert)


@pytest.mark.parametrize("alert", [rule["alert"] for rule in rules()])
def test_each_alert_fires_on_its_trouble_and_on_no_other(judged: Judge, alert: str) -> None:
    assert judged(FIRING[alert], alert)
    others = {name: values for other, series in FIRING.items() if other != alert for name, values in series.items()}
    assert not judged(others, alert)
