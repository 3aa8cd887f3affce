"""Damage made on purpose in a real directory: what `verify` says of it, and what `repair` does and leaves alone."""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.adapters.system import SystemEntropy
from storage_proxy.core import transitions
from storage_proxy.core.errors import ShareFault, UploadNotFound
from storage_proxy.core.manifest import SHA_256, Assembly, Digest, Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Layout, Target
from storage_proxy.core.transitions import Stamp
from storage_proxy.operations.create import Wanted, create
from storage_proxy.operations.finish import carry_on
from storage_proxy.operations.repair import nothing_ends, repair
from storage_proxy.operations.service import Limits, Service, open_volume
from storage_proxy.operations.verify import LOOKS_MAX, Discovery, Look, Report, Severity, verify
from storage_proxy.ports import NameMissing
from storage_proxy.store.chunks import StagedChunk
from storage_proxy.store.sweeping import Ages
from storage_proxy.testing.system import HandClock, InlineWorkers, RecordingListener

HOUR = 3600.0
AGES = Ages(open=7 * 24 * HOUR, published=24 * HOUR, ended=24 * HOUR, orphans=HOUR)
FIRST, SECOND = b"first " * 50, b"second" * 50
LENGTH = len(FIRST) + len(SECOND)


class Shelf:
    """A volume in a directory, the uploads on it, and hands to break them with."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.filesystem = PosixFilesystem(root)
        self.clock = HandClock(time.time())
        volume = open_volume(
            "main", Layout.PLAIN, self.filesystem, InlineWorkers(), SystemEntropy(), Limits(), nothing_ends(AGES)
        )
        self.volume = volume
        self.service = Service({"main": volume}, self.clock, SystemEntropy(), RecordingListener(), Limits(), AGES)
        volume.manifests.prepare()

    async def create(self, name: str = "file", length: int = LENGTH, policy: Policy = Policy.REFUSE) -> UploadId:
        upload = UploadId("main", SystemEntropy().token())
        await create(self.service, upload, Wanted(Target("main", name), length, Order.ANY, policy))
        return upload

    def stage(self, upload: UploadId, offset: int, content: bytes) -> StagedChunk:
        """As an append does it, before its commit."""
        staged = self.volume.chunks.stage(upload.key, offset)
        staged.write([content])
        return staged

    def add(self, upload: UploadId, offset: int, content: bytes, *, sealed: bool = True) -> Path:
        """As an append does it, but for the last step: nobody folds or publishes."""
        staged = self.stage(upload, offset, content)
        chunk = staged.snapshot(sealed=sealed)
        self.volume.chunks.promise(upload.key, staged, chunk, self.service.stamp())
        staged.close()
        return self.directory(upload) / staged.name

    async def closed(self, name: str = "file", policy: Policy = Policy.REFUSE) -> UploadId:
        upload = await self.create(name, policy=policy)
        self.add(upload, 0, FIRST)
        self.add(upload, len(FIRST), SECOND)
        return upload

    async def published(self, name: str = "file") -> UploadId:
        upload = await self.closed(name)
        await carry_on(self.service, upload)
        return upload

    def directory(self, upload: UploadId) -> Path:
        return self.root / ".uploads" / upload.key[:2] / upload.key

    def manifest(self, upload: UploadId) -> Manifest:
        return self.volume.manifests.read(upload.key)

    def change(self, upload: UploadId, change: Callable[[Manifest], Manifest]) -> None:
        self.volume.manifests.change(upload.key, change)

    def age(self, path: Path, seconds: float = 2 * HOUR) -> None:
        then = time.time() - seconds
        os.utime(path, (then, then))

    async def verify(self, only: UploadId | None = None) -> Report:
        return await verify(self.service, self.volume, AGES.orphans, only=only)

    async def repair(self, only: UploadId | None = None, *, retry: bool = False) -> Report:
        return await repair(self.service, self.volume, AGES.orphans, only=only, retry=retry)

    def listing(self) -> dict[str, bytes]:
        """Every file but locks, which come and go with looking."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.name != "lock"
        }


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def said(report: Report) -> list[tuple[str, str]]:
    return [(discovery.what, str(discovery.severity)) for discovery in report.discoveries]


def done(report: Report) -> list[str]:
    return [deed.what for deed in report.deeds]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# ---- nothing is wrong -----------------------------------------------------------------------------------------------


