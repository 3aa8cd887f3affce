"""The twin's own tricks: bad memory, loss of power, death, planted faults. What it shares with the real file system is
in the contract."""

from collections.abc import Callable

import pytest

from storage_proxy.core.errors import ShareFault, ShareFull
from storage_proxy.ports import DirectoryNotEmpty, Filesystem, LockTimeout, NameMissing, NameTaken, Region
from storage_proxy.testing.filesystem import ReplicaDead, SimulatedFilesystem, SimulatedShare


@pytest.fixture
def share() -> SimulatedShare:
    share = SimulatedShare()
    share.plant_directory("d")
    return share


@pytest.fixture
def a(share: SimulatedShare) -> SimulatedFilesystem:
    return SimulatedFilesystem(share, "a")


@pytest.fixture
def b(share: SimulatedShare) -> SimulatedFilesystem:
    return SimulatedFilesystem(share, "b")


def replace(filesystem: Filesystem, path: str, text: bytes) -> None:
    filesystem.create_durably(f"{path}.staged", text)
    filesystem.rename(f"{path}.staged", path)


# ---- memory ---------------------------------------------------------------------------------------------------------


def test_a_replaced_file_is_read_as_it_was_until_its_directory_is_refreshed(
    a: SimulatedFilesystem, b: SimulatedFilesystem
) -> None:
    a.create_durably("d/info", b"1")
    assert b.read("d/info") == b"1"
    replace(a, "d/info", b"2")
    assert (a.read("d/info"), b.read("d/info"), b.inspect("d/info").links) == (b"2", b"1", 0)
    b.refresh("d")
    assert b.read("d/info") == b"2"


def test_a_removed_file_is_still_there_for_who_saw_it(a: SimulatedFilesystem, b: SimulatedFilesystem) -> None:
    a.create_durably("d/info", b"1")
    b.inspect("d/info")
    a.remove("d/info")
    assert b.read_at("d/info", 0, 10) == b"1"
    assert b.list("d") == []
    with pytest.raises(NameMissing):
        b.read_at("d/info", 0, 10)


def test_what_was_seen_as_missing_stays_missing_until_a_refresh(a: SimulatedFilesystem, b: SimulatedFilesystem) -> None:
    with pytest.raises(NameMissing):
        b.read("d/info")
    a.create_durably("d/info", b"1")
    with pytest.raises(NameMissing):
        b.read("d/info")
    b.refresh("d")
    assert b.read("d/info") == b"1"


def test_a_directory_that_was_seen_as_missing_is_found_by_refreshing_it(
    a: SimulatedFilesystem, b: SimulatedFilesystem
) -> None:
    with pytest.raises(NameMissing):
        b.read("d/ab/info")
    a.make_directory("d/ab")
    a.create_durably("d/ab/info", b"1")
    with pytest.raises(NameMissing):
        b.read("d/ab/info")
    b.refresh("d/ab")
    assert b.read("d/ab/info") == b"1"


def test_a_directory_that_was_made_anew_is_not_taken_for_the_old_one(
    a: SimulatedFilesystem, b: SimulatedFilesystem
) -> None:
    a.make_directory("d/ab")
    a.create_durably("d/ab/info", b"1")
    b.read("d/ab/info")
    a.remove("d/ab/info")
    a.remove_directory("d/ab")
    a.make_directory("d/ab")
    a.create_durably("d/ab/info", b"2")
    assert b.read("d/ab/info") == b"2"


def test_a_refresh_of_another_directory_is_none_of_this(a: SimulatedFilesystem, b: SimulatedFilesystem) -> None:
    a.make_directory("d/ab")
    a.create_durably("d/info", b"1")
    b.read("d/info")
    replace(a, "d/info", b"2")
    b.refresh("d/ab")
    assert b.read("d/info") == b"1"


def test_a_replica_remembers_what_it_did_itself(a: SimulatedFilesystem, b: SimulatedFilesystem) -> None:
    a.create_durably("d/info", b"1")
    replace(b, "d/info", b"2")
    assert b.read("d/info") == b"2"
    assert a.read("d/info") == b"1"


def test_a_name_that_proved_to_be_taken_is_looked_up_anew(a: SimulatedFilesystem, b: SimulatedFilesystem) -> None:
    with pytest.raises(NameMissing):
        b.read("d/info")
    a.create_durably("d/info", b"1")
    with pytest.raises(NameTaken):
        b.create_durably("d/info", b"2")
    assert b.read("d/info") == b"1"


