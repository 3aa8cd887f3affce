from collections.abc import Iterable

import pytest

from storage_proxy.core.errors import NotFinished, PublishFailed, ShareFull, UploadNotFound
from storage_proxy.core.events import PublishRetried, VolumeSurveyed
from storage_proxy.core.manifest import Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.append import append
from storage_proxy.operations.create import Wanted, create
from storage_proxy.operations.heartbeat import SWEEP_SECONDS, Heartbeat, seen_on
from storage_proxy.operations.overview import browse, details, look_closely, summary, wanted
from storage_proxy.operations.reap import reap
from storage_proxy.operations.reception import Append
from storage_proxy.operations.resume import resume
from storage_proxy.operations.survey import last_survey
from storage_proxy.ports import NameTaken
from storage_proxy.store import layout
from storage_proxy.store.inspection import Inspection
from storage_proxy.store.notes import Notes
from storage_proxy.testing.replicas import ListedBody, Replica
from storage_proxy.testing.share import SimulatedShare


@pytest.fixture
def share() -> SimulatedShare:
    return SimulatedShare()


@pytest.fixture
def replica(share: SimulatedShare) -> Replica:
    return Replica(share, "a")


async def new(replica: Replica, name: str = "file", length: int = 10, policy: Policy = Policy.REFUSE) -> UploadId:
    upload = UploadId("main", replica.service.entropy.token())
    await create(replica.service, upload, Wanted(Target("main", name), length, Order.ANY, policy))
    return upload


async def put(replica: Replica, upload: UploadId, offset: int, content: bytes) -> None:
    await append(replica.service, upload, Append(offset, len(content)), ListedBody([content]))
    await replica.rest()


async def all_pages(replica: Replica, count: int, reads_max: int = 200, **filters: object) -> list[list[str]]:
    pages, after = [], ""
    while True:
        page = await browse(replica.volume, after, count, wanted(**filters), reads_max)  # type: ignore[arg-type] # as named
        pages.append([listed.upload.key for listed in page.uploads])
        assert page.looked_at <= reads_max
        if page.after is None:
            return pages
        after = page.after


def flat(pages: Iterable[list[str]]) -> list[str]:
    return [key for page in pages for key in page]


async def test_pages_together_have_every_upload_once_in_order(replica: Replica) -> None:
    keys = sorted([(await new(replica, f"f{number}")).key for number in range(25)])
    for count in (1, 7, 25, 100):
        pages = await all_pages(replica, count)
        assert flat(pages) == keys
        assert max(map(len, pages)) <= count


async def test_a_page_reads_no_more_than_it_may_however_rare_what_is_wanted(
    share: SimulatedShare, replica: Replica
) -> None:
    uploads = [await new(replica, f"f{number}") for number in range(40)]
    await put(replica, uploads[7], 0, b"0123456789")
    reads = 0

    def count(_: str, operation: str, paths: tuple[str, ...]) -> None:
        nonlocal reads
        reads += operation == "read" and paths[0].endswith("info.json")

    share.before_call = count
    page = await browse(replica.volume, "", 10, wanted((Phase.PUBLISHED,)), reads_max=5)
    assert (page.looked_at, reads) == (5, 5)
    assert page.after is not None
    assert flat(await all_pages(replica, 10, 5, phases=(Phase.PUBLISHED,))) == [uploads[7].key]


async def test_uploads_without_change_for_a_while_are_told_apart(replica: Replica) -> None:
    old = await new(replica, "old")
    replica.clock.advance(100)
    await new(replica, "young")
    now = replica.clock.now()
    assert flat(await all_pages(replica, 10, idle_seconds_min=100, now=now)) == [old.key]


async def test_an_upload_that_cannot_be_read_is_listed_and_one_that_is_being_made_is_not(
    share: SimulatedShare, replica: Replica
) -> None:
    bad = await new(replica)
    share.plant_file(layout.manifest(bad.key), b"no manifest")
    replica.filesystem.make_directory(".uploads/ff")
    replica.filesystem.make_directory(f".uploads/ff/{'f' * 32}")
    page = await browse(replica.volume, "", 10, wanted((Phase.OPEN,)))
    assert [(listed.upload, listed.manifest) for listed in page.uploads] == [(bad, None)]
    told = summary(page.uploads[0], 0.0)
    assert told["phase"] == "unreadable"
    assert told["problem"]


async def test_what_is_there_arriving_and_missing_is_told_from_the_share(
    share: SimulatedShare, replica: Replica
) -> None:
    upload = await new(replica, length=100)
    await put(replica, upload, 0, b"0123456789")
    await put(replica, upload, 50, b"0123456789")
    staged = replica.volume.chunks.stage(upload.key, 20)
    staged.write([b"arriving"])
    share.advance(30)
    # Another replica than the one that receives it: bytes that were not synced are not seen there yet.
    staged.sync()
    other = Replica(share, "b")
    told = details(await look_closely(other.service, upload), other.clock.now())
    assert told["there"] == [[0, 10], [50, 60]]
    assert told["missing"] == [[10, 50], [60, 100]]
    assert [(each["start"], each["end"]) for each in told["arriving"]] == [(20, 28)]
    assert told["arriving"][0]["idle_seconds"] == pytest.approx(30)
    assert (told["offset"], told["promised"], told["length"]) == (10, 20, 100)
    record = staged.snapshot(sealed=False)
    replica.volume.chunks.promise(upload.key, staged, record, replica.service.stamp())
    staged.write([b"more"])
    staged.sync()
    told = details(await look_closely(other.service, upload), other.clock.now())
    staged.close()
    assert (told["there"][1], told["missing"][1]) == ([20, 28], [28, 50])
    assert [(each["start"], each["end"]) for each in told["arriving"]] == [(28, 32)]


