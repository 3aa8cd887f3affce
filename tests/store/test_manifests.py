"""The door to info.json when locks, names and other writers are not as hoped. (The rest: `simulation`.)"""

from dataclasses import replace

import pytest

from storage_proxy.core.errors import ManifestTooNew, ShareFault, UploadNotFound
from storage_proxy.core.manifest import Chunk, Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.ports import NameTaken, Region
from storage_proxy.store import info_json, layout
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import VOLUME, Replica

KEY = "cd" * 16
FIRST = Manifest(UploadId(VOLUME, KEY), 0, Phase.OPEN, 10, Order.ANY, Policy.REFUSE, Target(VOLUME, "file"))


def named(name: str) -> Manifest:
    return replace(FIRST, metadata=name)


@pytest.fixture
def share() -> SimulatedShare:
    return SimulatedShare()


@pytest.fixture
def replica(share: SimulatedShare) -> Replica:
    return Replica(share, "one")


def test_a_lock_whose_holder_never_lets_go_holds_nobody_up_for_ever(share: SimulatedShare, replica: Replica) -> None:
    replica.volume.manifests.create(FIRST)
    stuck = Replica(share, "stuck")
    stuck.filesystem.lock(layout.lock(KEY), Region.MANIFEST, 0)
    change = replica.volume.manifests.change(KEY, lambda manifest: replace(manifest, metadata="b"))
    assert (change.after.metadata, change.after.revision) == ("b", 2)


def test_an_upload_that_is_not_there_is_not_found_and_nothing_is_made(share: SimulatedShare, replica: Replica) -> None:
    with pytest.raises(UploadNotFound):
        replica.volume.manifests.read(KEY)
    with pytest.raises(UploadNotFound):
        replica.volume.manifests.change(KEY, lambda manifest: replace(manifest, metadata="b"))
    assert share.tree() == {}


def test_a_new_name_that_the_share_says_is_taken_is_tried_under_another(
    share: SimulatedShare, replica: Replica
) -> None:
    """Over NFS an exclusive creation may be repeated, and the repetition finds what the first one made."""
    answers = 0

    def lose_the_first_answer(name: str, operation: str, paths: tuple[str, ...]) -> None:
        nonlocal answers
        if operation == "create_durably" and answers == 0:
            answers += 1
            raise NameTaken(paths[0])

    share.after_call = lose_the_first_answer
    replica.volume.manifests.create(FIRST)
    answers = 0
    replica.volume.manifests.change(KEY, lambda manifest: replace(manifest, metadata="b"))
    assert answers == 1
    assert replica.volume.manifests.read(KEY).metadata == "b"


def test_a_share_that_calls_every_name_taken_is_a_fault_of_the_share(share: SimulatedShare, replica: Replica) -> None:
    def always(name: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "create_durably":
            raise NameTaken(paths[0])

    share.before_call = always
    with pytest.raises(ShareFault):
        replica.volume.manifests.create(FIRST)


def test_a_newer_replicas_manifest_is_neither_read_nor_changed(share: SimulatedShare, replica: Replica) -> None:
    replica.volume.manifests.create(FIRST)
    text = share.tree()[layout.manifest(KEY)].replace(b'"schema":1', b'"schema":9')
    share.unplant(layout.manifest(KEY))
    share.plant_file(layout.manifest(KEY), text)
    fresh = Replica(share, "fresh")
    with pytest.raises(ManifestTooNew):
        fresh.volume.manifests.change(KEY, lambda manifest: replace(manifest, metadata="b"))
    assert share.tree()[layout.manifest(KEY)] == text


@pytest.mark.parametrize("pieces", [1, 1000])
def test_a_text_that_stands_still_is_parsed_once_however_many_pieces_it_tells_of(
    share: SimulatedShare, replica: Replica, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    """A commit reads it three times; with thousands of pieces parsing is what a request is made of."""
    parsed, parse = list[int](), info_json.parse

    def counting(text: bytes, upload: UploadId) -> Manifest:
        parsed.append(len(text))
        return parse(text, upload)

    monkeypatch.setattr(info_json, "parse", counting)
    chunks = tuple(
        Chunk(2 * number, 1, "0" * 64, f"chunk_{2 * number}.{number:032x}.dat", True) for number in range(pieces)
    )
    replica.volume.manifests.create(replace(FIRST, length=None, metadata=str(pieces), chunks=chunks))
    for _ in range(3):
        assert replica.volume.manifests.read(KEY).chunks == chunks
    assert len(parsed) == 1
