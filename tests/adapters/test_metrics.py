import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from storage_proxy.adapters.counting import forget_worker
from storage_proxy.adapters.metrics import Metrics, label_of
from storage_proxy.core import events
from storage_proxy.core.events import Fact
from storage_proxy.core.manifest import UploadId
from storage_proxy.server.problems import PROBLEMS
from storage_proxy.testing.replicas import Replica
from storage_proxy.testing.share import SimulatedShare

UPLOAD = UploadId("main", "0" * 32)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name.removeprefix("storage_proxy_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Told:
    """What the metrics say, after some facts."""

    def __init__(self) -> None:
        self.metrics = Metrics(["main"])

    def hear(self, *facts: Fact) -> "Told":
        for fact in facts:
            self.metrics.hear(fact)
        return self

    def text(self) -> str:
        self.metrics._pending.hand_over()
        return self.metrics._exposition().decode()

    def __call__(self, name: str, **labels: str) -> float | None:
        return samples(self.text()).get((name, frozenset(labels.items())))


@pytest.fixture
def told() -> Told:
    return Told()


def test_requests_are_told_by_the_template_of_their_route(told: Told) -> None:
    fact = events.RequestAnswered("/files/{upload}", "PATCH", 204, 0.02)
    told.hear(fact, fact, events.RequestAnswered("", "BREW", 404, 0.01))
    assert told("requests_total", route="/files/{upload}", method="PATCH", status="204") == 2
    assert told("requests_total", route="", method="other", status="404") == 1
    assert told("request_seconds_count", route="/files/{upload}", method="PATCH") == 2
    assert told("request_seconds_bucket", route="/files/{upload}", method="PATCH", le="0.025") == 2
    assert told("request_seconds_bucket", route="/files/{upload}", method="PATCH", le="0.01") == 0


def test_a_fault_is_told_by_its_class_and_a_clients_mistake_is_none(told: Told) -> None:
    told.hear(
        events.RequestAnswered("/files", "POST", 507, 0.1, "ShareFull"),
        events.RequestAnswered("/files", "POST", 400, 0.1, "HeaderMissing"),
        events.RequestAnswered("/files", "POST", 500, 0.1, "Incident"),
        events.CarryOnFailed(UPLOAD, "…", "PromisedBytesMissing"),
    )
    assert told("faults_total", fault="share-full", where="request") == 1
    assert told("faults_total", fault="incident", where="request") == 1
    assert told("faults_total", fault="promised-bytes-missing", where="background") == 1
    assert told("faults_total", fault="share-stalled", where="request") == 0
    assert told("faults_total", fault="header-missing", where="request") is None


def test_errors_are_spelled_as_clients_hear_them() -> None:
    assert {label_of(leaf.__name__) for leaf in PROBLEMS} == {row.slug for row in PROBLEMS.values()}


@pytest.mark.parametrize(
    ("fact", "name", "labels", "value"),
    [
        (events.UploadCreated(UPLOAD, 5, "a"), "uploads_total", {"event": "created"}, 1),
        (events.UploadClosed(UPLOAD, 5), "uploads_total", {"event": "closed"}, 1),
        (events.PublishRefused(UPLOAD, "taken"), "uploads_total", {"event": "failed"}, 1),
        (events.UploadTerminated(UPLOAD, 5), "uploads_total", {"event": "terminated"}, 1),
        (events.UploadExpired(UPLOAD, 5), "uploads_total", {"event": "expired"}, 1),
        (events.UploadReaped(UPLOAD), "uploads_total", {"event": "reaped"}, 1),
        (events.UploadPublished(UPLOAD, "a", 7, 0.5), "uploads_total", {"event": "published"}, 1),
        (events.UploadPublished(UPLOAD, "a", 7, 0.5), "published_bytes_total", {}, 7),
        (events.UploadPublished(UPLOAD, "a", 7, 0.5), "publish_seconds_sum", {}, 0.5),
        (events.ChunkCommitted(UPLOAD, 0, 9, 9, True, fresh=4, seconds=0.25), "committed_bytes_total", {}, 4),
        (events.ChunkCommitted(UPLOAD, 0, 9, 9, True, fresh=4, seconds=0.25), "commit_seconds_sum", {}, 0.25),
        (events.ChunkDiscarded(UPLOAD, 0, 9, "…"), "discarded_bytes_total", {}, 9),
        (events.AssemblyAdvanced(UPLOAD, 9, 6), "folded_bytes_total", {}, 6),
        (events.AppendEnded(UPLOAD, 0, 9, 1.0), "appends_total", {"ending": "complete"}, 1),
        (
            events.AppendEnded(UPLOAD, 0, 9, 1.0, "AppendSuperseded"),
            "appends_total",
            {"ending": "append-superseded"},
            1,
        ),
        (events.FenceContended(UPLOAD, 2, 1), "fence_conflicts_total", {}, 2),
        (events.FenceContended(UPLOAD, 2, 1), "fence_helps_total", {}, 1),
        (events.LeftoversSwept(UPLOAD, ("a", "b")), "swept_files_total", {}, 2),
        (events.VolumeSurveyed("main", (("open", 3),), 70, 8, 1.5), "uploads_found", {"phase": "open"}, 3),
        (events.VolumeSurveyed("main", (("open", 3),), 70, 8, 1.5), "uploads_found", {"phase": "closed"}, 0),
        (events.VolumeSurveyed("main", (), 70, 8, 1.5), "volume_owed_bytes", {}, 70),
        (events.VolumeSurveyed("main", (), 70, 8, 1.5), "unassembled_bytes", {}, 8),
        (events.VolumeSurveyed("main", (), 70, 8, 1.5), "survey_seconds", {}, 1.5),
        (events.VolumeSurveyed("main", (), 70, 8, 1.5), "oldest_closed_seconds", {}, 0),
        (events.VolumeSurveyed("main", (), 70, 8, 1.5, 90.0), "oldest_closed_seconds", {}, 90),
        (events.NoticeDelivered(UPLOAD, 1, "post-finish"), "notices_total", {"outcome": "delivered"}, 1),
        (events.NoticeDelayed(UPLOAD, 1, "post-finish", "…"), "notices_total", {"outcome": "delayed"}, 1),
        (events.NoticeDropped(UPLOAD, 1, "post-finish", "…"), "notices_total", {"outcome": "dropped"}, 1),
        (events.VolumeProbed("main", None, 50, 90), "volume_ready", {}, 1),
        (events.VolumeProbed("main", "it hangs", None, None), "volume_ready", {}, 0),
        (events.VolumeProbed("main", None, 50, 90), "volume_free_bytes", {}, 50),
        (events.VolumeProbed("main", None, 50, 90), "volume_size_bytes", {}, 90),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fact) else None,
)
def test_each_fact_is_counted(told: Told, fact: Fact, name: str, labels: dict[str, str], value: float) -> None:
    assert told.hear(fact)(name, volume="main", **labels) == value


def test_what_may_be_counted_is_there_before_it_has_happened(told: Told) -> None:
    for name in ("fence_conflicts_total", "swept_files_total", "committed_bytes_total", "commit_seconds_count"):
        assert told(name, volume="main") == 0
    assert told("uploads_total", volume="main", event="failed") == 0
    assert told("notices_total", volume="main", outcome="dropped") == 0
    assert told("appends_total", volume="main", ending="append-superseded") == 0


def test_no_label_tells_an_upload_or_a_path(told: Told) -> None:
    facts: list[Fact] = [
        events.UploadCreated(UPLOAD, 5, "secret/path"),
        events.UploadPublished(UPLOAD, "secret/path", 5),
        events.ChunkDiscarded(UPLOAD, 0, 9, "secret reason"),
        events.CarryOnFailed(UPLOAD, "secret/path", "SomethingNew"),
    ]
    text = told.hear(*facts).text()
    assert UPLOAD.key not in text
    assert "secret" not in text
    assert "something-new" not in text


async def test_what_is_under_way_is_sampled(told: Told) -> None:
    service = Replica(SimulatedShare(), "a").service
    service.undurable.add(30)
    service.undurable.add(-20)
    with service.receiving(UPLOAD, 0):
        told.metrics.sample(service)
    assert (told("received_bytes_total"), told("undurable_bytes")) == (30, 10)
    assert (told("appends_in_flight"), told("draining")) == (1, 0)
    service.draining.set()
    told.metrics.sample(service)
    assert (told("received_bytes_total"), told("appends_in_flight"), told("draining")) == (30, 0, 1)


async def test_calls_of_the_file_system_are_handed_over(told: Told) -> None:
    replica = Replica(SimulatedShare(), "a")
    stopwatch = told.metrics.stopwatch("main", 30.0)
    filesystem = stopwatch.around(replica.filesystem)
    filesystem.create_durably(".uploads/a", b"")
    for _ in range(2):
        filesystem.read(".uploads/a")
        told.metrics.sample(replica.service)
    assert told("share_call_seconds_count", volume="main", call="read") == 2
    assert told("share_call_seconds_bucket", volume="main", call="read", le="+Inf") == 2
    assert told("share_call_seconds_count", volume="main", call="create_durably") == 1
    assert told("share_calls_hung", volume="main", call="read") == 0


# ---- several workers ------------------------------------------------------------------------------------------------

WORKER = """
import sys
from pathlib import Path
from storage_proxy.adapters.counting import share_between_workers
from storage_proxy.adapters.metrics import Metrics
from storage_proxy.core import events
from storage_proxy.core.manifest import UploadId
shared, slot, count, free = Path(sys.argv[1]), *map(int, sys.argv[2:])
share_between_workers(shared, slot)
metrics = Metrics(["main"], shared)
for _ in range(count):
    metrics.hear(events.UploadCreated(UploadId("main", "0" * 32), 5, "a"))
    metrics.hear(events.ChunkCommitted(UploadId("main", "0" * 32), 0, 9, 9, True, fresh=9, seconds=0.02))
metrics._appends.set(count)
metrics.hear(events.VolumeProbed("main", None if free else "it hangs", free, 90))
metrics._pending.hand_over()
print("counted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator["Workers"]:
    started = Workers(tmp_path)
    yield started
    for process in started.processes:
        process.kill()
        process.communicate()


class Workers:
    """Real processes that count together."""

    def __init__(self, shared: Path) -> None:
        self.shared = shared
        self.processes: list[subprocess.Popen[str]] = []
        self._ask = Metrics([], shared)

    def start(self, slot: int, count: int, free: int) -> "subprocess.Popen[str]":
        words = [sys.executable, "-c", WORKER, str(self.shared), str(slot), str(count), str(free)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "counted\n"
        return process

    def __call__(self, name: str, **labels: str) -> float | None:
        return samples(self._ask._exposition().decode()).get((name, frozenset(labels.items())))


def test_several_workers_are_added_up(workers: Workers) -> None:
    workers.start(0, count=2, free=50)
    workers.start(1, count=3, free=40)
    assert workers("uploads_total", volume="main", event="created") == 5
    assert workers("commit_seconds_bucket", volume="main", le="0.025") == 5
    assert workers("appends_in_flight") == 5
    assert workers("volume_free_bytes", volume="main") == 40
    assert workers("volume_ready", volume="main") == 1


def test_a_worker_that_dies_takes_along_what_was_under_way_and_leaves_what_it_has_counted(workers: Workers) -> None:
    workers.start(0, count=2, free=50)
    dead = workers.start(1, count=3, free=0)
    assert workers("volume_ready", volume="main") == 0
    dead.kill()
    dead.wait()
    forget_worker(workers.shared, 1)
    assert workers("uploads_total", volume="main", event="created") == 5
    assert workers("appends_in_flight") == 2
    assert workers("volume_ready", volume="main") == 1


def test_a_worker_goes_on_in_the_slot_of_a_dead_one(workers: Workers) -> None:
    for count in (2, 3):
        worker = workers.start(0, count=count, free=50)
        worker.kill()
        worker.wait()
        forget_worker(workers.shared, 0)
    files = {re.sub(r"_\d+\.db", "", path.name) for path in workers.shared.iterdir()}
    assert len(files) == len(list(workers.shared.iterdir()))
    assert workers("uploads_total", volume="main", event="created") == 5
    assert workers("commit_seconds_sum", volume="main") == pytest.approx(0.1)