def test_without_caches_everything_is_seen_at_once() -> None:
    share = SimulatedShare(caches=False)
    a, b = SimulatedFilesystem(share, "a"), SimulatedFilesystem(share, "b")
    with pytest.raises(NameMissing):
        b.read("info")
    a.create_durably("info", b"1")
    assert b.read("info") == b"1"
    replace(a, "info", b"2")
    assert b.read("info") == b"2"
    a.stage("chunk").write([b"not synced"])
    assert b.read("chunk") == b"not synced"


def test_what_another_replica_has_not_synced_is_not_seen(a: SimulatedFilesystem, b: SimulatedFilesystem) -> None:
    staged = a.stage("d/chunk")
    staged.write([b"synced"])
    staged.sync()
    staged.write([b" and not"])
    assert (a.read("d/chunk"), b.read("d/chunk")) == (b"synced and not", b"synced")
    assert (a.inspect("d/chunk").size, b.inspect("d/chunk").size) == (14, 6)
    b.create_durably("d/from", b"SYN")
    b.copy("d/from", 0, "d/chunk", 0, 3)
    assert (a.read("d/chunk"), b.read("d/chunk")) == (b"synced and not", b"SYNced")
    b.sync("d/chunk")
    assert (a.read("d/chunk"), b.read("d/chunk")) == (b"SYNced and not", b"SYNced")


def test_an_open_file_that_its_replica_removes_keeps_its_directory(
    share: SimulatedShare, a: SimulatedFilesystem
) -> None:
    a.make_directory("d/ab")
    staged = a.stage("d/ab/chunk")
    a.remove("d/ab/chunk")
    assert [name[:4] for name in a.list("d/ab")] == [".nfs"]
    with pytest.raises(DirectoryNotEmpty):
        a.remove_directory("d/ab")
    staged.close()
    a.remove_directory("d/ab")
    assert share.directories() == {"d"}


def test_an_open_file_that_its_replica_replaces_keeps_its_directory(a: SimulatedFilesystem) -> None:
    staged = a.stage("d/chunk")
    a.create_durably("d/other", b"")
    a.rename("d/other", "d/chunk")
    assert len(a.list("d")) == 2
    staged.close()
    assert a.list("d") == ["chunk"]


# ---- loss of power --------------------------------------------------------------------------------------------------


def after_loss(share: SimulatedShare, keep: int | None, torn: bool = False) -> SimulatedFilesystem:
    share.lose_power(keep, torn=torn)
    return SimulatedFilesystem(share, "later")


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (0, {"d/info": b"1"}),
        (1, {"d/info": b"1", "d/staged": b"2"}),
        (2, {"d/info": b"1", "d/staged": b"2", "d/fence": b"2"}),
        (3, {"d/info": b"2", "d/fence": b"2"}),
        (4, {"d/info": b"2"}),
        (None, {"d/info": b"2"}),
    ],
)
def test_of_the_names_that_were_not_synced_only_the_latest_are_lost(
    share: SimulatedShare, a: SimulatedFilesystem, keep: int | None, left: dict[str, bytes]
) -> None:
    a.create_durably("d/info", b"1")
    a.sync_directory("d")
    a.create_durably("d/staged", b"2")
    a.link("d/staged", "d/fence")
    a.rename("d/staged", "d/info")
    a.remove("d/fence")
    assert share.undurable == 4
    later = after_loss(share, keep)
    assert share.tree() == left
    assert {f"d/{name}": later.read(f"d/{name}") for name in later.list("d")} == left


def test_names_that_were_synced_outlive_every_loss(share: SimulatedShare, a: SimulatedFilesystem) -> None:
    a.make_directory("d/ab")
    a.create_durably("d/ab/info", b"1")
    a.sync_directory("d/ab")
    for _ in range(2):
        after_loss(share, 0)
        assert share.tree() == {"d/ab/info": b"1"}


@pytest.mark.parametrize("verb", ["link_target", "rename_target"])
def test_a_target_is_lost_with_its_directories_until_it_is_synced(
    share: SimulatedShare, a: SimulatedFilesystem, verb: str
) -> None:
    a.create_durably("d/done", b"finished")
    a.sync_directory("d")
    getattr(a, verb)("d/done", "folder/deep/report")
    after_loss(share, 0)
    assert (share.tree(), share.directories()) == ({"d/done": b"finished"}, {"d"})

    again = SimulatedFilesystem(share, "again")
    getattr(again, verb)("d/done", "folder/deep/report")
    again.sync_target("folder/deep/report")
    after_loss(share, 0)
    assert share.target_bytes("folder/deep/report") == b"finished"