async def test_a_sound_volume_is_hashed_and_nothing_is_said(shelf: Shelf) -> None:
    upload = await shelf.create()
    shelf.add(upload, 0, FIRST)
    shelf.add(await shelf.create("other"), 100, SECOND, sealed=False)
    await shelf.published("third")
    before = shelf.listing()
    report = await shelf.verify()
    assert said(report) == []
    assert report.phases == {"open": 2, "published": 1}
    assert (report.files_hashed, report.bytes_hashed) == (2, len(FIRST) + len(SECOND))
    assert report.exit_status == 0
    assert shelf.listing() == before


async def test_bytes_that_a_writer_adds_behind_the_promised_ones_are_no_damage(shelf: Shelf) -> None:
    path = shelf.add(await shelf.create(), 0, FIRST, sealed=False)
    with path.open("ab") as file:
        file.write(b"not promised yet")
    assert said(await shelf.verify()) == []


async def test_one_upload_is_looked_at_alone(shelf: Shelf) -> None:
    good, broken = await shelf.create("a"), await shelf.create("b")
    flip_a_bit(shelf.add(broken, 0, FIRST))
    (shelf.root / ".uploads" / "stray").touch()
    assert said(await shelf.verify(good)) == []
    assert said(await shelf.verify(broken)) == [("differs", "decide")]
    with pytest.raises(UploadNotFound):
        await shelf.verify(UploadId("main", "0" * 32))


async def test_a_directory_where_no_service_was_is_said_to_be_one(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    os.rmdir(tmp_path / ".uploads")
    with pytest.raises(NameMissing):
        await shelf.verify()
    assert os.listdir(tmp_path) == []


# ---- damage ---------------------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "what"),
    [(flip_a_bit, "differs"), (truncate, "short"), (remove, "missing")],
    ids=lambda value: str(value),
)
async def test_damage_to_a_chunk_is_found_and_the_upload_is_left_alone(
    shelf: Shelf, damage: Callable[[Path], None], what: str
) -> None:
    upload = await shelf.closed()
    damage(shelf.directory(upload) / shelf.manifest(upload).chunks[1].file)
    orphan = shelf.directory(upload) / f"chunk_0.{'a' * 32}.dat"
    orphan.touch()
    shelf.age(orphan)
    shelf.clock.advance(HOUR)
    before = shelf.listing()
    expected = [(what, "decide"), ("orphan", "mend"), ("unfinished", "mend")]
    assert said(await shelf.verify()) == expected
    repaired = await shelf.repair(retry=True)
    assert (said(repaired), done(repaired), repaired.exit_status) == (expected, [], 1)
    assert shelf.listing() == before


@pytest.mark.parametrize(("damage", "what"), [(truncate, "short"), (remove, "missing")])
async def test_damage_to_the_assembly_file_is_found(shelf: Shelf, damage: Callable[[Path], None], what: str) -> None:
    upload = await shelf.create()
    shelf.add(upload, 0, FIRST)
    await carry_on(shelf.service, upload)
    assembly = shelf.manifest(upload).assembly
    assert assembly is not None
    damage(shelf.directory(upload) / assembly.file)
    report = await shelf.verify()
    assert said(report) == [(what, "decide")]
    assert report.discoveries[0].files == (assembly.file,)


async def test_an_upload_that_says_it_is_closed_and_has_gaps_is_not_published(shelf: Shelf) -> None:
    upload = await shelf.create()
    shelf.add(upload, 0, FIRST)
    shelf.change(upload, lambda manifest: replace(manifest, phase=Phase.CLOSED))
    repaired = await shelf.repair()
    assert ("inconsistent", "decide") in said(repaired)
    assert (done(repaired), (shelf.root / "file").exists()) == ([], False)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b'{"schema": 1, "revisi', "cannot be read"),
        (b"", "cannot be read"),
        (b'{"schema": 99, "revision": 5}', "written by a newer version (schema 99"),
    ],
)
async def test_a_manifest_that_cannot_be_read_is_left_with_all_its_files(
    shelf: Shelf, text: bytes, sentence: str
) -> None:
    upload = await shelf.create()
    chunk = shelf.add(upload, 0, FIRST)
    (shelf.directory(upload) / "info.json").write_bytes(text)
    for path in (chunk, shelf.directory(upload) / "info.json", shelf.directory(upload)):
        shelf.age(path)
    before = shelf.listing()
    for report in (await shelf.verify(), await shelf.repair()):
        assert said(report) == [("unreadable", "decide")]
        assert sentence in report.discoveries[0].sentence
        assert (report.exit_status, report.deeds) == (1, [])
    assert shelf.listing() == before


