"""What the janitor may take, and the races it must lose."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from storage_proxy.core import transitions
from storage_proxy.core.errors import AppendSuperseded, StorageProxyError, UploadNotFound
from storage_proxy.core.manifest import Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.core.transitions import Stamp
from storage_proxy.operations.reap import reap
from storage_proxy.store import layout
from storage_proxy.store.sweeping import Sweeping, Tended
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import AGES, VOLUME, Replica

STAMP = Stamp(now=1.0, expires_at=2.0)


class Bench:
    def __init__(self) -> None:
        self.share = SimulatedShare()
        self.replica = Replica(self.share, "one")
        self.janitor = Replica(self.share, "janitor")
        self.key = "ab" * 16
        target = Target(VOLUME, "file")
        self.replica.volume.manifests.create(
            Manifest(UploadId(VOLUME, self.key), 0, Phase.OPEN, 100, Order.ANY, Policy.KEEP_BOTH, target)
        )

    def commit(self, offset: int) -> None:
        staged = self.replica.volume.chunks.stage(self.key, offset)
        staged.write([b"x" * 10])
        self.replica.volume.chunks.promise(self.key, staged, staged.snapshot(sealed=True), STAMP)
        staged.close()

    def tend(self, after: float) -> Tended:
        self.share.now += after
        sweeping = self.janitor.volume.sweeping
        return sweeping.tend(self.key, sweeping.share_time(), STAMP)

    def names(self) -> list[str]:
        return [path.rpartition("/")[2] for path in self.share.tree() if self.key in path]

    @property
    def manifest(self) -> Manifest:
        return self.replica.volume.manifests.read(self.key)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_open_upload_expires_after_its_time_and_its_bytes_go(bench: Bench) -> None:
    bench.commit(0)
    assert not bench.tend(AGES.open - 1).expired
    assert bench.tend(2).expired
    assert bench.manifest.phase is Phase.EXPIRED
    assert not [name for name in bench.names() if name.startswith("chunk_")]


def test_time_that_counts_from_the_creation_is_over_when_both_clocks_say_so(bench: Bench) -> None:
    bench.replica.volume.manifests.change(
        bench.key, lambda manifest: replace(manifest, expires_at=bench.share.now + 100)
    )
    volume = bench.janitor.volume
    sweeping = Sweeping(bench.janitor.filesystem, volume.manifests, volume.repeats, replace(AGES, sliding=False))

    def tend(share: float, replica: float) -> Tended:
        return sweeping.tend(bench.key, bench.share.now + share, Stamp(bench.share.now + replica, sliding=False))

    assert not tend(99, 101).expired
    assert not tend(101, 99).expired
    assert tend(101, 101).expired


def test_an_append_that_comes_in_while_the_janitor_looks_keeps_the_upload_alive(bench: Bench) -> None:
    bench.commit(0)

    def come_in(replica: str, operation: str, paths: tuple[str, ...]) -> None:
        if replica == "janitor" and operation == "lock":
            bench.share.before_call = None
            bench.commit(50)

    bench.share.before_call = come_in
    assert not bench.tend(AGES.open + 1).expired
    assert bench.manifest.phase is Phase.OPEN
    assert bench.manifest.received == 2


class Stricken(Bench):
    """An upload whose time is over, and something that happens to it just before one of the janitor's calls."""

    def __init__(self, prepare: Callable[[Bench], object], strike: Callable[[Bench], object], at: int) -> None:
        super().__init__()
        prepare(self)
        self._strike = strike
        self._at = at
        self.struck = self.happened = False
        self.share.now += max(AGES.open, AGES.published, AGES.ended) + 1
        now = self.janitor.volume.sweeping.share_time()
        self.share.before_call = self._come_in
        self.tended = self.janitor.volume.sweeping.tend(self.key, now, STAMP)
        self.share.before_call = None

    def _come_in(self, replica: str, operation: str, paths: tuple[str, ...]) -> None:
        if replica != "janitor" or self.struck:
            return
        self._at -= 1
        if self._at < 0:
            self.struck = True
            try:
                self._strike(self)
            except StorageProxyError:
                return  # refused: the janitor was first, and nobody was told otherwise
            self.happened = True


def one_chunk(bench: Bench) -> None:
    bench.commit(0)


def append(bench: Bench) -> None:
    bench.commit(50)


def terminate(bench: Bench) -> None:
    bench.replica.volume.manifests.change(bench.key, lambda manifest: transitions.terminate(manifest, STAMP))


def all_chunks(bench: Bench) -> None:
    for offset in range(0, 100, 10):
        bench.commit(offset)
    while bench.replica.volume.assembly.fold(bench.key).more:
        pass


