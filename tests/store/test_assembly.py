"""Publishing, step by step: what must have happened before what. (What dies when: `simulation`.)"""

from collections.abc import Iterator
from functools import partial

import pytest

from storage_proxy.core import transitions
from storage_proxy.core.errors import ShareFault
from storage_proxy.core.manifest import Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.core.transitions import Stamp
from storage_proxy.ports import NameRefused
from storage_proxy.store import layout
from storage_proxy.testing.filesystem import ReplicaDead, SimulatedShare
from storage_proxy.testing.replicas import VOLUME, Replica

CONTENT = b"the whole file"
STAMP = Stamp(now=1.0, expires_at=2.0)
POLICIES = pytest.mark.parametrize("policy", Policy)


def closed(replica: Replica, policy: Policy) -> str:
    """An upload whose bytes are all promised, and in one file."""
    key = replica.service.entropy.token()
    target = Target(VOLUME, "folder/file.bin")
    replica.volume.manifests.create(
        Manifest(UploadId(VOLUME, key), 0, Phase.OPEN, len(CONTENT), Order.SEQUENTIAL, policy, target)
    )
    for offset, piece in ((5, CONTENT[5:]), (0, CONTENT[:5])):
        staged = replica.volume.chunks.stage(key, offset)
        staged.write([piece])
        replica.volume.chunks.promise(key, staged, staged.snapshot(sealed=True), STAMP)
    while (folded := replica.volume.assembly.fold(key)).more:
        pass
    assert folded.manifest.phase is Phase.CLOSED
    return key


def data_files(share: SimulatedShare) -> list[str]:
    names = (path.rpartition("/")[2] for path in share.tree())
    return [name for name in names if layout.kind_of(name) in (layout.Kind.CHUNK, layout.Kind.ASSEMBLY)]


@pytest.fixture
def share() -> SimulatedShare:
    return SimulatedShare()


@pytest.fixture
def replica(share: SimulatedShare) -> Replica:
    return Replica(share, "one")


@pytest.fixture
def calls(share: SimulatedShare) -> Iterator[list[tuple[str, tuple[str, ...]]]]:
    seen: list[tuple[str, tuple[str, ...]]] = []
    share.after_call = lambda replica, operation, paths: seen.append((operation, paths))
    yield seen
    share.after_call = None


@POLICIES
def test_the_target_is_touched_after_the_announcement_and_recorded_after_its_sync(
    replica: Replica, calls: list[tuple[str, tuple[str, ...]]], policy: Policy
) -> None:
    key = closed(replica, policy)
    calls.clear()
    assert replica.volume.assembly.publish(key, STAMP).phase is Phase.PUBLISHED
    order = [operation for operation, _ in calls]
    placed = order.index("rename_target" if policy is Policy.REPLACE else "link_target")
    installed = [place for place, operation in enumerate(order) if operation == "rename"]
    assert installed[0] < placed < order.index("sync_target") < installed[1]


