"""The digest of a file that grows: what is read for it, and what is not."""

import hashlib
from dataclasses import replace

import pytest

from storage_proxy.core.errors import PromisedBytesMissing
from storage_proxy.core.manifest import SHA_256, SHA_512, Digest, Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.core.transitions import Stamp
from storage_proxy.store import layout, whole_file
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import VOLUME, Replica

CONTENT = bytes(range(256)) * 4
STAMP = Stamp(now=1.0, expires_at=2.0)


def digest_of(content: bytes, algorithm: str = SHA_256) -> Digest:
    return Digest(algorithm, hashlib.new(algorithm.replace("-", ""), content).hexdigest())


class Bench:
    """One upload with a digest, filled and folded by hand; `read` counts what is read of its data."""

    def __init__(self, *declared: Digest, length: int = len(CONTENT)) -> None:
        self.share = SimulatedShare()
        self.replica = Replica(self.share, "one")
        self.key = self.replica.service.entropy.token()
        target = Target(VOLUME, "file.bin")
        manifest = Manifest(UploadId(VOLUME, self.key), 0, Phase.OPEN, length, Order.ANY, Policy.REFUSE, target)
        self.replica.volume.manifests.create(replace(manifest, declared=declared))
        self.reads: dict[str, int] = {}
        self.share.before_call = self._count

    def _count(self, replica: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "read_at":
            self.reads[replica] = self.reads.get(replica, 0) + 1

    def send(self, offset: int, end: int, replica: Replica | None = None) -> Manifest:
        volume = (replica or self.replica).volume
        staged = volume.chunks.stage(self.key, offset, volume.manifests.read(self.key).declared)
        staged.write([CONTENT[offset:end]])
        return volume.chunks.promise(self.key, staged, staged.snapshot(sealed=True), STAMP).after

    def fold(self, replica: Replica | None = None) -> Manifest:
        volume = (replica or self.replica).volume
        while (step := volume.assembly.fold(self.key)).more:
            pass
        return step.manifest

    def hash_on(self, replica: Replica | None = None) -> tuple[Digest, ...]:
        volume = (replica or self.replica).volume
        while (hashed := volume.whole_files.hash_on(volume.manifests.read(self.key))).more:
            pass
        return hashed.digests


RIGHT = digest_of(CONTENT)
LONG = digest_of(CONTENT, SHA_512)


@pytest.fixture(autouse=True)
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that each piece is one call, and each step a few."""
    monkeypatch.setattr(whole_file, "PIECE_BYTES", 64)
    monkeypatch.setattr(whole_file, "STEP_BYTES_MAX", 256)


def test_of_a_file_in_one_piece_nothing_is_read() -> None:
    bench = Bench(LONG)
    assert bench.send(0, len(CONTENT)).phase is Phase.CLOSED
    assert bench.hash_on() == (LONG,)
    assert bench.reads == {}
    bench = Bench(RIGHT)
    assert bench.send(0, len(CONTENT)).phase is Phase.PUBLISHING, "its own sha256 is the file's"


def test_the_first_piece_is_hashed_while_it_comes_and_only_the_rest_is_read() -> None:
    bench = Bench(RIGHT, LONG)
    bench.send(0, 640)
    bench.fold()
    bench.hash_on()
    assert bench.reads == {}
    bench.send(640, len(CONTENT))
    bench.fold()
    assert set(bench.hash_on()) == {RIGHT, LONG}
    assert bench.reads == {"one": 2 * (len(CONTENT) - 640) // 64}


def test_what_was_hashed_while_the_file_grew_is_not_read_again_at_the_close() -> None:
    bench = Bench(RIGHT)
    bench.send(64, 128)
    for offset in (0, 128, 256):
        bench.send(offset, offset + 128 if offset else 64)
        bench.fold()
        bench.hash_on()
    bench.reads.clear()
    bench.send(384, len(CONTENT))
    bench.fold()
    assert bench.hash_on() == (RIGHT,)
    assert bench.reads == {"one": (len(CONTENT) - 384) // 64}


def test_another_replica_that_closes_reads_the_file_from_its_start() -> None:
    bench = Bench(RIGHT)
    other = Replica(bench.share, "other")
    bench.send(0, 512)
    bench.fold()
    bench.hash_on()
    bench.send(512, len(CONTENT), other)
    bench.fold(other)
    assert bench.hash_on(other) == (RIGHT,)
    assert bench.reads == {"other": len(CONTENT) // 64}


def test_one_step_is_bounded_and_says_that_there_is_more() -> None:
    bench = Bench(LONG)
    other = Replica(bench.share, "other")
    bench.send(0, len(CONTENT))
    hashed = other.volume.whole_files.hash_on(other.volume.manifests.read(bench.key))
    assert hashed.more
    assert bench.reads == {"other": 4}


def test_a_running_hash_that_is_lost_costs_a_reading_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(RIGHT)
    bench.send(0, 512)
    bench.fold()
    monkeypatch.setattr(whole_file, "KEPT_MAX", 0)
    bench.hash_on()
    bench.send(512, len(CONTENT))
    bench.fold()
    monkeypatch.setattr(whole_file, "KEPT_MAX", 8)
    assert bench.hash_on() == (RIGHT,)


def test_a_thread_that_was_given_up_and_goes_on_does_not_share_its_hash() -> None:
    bench = Bench(RIGHT)
    bench.send(64, len(CONTENT))
    bench.send(0, 64)
    bench.fold()
    manifest = bench.replica.volume.manifests.read(bench.key)
    inner: list[Digest] = []

    def hash_meanwhile(replica: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "read_at" and not inner:
            bench.share.before_call = None
            inner.extend(bench.hash_on())

    bench.share.before_call = hash_meanwhile
    while (hashed := bench.replica.volume.whole_files.hash_on(manifest)).more:
        pass
    assert inner == [RIGHT]
    assert hashed.digests == (RIGHT,)


def test_a_failed_upload_is_read_anew_when_it_is_tried_again() -> None:
    bench = Bench(RIGHT)
    bench.send(0, 512)
    bench.send(512, len(CONTENT))
    manifest = bench.fold()
    bench.hash_on()
    bench.replica.volume.whole_files.forget(manifest)
    bench.reads.clear()
    bench.hash_on()
    assert bench.reads == {"one": len(CONTENT) // 64}


def test_a_file_that_is_gone_or_short_is_a_loss_and_not_a_wrong_digest() -> None:
    bench = Bench(RIGHT)
    bench.send(0, 512)
    bench.send(512, len(CONTENT))
    manifest = bench.fold()
    assert manifest.assembly is not None
    bench.replica.volume.whole_files.forget(manifest)
    bench.replica.filesystem.remove(layout.within(bench.key, manifest.assembly.file))
    with pytest.raises(PromisedBytesMissing):
        bench.hash_on()
