"""One suite for every `ports.Filesystem`: what one process can see of its promises.

Rules: a class per part of the port; each test is about one promise and holds for a real share and for the simulated
one alike. Who runs it gives a `volume` fixture. What only a crash shows is tested where crashes can be made.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from storage_proxy.core.errors import ShareFault, ShareFull
from storage_proxy.ports import (
    DirectoryNotEmpty,
    Filesystem,
    LinkInTheWay,
    LockTimeout,
    NameMissing,
    NameRefused,
    NameTaken,
    Region,
)


class Volume(Protocol):
    """A volume with the directory `.uploads`, and people who plant things in it."""

    @property
    def filesystem(self) -> Filesystem: ...

    def another(self) -> Filesystem:
        """The same volume, as another replica has it mounted."""
        ...

    def plant_file(self, path: str, text: bytes) -> None: ...
    def plant_directory(self, path: str) -> None: ...
    def plant_link(self, path: str, to: str) -> None: ...
    def plant_pipe(self, path: str) -> None: ...
    def unplant(self, path: str) -> None: ...
    def full(self) -> AbstractContextManager[None]:
        """Meanwhile no staged file takes another byte."""
        ...

    def outside(self) -> str:
        """A directory next to the volume, for planted links to lead to."""
        ...

    def is_untouched_outside(self) -> bool: ...


def stage(filesystem: Filesystem, path: str, *pieces: bytes) -> None:
    staged = filesystem.stage(path)
    staged.write(pieces)
    staged.sync()
    staged.close()


def at_once(count: int, act: Callable[[int], object]) -> list[object]:
    """What each of `count` threads came to, all let go at the same moment; an exception is a result."""
    gate = threading.Barrier(count)

    def run(number: int) -> object:
        gate.wait()
        try:
            return act(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


class NamesContract:
    def test_a_directory_is_made_once(self, volume: Volume) -> None:
        assert volume.filesystem.make_directory(".uploads/ab") is True
        assert volume.filesystem.make_directory(".uploads/ab") is False
        assert volume.filesystem.inspect(".uploads/ab").is_directory

    def test_of_many_who_make_a_directory_one_made_it(self, volume: Volume) -> None:
        made = at_once(16, lambda _: volume.filesystem.make_directory(".uploads/ab"))
        assert sorted(map(bool, made)) == [False] * 15 + [True]

    def test_a_directory_is_not_made_without_its_parent(self, volume: Volume) -> None:
        with pytest.raises(NameMissing):
            volume.filesystem.make_directory(".uploads/ab/cd")

    def test_what_is_created_can_be_read_and_inspected_and_listed(self, volume: Volume) -> None:
        fs = volume.filesystem
        fs.create_durably(".uploads/one", b"text")
        assert fs.read(".uploads/one") == b"text"
        entry = fs.inspect(".uploads/one")
        assert (entry.size, entry.links, entry.is_directory) == (4, 1, False)
        assert fs.list(".uploads") == ["one"]

    def test_an_empty_file_is_a_file(self, volume: Volume) -> None:
        volume.filesystem.create_durably(".uploads/empty", b"")
        assert volume.filesystem.read(".uploads/empty") == b""

    def test_creating_never_replaces(self, volume: Volume) -> None:
        volume.filesystem.create_durably(".uploads/one", b"first")
        with pytest.raises(NameTaken):
            volume.filesystem.create_durably(".uploads/one", b"second")
        assert volume.filesystem.read(".uploads/one") == b"first"

    def test_of_many_who_create_one_wins_and_its_text_stands(self, volume: Volume) -> None:
        texts = [bytes([number]) * 5000 for number in range(16)]
        results = at_once(16, lambda number: volume.filesystem.create_durably(".uploads/one", texts[number]))
        (winner,) = [number for number, result in enumerate(results) if result is None]
        assert all(isinstance(result, NameTaken) for result in results if result is not None)
        assert volume.filesystem.read(".uploads/one") == texts[winner]

    def test_a_link_is_a_second_name_of_the_same_file(self, volume: Volume) -> None:
        fs = volume.filesystem
        fs.create_durably(".uploads/one", b"text")
        fs.link(".uploads/one", ".uploads/two")
        assert fs.inspect(".uploads/one") == fs.inspect(".uploads/two")
        assert fs.inspect(".uploads/two").links == 2
        fs.remove(".uploads/one")
        assert fs.read(".uploads/two") == b"text"

    def test_of_many_links_to_one_name_one_wins(self, volume: Volume) -> None:
        for number in range(16):
            volume.filesystem.create_durably(f".uploads/source{number}", str(number).encode())
        mounts = [volume.another() for _ in range(16)]
        results = at_once(16, lambda number: mounts[number].link(f".uploads/source{number}", ".uploads/fence"))
        (winner,) = [number for number, result in enumerate(results) if result is None]
        assert all(isinstance(result, NameTaken) for result in results if result is not None)
        assert volume.filesystem.read(".uploads/fence") == str(winner).encode()

    def test_a_link_needs_its_source(self, volume: Volume) -> None:
        with pytest.raises(NameMissing):
            volume.filesystem.link(".uploads/none", ".uploads/two")

    def test_a_link_is_decided_by_the_share_though_the_source_was_seen_before(self, volume: Volume) -> None:
        fs, other = volume.filesystem, volume.another()
        fs.create_durably(".uploads/one", b"text")
        other.read(".uploads/one")
        fs.rename(".uploads/one", ".uploads/two")
        with pytest.raises(NameMissing):
            other.link(".uploads/one", ".uploads/three")

    def test_a_rename_replaces(self, volume: Volume) -> None:
        fs = volume.filesystem
        fs.create_durably(".uploads/old", b"old")
        fs.create_durably(".uploads/new", b"new")
        fs.rename(".uploads/new", ".uploads/old")
        assert fs.list(".uploads") == ["old"]
        assert fs.read(".uploads/old") == b"new"

    def test_a_rename_onto_another_name_of_the_same_file_does_nothing(self, volume: Volume) -> None:
        # POSIX says so; whoever means "and the old name is gone" has to remove it.
        fs = volume.filesystem
        fs.create_durably(".uploads/one", b"text")
        fs.link(".uploads/one", ".uploads/two")
        fs.rename(".uploads/one", ".uploads/two")
        assert sorted(fs.list(".uploads")) == ["one", "two"]

    def test_a_file_that_was_renamed_away_is_missing_for_the_next(self, volume: Volume) -> None:
        fs = volume.filesystem
        fs.create_durably(".uploads/one", b"text")
        fs.rename(".uploads/one", ".uploads/two")
        with pytest.raises(NameMissing):
            fs.rename(".uploads/one", ".uploads/three")

    def test_of_many_who_rename_one_file_one_wins(self, volume: Volume) -> None:
        volume.filesystem.create_durably(".uploads/one", b"text")
        results = at_once(16, lambda number: volume.filesystem.rename(".uploads/one", f".uploads/to{number}"))
        assert results.count(None) == 1
        assert sum(isinstance(result, NameMissing) for result in results) == 15

    def test_a_read_is_never_torn_while_renames_run(self, volume: Volume) -> None:
        fs = volume.filesystem
        texts = {bytes([letter]) * size for letter, size in ((65, 10), (66, 70_000), (67, 200_000))}
        fs.create_durably(".uploads/info", b"A" * 10)
        ended = threading.Event()
        seen: set[bytes] = set()

        def read() -> None:
            while not ended.is_set():
                seen.add(fs.read(".uploads/info"))

        with ThreadPoolExecutor(4) as threads:
            readers = [threads.submit(read) for _ in range(4)]
            try:
                for number in range(100):
                    for text in sorted(texts):
                        fs.create_durably(f".uploads/staged{number}", text)
                        fs.rename(f".uploads/staged{number}", ".uploads/info")
            finally:
                ended.set()
            for reader in readers:
                reader.result()
        assert seen
        assert seen <= texts

    def test_of_many_who_remove_one_file_one_did(self, volume: Volume) -> None:
        volume.filesystem.create_durably(".uploads/one", b"text")
        results = at_once(16, lambda _: volume.filesystem.remove(".uploads/one"))
        assert results.count(None) == 1
        assert sum(isinstance(result, NameMissing) for result in results) == 15

    def test_a_directory_with_something_in_it_is_not_removed(self, volume: Volume) -> None:
        fs = volume.filesystem
        fs.make_directory(".uploads/ab")
        fs.create_durably(".uploads/ab/one", b"text")
        with pytest.raises(DirectoryNotEmpty):
            fs.remove_directory(".uploads/ab")
        fs.remove(".uploads/ab/one")
        fs.remove_directory(".uploads/ab")
        with pytest.raises(NameMissing):
            fs.remove_directory(".uploads/ab")

    @pytest.mark.parametrize("call", ["refresh", "list", "sync_directory", "inspect", "read", "remove", "share_time"])
    @pytest.mark.parametrize("path", [".uploads/none", ".uploads/none/none", ".uploads/file/none"])
    def test_what_is_not_there_is_said_to_be_missing(self, volume: Volume, call: str, path: str) -> None:
        volume.filesystem.create_durably(".uploads/file", b"")
        with pytest.raises(NameMissing):
            getattr(volume.filesystem, call)(path)

    def test_after_a_refresh_a_look_up_sees_what_another_replica_did(self, volume: Volume) -> None:
        fs, other = volume.filesystem, volume.another()
        with pytest.raises(NameMissing):
            other.read(".uploads/ab/info")
        fs.make_directory(".uploads/ab")
        fs.create_durably(".uploads/ab/info", b"1")
        other.refresh(".uploads/ab")
        assert other.read(".uploads/ab/info") == b"1"
        fs.create_durably(".uploads/ab/staged", b"2")
        fs.rename(".uploads/ab/staged", ".uploads/ab/info")
        other.refresh(".uploads/ab")
        assert other.read(".uploads/ab/info") == b"2"

    def test_a_sync_of_a_directory_may_be_repeated(self, volume: Volume) -> None:
        volume.filesystem.sync_directory(".uploads")
        volume.filesystem.sync_directory(".uploads")


class BytesContract:
    def test_a_staged_file_holds_all_buffers_in_order(self, volume: Volume) -> None:
        fs = volume.filesystem
        pieces = [bytes([number % 251]) * (number % 7) for number in range(5000)]
        staged = fs.stage(".uploads/chunk")
        staged.write(pieces[:3000])
        staged.write([])
        staged.write(pieces[3000:])
        staged.sync()
        staged.close()
        assert fs.read(".uploads/chunk") == b"".join(pieces)

    def test_staging_never_opens_what_is_there(self, volume: Volume) -> None:
        stage(volume.filesystem, ".uploads/chunk", b"text")
        with pytest.raises(NameTaken):
            volume.filesystem.stage(".uploads/chunk")
        with pytest.raises(NameMissing):
            volume.filesystem.stage(".uploads/none/chunk")

    def test_a_file_is_written_while_it_is_synced(self, volume: Volume) -> None:
        fs = volume.filesystem
        staged = fs.stage(".uploads/chunk")
        written = threading.Event()

        def sync_all_the_time() -> int:
            syncs = 0
            while not written.is_set() or not syncs:
                staged.sync()
                syncs += 1
            return syncs

        with ThreadPoolExecutor() as pool:
            syncing = pool.submit(sync_all_the_time)
            for number in range(300):
                staged.write([bytes([number % 256]) * 1000])
            written.set()
            assert syncing.result() > 0
        staged.close()
        assert fs.read_at(".uploads/chunk", 299_000, 2000) == bytes([299 % 256]) * 1000

    def test_after_a_write_has_failed_no_sync_succeeds(self, volume: Volume) -> None:
        staged = volume.filesystem.stage(".uploads/chunk")
        staged.write([b"first"])
        staged.sync()
        with volume.full(), pytest.raises(ShareFull):
            staged.write([b"second"])
        for _ in range(2):
            with pytest.raises(ShareFault):
                staged.sync()
        staged.close()
        assert volume.another().read(".uploads/chunk") == b"first"

    def test_a_staged_file_is_closed_as_often_as_one_likes_and_not_written_afterwards(self, volume: Volume) -> None:
        staged = volume.filesystem.stage(".uploads/chunk")
        staged.close()
        staged.close()
        with pytest.raises(ShareFault):
            staged.write([b"late"])
        with pytest.raises(ShareFault):
            staged.sync()

    def test_a_file_that_was_removed_while_open_is_written_synced_and_closed_without_a_word(
        self, volume: Volume
    ) -> None:
        staged = volume.filesystem.stage(".uploads/chunk")
        staged.write([b"before"])
        volume.another().remove(".uploads/chunk")
        staged.write([b"after"])
        staged.sync()
        staged.close()
        assert volume.filesystem.list(".uploads") == []

    def test_a_file_removed_by_its_own_replica_while_open_is_gone_once_it_is_closed(self, volume: Volume) -> None:
        staged = volume.filesystem.stage(".uploads/chunk")
        volume.filesystem.remove(".uploads/chunk")
        staged.close()
        assert volume.filesystem.list(".uploads") == []

    def test_synced_bytes_are_what_another_replica_reads(self, volume: Volume) -> None:
        staged = volume.filesystem.stage(".uploads/chunk")
        staged.write([b"0123456789"])
        staged.sync()
        other = volume.another()
        assert other.read_at(".uploads/chunk", 2, 4) == b"2345"
        assert other.read_at(".uploads/chunk", 8, 100) == b"89"
        assert other.read_at(".uploads/chunk", 100, 1) == b""
        assert other.inspect(".uploads/chunk").size == 10
        staged.close()

    def test_a_copy_puts_bytes_in_their_place_and_may_be_repeated(self, volume: Volume) -> None:
        fs = volume.filesystem
        stage(fs, ".uploads/from", b"0123456789" * 1000)
        stage(fs, ".uploads/to", b"abc")
        for _ in range(2):
            assert fs.copy(".uploads/from", 5, ".uploads/to", 3, 5000) == 5000
            assert fs.copy(".uploads/from", 5005, ".uploads/to", 5003, 4000) == 4000
        fs.sync(".uploads/to")
        assert fs.read(".uploads/to") == b"abc" + (b"0123456789" * 1000)[5:9005]

    def test_many_may_copy_the_same_bytes_at_once(self, volume: Volume) -> None:
        text = bytes(range(256)) * 2000
        stage(volume.filesystem, ".uploads/from", text)
        stage(volume.filesystem, ".uploads/to", b"")
        mounts = [volume.another() for _ in range(8)]

        def copy(number: int) -> int:
            copied = mounts[number].copy(".uploads/from", 0, ".uploads/to", 0, len(text))
            mounts[number].sync(".uploads/to")
            return copied

        assert at_once(8, copy) == [len(text)] * 8
        assert volume.filesystem.read(".uploads/to") == text

    def test_a_copy_is_shorter_only_at_the_end_of_its_source(self, volume: Volume) -> None:
        fs = volume.filesystem
        stage(fs, ".uploads/from", b"0123456789")
        stage(fs, ".uploads/to", b"")
        assert fs.copy(".uploads/from", 8, ".uploads/to", 0, 100) == 2
        assert fs.copy(".uploads/from", 100, ".uploads/to", 2, 100) == 0
        assert fs.copy(".uploads/from", 0, ".uploads/to", 2, 0) == 0
        assert fs.read(".uploads/to") == b"89"

    def test_a_copy_makes_no_file(self, volume: Volume) -> None:
        stage(volume.filesystem, ".uploads/from", b"0123456789")
        with pytest.raises(NameMissing):
            volume.filesystem.copy(".uploads/from", 0, ".uploads/to", 0, 10)
        with pytest.raises(NameMissing):
            volume.filesystem.copy(".uploads/none", 0, ".uploads/from", 0, 10)
        assert volume.filesystem.list(".uploads") == ["from"]

    def test_a_missing_file_is_not_synced_or_read(self, volume: Volume) -> None:
        with pytest.raises(NameMissing):
            volume.filesystem.sync(".uploads/none")
        with pytest.raises(NameMissing):
            volume.filesystem.read_at(".uploads/none", 0, 1)


class ExclusionContract:
    def test_a_lock_excludes_other_replicas_and_other_callers_of_this_one(self, volume: Volume) -> None:
        other = volume.another()
        with volume.filesystem.lock(".uploads/lock", Region.MANIFEST, 0):
            for filesystem in (volume.filesystem, other):
                with pytest.raises(LockTimeout):
                    filesystem.lock(".uploads/lock", Region.MANIFEST, 0)
        other.lock(".uploads/lock", Region.MANIFEST, 0).release()

    def test_regions_of_one_lock_file_do_not_exclude_each_other(self, volume: Volume) -> None:
        with (
            volume.filesystem.lock(".uploads/lock", Region.MANIFEST, 0),
            volume.filesystem.lock(".uploads/lock", Region.ASSEMBLY, 0),
        ):
            pass

    def test_giving_one_region_back_keeps_the_other(self, volume: Volume) -> None:
        # What a POSIX lock would get wrong: closing any descriptor of the file drops them all.
        with volume.filesystem.lock(".uploads/lock", Region.MANIFEST, 0):
            volume.filesystem.lock(".uploads/lock", Region.ASSEMBLY, 0).release()
            volume.filesystem.read(".uploads/lock")
            with pytest.raises(LockTimeout):
                volume.another().lock(".uploads/lock", Region.MANIFEST, 0)

    def test_a_lock_may_be_released_twice_and_the_second_takes_nobodys(self, volume: Volume) -> None:
        first = volume.filesystem.lock(".uploads/lock", Region.MANIFEST, 0)
        first.release()
        with volume.filesystem.lock(".uploads/lock", Region.MANIFEST, 0):
            first.release()
            with pytest.raises(LockTimeout):
                volume.another().lock(".uploads/lock", Region.MANIFEST, 0)

    def test_a_lock_is_released_when_its_block_fails(self, volume: Volume) -> None:
        with pytest.raises(ZeroDivisionError), volume.filesystem.lock(".uploads/lock", Region.MANIFEST, 0):
            raise ZeroDivisionError
        volume.filesystem.lock(".uploads/lock", Region.MANIFEST, 0).release()

    def test_there_is_no_lock_in_a_directory_that_is_gone(self, volume: Volume) -> None:
        with pytest.raises(NameMissing):
            volume.filesystem.lock(".uploads/none/lock", Region.MANIFEST, 0)


class TargetsContract:
    @pytest.fixture(autouse=True)
    def finished(self, volume: Volume) -> None:
        stage(volume.filesystem, ".uploads/done", b"finished")

    def test_a_link_gives_the_file_its_target_and_makes_the_directories(self, volume: Volume) -> None:
        fs = volume.filesystem
        fs.link_target(".uploads/done", "folder/deep/report")
        fs.sync_target("folder/deep/report")
        entry = fs.inspect_target("folder/deep/report")
        assert (entry.inode, entry.size, entry.links) == (fs.inspect(".uploads/done").inode, 8, 2)
        assert fs.inspect_target("folder/deep").is_directory

    def test_a_target_may_lie_at_the_root(self, volume: Volume) -> None:
        volume.filesystem.rename_target(".uploads/done", "report")
        volume.filesystem.sync_target("report")
        assert volume.another().inspect_target("report").size == 8
        assert volume.filesystem.list(".uploads") == []

    @pytest.mark.parametrize("verb", ["link_target", "rename_target"])
    def test_many_may_make_the_same_directories(self, volume: Volume, verb: str) -> None:
        for number in range(8):
            stage(volume.filesystem, f".uploads/{number}", b"x")
        results = at_once(8, lambda number: getattr(volume.another(), verb)(f".uploads/{number}", f"a/b/c/d/{number}"))
        assert results == [None] * 8

    def test_a_link_never_replaces(self, volume: Volume) -> None:
        volume.plant_file("report", b"older")
        volume.plant_directory("folder")
        for taken in ("report", "folder"):
            with pytest.raises(NameTaken):
                volume.filesystem.link_target(".uploads/done", taken)
        entry = volume.filesystem.inspect_target("report")
        assert volume.filesystem.read_target_at("report", entry.inode, 0, 100) == b"older"

    def test_a_rename_replaces_a_file_and_no_directory(self, volume: Volume) -> None:
        volume.plant_file("report", b"older")
        volume.plant_directory("empty")
        volume.plant_file("full/file", b"")
        for directory in ("empty", "full"):
            with pytest.raises(NameTaken):
                volume.filesystem.rename_target(".uploads/done", directory)
        volume.filesystem.rename_target(".uploads/done", "report")
        entry = volume.filesystem.inspect_target("report")
        assert volume.filesystem.read_target_at("report", entry.inode, 0, 100) == b"finished"

    @pytest.mark.parametrize("verb", ["link_target", "rename_target"])
    def test_a_target_needs_its_source(self, volume: Volume, verb: str) -> None:
        with pytest.raises(NameMissing):
            getattr(volume.filesystem, verb)(".uploads/none", "report")

    @pytest.mark.parametrize("verb", ["link_target", "rename_target"])
    @pytest.mark.parametrize("path", ["n" * 256, "folder/" + "n" * 256, "n" * 256 + "/report"])
    def test_a_name_that_the_share_never_takes_is_refused_for_good(self, volume: Volume, verb: str, path: str) -> None:
        with pytest.raises(NameRefused):
            getattr(volume.filesystem, verb)(".uploads/done", path)
        assert volume.filesystem.read(".uploads/done") == b"finished"
        # Asking for it is no wish to have it: whoever asks hears of trouble, as of any other.
        with pytest.raises(ShareFault):
            volume.filesystem.inspect_target(path)

    async def test_no_planted_link_is_followed_on_the_way(self, volume: Volume) -> None:
        volume.plant_link("folder/away", volume.outside())
        volume.plant_link("folder/round", ".")
        for path in ("folder/away/report", "folder/away/more/report", "folder/round/report"):
            await self._is_refused(volume, path)
            with pytest.raises(LinkInTheWay):
                volume.filesystem.sync_target(path)
        assert volume.is_untouched_outside()

    async def test_no_planted_link_is_followed_in_the_last_place(self, volume: Volume) -> None:
        volume.plant_link("to-file", f"{volume.outside()}/secret")
        volume.plant_link("to-nothing", f"{volume.outside()}/nothing")
        volume.plant_link("to-directory", volume.outside())
        for path in ("to-file", "to-nothing", "to-directory"):
            await self._is_refused(volume, path)
        assert volume.is_untouched_outside()

    async def test_a_planted_pipe_is_refused_and_nobody_waits_for_it(self, volume: Volume) -> None:
        volume.plant_pipe("pipe")
        await self._is_refused(volume, "pipe")
        await self._is_refused(volume, "pipe/report")

    async def test_a_file_is_no_directory_on_the_way(self, volume: Volume) -> None:
        volume.plant_file("file", b"")
        await self._is_refused(volume, "file/report")

    async def _is_refused(self, volume: Volume, path: str) -> None:
        fs = volume.filesystem
        with pytest.raises(LinkInTheWay):
            fs.link_target(".uploads/done", path)
        with pytest.raises(LinkInTheWay):
            fs.rename_target(".uploads/done", path)
        with pytest.raises(LinkInTheWay):
            fs.inspect_target(path)
        with pytest.raises(LinkInTheWay):
            fs.read_target_at(path, 1, 0, 1)
        with pytest.raises(LinkInTheWay):
            await fs.open_target(path)
        assert fs.read(".uploads/done") == b"finished"

    async def test_what_is_not_there_is_missing(self, volume: Volume) -> None:
        volume.plant_directory("folder")
        for path in ("none", "folder/none", "none/none"):
            with pytest.raises(NameMissing):
                volume.filesystem.inspect_target(path)
            with pytest.raises(NameMissing):
                volume.filesystem.read_target_at(path, 1, 0, 1)
            with pytest.raises(NameMissing):
                await volume.filesystem.open_target(path)
        with pytest.raises(NameMissing):
            volume.filesystem.sync_target("none/none")

    async def test_a_directory_is_no_finished_file(self, volume: Volume) -> None:
        volume.plant_directory("folder")
        entry = volume.filesystem.inspect_target("folder")
        with pytest.raises(NameMissing):
            volume.filesystem.read_target_at("folder", entry.inode, 0, 1)
        with pytest.raises(NameMissing):
            await volume.filesystem.open_target("folder")

    def test_a_target_is_read_only_while_it_is_this_very_file(self, volume: Volume) -> None:
        fs = volume.filesystem
        volume.plant_file("report", b"0123456789")
        entry = fs.inspect_target("report")
        assert fs.read_target_at("report", entry.inode, 2, 3) == b"234"
        assert fs.read_target_at("report", entry.inode, 8, 100) == b"89"
        fs.rename_target(".uploads/done", "report")
        with pytest.raises(NameMissing):
            fs.read_target_at("report", entry.inode, 2, 3)

    def test_a_target_is_seen_at_once_by_a_replica_that_had_missed_it(self, volume: Volume) -> None:
        other = volume.another()
        with pytest.raises(NameMissing):
            other.inspect_target("folder/report")
        volume.filesystem.link_target(".uploads/done", "folder/report")
        assert other.inspect_target("folder/report").size == 8

    async def test_an_open_target_is_read_from_any_place_and_outlives_its_name(self, volume: Volume) -> None:
        text = bytes(range(256)) * 10_000
        volume.plant_file("report", text)
        opened = await volume.filesystem.open_target("report")
        assert opened.entry.size == len(text)
        volume.unplant("report")
        for offset, length in ((0, len(text)), (1_500_000, 1_000_000), (10, 5), (len(text) - 3, 100), (len(text), 1)):
            assert b"".join([piece async for piece in opened.read(offset, length)]) == text[offset : offset + length]
        await opened.close()


class VolumeContract:
    def test_the_shares_time_is_the_time_it_stamps_files_with(self, volume: Volume) -> None:
        before = volume.filesystem.share_time(".uploads")
        volume.filesystem.create_durably(".uploads/one", b"text")
        after = volume.filesystem.share_time(".uploads")
        assert before <= volume.filesystem.inspect(".uploads/one").modified <= after
        assert volume.filesystem.list(".uploads") == ["one"]

    def test_there_is_no_more_free_space_than_space(self, volume: Volume) -> None:
        space = volume.filesystem.space()
        assert 0 <= space.free <= space.total
