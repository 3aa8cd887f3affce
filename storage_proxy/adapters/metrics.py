"""What Prometheus is told: a listener that counts facts, and samples of what cannot be told as facts.

Rules: every metric is defined here and described in docs/metrics.md. Labels are bounded: a volume, a route's template,
a call of the file system port, the class of an error; never an upload, a path or a client. What may be counted is there
from the start with 0, so that an alert sees the first one. Counting is the listener's side: no other room knows of it.

Several workers of one replica each write what they count to files in a private directory (`counting.py`),
and whoever is scraped adds them up; see docs/decisions/0021-metrics-of-several-workers.md.
"""

import asyncio
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from storage_proxy.adapters.counting import Pending, Tallied
from storage_proxy.adapters.stopwatch import BUCKETS, FAILURES, TIMED, Stopwatch
from storage_proxy.core import events
from storage_proxy.core.errors import Corrupt, StorageProxyError, Unavailable
from storage_proxy.core.events import Fact
from storage_proxy.core.manifest import Phase
from storage_proxy.operations.service import Service

CONTENT_TYPE = CONTENT_TYPE_LATEST
SAMPLE_SECONDS = 1.0

INCIDENT = "Incident"
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "DELETE"})

REQUEST_BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
)
"""From a HEAD to the one PATCH of a large file."""
COMMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""A commit syncs up to a checkpoint's bytes."""

UPLOADS: Mapping[type[Fact], str] = {
    events.UploadCreated: "created",
    events.UploadClosed: "closed",
    events.UploadPublished: "published",
    events.PublishRefused: "failed",
    events.UploadTerminated: "terminated",
    events.UploadExpired: "expired",
    events.UploadReaped: "reaped",
}

NOTICES: Mapping[type[Fact], str] = {
    events.NoticeDelivered: "delivered",
    events.NoticeDelayed: "delayed",
    events.NoticeDropped: "dropped",
}


