"""Records of creations that may be sent again: exclusive, durable, and gone with the upload they stand for."""

from dataclasses import replace

import pytest

from storage_proxy.core.errors import ShareFault
from storage_proxy.core.manifest import Manifest, Order, Phase, Policy, Repeat, UploadId
from storage_proxy.core.target import Target
from storage_proxy.store import layout
from storage_proxy.store.inspection import Inspection
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import VOLUME, Replica

NAME = "ab" * 32
REPEAT = Repeat(NAME, "cd" * 32)


def created(replica: Replica) -> Manifest:
    upload = UploadId(VOLUME, replica.service.entropy.token())
    manifest = Manifest(upload, 0, Phase.OPEN, 5, Order.ANY, Policy.REFUSE, Target(VOLUME, "file"), repeat=REPEAT)
    return replica.volume.manifests.create(manifest)


@pytest.fixture
def share() -> SimulatedShare:
    return SimulatedShare()


@pytest.fixture
def one(share: SimulatedShare) -> Replica:
    return Replica(share, "one")


@pytest.fixture
def two(share: SimulatedShare) -> Replica:
    return Replica(share, "two")


def test_the_record_tells_the_upload_as_it_was_created_also_when_it_has_gone_on(one: Replica, two: Replica) -> None:
    first = created(one)
    assert one.volume.repeats.claim(first)
    one.volume.manifests.change(first.upload.key, lambda manifest: replace(manifest, length=7))
    assert two.volume.repeats.find(NAME) == first


def test_who_comes_second_is_told_so_and_his_upload_changes_nothing(one: Replica, two: Replica) -> None:
    first, second = created(one), created(two)
    assert one.volume.repeats.claim(first)
    assert not two.volume.repeats.claim(second)
    two.volume.repeats.release(NAME, second.upload.key)
    found = two.volume.repeats.find(NAME)
    assert found is not None
    assert found.upload == first.upload, "only the upload that a record stands for takes it away"
    one.volume.repeats.release(NAME, first.upload.key)
    assert two.volume.repeats.find(NAME) is None
    assert two.volume.repeats.claim(second)


def test_what_a_replica_has_once_missed_it_finds_as_soon_as_it_is_there(one: Replica, two: Replica) -> None:
    assert one.volume.repeats.claim(created(one))
    one.volume.repeats.release(NAME, created(one).upload.key)
    other = "cd" * 32
    first = created(one)
    assert two.volume.repeats.find(other) is None
    one.filesystem.make_directory(layout.repeat_shard(other))
    assert two.volume.repeats.find(other) is None
    one.filesystem.link(layout.manifest(first.upload.key), layout.repeat(other))
    assert two.volume.repeats.find(other) == first


def test_a_claim_outlives_a_loss_of_power(share: SimulatedShare, one: Replica) -> None:
    first = created(one)
    assert one.volume.repeats.claim(first)
    share.lose_power(0)
    assert Replica(share, "after").volume.repeats.find(NAME) == first


def test_a_claim_for_an_upload_that_was_swept_meanwhile_fails(one: Replica) -> None:
    first = created(one)
    one.filesystem.remove(layout.manifest(first.upload.key))
    with pytest.raises(ShareFault):
        one.volume.repeats.claim(first)


def test_records_are_the_services_own_names_and_others_beside_them_are_not(share: SimulatedShare, one: Replica) -> None:
    assert one.volume.repeats.claim(created(one))
    inspection = Inspection(one.filesystem, one.volume.manifests)
    assert inspection.strange_names() == []
    share.plant_file(f"{layout.REPEATS}/stray", b"")
    share.plant_file(f"{layout.repeat_shard(NAME)}/stray", b"")
    assert inspection.strange_names() == [f"{layout.REPEATS}/stray", f"{layout.repeat_shard(NAME)}/stray"]