def publish(bench: Bench) -> None:
    assert bench.replica.volume.assembly.publish(bench.key, STAMP).phase is Phase.PUBLISHED


@pytest.mark.parametrize(
    ("prepare", "strike"), [(one_chunk, append), (one_chunk, terminate), (one_chunk, all_chunks), (all_chunks, publish)]
)
def test_what_has_just_changed_is_not_old_whenever_the_janitor_looks(
    prepare: Callable[[Bench], object], strike: Callable[[Bench], object]
) -> None:
    first = 0
    while (bench := Stricken(prepare, strike, first)).struck:
        if bench.happened:
            ended = (bench.tended.expired, bench.tended.reaped, bench.manifest.phase is Phase.EXPIRED)
            assert not any(ended), f"before the janitor's call {first}"
        first += 1
    assert first > 3


def test_an_orphan_is_left_alone_while_it_is_young_and_taken_when_it_is_old(bench: Bench) -> None:
    bench.replica.volume.chunks.stage(bench.key, 0).write([b"abandoned"])
    assert bench.tend(AGES.orphans - 1).swept == ()
    assert len(bench.tend(2).swept) == 1
    assert bench.names() == ["info.json", "lock"]


def test_a_writer_that_wakes_after_its_file_was_swept_promises_nothing(bench: Bench) -> None:
    staged = bench.replica.volume.chunks.stage(bench.key, 0)
    staged.write([b"x" * 10])
    assert bench.tend(AGES.orphans + 1).swept == (staged.name,)
    with pytest.raises(AppendSuperseded):
        bench.replica.volume.chunks.promise(bench.key, staged, staged.snapshot(sealed=True), STAMP)
    assert bench.manifest.prefix == 0


def test_a_writer_that_commits_while_the_janitor_looks_keeps_its_file(bench: Bench) -> None:
    staged = bench.replica.volume.chunks.stage(bench.key, 0)
    staged.write([b"x" * 10])

    def come_in(replica: str, operation: str, paths: tuple[str, ...]) -> None:
        if replica == "janitor" and operation == "lock":
            bench.share.before_call = None
            bench.replica.volume.chunks.promise(bench.key, staged, staged.snapshot(sealed=True), STAMP)

    bench.share.before_call = come_in
    assert bench.tend(AGES.orphans + 1).swept == ()
    assert staged.name in bench.names()
    assert bench.manifest.prefix == 10


def test_names_that_are_not_ours_are_never_touched(bench: Bench) -> None:
    bench.share.plant_file(f"{layout.directory(bench.key)}/notes.txt", b"an operator's")
    bench.tend(AGES.orphans + 1)
    bench.tend(AGES.open + 1)
    bench.tend(AGES.ended + 1)
    assert bench.names() == ["notes.txt"]


def test_a_directory_whose_creator_died_is_taken_once_it_is_old(bench: Bench) -> None:
    bench.share.unplant(layout.manifest(bench.key))
    assert bench.tend(AGES.orphans - 1) == Tended(None)
    bench.tend(2)
    with pytest.raises(UploadNotFound):
        bench.replica.volume.manifests.read(bench.key)
    assert bench.key not in list(bench.janitor.volume.sweeping.keys())


def test_bytes_whose_manifest_is_gone_are_left_for_people(bench: Bench) -> None:
    bench.commit(0)
    bench.share.unplant(layout.manifest(bench.key))
    before = bench.names()
    assert bench.tend(AGES.open + AGES.orphans) == Tended(None)
    assert bench.names() == before


def test_a_marker_is_kept_for_its_time_and_then_goes(bench: Bench) -> None:
    for offset in range(0, 100, 10):
        bench.commit(offset)
    while bench.replica.volume.assembly.fold(bench.key).more:
        pass
    assert bench.replica.volume.assembly.publish(bench.key, STAMP).phase is Phase.PUBLISHED
    assert not bench.tend(AGES.published - 1).reaped
    assert bench.tend(2).reaped
    assert bench.names() == []
    assert bench.share.target_bytes("file") == b"x" * 100


def test_what_a_replica_left_that_died_while_it_read_the_clock_goes_once_it_is_old(bench: Bench) -> None:
    clock, strange = f"{layout.ROOT}/clock.{'0' * 32}", f"{layout.ROOT}/clock.txt"
    bench.share.plant_file(clock, b"")
    bench.share.plant_file(strange, b"")

    def after(seconds: float) -> set[str]:
        bench.share.now += seconds
        assert asyncio.run(reap(bench.janitor.service, bench.janitor.volume))
        return {clock, strange} & bench.share.tree().keys()

    assert after(AGES.orphans - 1) == {clock, strange}
    assert after(2) == {strange}