@POLICIES
def test_once_published_is_recorded_no_name_is_left_to_publish_again(
    share: SimulatedShare, replica: Replica, policy: Policy
) -> None:
    """A replica that wakes late with the old manifest in mind must find nothing to link."""
    key = closed(replica, policy)
    left: list[list[str]] = []
    target_stands: list[bool] = []

    def watch(replica: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "rename":
            left.append(data_files(share))
            target_stands.append(share.target_bytes("folder/file.bin") == CONTENT)

    share.before_call = watch
    replica.volume.assembly.publish(key, STAMP)
    assert target_stands == [False, True], "announced, then recorded"
    assert left[-1] == []


@POLICIES
def test_a_replica_that_stops_before_its_link_publishes_nothing_again_when_it_wakes(
    share: SimulatedShare, replica: Replica, policy: Policy
) -> None:
    key = closed(replica, policy)
    other = Replica(share, "other")
    stopped = False

    def stop_the_first(name: str, operation: str, paths: tuple[str, ...]) -> None:
        nonlocal stopped
        if name == "one" and operation in ("link_target", "rename_target") and not stopped:
            stopped = True
            assert other.volume.assembly.publish(key, STAMP).phase is Phase.PUBLISHED
            share.unplant("folder/file.bin")  # its owner takes it away

    share.before_call = stop_the_first
    assert replica.volume.assembly.publish(key, STAMP).phase is Phase.PUBLISHED
    assert stopped
    assert share.target_bytes("folder/file.bin") is None


def test_keeping_both_takes_the_next_free_name(share: SimulatedShare, replica: Replica) -> None:
    share.plant_file("folder/file.bin", b"theirs")
    share.plant_file("folder/file (1).bin", b"theirs too")
    after = replica.volume.assembly.publish(closed(replica, Policy.KEEP_BOTH), STAMP)
    assert after.publication is not None
    assert after.publication.path == "folder/file (2).bin"
    assert share.target_bytes("folder/file.bin") == b"theirs"
    assert share.target_bytes("folder/file (2).bin") == CONTENT


@pytest.mark.parametrize("taken", [1, 2, 3, 4, 7, 8, 120])
def test_however_many_names_are_taken_the_free_one_is_announced_once(
    share: SimulatedShare, replica: Replica, taken: int
) -> None:
    target = Target(VOLUME, "folder/file.bin")
    for number in range(taken):
        share.plant_file(target.numbered(number).path, b"theirs")
    key = closed(replica, Policy.KEEP_BOTH)
    order: list[str] = []
    share.before_call = lambda replica, operation, paths: order.append(operation)
    after = replica.volume.assembly.publish(key, STAMP)
    assert after.publication is not None
    assert after.publication.path == target.numbered(taken).path
    assert share.target_bytes(after.publication.path) == CONTENT
    assert order.count("rename") == 3, "announced, announced under the free name, published"
    assert order.count("link_target") == 2
    # One to see whose file has the name, one for the number that is free, and some to find that.
    assert order.count("inspect_target") <= 2 + 2 * (taken - 1).bit_length()


def test_a_name_that_is_taken_between_the_look_and_the_link_is_passed_by(
    share: SimulatedShare, replica: Replica
) -> None:
    share.plant_file("folder/file.bin", b"theirs")
    key = closed(replica, Policy.KEEP_BOTH)

    def come_first(name: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "link_target" and paths[1] in ("folder/file (1).bin", "folder/file (2).bin"):
            share.plant_file(paths[1], b"theirs too")

    share.before_call = come_first
    after = replica.volume.assembly.publish(key, STAMP)
    assert after.publication is not None
    assert after.publication.path == "folder/file (3).bin"
    assert share.target_bytes("folder/file (2).bin") == b"theirs too"
    assert share.target_bytes("folder/file (3).bin") == CONTENT


def test_a_replica_that_looks_for_a_name_while_another_publishes_and_dies_publishes_no_second_file(
    share: SimulatedShare, replica: Replica
) -> None:
    share.plant_file("folder/file.bin", b"theirs")
    key = closed(replica, Policy.KEEP_BOTH)
    other = Replica(share, "other")
    looked = False

    def publish_and_die(name: str, operation: str, paths: tuple[str, ...]) -> None:
        nonlocal looked
        if name == "other" and operation == "sync_target":
            raise ReplicaDead(name)
        if name == "one" and (operation, paths) == ("inspect_target", ("folder/file (1).bin",)) and not looked:
            looked = True
            with pytest.raises(ReplicaDead):
                other.volume.assembly.publish(key, STAMP)

    share.before_call = publish_and_die
    after = replica.volume.assembly.publish(key, STAMP)
    assert looked
    assert after.phase is Phase.PUBLISHED
    assert after.publication is not None
    assert after.publication.path == "folder/file (1).bin"
    files = {path: text for path, text in share.tree().items() if not path.startswith(layout.ROOT)}
    assert files == {"folder/file.bin": b"theirs", "folder/file (1).bin": CONTENT}


def test_refusing_keeps_the_bytes_and_says_why(share: SimulatedShare, replica: Replica) -> None:
    share.plant_file("folder/file.bin", b"theirs")
    after = replica.volume.assembly.publish(closed(replica, Policy.REFUSE), STAMP)
    assert (after.phase, after.reason) == (Phase.FAILED, "a file 'folder/file.bin' exists already")
    assert len(data_files(share)) == 1
    assert share.target_bytes("folder/file.bin") == b"theirs"


@POLICIES
def test_a_planted_link_is_never_followed(share: SimulatedShare, replica: Replica, policy: Policy) -> None:
    share.plant_directory("elsewhere")
    share.plant_link("folder", "elsewhere")
    after = replica.volume.assembly.publish(closed(replica, policy), STAMP)
    assert after.phase is Phase.FAILED
    assert "symbolic link" in (after.reason or "")
    assert not [path for path in share.tree() if path.startswith("elsewhere/")]


@POLICIES
def test_a_name_that_the_share_never_takes_fails_the_upload_and_says_what_to_do(
    share: SimulatedShare, replica: Replica, policy: Policy
) -> None:
    """Tried again and again it would neither end nor let itself be ended."""
    key = closed(replica, policy)

    def refuse(name: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation in ("link_target", "rename_target"):
            raise NameRefused("Invalid cross-device link")

    share.before_call = refuse
    after = replica.volume.assembly.publish(key, STAMP)
    assert (after.phase, after.reason) == (
        Phase.FAILED,
        "the share takes no name 'folder/file.bin' (Invalid cross-device link); send the file under another one, or "
        "change the share and finish the upload",
    )
    assert len(data_files(share)) == 1, "its bytes are kept"
    share.before_call = None
    replica.volume.manifests.change(key, partial(transitions.retry, stamp=STAMP))
    assert replica.volume.assembly.publish(key, STAMP).phase is Phase.PUBLISHED


@POLICIES
@pytest.mark.parametrize("reason", ["Permission denied", "Read-only file system"])
def test_what_is_mended_without_a_look_at_the_upload_is_tried_again(
    share: SimulatedShare, replica: Replica, policy: Policy, reason: str
) -> None:
    key = closed(replica, policy)

    def fail(name: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation in ("link_target", "rename_target"):
            raise ShareFault(operation="link", reason=reason)

    share.before_call = fail
    with pytest.raises(ShareFault):
        replica.volume.assembly.publish(key, STAMP)
    assert replica.volume.manifests.read(key).phase is Phase.PUBLISHING
    share.before_call = None
    assert replica.volume.assembly.publish(key, STAMP).phase is Phase.PUBLISHED


def test_an_upload_in_one_piece_is_closed_and_announced_in_one_step(share: SimulatedShare, replica: Replica) -> None:
    key = replica.service.entropy.token()
    target = Target(VOLUME, "file.bin")
    replica.volume.manifests.create(
        Manifest(UploadId(VOLUME, key), 0, Phase.OPEN, len(CONTENT), Order.SEQUENTIAL, Policy.KEEP_BOTH, target)
    )
    staged = replica.volume.chunks.stage(key, 0)
    staged.write([CONTENT])
    after = replica.volume.chunks.promise(key, staged, staged.snapshot(sealed=True), STAMP).after
    assert after.phase is Phase.PUBLISHING
    assert after.publication is not None
    assert after.publication.inode == staged.inode
    assert replica.volume.assembly.publish_announced(after, STAMP).after.phase is Phase.PUBLISHED
    assert share.target_bytes("file.bin") == CONTENT
