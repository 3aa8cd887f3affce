"""tus-js-client uploads through a load balancer while replicas are killed and started again.

Each test ties its kills to what it has seen (bytes sent, or bytes acknowledged through another replica), asserts that
they were fired while the upload was on its way, and then compares the file byte for byte and lists what is left.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest

from tests.end_to_end import tus_js
from tests.end_to_end.balancer import Balancer
from tests.end_to_end.clients import MIB, Acknowledged, Client, sha256, tidy
from tests.end_to_end.replicas import Replica, Replicas, until
from tests.end_to_end.tus_js import TusJs

WHY_NOT = tus_js.missing()
pytestmark = [
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
    pytest.mark.timeout(120),
]

# The network's speed: an upload takes seconds, so that it can be met on its way.
SPEED = 12 * MIB


def random_file(path: Path, size: int) -> Path:
    path.write_bytes(random.Random(size).randbytes(size))
    return path


async def back_again(balancer: Balancer, replica: Replica) -> None:
    """Start it; the others go on meanwhile, but not to the end, however long it takes."""
    balancer.hold_after(3 * MIB)
    await replica.restart()
    balancer.go_on()


async def receiving(balancer: Balancer, upload: TusJs) -> Replica:
    """The replica that has the body of a request now."""

    async def look() -> Replica | None:
        assert not upload.finished, "the upload was over too early"
        # Started by this file, so more than what the balancer asks of it.
        return cast("Replica | None", balancer.receiving)

    return await until("a replica is receiving", look)


@dataclass
class Killer:
    """Kills the replica that is receiving the upload, and starts it again."""

    balancer: Balancer
    replicas: Sequence[Replica]
    killed: list[str] = field(default_factory=list)

    async def strike_and_restart(self, upload: TusJs) -> None:
        victim = await receiving(self.balancer, upload)
        victim.kill()
        self.killed.append(victim.name)
        await back_again(self.balancer, victim)


def size_and_bytes(path: Path) -> tuple[int, bytes]:
    whole = path.read_bytes()
    return len(whole), whole


async def check_all(
    client: Client, balancer: Balancer, replicas: Replicas, source: Path, name: str, upload: TusJs, path: str
) -> None:
    """The file, the answers, who served them, and what is left."""
    upload.check_answers()
    size, whole = size_and_bytes(source)
    assert sha256(replicas.data / name) == sha256(source)
    # Complete means published, whoever is asked; and the file can be fetched.
    for replica in replicas.all:
        assert await client.offset(replica.url, path) == size
        assert (await client.status(replica.url, path))["phase"] == "published"
    assert (await client.ask("GET", balancer.url + path)).body == whole
    assert set(balancer.served) == {replica.name for replica in replicas.all}, "a replica was never used"
    await tidy(replicas.data, [name])


# No size is a multiple of a chunk's: in Node tus-js-client 4.3.1 waits for ever for the end of such a stream.
ONE_FILE = {
    "sequential chunks": {"chunkSize": 4 * MIB, "addRequestId": True},
    "small chunks": {"chunkSize": MIB},
    "method override": {"chunkSize": 4 * MIB, "overridePatchMethod": True},
    "data during creation": {"chunkSize": 4 * MIB, "uploadDataDuringCreation": True},
    "deferred length from a stream": {"chunkSize": 4 * MIB, "asStream": True, "uploadLengthDeferred": True},
}


@pytest.mark.parametrize("options", ONE_FILE.values(), ids=ONE_FILE)
async def test_an_upload_in_chunks_survives_the_kill_of_each_replica_in_turn(
    replicas: Replicas, client: Client, tmp_path: Path, options: dict[str, object]
) -> None:
    source = random_file(tmp_path / "source.bin", 20 * MIB + 12_345)
    started = await replicas.start(2)
    async with Balancer(started, SPEED) as balancer:
        killer = Killer(balancer, started)
        endpoint = f"{balancer.url}/files"
        async with TusJs(endpoint, source, metadata={"filename": "whole.bin"}, **options) as upload:
            # A creation that is lost would be another upload: the kills begin when the first bytes are acknowledged.
            path = await upload.path()
            for reached in (5 * MIB, 13 * MIB):
                await upload.sent(reached)
                await killer.strike_and_restart(upload)
            assert await upload.succeeds() == path
        assert len(killer.killed) == 2
        assert balancer.cut + balancer.passed_over > 0, "nobody noticed anything of the kills"
        await check_all(client, balancer, replicas, source, "whole.bin", upload, path)


async def test_one_endless_patch_goes_on_from_the_last_checkpoint_after_its_replica_was_killed(
    replicas: Replicas, client: Client, tmp_path: Path
) -> None:
    source = random_file(tmp_path / "source.bin", 32 * MIB + 1)
    started = await replicas.start(2)
    async with Balancer(started, SPEED) as balancer:
        killer = Killer(balancer, started)
        async with TusJs(f"{balancer.url}/files", source, metadata={"filename": "whole.bin"}) as upload:
            path = await upload.path()
            seen = Acknowledged()
            for reached in (6 * MIB, 18 * MIB):
                # Checkpoints show on a replica that has nothing to do with this request.
                shown = partial(committed_everywhere, client, started, path, reached, seen)
                await until(f"byte {reached} is committed", shown)
                await killer.strike_and_restart(upload)
            await upload.succeeds()
        assert len(killer.killed) == 2
        heads = upload.check_answers()
        assert len(heads) >= 2, "each kill costs the client a HEAD"
        # What was acknowledged did not have to be sent again.
        assert heads[0] >= 6 * MIB
        assert heads[-1] >= 18 * MIB
        # It never started over: one creation, one address.
        assert [answer["status"] for answer in upload.all("answer") if answer["method"] == "POST"] == [201]
        await check_all(client, balancer, replicas, source, "whole.bin", upload, path)


async def committed_everywhere(
    client: Client, started: Sequence[Replica], path: str, reached: int, seen: Acknowledged
) -> bool:
    for replica in started:
        offset = (await client.status(replica.url, path))["committed_offset"]
        # `told` also checks that no replica says less than another has said.
        seen.told(path, offset, seen.floor(path))
        if offset < reached:
            return False
    return True


async def test_an_upload_that_was_aborted_goes_on_in_another_process_from_the_stored_url(
    replicas: Replicas, client: Client, tmp_path: Path
) -> None:
    source = random_file(tmp_path / "source.bin", 24 * MIB + 77)
    started = await replicas.start(2)
    stored = {"urlStorage": str(tmp_path / "urls.json"), "metadata": {"filename": "whole.bin"}}
    async with Balancer(started, SPEED) as balancer:
        killer, endpoint, acknowledged = Killer(balancer, started), f"{balancer.url}/files", Acknowledged()
        async with TusJs(endpoint, source, **stored) as first:
            path = await first.path()
            await first.sent(8 * MIB)
            await first.abort()
            assert not first.finished
        first.check_answers(acknowledged)
        # What the first process had handed over before it went is committed without anybody's asking.
        kept = await client.reaches(started[0].url, path, 4 * MIB)
        acknowledged.told(path, kept)
        async with TusJs(endpoint, source, **stored) as second:
            assert (await second.says("resuming"))["url"].endswith(path)
            await second.sent(16 * MIB)
            await killer.strike_and_restart(second)
            assert await second.succeeds() == path
        assert len(killer.killed) == 1
        assert second.check_answers(acknowledged)[0] >= kept
        await check_all(client, balancer, replicas, source, "whole.bin", second, path)


async def test_three_clients_on_three_replicas_that_are_killed_one_after_the_other(
    replicas: Replicas, client: Client, tmp_path: Path
) -> None:
    started = await replicas.start(3)
    kinds: dict[str, dict[str, object]] = {
        "a.bin": {"chunkSize": 3 * MIB},
        "b.bin": {},
        "c.bin": {"chunkSize": 4 * MIB, "asStream": True, "uploadLengthDeferred": True},
    }
    sources = {name: random_file(tmp_path / name, 16 * MIB + index) for index, name in enumerate(kinds)}
    async with Balancer(started, SPEED / 3) as balancer:
        killed = 0
        uploads = {
            name: TusJs(f"{balancer.url}/files", sources[name], metadata={"filename": name}, **options)
            for name, options in kinds.items()
        }
        async with uploads["a.bin"] as a, uploads["b.bin"] as b, uploads["c.bin"] as c:
            for upload in (a, b, c):
                await upload.path()
            for victim, upload, reached in zip(started, (a, b, c), (3 * MIB, 7 * MIB, 10 * MIB), strict=True):
                await upload.sent(reached)
                assert not upload.finished, "the upload was over before the kill"
                victim.kill()
                killed += 1
                await back_again(balancer, victim)
            await asyncio.gather(*(upload.succeeds() for upload in (a, b, c)))
        assert killed == 3
        assert set(balancer.served) == {replica.name for replica in started}
        for name, upload in uploads.items():
            upload.check_answers()
            assert sha256(replicas.data / name) == sha256(sources[name])
        await tidy(replicas.data, list(kinds))


async def test_replicas_that_are_told_to_stop_while_they_receive_answer_and_hand_over(
    replicas: Replicas, client: Client, tmp_path: Path
) -> None:
    """A rolling update: no connection is cut, the client is told to come again."""
    source = random_file(tmp_path / "source.bin", 24 * MIB)
    started = await replicas.start(2)
    async with Balancer(started, SPEED) as balancer:
        async with TusJs(f"{balancer.url}/files", source, metadata={"filename": "whole.bin"}) as upload:
            path = await upload.path()
            for reached in (5 * MIB, 14 * MIB):
                await upload.sent(reached)
                replica = await receiving(balancer, upload)
                replica.tell_to_stop()
                balancer.hold_after(2 * MIB)
                assert await replica.ended(8) == 0
                await back_again(balancer, replica)
            assert await upload.succeeds() == path
        told = [(answer["method"], answer["status"]) for answer in upload.all("answer")]
        assert told.count(("PATCH", 503)) == 2
        assert balancer.cut == 0
        await check_all(client, balancer, replicas, source, "whole.bin", upload, path)


@pytest.mark.parametrize("chunk", [None, 2 * MIB], ids=["one body a part", "chunks"])
async def test_parts_sent_at_once_through_three_replicas_become_one_file(
    replicas: Replicas, client: Client, tmp_path: Path, chunk: int | None
) -> None:
    source = random_file(tmp_path / "source.bin", 21 * MIB + 12_347)
    started = await replicas.start(3)
    options: dict[str, object] = {"parallelUploads": 4, **({} if chunk is None else {"chunkSize": chunk})}
    async with Balancer(started, SPEED) as balancer:
        killer = Killer(balancer, started)
        async with TusJs(f"{balancer.url}/files", source, metadata={"filename": "whole.bin"}, **options) as upload:
            await upload.sent(9 * MIB)
            await killer.strike_and_restart(upload)
            path = await upload.succeeds()
        assert len(killer.killed) == 1
        answers = [answer for answer in upload.all("answer") if answer["method"] == "POST"]
        # Of a part whose last byte had come before its replica died, only HEAD has told the client so.
        asked = [answer for answer in upload.all("answer") if answer["method"] in ("PATCH", "HEAD")]
        parts = [urlsplit(answer["url"]).path for answer in asked]
        assert [answer["status"] for answer in answers] == [201] * 5
        assert len(set(parts)) == 4
        assert sha256(replicas.data / "whole.bin") == sha256(source)
        for replica in started:
            assert await client.offset(replica.url, path) == source.stat().st_size
            assert (await client.status(replica.url, path))["phase"] == "published"
        assert set(balancer.served) == {replica.name for replica in replicas.all}, "a replica was never used"
        for part in set(parts):
            assert (await client.ask("DELETE", balancer.url + part, {"Tus-Resumable": "1.0.0"})).status == 204
        # The file has nothing of them but their bytes.
        assert (await client.ask("GET", balancer.url + path)).body == source.read_bytes()
        await tidy(replicas.data, ["whole.bin"], ended=4)