async def test_an_upload_that_is_not_there_is_not_found(replica: Replica) -> None:
    with pytest.raises(UploadNotFound):
        await look_closely(replica.service, UploadId("main", "0" * 32))


# ---- finishing by hand ----------------------------------------------------------------------------------------------


async def test_a_failed_upload_is_published_once_its_reason_is_mended(share: SimulatedShare, replica: Replica) -> None:
    share.plant_file("file", b"in the way")
    upload = await new(replica)
    with pytest.raises(PublishFailed):
        await put(replica, upload, 0, b"0123456789")
    with pytest.raises(PublishFailed):
        await resume(replica.service, upload)
    share.unplant("file")
    assert (await resume(replica.service, upload)).phase is Phase.PUBLISHED
    assert sum(isinstance(event, PublishRetried) for event in replica.listener.events) == 2
    assert (await resume(replica.service, upload)).phase is Phase.PUBLISHED


async def test_an_upload_that_lacks_bytes_is_not_finished(replica: Replica) -> None:
    upload = await new(replica)
    await put(replica, upload, 0, b"01234")
    with pytest.raises(NotFinished):
        await resume(replica.service, upload)
    assert (await replica.service.read(upload)).phase is Phase.OPEN


# ---- notes ----------------------------------------------------------------------------------------------------------


async def test_every_replica_can_tell_what_one_janitor_has_counted(share: SimulatedShare, replica: Replica) -> None:
    await put(replica, await new(replica, "done"), 0, b"0123456789")
    half = await new(replica, "half")
    await put(replica, half, 0, b"0123")
    assert await last_survey(replica.volume, replica.service) is None
    assert await reap(replica.service, replica.volume)
    told = next(event for event in replica.listener.events if isinstance(event, VolumeSurveyed))
    assert (dict(told.phases), told.owed, told.unassembled) == ({"open": 1, "published": 1}, 6, 4)
    other = Replica(share, "b")
    note = await last_survey(other.volume, other.service)
    assert note is not None
    assert (note.facts["phases"], note.facts["owed"]) == ({"open": 1, "published": 1}, 6)


async def test_the_oldest_upload_that_is_whole_and_not_published_is_known_by_its_age(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage_proxy.operations.reap.carry_on", lambda service, upload: None)

    def survey() -> VolumeSurveyed:
        return [event for event in replica.listener.events if isinstance(event, VolumeSurveyed)][-1]

    async def close(name: str) -> None:
        upload = await new(replica, name)
        staged = replica.volume.chunks.stage(upload.key, 0)
        staged.write([b"0123456789"])
        # Not sealed: closed, and left for somebody to assemble.
        replica.volume.chunks.promise(upload.key, staged, staged.snapshot(sealed=False), replica.service.stamp())

    await new(replica, "open")
    assert await reap(replica.service, replica.volume)
    assert survey().oldest_closed_seconds == 0
    await close("first")
    replica.clock.advance(100)
    await close("second")
    replica.clock.advance(20)
    assert await reap(replica.service, replica.volume)
    assert (dict(survey().phases), survey().oldest_closed_seconds) == ({"open": 1, "closed": 2}, 120)


async def test_replicas_see_each_other_until_one_has_been_silent_for_long(
    share: SimulatedShare, replica: Replica
) -> None:
    other = Replica(share, "b")
    beats = [Heartbeat(each.service, f"host.{each.name}-1", "1.0") for each in (replica, other)]
    await beats[0].beat(replica.volume)
    share.advance(30)
    await beats[1].beat(other.volume)
    seen = await seen_on(replica.service, replica.volume)
    assert [(each.replica, each.seconds_ago) for each in seen] == [("host.b-1", 0), ("host.a-1", 30)]
    await beats[1].end()
    assert [each.replica for each in await seen_on(replica.service, replica.volume)] == ["host.a-1"]
    share.plant_file(".uploads/notes/theirs.txt", b"")
    share.advance(SWEEP_SECONDS + 1)
    Notes(other.filesystem, other.service.entropy).sweep(SWEEP_SECONDS)
    assert other.filesystem.list(".uploads/notes") == ["theirs.txt"]


async def test_notes_are_no_strangers_to_verify(replica: Replica) -> None:
    await Heartbeat(replica.service, "a", "1.0").beat(replica.volume)
    assert Inspection(replica.filesystem, replica.volume.manifests).strange_names() == []


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"a": 1}' + b" " * 70_000])
async def test_a_note_that_cannot_be_read_is_not_there(share: SimulatedShare, replica: Replica, text: bytes) -> None:
    share.plant_file(".uploads/notes/survey.json", text)
    assert await last_survey(replica.volume, replica.service) is None


async def test_a_share_in_trouble_stops_no_heartbeat(share: SimulatedShare, replica: Replica) -> None:
    def full(_: str, operation: str, paths: tuple[str, ...]) -> None:
        raise ShareFull(operation, quota=False)

    share.before_call = full
    beat = Heartbeat(replica.service, "a", "1.0")
    await beat.beat(replica.volume)
    await beat.end()


async def test_a_request_that_the_share_saw_twice_stops_no_heartbeat(share: SimulatedShare, replica: Replica) -> None:
    def repeated(_: str, operation: str, paths: tuple[str, ...]) -> None:
        if operation == "stage":
            share.after_call = None
            raise NameTaken(paths[0])

    share.after_call = repeated
    await Heartbeat(replica.service, "a", "1.0").beat(replica.volume)
    assert [each.replica for each in await seen_on(replica.service, replica.volume)] == ["a"]