def label_of(error: str) -> str:
    """ShareFull -> share-full, as docs/errors.md spells it."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", error).lower()


def leaves(family: type[StorageProxyError]) -> list[str]:
    children = family.__subclasses__()
    return [name for child in children for name in leaves(child)] if children else [label_of(family.__name__)]


class Metrics:
    """See `ports.Listener`."""

    def __init__(self, volumes: Iterable[str], shared: Path | None = None) -> None:
        """`shared`: the directory of `counting.share_between_workers`."""
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self._volumes = tuple(volumes)
        self._shared = shared
        self._stopwatches: list[Stopwatch] = []
        self._received_before = 0
        self._pending = Pending()
        self._define_requests()
        self._define_uploads()
        self._define_volumes()
        self._tell: dict[type[Fact], Callable[[Any], None]] = {
            events.RequestAnswered: self._request,
            events.AppendEnded: self._append,
            events.ChunkCommitted: self._commit,
            events.ChunkDiscarded: self._discard,
            events.FenceContended: self._fence,
            events.AssemblyAdvanced: self._assembled,
            events.UploadPublished: self._published,
            events.LeftoversSwept: self._swept,
            events.CarryOnFailed: self._carry_on_failed,
            events.VolumeSurveyed: self._surveyed,
            events.VolumeProbed: self._probed,
        }

    def hear(self, fact: Fact) -> None:
        kind = type(fact)
        if kind in UPLOADS and isinstance(fact, events.Event):
            self._pending.count(self._uploads, fact.upload.volume, UPLOADS[kind])
        if kind in NOTICES and isinstance(fact, events.Event):
            self._pending.count(self._notices, fact.upload.volume, NOTICES[kind])
        if (tell := self._tell.get(kind)) is not None:
            tell(fact)

    def stopwatch(self, volume: str, stall_seconds: float) -> Stopwatch:
        stopwatch = Stopwatch(volume, stall_seconds)
        self._stopwatches.append(stopwatch)
        return stopwatch

    # ---- what is told -----------------------------------------------------------------------------------------------

    def sample(self, service: Service) -> None:
        """What is under way now, and what was counted without a lock since the last time. On the event loop."""
        self._pending.hand_over()
        received = service.undurable.received
        self._received.inc(received - self._received_before)
        self._received_before = received
        self._appends.set(service.appends)
        self._undurable.set(service.undurable.held)
        self._draining.set(service.draining.is_set())
        for stopwatch in self._stopwatches:
            hung = stopwatch.hung()
            for call in TIMED:
                self._hung.labels(stopwatch.volume, call).set(hung[call])
            for call, counts, seconds in stopwatch.news():
                child: Tallied = self._calls.labels(stopwatch.volume, call)
                child.add(counts, seconds)
            for (call, failure), count in stopwatch.failures().items():
                self._call_failures.labels(stopwatch.volume, call, label_of(failure)).inc(count)

    async def sample_for_ever(self, service: Service) -> None:
        while True:
            self.sample(service)
            await asyncio.sleep(SAMPLE_SECONDS)

    async def exposition(self) -> bytes:
        """All workers' together. In a thread: it reads their files, and is some work where there are many."""
        self._pending.hand_over()
        return await asyncio.to_thread(self._exposition)

    def _exposition(self) -> bytes:
        registry = self.registry
        if self._shared is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, str(self._shared))
        return generate_latest(registry)

    # ---- the metrics ------------------------------------------------------------------------------------------------

    def _define_requests(self) -> None:
        registry = self.registry
        self._requests = Counter(
            "storage_proxy_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._request_seconds = Tallied(
            "storage_proxy_request_seconds",
            "From a request's head to its answer.",
            ("route", "method"),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self._faults = Counter(
            "storage_proxy_faults",
            "Trouble of the share, wrong data, and bugs, that a request or the background work met.",
            ("fault", "where"),
            registry=registry,
        )
        for fault in (*leaves(Unavailable), *leaves(Corrupt), label_of(INCIDENT)):
            for where in ("request", "background"):
                self._faults.labels(fault, where)
        self._build = Gauge(
            "storage_proxy_build_info",
            "Always 1; the labels say what runs.",
            ("version", "python"),
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._build.labels(version("storage-proxy"), platform.python_version()).set(1)
        self._draining = Gauge(
            "storage_proxy_draining",
            "Workers that are shutting down.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def _define_uploads(self) -> None:
        registry, volumes = self.registry, self._volumes
        self._uploads = Counter(
            "storage_proxy_uploads", "What became of uploads.", ("volume", "event"), registry=registry
        )
        for volume in volumes:
            for event in UPLOADS.values():
                self._uploads.labels(volume, event)
        self._notices = Counter(
            "storage_proxy_notices",
            "Notices to hooks, by what became of a try to deliver one; delayed is tried again, dropped is not.",
            ("volume", "outcome"),
            registry=registry,
        )
        for volume in volumes:
            for outcome in NOTICES.values():
                self._notices.labels(volume, outcome)
        self._appends = Gauge(
            "storage_proxy_appends_in_flight",
            "Request bodies being received.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._appends_ended = Counter(
            "storage_proxy_appends",
            "Request bodies that are over, by how they ended; append-superseded is a takeover by a newer request.",
            ("volume", "ending"),
            registry=registry,
        )
        self._undurable = Gauge(
            "storage_proxy_undurable_bytes",
            "Bytes received and not yet synced and committed.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._received = Counter("storage_proxy_received_bytes", "Bytes of uploads received.", registry=registry)
        self._committed = self._bytes("committed", "Bytes promised: durable, and acknowledged or about to be.")
        self._discarded = self._bytes("discarded", "Bytes received that added nothing, or were refused.")
        self._folded = self._bytes("folded", "Bytes copied into an upload's one file.")
        self._published_bytes = self._bytes("published", "Bytes of files that appeared at their target.")
        self._commit_seconds = Tallied(
            "storage_proxy_commit_seconds",
            "From the wish to commit to the durable manifest, waiting included.",
            ("volume",),
            buckets=COMMIT_BUCKETS,
            registry=registry,
        )
        self._publish_seconds = Tallied(
            "storage_proxy_publish_seconds",
            "From the commit of the last byte to the file at its target.",
            ("volume",),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        for volume in volumes:
            self._appends_ended.labels(volume, label_of("AppendSuperseded"))
            self._commit_seconds.labels(volume)
            self._publish_seconds.labels(volume)

    def _bytes(self, done: str, help: str) -> Counter:
        counter = Counter(f"storage_proxy_{done}_bytes", help, ("volume",), registry=self.registry)
        for volume in self._volumes:
            counter.labels(volume)
        return counter

    def _define_volumes(self) -> None:
        registry, volumes = self.registry, self._volumes
        per_volume: Mapping[str, str] = {
            "fence_conflicts": "Changes that lost a revision to another writer and were made again.",
            "fence_helps": "Changes of a stopped or dead writer that were carried through for it.",
            "swept_files": "Files of dead writers that were removed.",
        }
        self._per_volume = {
            name: Counter(f"storage_proxy_{name}", help, ("volume",), registry=registry)
            for name, help in per_volume.items()
        }
        self._calls = Tallied(
            "storage_proxy_share_call_seconds",
            "Calls to a volume's file system.",
            ("volume", "call"),
            buckets=BUCKETS,
            registry=registry,
        )
        self._call_failures = Counter(
            "storage_proxy_share_call_failures",
            "Calls that failed by the share's fault, and locks that were not got in time.",
            ("volume", "call", "failure"),
            registry=registry,
        )
        self._hung = self._gauge(
            "share_calls_hung", "Calls under way for longer than the stall limit.", "livesum", "call"
        )
        self._ready = self._gauge("volume_ready", "1 while the volume answers and grants locks.", "livemin")
        self._free = self._gauge("volume_free_bytes", "Free space of the volume.", "mostrecent")
        self._total = self._gauge("volume_size_bytes", "Size of the volume.", "mostrecent")
        survey = "mostrecent"
        self._found = self._gauge("uploads_found", "Uploads on the volume, by phase.", survey, "phase")
        self._owed = self._gauge("volume_owed_bytes", "Bytes that open uploads may still bring.", survey)
        self._unassembled = self._gauge(
            "unassembled_bytes", "Promised bytes of unfinished uploads that are not in their one file yet.", survey
        )
        self._oldest_closed = self._gauge(
            "oldest_closed_seconds",
            "Since the last byte of the oldest upload that is whole and not published; 0: there is none.",
            survey,
        )
        self._survey_seconds = self._gauge("survey_seconds", "How long the janitor's last round took.", survey)
        self._surveyed_at = self._gauge("survey_timestamp_seconds", "When the janitor's last round ended.", survey)
        for volume in volumes:
            for counter in self._per_volume.values():
                counter.labels(volume)
            for failure in FAILURES:
                self._call_failures.labels(volume, "lock", label_of(failure.__name__))

    def _gauge(self, name: str, help: str, mode: Any, *labels: str) -> Gauge:
        """`mode`: how the values of several workers become one."""
        return Gauge(f"storage_proxy_{name}", help, ("volume", *labels), registry=self.registry, multiprocess_mode=mode)

    # ---- the facts --------------------------------------------------------------------------------------------------

    def _request(self, fact: events.RequestAnswered) -> None:
        method = fact.method if fact.method in METHODS else "other"
        self._pending.count(self._requests, fact.route, method, str(fact.status))
        self._pending.observe(self._request_seconds, fact.route, method, seconds=fact.seconds)
        if fact.problem is not None:
            self._fault(fact.problem, "request")

    def _carry_on_failed(self, fact: events.CarryOnFailed) -> None:
        self._fault(fact.fault, "background")

    def _fault(self, problem: str, where: str) -> None:
        fault = label_of(problem)
        # What a client did wrong, or may simply try again, is in the statuses of the requests.
        if fault in self._known_faults:
            self._pending.count(self._faults, fault, where)

    _known_faults = frozenset((*leaves(Unavailable), *leaves(Corrupt), label_of(INCIDENT)))

    def _append(self, fact: events.AppendEnded) -> None:
        ending = label_of(fact.ending) if fact.ending is not None else "complete"
        self._pending.count(self._appends_ended, fact.upload.volume, ending)

    def _commit(self, fact: events.ChunkCommitted) -> None:
        self._pending.count(self._committed, fact.upload.volume, by=fact.fresh)
        self._pending.observe(self._commit_seconds, fact.upload.volume, seconds=fact.seconds)

    def _discard(self, fact: events.ChunkDiscarded) -> None:
        self._pending.count(self._discarded, fact.upload.volume, by=fact.length)

    def _fence(self, fact: events.FenceContended) -> None:
        # Told by the thread that made the change, hence not pending.
        self._per_volume["fence_conflicts"].labels(fact.upload.volume).inc(fact.conflicts)
        self._per_volume["fence_helps"].labels(fact.upload.volume).inc(fact.helped)

    def _assembled(self, fact: events.AssemblyAdvanced) -> None:
        self._folded.labels(fact.upload.volume).inc(fact.copied)

    def _published(self, fact: events.UploadPublished) -> None:
        self._pending.count(self._published_bytes, fact.upload.volume, by=fact.length)
        self._pending.observe(self._publish_seconds, fact.upload.volume, seconds=fact.seconds)

    def _swept(self, fact: events.LeftoversSwept) -> None:
        self._per_volume["swept_files"].labels(fact.upload.volume).inc(len(fact.files))

    def _surveyed(self, fact: events.VolumeSurveyed) -> None:
        found = dict(fact.phases)
        for phase in Phase:
            self._found.labels(fact.volume, phase.value).set(found.get(phase.value, 0))
        self._owed.labels(fact.volume).set(fact.owed)
        self._unassembled.labels(fact.volume).set(fact.unassembled)
        self._oldest_closed.labels(fact.volume).set(fact.oldest_closed_seconds)
        self._survey_seconds.labels(fact.volume).set(fact.seconds)
        self._surveyed_at.labels(fact.volume).set_to_current_time()

    def _probed(self, fact: events.VolumeProbed) -> None:
        self._ready.labels(fact.volume).set(fact.reason is None)
        if fact.free is not None and fact.total is not None:
            self._free.labels(fact.volume).set(fact.free)
            self._total.labels(fact.volume).set(fact.total)
