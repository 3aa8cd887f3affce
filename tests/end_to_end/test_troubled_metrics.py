"""What two workers of one replica count together when things go wrong, against what their log says, line by line."""

import json
import os
import signal
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from storage_proxy.adapters.metrics import Metrics, label_of
from tests.adapters.test_metrics import Samples, samples
from tests.end_to_end.clients import MIB, TUS, Client, OpenPatch
from tests.end_to_end.processes import children
from tests.end_to_end.replicas import Replica, Replicas, until
from tests.end_to_end.test_health import mounted

__all__ = ["mounted"]  # the fixture: a mount that can be made to stand still

pytestmark = pytest.mark.timeout(120)

# Event of the log -> what the metrics call it.
UPLOADS = {
    "upload_created": "created",
    "upload_closed": "closed",
    "upload_published": "published",
    "publish_refused": "failed",
    "upload_expired": "expired",
    "upload_reaped": "reaped",
}


async def start(replicas: Replicas, **changed: object) -> Replica:
    [replica] = await replicas.start(1, workers=2, orphans="1h", **changed)

    async def both_are_there() -> bool:
        return len(children(replica.pid)) == 2

    # The first one that listens is enough to be ready.
    await until("both workers are there", both_are_there)
    return replica


async def scraped(client: Client, replica: Replica) -> Samples:
    return samples((await client.ask("GET", f"http://127.0.0.1:{replica.manager_port}/metrics")).body.decode())


def of(seen: Samples, name: str, label: str, **fixed: str) -> Counter[str]:
    """The series of one metric, by one label; those that stand at 0 are left out."""
    found: Counter[str] = Counter()
    for (metric, labels), value in seen.items():
        pairs = dict(labels)
        if metric == name and value and fixed.items() <= pairs.items():
            found[pairs[label]] += int(value)
    return found


def lines(replica: Replica) -> list[dict[str, Any]]:
    return [json.loads(line) for line in replica.log.read_text().splitlines() if line.startswith("{")]


def told(replica: Replica) -> Mapping[str, Counter[str]]:
    """The same from the log."""
    said = lines(replica)
    problems = [line["problem"] for line in said if line["event"] == "request" and "problem" in line]
    ended = [line for line in said if line["event"] == "append_ended"]
    return {
        "uploads": Counter(UPLOADS[line["event"]] for line in said if line["event"] in UPLOADS),
        "appends": Counter(label_of(line["ending"]) if line["ending"] else "complete" for line in ended),
        "faults met by requests": Counter(name for name in problems if name in Metrics._known_faults),
        "faults met by the janitor": Counter(
            label_of(line["fault"]) for line in said if line["event"] == "carry_on_failed"
        ),
        "statuses": Counter(
            str(line["status"]) for line in said if line["event"] == "request" and line["status"] != 200
        ),
    }


def counted(seen: Samples) -> Mapping[str, Counter[str]]:
    statuses = of(seen, "requests_total", "status")
    del statuses["200"]  # each scrape is one
    return {
        "uploads": of(seen, "uploads_total", "event"),
        "appends": of(seen, "appends_total", "ending"),
        "faults met by requests": of(seen, "faults_total", "fault", where="request"),
        "faults met by the janitor": of(seen, "faults_total", "fault", where="background"),
        "statuses": statuses,
    }


async def take_over(client: Client, replica: Replica) -> None:
    """A newer request goes on where an older one stands still; when that wakes up its bytes are there already."""
    path = await client.create(replica.url, 4 * MIB, filename="taken over")
    async with await OpenPatch.begin(replica.url, path, 0, 4 * MIB) as hung:
        await hung.send(bytes(MIB))
        reached = await client.reaches(replica.url, path, MIB)
        assert (await client.patch(replica.url, path, reached, bytes(2 * MIB))).status == 204
        await hung.send_what_is_taken(bytes(2 * MIB))
        answer = await hung.answer()
        assert (answer.status, answer.json["type"].rpartition(":")[2]) == (409, "append-superseded")