async def test_data_whose_manifest_is_gone_is_never_taken_for_an_upload_that_was_not_born(shelf: Shelf) -> None:
    upload = await shelf.create()
    chunk = shelf.add(upload, 0, FIRST)
    (shelf.directory(upload) / "info.json").unlink()
    for path in (chunk, shelf.directory(upload)):
        shelf.age(path)
    repaired = await shelf.repair()
    assert (said(repaired), done(repaired)) == ([("no-manifest", "decide")], [])
    assert chunk.read_bytes() == FIRST


async def test_a_file_lost_between_here_and_its_target_is_a_loss(shelf: Shelf) -> None:
    upload = await shelf.published()
    file = f"assembly.{'b' * 32}.dat"
    # As if it had died right after the step, and somebody had then taken the file away.
    shelf.change(
        upload,
        lambda manifest: replace(manifest, phase=Phase.PUBLISHING, assembly=Assembly(file, LENGTH), reason=None),
    )
    assert said(await shelf.verify()) == [("unfinished", "note")]
    (shelf.root / "file").unlink()
    assert said(await shelf.verify()) == [("missing", "decide"), ("unfinished", "note")]


# ---- what nobody promised -------------------------------------------------------------------------------------------


async def test_a_file_that_no_manifest_names_is_a_note_while_young_and_swept_once_it_is_old(shelf: Shelf) -> None:
    upload = await shelf.create()
    kept = shelf.add(upload, 0, FIRST)
    staged = shelf.stage(upload, 300, b"of a writer that died")
    staged.close()
    orphan = shelf.directory(upload) / staged.name
    assert said(await shelf.verify()) == [("orphan", "note")]
    repaired = await shelf.repair()
    assert (done(repaired), orphan.exists()) == ([], True)

    shelf.age(orphan)
    found = await shelf.verify()
    assert (said(found), found.exit_status) == ([("orphan", "mend")], 1)
    repaired = await shelf.repair()
    assert (done(repaired), said(repaired), repaired.exit_status) == (["swept"], [], 0)
    assert (orphan.exists(), kept.exists()) == (False, True)
    assert repaired.deeds[0].files == (staged.name,)


async def test_a_staged_manifest_of_the_past_is_swept_and_one_of_the_future_is_not(shelf: Shelf) -> None:
    upload = await shelf.create()
    text = json.loads((shelf.directory(upload) / "info.json").read_text())
    paths = {}
    for name, revision in (("a", 1), ("b", 7)):
        path = paths[name] = shelf.directory(upload) / f"info.{name * 32}.staged"
        path.write_text(json.dumps({**text, "revision": revision, "staged": path.name}))
        shelf.age(path)
    assert said(await shelf.verify()) == [("left-behind", "mend")]
    repaired = await shelf.repair()
    assert (done(repaired), said(repaired)) == (["swept"], [])
    assert {name: path.exists() for name, path in paths.items()} == {"a": False, "b": True}


async def test_a_directory_without_a_manifest_goes_once_it_is_old(shelf: Shelf) -> None:
    directory = shelf.root / ".uploads" / "0f" / f"0f{'0' * 30}"
    directory.mkdir(parents=True)
    assert said(await shelf.verify()) == [("unborn", "note")]
    shelf.age(directory)
    assert said(await shelf.verify()) == [("unborn", "mend")]
    assert said(await shelf.repair()) == []
    assert not directory.exists()


async def test_names_that_the_service_did_not_make_are_told_of_and_kept(shelf: Shelf) -> None:
    upload = await shelf.create()
    strange = [
        shelf.root / ".uploads" / "notes.txt",
        shelf.root / ".uploads" / upload.key[:2] / "backup",
        shelf.root / ".uploads" / upload.key[:2] / f"{'ff' if upload.key[:2] != 'ff' else '00'}{'0' * 30}",
        shelf.directory(upload) / "info.json.bak",
    ]
    for path in strange:
        path.write_bytes(b"a person's")
        shelf.age(path)
    (shelf.root / ".uploads" / f"doctor.{'0' * 32}").mkdir()
    (shelf.directory(upload) / ".nfs000000001").touch()
    repaired = await shelf.repair()
    assert [(what, severity) for what, severity in said(repaired) if what == "strange"] == [("strange", "decide")] * 4
    assert [path for path in strange if not path.exists()] == []


# ---- phases ---------------------------------------------------------------------------------------------------------


