"""Carrying an upload on while another replica holds the right to."""

import asyncio
import hashlib
from collections.abc import Iterable

import pytest

from storage_proxy.core import extents
from storage_proxy.core.extents import Extent
from storage_proxy.core.manifest import SHA_256, Chunk, Digest, Manifest, Order, Phase, Policy
from storage_proxy.core.target import Target
from storage_proxy.operations.append import append
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.finish import assemble_if_behind
from storage_proxy.operations.reception import Append
from storage_proxy.ports import Region
from storage_proxy.store import layout, whole_file
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import SMALL, VOLUME, ListedBody, Replica

CONTENT = bytes(range(100))


async def test_a_file_that_is_behind_with_its_digest_is_hashed_to_its_end_and_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whole_file, "STEP_BYTES_MAX", 7)
    share = SimulatedShare()
    one, other = Replica(share, "one"), Replica(share, "other")
    upload = new_upload_id(one.service, VOLUME)
    declared = (Digest(SHA_256, hashlib.sha256(CONTENT).hexdigest()),)
    target = Target(VOLUME, "file")
    await create(one.service, upload, Wanted(target, len(CONTENT), Order.ANY, Policy.KEEP_BOTH, declared=declared))
    await append(one.service, upload, Append(0, 90), ListedBody([CONTENT[:90]]))
    done = await append(other.service, upload, Append(90, 10), ListedBody([CONTENT[90:]]))
    assert (done.manifest.phase, done.manifest.sha256) == (Phase.PUBLISHED, declared[0].value)
    assert share.target_bytes("file") == CONTENT


def test_a_look_at_a_thousand_pieces_is_one_look_and_not_a_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    replica, looks = Replica(SimulatedShare(), "one"), 0
    look = extents.prefix

    def counted(found: Iterable[Extent]) -> int:
        nonlocal looks
        looks += 1
        return look(found)

    monkeypatch.setattr(extents, "prefix", counted)
    pieces = tuple(
        Chunk(offset, 1, "", layout.chunk_name(offset, "0" * 32), sealed=True) for offset in range(1, 2001, 2)
    )
    upload, target = new_upload_id(replica.service, VOLUME), Target(VOLUME, "file")
    manifest = Manifest(upload, 1, Phase.OPEN, 4000, Order.ANY, Policy.KEEP_BOTH, target, chunks=pieces)
    assemble_if_behind(replica.service, manifest)
    assert looks <= 3


async def test_a_claim_that_stands_still_is_passed_by_and_the_file_published() -> None:
    share = SimulatedShare()
    stuck, replica = Replica(share, "stuck"), Replica(share, "one")
    upload = new_upload_id(replica.service, VOLUME)
    wanted = Wanted(Target(VOLUME, "file"), len(CONTENT), Order.ANY, Policy.KEEP_BOTH)
    await create(replica.service, upload, wanted)
    assert stuck.filesystem.lock(layout.lock(upload.key), Region.ASSEMBLY, 0)
    await append(replica.service, upload, Append(50, 50), ListedBody([CONTENT[50:]]))
    closing = asyncio.ensure_future(append(replica.service, upload, Append(0, 50), ListedBody([CONTENT[:50]])))
    while share.target_bytes("file") is None:
        # Every look of the waiting replica finds more time gone, and nothing moved.
        await asyncio.sleep(0.01)
        replica.clock.advance(SMALL.claim_wait_seconds / 4)
    await asyncio.wait([closing])
    assert (await replica.service.read(upload)).phase is Phase.PUBLISHED
    assert share.target_bytes("file") == CONTENT