async def test_takeovers_expiries_refusals_and_faults_are_counted_as_the_log_tells_them(
    replicas: Replicas, client: Client
) -> None:
    replica = await start(replicas, open="5s", ended="1s")
    await take_over(client, replica)
    path = await client.create(replica.url, 5, filename="whole")
    assert (await client.patch(replica.url, path, 0, b"hello")).status == 204
    # Something stands in the way of a file.
    (replicas.data / "taken").write_bytes(b"")
    path = await client.create(replica.url, 5, relativePath="taken/failed.bin")
    assert (await client.patch(replica.url, path, 0, b"hello")).status == 422
    # A manifest that is no manifest any more, until it is mended.
    path = await client.create(replica.url, 5, filename="unreadable")
    [record] = replicas.data.glob(f".uploads/*/{path.rpartition('.')[2]}/info.json")
    text = record.read_text()
    record.write_text("{")
    assert (await client.ask("HEAD", replica.url + path, TUS)).status == 500

    async def janitor_met_it() -> bool:
        return bool(told(replica)["faults met by the janitor"])

    await until("the janitor has met it, too", janitor_met_it)
    record.write_text(text)

    async def all_has_expired_and_is_reaped() -> bool:
        return told(replica)["uploads"]["reaped"] >= 1

    await until("what was abandoned is gone", all_has_expired_and_is_reaped, 40)

    async def the_same_is_counted() -> bool:
        return counted(await scraped(client, replica)) == told(replica)

    await until("the metrics say what the log says", the_same_is_counted)
    said = told(replica)
    assert said["faults met by requests"]["manifest-unreadable"] == 1
    assert said["appends"]["append-superseded"] == 1
    assert said["uploads"]["failed"] == 1
    assert min(said["uploads"][event] for event in UPLOADS.values()) >= 1, said


async def test_what_is_owed_free_and_not_yet_durable_is_told_as_it_is(
    mounted: int, replicas: Replicas, client: Client
) -> None:
    replica = await start(replicas)
    main, nowhere = frozenset({("volume", "main")}), frozenset[tuple[str, str]]()

    async def undurable() -> float:
        return (await scraped(client, replica))["undurable_bytes", nowhere]

    async def owed(count: int) -> bool:
        seen = await scraped(client, replica)
        return (seen["undurable_bytes", nowhere], seen.get(("volume_owed_bytes", main))) == (0, count)

    async def some_is_not_durable() -> bool:
        # A batch that is waiting to be written is not counted yet, so it may be less than was sent.
        return 0 < await undurable() <= MIB // 2

    await client.create(replica.url, 3 * MIB, filename="never sent")
    path = await client.create(replica.url, 2 * MIB, filename="half sent")
    async with await OpenPatch.begin(replica.url, path, 0, None) as upload:
        await upload.send(bytes(MIB))
        await until("the first MiB is durable, and four are owed", lambda: owed(4 * MIB))
        # The mount stands still: what comes now cannot be made durable.
        os.kill(mounted, signal.SIGSTOP)
        try:
            await upload.send(bytes(MIB // 2))
            await until("some of it is not durable", some_is_not_durable)
        finally:
            os.kill(mounted, signal.SIGCONT)
        await until("it is durable, and so much less is owed", lambda: owed(4 * MIB - MIB // 2))
    seen = await scraped(client, replica)
    probes = [line for line in lines(replica) if line["event"] == "volume_probed"]
    assert seen["volume_free_bytes", main] in {line["free"] for line in probes}
    assert seen["volume_size_bytes", main] in {line["total"] for line in probes}
    surveys = [line for line in lines(replica) if line["event"] == "volume_surveyed"]
    assert {4 * MIB, 4 * MIB - MIB // 2} <= {line["owed"] for line in surveys}