async def test_an_upload_that_is_closed_is_published_by_repair(shelf: Shelf) -> None:
    await shelf.closed()
    assert said(await shelf.verify()) == [("unfinished", "note")]
    shelf.clock.advance(HOUR)
    found = await shelf.verify()
    assert (said(found), found.exit_status) == ([("unfinished", "mend")], 1)
    repaired = await shelf.repair()
    assert (done(repaired), said(repaired), repaired.exit_status) == (["published"], [], 0)
    assert (shelf.root / "file").read_bytes() == FIRST + SECOND


async def test_a_failed_upload_is_tried_again_only_on_demand_and_only_helps_once_its_reason_is_gone(
    shelf: Shelf,
) -> None:
    (shelf.root / "file").write_bytes(b"in the way")
    upload = await shelf.published()
    assert shelf.manifest(upload).phase is Phase.FAILED
    plain = await shelf.repair()
    assert (said(plain), done(plain), plain.exit_status) == ([("failed", "decide")], [], 1)
    assert "exists already" in plain.discoveries[0].sentence
    in_vain = await shelf.repair(retry=True)
    assert (said(in_vain), done(in_vain)) == ([("failed", "decide")], ["retried", "not-finished"])

    (shelf.root / "file").unlink()
    repaired = await shelf.repair(retry=True)
    assert (said(repaired), done(repaired), repaired.exit_status) == ([], ["retried", "published"], 0)
    assert (shelf.root / "file").read_bytes() == FIRST + SECOND


async def test_a_failed_upload_whose_bytes_are_gone_stays_failed(shelf: Shelf) -> None:
    (shelf.root / "file").write_bytes(b"in the way")
    upload = await shelf.published()
    assembly = shelf.manifest(upload).assembly
    assert assembly is not None
    (shelf.directory(upload) / assembly.file).unlink()
    (shelf.root / "file").unlink()
    repaired = await shelf.repair(retry=True)
    assert (said(repaired), done(repaired)) == ([("missing", "decide"), ("failed", "decide")], [])
    assert shelf.manifest(upload).phase is Phase.FAILED


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"another")
    other.rename(path)