def test_links_are_counted_right_after_a_loss(share: SimulatedShare, a: SimulatedFilesystem) -> None:
    a.create_durably("d/one", b"1")
    a.sync_directory("d")
    a.link("d/one", "d/two")
    a.remove("d/one")
    later = after_loss(share, 0)
    assert later.inspect("d/one").links == 1


def test_bytes_that_were_not_synced_are_lost(share: SimulatedShare, a: SimulatedFilesystem) -> None:
    staged = a.stage("d/chunk")
    staged.write([b"synced"])
    staged.sync()
    staged.write([b" and not"])
    after_loss(share, None)
    assert share.tree() == {"d/chunk": b"synced"}


def test_a_copy_is_lost_until_this_replica_syncs_it(
    share: SimulatedShare, a: SimulatedFilesystem, b: SimulatedFilesystem
) -> None:
    a.create_durably("d/from", b"0123456789")
    a.create_durably("d/to", b"ab")
    a.sync_directory("d")
    a.copy("d/from", 2, "d/to", 2, 4)
    b.sync("d/to")
    b.copy("d/from", 6, "d/to", 6, 2)
    b.sync("d/to")
    after_loss(share, 0)
    # B's sync covers what B wrote; where A's bytes were to be, nothing was ever written.
    assert share.tree()["d/to"] == b"ab\0\0\0\0" + b"67"


def test_torn_files_differ_from_seed_to_seed_and_never_in_what_was_synced() -> None:
    fates = set()
    for seed in range(60):
        share = SimulatedShare(seed)
        a = SimulatedFilesystem(share, "a")
        staged = a.stage("chunk")
        staged.write([b"synced"])
        staged.sync()
        staged.write([b"XYZ"])
        share.lose_power(None, torn=True)
        fates.add(share.tree()["chunk"])
    assert {b"synced", b"syncedX", b"syncedXY", b"syncedXYZ", b"synced\0\0\0"} == fates


def test_a_server_that_fails_alone_leaves_no_promise_to_who_had_not_synced(
    share: SimulatedShare, a: SimulatedFilesystem, b: SimulatedFilesystem
) -> None:
    staged = a.stage("d/chunk")
    a.lock("d/lock", Region.MANIFEST, 0)
    staged.write([b"text"])
    share.lose_power(None, replicas_die=False)
    with pytest.raises(ShareFault):
        staged.sync()
    b.lock("d/lock", Region.MANIFEST, 0).release()
    assert a.list("d") == ["chunk", "lock"]


# ---- death ----------------------------------------------------------------------------------------------------------


def test_the_dead_do_nothing_more(a: SimulatedFilesystem) -> None:
    staged = a.stage("d/chunk")
    held = a.lock("d/lock", Region.MANIFEST, 0)
    a.die()
    for call in (lambda: a.list("d"), lambda: staged.write([b"late"]), held.release, lambda: a.remove("d/lock")):
        with pytest.raises(ReplicaDead):
            call()
    staged.close()


def test_a_kill_gives_locks_back_and_keeps_what_was_written(
    share: SimulatedShare, a: SimulatedFilesystem, b: SimulatedFilesystem
) -> None:
    staged = a.stage("d/chunk")
    a.lock("d/lock", Region.MANIFEST, 0)
    staged.write([b"text"])
    a.die()
    b.lock("d/lock", Region.MANIFEST, 0).release()
    assert b.read("d/chunk") == b"text"
    after_loss(share, None)
    assert share.tree()["d/chunk"] == b""


