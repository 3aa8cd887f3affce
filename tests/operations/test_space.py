"""What cannot fit is refused at its creation, by figures that are cheap to have and a little old."""

from dataclasses import replace

import pytest

from storage_proxy.core.errors import PublishFailed, ShareFault, SpaceShort, VolumeTooSmall
from storage_proxy.core.manifest import Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations import space
from storage_proxy.operations.append import append
from storage_proxy.operations.concatenate import concatenate
from storage_proxy.operations.create import Wanted, create, declare_length, new_upload_id
from storage_proxy.operations.reap import reap
from storage_proxy.operations.reception import Append
from storage_proxy.operations.space import BELIEVED_SECONDS, LOOK_SECONDS, SPACE_SECONDS
from storage_proxy.operations.terminate import terminate
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import SMALL, VOLUME, ListedBody, Replica

KIB = 1 << 10
ROOM = 100 * KIB
# Manifests, staged ones and all that is small: none of the figures below comes so close.
SLACK = 8 * KIB
KEEPING = replace(SMALL, reserve_bytes=0)


class Bench:
    def __init__(self, reserve: int | None = 0, capacity: int | None = ROOM) -> None:
        self.share = SimulatedShare(capacity_bytes=capacity)
        self.limits = replace(SMALL, reserve_bytes=reserve)
        self.calls: list[str] = []
        self.share.after_call = lambda replica, operation, paths: self.calls.append(operation)
        self.one = Replica(self.share, "one", limits=self.limits)

    def other(self) -> Replica:
        return Replica(self.share, "other", clock=self.one.clock, limits=self.limits)

    async def create(self, length: int | None, replica: Replica | None = None) -> UploadId:
        replica = replica or self.one
        upload = new_upload_id(replica.service, VOLUME)
        target = Target(VOLUME, f"file {upload.key}")
        await create(replica.service, upload, Wanted(target, length, Order.SEQUENTIAL, Policy.REFUSE))
        await replica.rest()
        return upload

    async def send(self, upload: UploadId, offset: int, length: int, replica: Replica | None = None) -> Manifest:
        service = (replica or self.one).service
        done = await append(service, upload, Append(offset, length), ListedBody([bytes(length)]))
        await (replica or self.one).rest()
        return done.manifest


async def test_what_is_larger_than_what_is_free_is_refused_with_the_figures() -> None:
    bench = Bench(reserve=10 * KIB)
    bench.share.plant_file("somebody's", bytes(KIB))
    with pytest.raises(SpaceShort) as caught:
        await bench.create(ROOM - 10 * KIB)
    error = caught.value
    assert (error.size, error.free, error.owed, error.reserve) == (ROOM - 10 * KIB, ROOM - KIB, 0, 10 * KIB)
    assert str(error.size) in str(error)
    assert not [path for path in bench.share.tree() if path.endswith("info.json")]
    await bench.create(ROOM - 11 * KIB)


async def test_what_is_larger_than_the_volume_is_refused_for_good() -> None:
    bench = Bench(reserve=KIB)
    bench.share.plant_file("somebody's", b"1")
    with pytest.raises(VolumeTooSmall):
        await bench.create(ROOM - KIB + 1)
    with pytest.raises(SpaceShort):
        await bench.create(ROOM - KIB)


async def test_what_open_uploads_still_owe_is_not_free_for_others() -> None:
    bench = Bench()
    await bench.create(60 * KIB)
    with pytest.raises(SpaceShort) as caught:
        await bench.create(40 * KIB)
    assert caught.value.owed == 60 * KIB
    await bench.create(40 * KIB - SLACK)


async def test_progress_takes_from_what_is_free_and_from_what_is_owed_alike() -> None:
    bench = Bench()
    upload = await bench.create(60 * KIB)
    assert await reap(bench.one.service, bench.one.volume)
    await bench.send(upload, 0, 50 * KIB)
    bench.one.clock.advance(SPACE_SECONDS)
    # 50 are used, 10 are owed: a figure that counted the 50 twice would leave nothing.
    await bench.create(40 * KIB - 2 * SLACK)


async def test_another_replicas_uploads_are_known_from_the_next_look_on() -> None:
    bench = Bench()
    other = bench.other()
    await bench.create(1, other)
    assert await reap(other.service, other.volume)
    await bench.create(60 * KIB)
    await bench.create(60 * KIB, other)  # not known yet, and not refused
    bench.one.clock.advance(BELIEVED_SECONDS)
    with pytest.raises(SpaceShort) as caught:
        await bench.create(60 * KIB, other)
    assert caught.value.owed == 120 * KIB + 1


async def test_nobody_is_refused_by_old_figures() -> None:
    bench = Bench()
    upload = await bench.create(60 * KIB)
    with pytest.raises(SpaceShort):
        await bench.create(60 * KIB)
    await terminate(bench.one.service, upload)
    with pytest.raises(SpaceShort):
        await bench.create(60 * KIB)  # the look is too young to be made again: a storm of creations reads nothing
    bench.one.clock.advance(BELIEVED_SECONDS)
    await bench.create(60 * KIB)