def changed(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize(("act", "what"), [(move, "moved"), (replaced, "replaced"), (changed, "changed")])
async def test_what_people_do_with_a_published_file_is_noted_and_no_error(
    shelf: Shelf, act: Callable[[Path], None], what: str
) -> None:
    await shelf.published()
    act(shelf.root / "file")
    report = await shelf.verify()
    assert (said(report), report.exit_status) == ([(what, "note")], 0)


async def recorded(shelf: Shelf) -> Path:
    """A published file whose sha256 is in its manifest."""
    upload = await shelf.create(length=len(FIRST))
    shelf.add(upload, 0, FIRST)
    await carry_on(shelf.service, upload)
    assert shelf.manifest(upload).sha256 == hashlib.sha256(FIRST).hexdigest()
    return shelf.root / "file"


async def test_a_published_file_that_changed_though_nobody_wrote_to_it_is_found(shelf: Shelf) -> None:
    path = await recorded(shelf)
    sound = await shelf.verify()
    assert (said(sound), sound.bytes_hashed) == ([], len(FIRST))
    flip_a_bit(path)
    shelf.age(path)
    report = await shelf.verify()
    assert (said(report), report.exit_status) == ([("differs", "decide")], 1)
    assert done(await shelf.repair()) == []


async def test_a_published_file_that_its_owner_wrote_to_is_noted(shelf: Shelf) -> None:
    path = await recorded(shelf)
    flip_a_bit(path)
    shelf.age(path, -HOUR)
    assert said(await shelf.verify()) == [("changed", "note")]


async def test_a_wrong_digest_is_not_published_by_a_repair_until_the_file_is_the_right_one(shelf: Shelf) -> None:
    declared = (Digest(SHA_256, hashlib.sha256(FIRST + SECOND).hexdigest()),)
    upload = UploadId("main", SystemEntropy().token())
    wanted = Wanted(Target("main", "file"), LENGTH, Order.ANY, Policy.REFUSE, declared=declared)
    await create(shelf.service, upload, wanted)
    shelf.add(upload, 0, FIRST)
    shelf.add(upload, len(FIRST), SECOND[::-1])
    await carry_on(shelf.service, upload)
    assert shelf.manifest(upload).phase is Phase.FAILED
    in_vain = await shelf.repair(retry=True)
    assert (said(in_vain), done(in_vain)) == ([("failed", "decide")], ["retried", "not-finished"])
    assert not (shelf.root / "file").exists()
    assembly = shelf.manifest(upload).assembly
    assert assembly is not None
    (shelf.directory(upload) / assembly.file).write_bytes(FIRST + SECOND)
    assert done(await shelf.repair(retry=True)) == ["retried", "published"]
    assert (shelf.root / "file").read_bytes() == FIRST + SECOND


async def test_repair_expires_and_buries_nothing_however_old_it_is(shelf: Shelf) -> None:
    uploads = [await shelf.create("open"), await shelf.published("done")]
    terminated = await shelf.create("terminated")
    shelf.change(terminated, partial(transitions.terminate, stamp=Stamp(0.0)))
    for upload in (*uploads, terminated):
        shelf.age(shelf.directory(upload) / "info.json", 400 * 24 * HOUR)
    shelf.clock.advance(400 * 24 * HOUR)
    report = await shelf.repair()
    assert (done(report), said(report)) == ([], [])
    assert report.phases == {"open": 1, "published": 1, "terminated": 1}


def test_a_repair_ends_nothing_that_has_another_time_either() -> None:
    ages = replace(AGES, joined=1.0, sliding=False)
    assert nothing_ends(ages) == Ages(math.inf, math.inf, math.inf, AGES.orphans, AGES.notices, math.inf, sliding=True)


# ---- beside a replica -----------------------------------------------------------------------------------------------


async def test_a_chunk_that_is_folded_while_it_is_looked_at_is_no_loss(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await shelf.create()
    shelf.add(upload, 0, FIRST)
    shelf.add(upload, len(FIRST), SECOND[:-1])
    shelf.add(upload, LENGTH - 1, SECOND[-1:])
    real = Look._inspect
    folded: list[Manifest] = []

    async def inspect(look: Look, upload: UploadId) -> object:
        inspected = await real(look, upload)
        if not folded:
            folded.append(await carry_on(shelf.service, upload))
        return inspected

    monkeypatch.setattr(Look, "_inspect", inspect)
    report = await shelf.verify()
    assert (said(report), report.phases) == ([], {"published": 1})


async def test_a_file_that_its_writer_takes_away_meanwhile_is_not_reported(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await shelf.create()
    staged = shelf.stage(upload, 0, b"of a writer that stood still for long")
    shelf.age(shelf.directory(upload) / staged.name)
    real = Look._inspect

    async def inspect(look: Look, upload: UploadId) -> object:
        inspected = await real(look, upload)
        shelf.volume.chunks.discard(upload.key, staged)
        return inspected

    monkeypatch.setattr(Look, "_inspect", inspect)
    report = await shelf.verify()
    assert (said(report), report.phases) == ([], {"open": 1})


async def test_an_upload_that_goes_away_while_it_is_looked_at_is_not_reported(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await shelf.closed()
    real = Look._inspect
    looks = 0

    async def inspect(look: Look, upload: UploadId) -> object:
        nonlocal looks
        looks += 1
        inspected = await real(look, upload)
        for path in shelf.directory(upload).iterdir() if looks == 1 else ():
            path.unlink()
        if looks == 1:
            shelf.directory(upload).rmdir()
        return inspected

    monkeypatch.setattr(Look, "_inspect", inspect)
    assert said(await shelf.verify(upload)) == []
    assert looks == 2


async def test_an_upload_that_never_stands_still_is_not_called_damaged(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await shelf.closed()
    (shelf.directory(upload) / shelf.manifest(upload).chunks[0].file).unlink()
    real, looks = Look._inspect, 0

    async def inspect(look: Look, upload: UploadId) -> object:
        nonlocal looks
        looks += 1
        shelf.change(upload, lambda manifest: replace(manifest, received=looks + 100))
        return await real(look, upload)

    monkeypatch.setattr(Look, "_inspect", inspect)
    report = await shelf.repair()
    assert (said(report), done(report), looks) == ([("busy", "note")], [], 2 * LOOKS_MAX)


async def test_a_share_that_gives_no_answer_is_not_called_damaged(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await shelf.closed()

    def fail(path: str, offset: int, length: int) -> bytes:
        raise ShareFault("read", "Input/output error")

    monkeypatch.setattr(shelf.filesystem, "read_at", fail)
    for report in (await shelf.verify(), await shelf.repair(upload)):
        assert (said(report), report.deeds, report.exit_status) == ([("no-answer", "untried")], [], 3)


def test_something_wrong_goes_before_something_not_looked_at() -> None:
    found = {severity: Discovery(None, "x", severity, "x") for severity in Severity}
    assert Report([found[Severity.NOTE]]).exit_status == 0
    assert Report([found[Severity.UNTRIED], found[Severity.MEND]]).exit_status == 1
    assert Report([found[Severity.UNTRIED], found[Severity.NOTE]]).exit_status == 3