def test_a_hook_may_kill_a_replica_in_any_call(
    share: SimulatedShare, a: SimulatedFilesystem, b: SimulatedFilesystem
) -> None:
    def kill(replica: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "create_durably":
            raise ReplicaDead(replica)

    share.before_call = kill
    with pytest.raises(ReplicaDead), a.lock("d/lock", Region.MANIFEST, 0):
        a.create_durably("d/info", b"1")
    share.before_call = None
    assert a.dead
    b.lock("d/lock", Region.MANIFEST, 0).release()
    assert b.list("d") == ["lock"]


# ---- planted faults -------------------------------------------------------------------------------------------------


def raising(fault: Exception, of: str) -> Callable[[str, str, tuple[str, ...]], None]:
    def hook(replica: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == of:
            raise fault

    return hook


FAULT = ShareFault(operation="any", reason="planted")


async def everything(fs: SimulatedFilesystem) -> None:
    fs.make_directory("e")
    fs.refresh("e")
    fs.create_durably("e/one", b"text")
    fs.link("e/one", "e/two")
    fs.rename("e/two", "e/three")
    fs.inspect("e/one")
    fs.read("e/one")
    fs.read_at("e/one", 0, 1)
    staged = fs.stage("e/chunk")
    staged.write([b"more"])
    staged.sync()
    staged.close()
    fs.copy("e/one", 0, "e/chunk", 0, 4)
    fs.sync("e/chunk")
    fs.lock("e/lock", Region.MANIFEST, 0).release()
    fs.link_target("e/one", "t/one")
    fs.rename_target("e/chunk", "t/chunk")
    fs.sync_target("t/one")
    inode = fs.inspect_target("t/one").inode
    fs.read_target_at("t/one", inode, 0, 1)
    opened = await fs.open_target("t/one")
    assert [piece async for piece in opened.read(1, 2)] == [b"ex"]
    await opened.close()
    fs.share_time("e")
    fs.space()
    for name in fs.list("e"):
        fs.remove(f"e/{name}")
    fs.sync_directory("e")
    fs.remove_directory("e")


async def test_every_call_is_counted_and_passes_both_hooks(share: SimulatedShare, a: SimulatedFilesystem) -> None:
    before: list[str] = []
    after: list[str] = []
    share.before_call = lambda replica, operation, paths: before.append(operation)
    share.after_call = lambda replica, operation, paths: after.append(operation)
    await everything(a)
    assert before == after
    assert share.calls == len(before)
    port = {name for name in dir(Filesystem) if not name.startswith("_")}
    assert set(before) == port | {"staged.write", "staged.sync", "staged.close", "lock.release", "target.read"}


def test_a_fault_before_a_call_leaves_everything_as_it_was(share: SimulatedShare, a: SimulatedFilesystem) -> None:
    a.create_durably("d/one", b"1")
    before = share.tree()
    share.before_call = raising(FAULT, "rename")
    with pytest.raises(ShareFault):
        a.rename("d/one", "d/two")
    assert share.tree() == before


def test_a_lost_answer_leaves_it_done(share: SimulatedShare, a: SimulatedFilesystem) -> None:
    a.create_durably("d/one", b"1")
    share.after_call = raising(NameMissing("d/one"), "rename")
    with pytest.raises(NameMissing):
        a.rename("d/one", "d/two")
    assert share.tree() == {"d/two": b"1"}


def test_a_repeated_link_says_taken_although_it_is_ours(share: SimulatedShare, a: SimulatedFilesystem) -> None:
    a.create_durably("d/one", b"1")
    share.repeat_links = True
    with pytest.raises(NameTaken):
        a.link("d/one", "d/two")
    with pytest.raises(NameTaken):
        a.link_target("d/one", "report")
    assert a.inspect("d/one").links == 3


def test_after_a_sync_that_failed_nothing_is_promised(share: SimulatedShare, a: SimulatedFilesystem) -> None:
    staged = a.stage("d/chunk")
    staged.write([b"synced"])
    staged.sync()
    staged.write([b" and not"])
    share.before_call = raising(FAULT, "staged.sync")
    with pytest.raises(ShareFault):
        staged.sync()
    share.before_call = None
    with pytest.raises(ShareFault, match="earlier write or sync"):
        staged.sync()
    a.sync("d/chunk")
    after_loss(share, None)
    assert share.tree() == {"d/chunk": b"synced"}


def test_a_write_that_failed_may_have_told_of_what_earlier_ones_had_written(
    share: SimulatedShare, a: SimulatedFilesystem
) -> None:
    staged = a.stage("d/chunk")
    staged.write([b"synced"])
    staged.sync()
    staged.write([b" and not"])
    share.before_call = raising(FAULT, "staged.write")
    with pytest.raises(ShareFault):
        staged.write([b" at all"])
    share.before_call = None
    with pytest.raises(ShareFault, match="earlier write or sync"):
        staged.sync()
    assert share.tree() == {"d/chunk": b"synced"}


def test_a_copy_whose_sync_failed_must_be_copied_again(share: SimulatedShare, a: SimulatedFilesystem) -> None:
    a.create_durably("d/from", b"text")
    a.create_durably("d/to", b"")
    a.copy("d/from", 0, "d/to", 0, 4)
    share.before_call = raising(FAULT, "sync")
    with pytest.raises(ShareFault):
        a.sync("d/to")
    share.before_call = None
    a.sync("d/to")
    assert a.read("d/to") == b""
    a.copy("d/from", 0, "d/to", 0, 4)
    a.sync("d/to")
    after_loss(share, None)
    assert share.tree()["d/to"] == b"text"


def test_closing_and_giving_back_are_never_refused(
    share: SimulatedShare, a: SimulatedFilesystem, b: SimulatedFilesystem
) -> None:
    for operation in ("staged.close", "lock.release"):
        share.before_call = raising(FAULT, operation)
        staged, held = a.stage(f"d/{operation}"), a.lock("d/lock", Region.MANIFEST, 0)
        staged.close()
        held.release()
        share.before_call = None
        with pytest.raises(ShareFault):
            staged.write([b"late"])
        b.lock("d/lock", Region.MANIFEST, 0).release()


def test_a_full_share_refuses_what_would_not_fit_and_takes_what_does(
    share: SimulatedShare, a: SimulatedFilesystem
) -> None:
    share.capacity_bytes = 10
    a.create_durably("d/one", b"1234")
    staged = a.stage("d/chunk")
    staged.write([b"56", b"78"])
    staged.sync()
    with pytest.raises(ShareFull):
        staged.write([b"901"])
    with pytest.raises(ShareFull):
        a.create_durably("d/two", b"901")
    with pytest.raises(ShareFull):
        a.copy("d/chunk", 0, "d/one", 4, 3)
    assert a.copy("d/chunk", 0, "d/one", 0, 4) == 4
    assert (a.space().total, a.space().free) == (10, 2)
    assert share.tree() == {"d/one": b"5678", "d/chunk": b"5678"}
    a.remove("d/one")
    staged.write([b"901"])
    staged.close()
    assert share.tree() == {"d/chunk": b"5678901"}


# ---- locks and time -------------------------------------------------------------------------------------------------


def test_a_broken_lease_is_told_to_nobody(
    share: SimulatedShare, a: SimulatedFilesystem, b: SimulatedFilesystem
) -> None:
    lost = a.lock("d/lock", Region.MANIFEST, 0)
    share.break_locks()
    with b.lock("d/lock", Region.MANIFEST, 0):
        lost.release()
        with pytest.raises(LockTimeout):
            a.lock("d/lock", Region.MANIFEST, 0)


def test_who_waits_for_a_lock_lets_others_run(
    share: SimulatedShare, a: SimulatedFilesystem, b: SimulatedFilesystem
) -> None:
    held = a.lock("d/lock", Region.MANIFEST, 0)
    waited: list[tuple[str, str]] = []

    def run_others(replica: str, path: str) -> bool:
        waited.append((replica, path))
        if len(waited) == 2:
            held.release()
        return len(waited) < 10

    share.on_wait = run_others
    with b.lock("d/lock", Region.MANIFEST, 5.0), pytest.raises(LockTimeout):
        a.lock("d/lock", Region.MANIFEST, 5.0)
    assert waited == [("b", "d/lock")] * 2 + [("a", "d/lock")] * 8
    share.on_wait = None
    with a.lock("d/lock", Region.MANIFEST, 0), pytest.raises(LockTimeout):
        b.lock("d/lock", Region.MANIFEST, 5.0)


def test_a_lock_file_made_anew_is_another_lock(a: SimulatedFilesystem, b: SimulatedFilesystem) -> None:
    with a.lock("d/lock", Region.MANIFEST, 0):
        b.remove("d/lock")
        b.lock("d/lock", Region.MANIFEST, 0).release()


def test_the_shares_clock_is_moved_by_hand(share: SimulatedShare, a: SimulatedFilesystem) -> None:
    a.create_durably("d/one", b"1")
    share.advance(100.0)
    staged = a.stage("d/two")
    assert a.share_time("d") - a.inspect("d/one").modified == 100.0
    share.advance(1.0)
    staged.write([b"text"])
    assert a.share_time("d") == a.inspect("d/two").modified