async def test_a_look_is_made_now_and_then_where_the_janitor_never_makes_one() -> None:
    bench = Bench()
    await bench.create(10 * KIB)
    assert bench.one.volume.ledger.since == {}, "the first creation made one"
    await bench.create(10 * KIB)
    assert len(bench.one.volume.ledger.since) == 1
    bench.one.clock.advance(LOOK_SECONDS)
    await bench.create(10 * KIB)
    assert bench.one.volume.ledger.since == {}


async def test_many_creations_ask_the_share_once_a_second_and_read_nothing_more() -> None:
    bench = Bench()
    await bench.create(1)
    bench.one.clock.advance(SPACE_SECONDS)
    bench.calls.clear()
    for _ in range(5):
        await bench.create(1)
    with_check = list(bench.calls)
    assert with_check.count("space") == 1
    assert with_check.count("read") == 0
    bare = Bench(reserve=None)
    await bare.create(1)
    bare.calls.clear()
    for _ in range(5):
        await bare.create(1)
    assert [call for call in with_check if call != "space"] == bare.calls


async def test_a_creation_that_fails_gives_its_room_back(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    await bench.create(1)

    def fail(manifest: Manifest) -> Manifest:
        raise ShareFault(operation="create", reason="EIO")

    with monkeypatch.context() as patched:
        patched.setattr(bench.one.volume.manifests, "create", fail)
        with pytest.raises(ShareFault):
            await bench.create(60 * KIB)
    assert bench.one.volume.ledger.since == {}, "an upload that never was is not kept in mind"
    await bench.create(60 * KIB)


async def test_a_length_that_is_told_late_is_looked_at_then() -> None:
    bench = Bench()
    upload = await bench.create(None)
    manifest = await bench.send(upload, 0, 30 * KIB)
    bench.one.clock.advance(BELIEVED_SECONDS)
    with pytest.raises(SpaceShort) as caught:
        await declare_length(bench.one.service, manifest, ROOM - 100)
    assert caught.value.size == 70 * KIB - 100, "what is there already needs no more room"
    assert (await declare_length(bench.one.service, manifest, 85 * KIB)).length == 85 * KIB
    with pytest.raises(SpaceShort) as caught:
        await bench.create(30 * KIB)
    assert caught.value.owed == 55 * KIB


async def test_a_file_without_a_byte_always_fits() -> None:
    bench = Bench(reserve=ROOM)
    bench.share.plant_file("somebody's", b"1")
    try:
        await bench.create(0)
    except PublishFailed:
        raise AssertionError("refused") from None


async def test_a_final_upload_is_refused_nowhere_and_where_it_does_not_fit_it_goes_on_when_there_is_room() -> None:
    bench = Bench()
    one = bench.one
    part = new_upload_id(one.service, VOLUME)
    wanted = Wanted(Target(VOLUME, part.key), 60 * KIB, Order.SEQUENTIAL, Policy.REFUSE, partial=True)
    await create(one.service, part, wanted)
    await bench.send(part, 0, 60 * KIB)
    final = new_upload_id(one.service, VOLUME)
    # This share copies; on one that clones it would have been done.
    wanted = Wanted(Target(VOLUME, "file"), None, Order.SEQUENTIAL, Policy.REFUSE)
    await concatenate(one.service, final, wanted, "final;x", (part, part))
    await one.rest()
    assert (await one.service.read(final)).phase is Phase.CLOSED
    assert bench.share.target_bytes("file") is None
    bench.share.capacity_bytes = 3 * ROOM
    assert await reap(one.service, one.volume)
    await one.rest()
    assert bench.share.target_bytes("file") == bytes(120 * KIB)


async def test_it_can_be_switched_off() -> None:
    bench = Bench(reserve=None)
    await bench.create(10 * ROOM)
    assert bench.one.volume.ledger.since == {}, "what nobody uses does not grow"


async def test_what_others_put_on_the_share_is_seen_a_second_later() -> None:
    bench = Bench()
    await bench.create(1)
    bench.share.plant_file("somebody's", bytes(60 * KIB))
    bench.one.clock.advance(SPACE_SECONDS)
    with pytest.raises(SpaceShort):
        await bench.create(60 * KIB)


async def test_a_share_that_does_not_tell_its_size_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()

    def fail() -> None:
        raise ShareFault(operation="space", reason="EIO")

    monkeypatch.setattr(bench.one.filesystem, "space", fail)
    await bench.create(10 * ROOM)
    unknown = Bench(capacity=0)
    unknown.share.make_room = lambda *args: None  # type: ignore[method-assign] # 0 of 0, and yet it stores
    await unknown.create(ROOM)


async def test_what_is_whole_or_has_ended_owes_nothing() -> None:
    bench = Bench()
    upload = await bench.create(10 * KIB)
    assert (await bench.send(upload, 0, 4 * KIB)).owed == 6 * KIB
    assert (await bench.send(upload, 4 * KIB, 6 * KIB)).phase is Phase.PUBLISHED
    gone = await bench.create(10 * KIB)
    await terminate(bench.one.service, gone)
    await space.look(bench.one.service, bench.one.volume)
    assert bench.one.volume.ledger.spare is not None
    free = bench.one.filesystem.space().free
    assert bench.one.volume.ledger.spare == free
