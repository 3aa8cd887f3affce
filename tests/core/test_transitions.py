"""Everything that can happen to an upload: the phase table of `transitions.py`, cell by cell, and the rules."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core import extents, folding, transitions
from storage_proxy.core.errors import (
    AppendSuperseded,
    FinalTakesNoBytes,
    LengthExceeded,
    LengthInconsistent,
    NotYetPublished,
    OffsetMismatch,
    PiecesExhausted,
    PublishFailed,
    SizeExceeded,
    TargetNotAllowed,
    UploadGone,
    UploadNotFound,
)
from storage_proxy.core.extents import Extent
from storage_proxy.core.manifest import (
    Assembly,
    Chunk,
    Digest,
    Final,
    Manifest,
    Order,
    Part,
    Phase,
    Piece,
    Policy,
    Publication,
    UploadId,
)
from storage_proxy.core.target import Target
from storage_proxy.core.transitions import NeedsComparison, Stamp

LENGTH = 100
STAMP = Stamp(now=7.0, expires_at=99.0)
PUBLICATION = Publication("file", inode=5)


def chunk(offset: int, length: int, *, name: str = "", sealed: bool = True, sha256: str = "") -> Chunk:
    file = name or f"chunk_{offset}.{length:032x}.dat"
    return Chunk(offset, length, sha256 or f"{offset}+{length}", file, sealed)


def manifest(*chunks: Chunk, length: int | None = LENGTH, phase: Phase = Phase.OPEN, **more: object) -> Manifest:
    made = Manifest(
        upload=UploadId("main", "0" * 32),
        revision=3,
        phase=phase,
        length=length,
        order=Order.ANY,
        policy=Policy.KEEP_BOTH,
        target=Target("main", "file"),
        chunks=chunks,
    )
    return replace(made, **more)  # type: ignore[arg-type] # the tests name what they change


WHOLE = Assembly("chunk_0.a.dat", LENGTH)

# One upload as it is in each phase.
IN_PHASE = {
    Phase.OPEN: manifest(chunk(0, 50)),
    Phase.WHOLE: manifest(phase=Phase.WHOLE, assembly=WHOLE, part=Part()),
    Phase.WAITING: manifest(phase=Phase.WAITING, final=Final("final;a", (Piece("a" * 32, LENGTH),))),
    Phase.CLOSED: manifest(phase=Phase.CLOSED, assembly=WHOLE),
    Phase.PUBLISHING: manifest(phase=Phase.PUBLISHING, assembly=WHOLE, publication=PUBLICATION),
    Phase.PUBLISHED: manifest(phase=Phase.PUBLISHED, publication=PUBLICATION),
    Phase.FAILED: manifest(phase=Phase.FAILED, assembly=WHOLE, publication=PUBLICATION, reason="taken"),
    Phase.TERMINATED: manifest(phase=Phase.TERMINATED),
    Phase.EXPIRED: manifest(phase=Phase.EXPIRED),
}

VERBS: dict[str, Callable[[Manifest], Manifest]] = {
    "declare_length": lambda m: transitions.declare_length(m, LENGTH, 1000, STAMP),
    "commit": lambda m: transitions.commit(m, chunk(50, 20), STAMP),
    "fold": lambda m: folding.fold(
        replace(m, assembly=m.assembly or Assembly("assembly", 10)), m.assembly.file if m.assembly else "assembly", 40
    ),
    "announce": lambda m: transitions.announce(m, WHOLE.file, replace(PUBLICATION, attempt=1)),
    "refute": lambda m: transitions.refute(
        replace(m, declared=(Digest("sha-256", "aa"),)), (Digest("sha-256", "bb"),), STAMP
    ),
    "publish": lambda m: transitions.publish(m, PUBLICATION, STAMP),
    "fail": lambda m: transitions.fail(m, "taken", STAMP),
    "retry": lambda m: transitions.retry(m, STAMP),
    "terminate": lambda m: transitions.terminate(m, STAMP),
    "expire": lambda m: transitions.expire(m, STAMP),
}

SAME = "="
OUTCOMES: dict[str, tuple[object, ...]] = {
    # in the order of the phases: open, whole, waiting, closed, publishing, published, failed, terminated, expired
    "declare_length": (
        SAME,
        SAME,
        FinalTakesNoBytes,
        NotYetPublished,
        NotYetPublished,
        SAME,
        PublishFailed,
        UploadNotFound,
        UploadGone,
    ),
    "commit": (
        Phase.OPEN,
        NeedsComparison,
        FinalTakesNoBytes,
        NotYetPublished,
        NotYetPublished,
        NeedsComparison,
        PublishFailed,
        UploadNotFound,
        UploadGone,
    ),
    "fold": (Phase.OPEN, SAME, None, SAME, SAME, None, SAME, None, None),
    "announce": (SAME, SAME, SAME, Phase.PUBLISHING, Phase.PUBLISHING, SAME, SAME, SAME, SAME),
    "refute": (None, None, None, Phase.FAILED, None, None, None, None, None),
    "publish": (None, None, None, None, Phase.PUBLISHED, SAME, Phase.PUBLISHED, UploadNotFound, UploadGone),
    "fail": (SAME, SAME, SAME, Phase.FAILED, Phase.FAILED, SAME, SAME, SAME, SAME),
    "retry": (SAME, SAME, SAME, SAME, SAME, SAME, Phase.CLOSED, SAME, SAME),
    "terminate": (
        Phase.TERMINATED,
        Phase.TERMINATED,
        Phase.TERMINATED,
        Phase.TERMINATED,
        NotYetPublished,
        Phase.TERMINATED,
        Phase.TERMINATED,
        UploadNotFound,
        UploadGone,
    ),
    "expire": (Phase.EXPIRED, Phase.EXPIRED, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
}
CELLS = [
    (verb, phase, outcome)
    for verb, row in OUTCOMES.items()
    for phase, outcome in zip(Phase, row, strict=True)
    if outcome is not None
]


@pytest.mark.parametrize(("verb", "phase", "outcome"), CELLS)
def test_each_verb_does_in_each_phase_what_the_table_says(verb: str, phase: Phase, outcome: object) -> None:
    before = IN_PHASE[phase]
    act = VERBS[verb]
    if isinstance(outcome, type):
        with pytest.raises(outcome):
            act(before)
    elif outcome is SAME:
        assert act(before) in (before, replace(before, assembly=before.assembly))
    else:
        assert act(before).phase is outcome


@pytest.mark.parametrize(("verb", "phase", "outcome"), CELLS)
def test_applied_twice_is_applied_once(verb: str, phase: Phase, outcome: object) -> None:
    if isinstance(outcome, type) or verb in ("terminate", "fold", "refute"):
        return
    once = VERBS[verb](IN_PHASE[phase])
    assert VERBS[verb](once) is once


# ---- committing -----------------------------------------------------------------------------------------------------


def test_the_commit_that_makes_the_prefix_the_length_closes_the_upload() -> None:
    part = transitions.commit(manifest(chunk(40, 60)), chunk(0, 39), STAMP)
    assert part.phase is Phase.OPEN
    whole = transitions.commit(part, chunk(39, 1), STAMP)
    assert (whole.phase, whole.expires_at) == (Phase.CLOSED, None)


def test_an_open_upload_lives_on_from_each_commit() -> None:
    assert transitions.commit(manifest(), chunk(0, 10), STAMP).expires_at == STAMP.expires_at


def test_the_same_chunk_again_changes_nothing() -> None:
    before = manifest(chunk(0, 50))
    assert transitions.commit(before, chunk(0, 50, name="chunk_0.other.dat"), STAMP) is before


def test_an_overlap_is_only_committed_once_it_was_compared() -> None:
    before = manifest(chunk(0, 50))
    with pytest.raises(NeedsComparison) as asked:
        transitions.commit(before, chunk(30, 40), STAMP)
    assert asked.value.overlapping == (Extent(30, 50),)
    after = transitions.commit(before, chunk(30, 40), STAMP, agreed=asked.value.overlapping)
    assert after.prefix == 70


def test_an_overlap_that_adds_nothing_is_compared_too_and_then_changes_nothing() -> None:
    before = manifest(chunk(0, 50))
    with pytest.raises(NeedsComparison):
        transitions.commit(before, chunk(10, 20), STAMP)
    assert transitions.commit(before, chunk(10, 20), STAMP, agreed=[Extent(10, 30)]) is before


def test_a_checkpoint_extends_its_own_record_and_sealing_ends_it() -> None:
    first = transitions.commit(manifest(), chunk(0, 20, name="chunk_0.x.dat", sealed=False), STAMP)
    longer = transitions.commit(first, chunk(0, 60, name="chunk_0.x.dat", sealed=False), STAMP, promised=20)
    sealed = transitions.commit(longer, chunk(0, 60, name="chunk_0.x.dat"), STAMP, promised=60)
    assert [held.length for held in longer.chunks] == [60]
    assert (sealed.chunks[0].sealed, sealed.received) == (True, 1)


def test_an_append_whose_own_checkpoint_closed_the_upload_ends_well() -> None:
    before = manifest(chunk(50, 50))
    closed = transitions.commit(before, chunk(0, 50, name="chunk_0.x.dat", sealed=False), STAMP)
    assert closed.phase is Phase.CLOSED
    assert transitions.commit(closed, chunk(0, 50, name="chunk_0.x.dat"), STAMP, promised=50) is closed


def test_a_file_that_was_folded_meanwhile_cannot_promise_more() -> None:
    folded = manifest(assembly=Assembly("assembly", 20))
    with pytest.raises(AppendSuperseded):
        transitions.commit(folded, chunk(0, 60, name="chunk_0.x.dat"), STAMP, promised=20)


def test_a_condemned_file_cannot_be_committed() -> None:
    before = manifest(condemned=("chunk_0.x.dat",))
    with pytest.raises(AppendSuperseded):
        transitions.commit(before, chunk(0, 60, name="chunk_0.x.dat"), STAMP)


def test_no_byte_beyond_the_length_is_ever_promised() -> None:
    with pytest.raises(LengthExceeded):
        transitions.commit(manifest(), chunk(60, 41), STAMP)


def test_the_pieces_of_an_upload_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "CHUNKS_MAX", 3)
    before = manifest(chunk(10, 1), chunk(20, 1), chunk(30, 1))
    with pytest.raises(PiecesExhausted):
        transitions.commit(before, chunk(40, 1), STAMP)


def test_overlapping_pieces_cannot_hold_ever_more_of_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "OVERLAP_BYTES_MAX", 10)
    now = manifest()
    for start in (1, 2):
        now = transitions.commit(now, chunk(start, 80), STAMP, agreed=[Extent(0, LENGTH)])
    with pytest.raises(PiecesExhausted):
        transitions.commit(now, chunk(3, 80), STAMP, agreed=[Extent(0, LENGTH)])
    assert transitions.commit(now, chunk(0, 1), STAMP).prefix == 82, "what is missing is still taken"


EXTENTS = st.tuples(st.integers(0, LENGTH - 1), st.integers(1, 40)).map(
    lambda pair: (pair[0], min(pair[1], LENGTH - pair[0]))
)


@given(st.lists(EXTENTS, max_size=12))
def test_the_coverage_only_grows_whatever_is_committed_folded_or_swept(pieces: list[tuple[int, int]]) -> None:
    now = manifest()
    for number, (offset, length) in enumerate(pieces):
        before = now.coverage
        if now.phase is not Phase.OPEN:
            break
        new = chunk(offset, length, name=f"chunk_{offset}.{number:032x}.dat")
        now = transitions.commit(now, new, STAMP, agreed=[Extent(0, LENGTH)])
        if (first := folding.adoptable(now)) is not None:
            now = folding.adopt(now, first.file)
        for fold in folding.next_folds(now, 15):
            assert now.assembly is None or fold.extent.start >= now.assembly.through
            if now.assembly is not None:
                now = folding.fold(now, now.assembly.file, fold.extent.end)
        now = transitions.condemn(now, [new.file, "chunk_9.unknown.dat"], STAMP)
        assert not extents.subtract(before, now.coverage)
        assert new.file not in now.condemned or new.file not in now.files


# ---- admitting, lengths, directories --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "body", "any_order", "error"),
    [
        (50, 50, False, None),
        (50, None, False, None),
        (50, 51, False, LengthExceeded),
        (101, None, True, LengthExceeded),
        (49, 1, False, OffsetMismatch),
        (51, 1, False, OffsetMismatch),
        (51, 1, True, None),
    ],
)
def test_an_append_is_refused_before_its_body_where_that_can_be_known(
    offset: int, body: int | None, any_order: bool, error: type[Exception] | None
) -> None:
    before = manifest(chunk(0, 50))
    if error is None:
        transitions.admit(before, offset, body, 1000, any_order=any_order)
    else:
        with pytest.raises(error):
            transitions.admit(before, offset, body, 1000, any_order=any_order)


def test_an_upload_without_a_length_still_has_a_limit() -> None:
    with pytest.raises(SizeExceeded):
        transitions.admit(manifest(length=None), 0, 1001, 1000, any_order=False)


def test_a_length_is_declared_once_and_not_below_what_is_there() -> None:
    deferred = manifest(chunk(0, 50), length=None)
    assert transitions.declare_length(deferred, 50, 1000, STAMP).phase is Phase.CLOSED
    with pytest.raises(LengthInconsistent):
        transitions.declare_length(deferred, 49, 1000, STAMP)
    with pytest.raises(LengthInconsistent):
        transitions.declare_length(manifest(), LENGTH + 1, 1000, STAMP)
    with pytest.raises(SizeExceeded):
        transitions.declare_length(deferred, 1001, 1000, STAMP)


def test_the_first_subdirectory_decides() -> None:
    there = transitions.choose_subdirectory(manifest(), "a", Target("main", "a/file"), STAMP)
    assert there.target.path == "a/file"
    assert transitions.choose_subdirectory(there, "a", Target("main", "a/file"), STAMP) is there
    with pytest.raises(TargetNotAllowed):
        transitions.choose_subdirectory(there, "b", Target("main", "b/file"), STAMP)


# ---- assembling and publishing --------------------------------------------------------------------------------------


def test_a_file_that_may_still_be_written_is_not_adopted() -> None:
    assert folding.adoptable(manifest(chunk(0, 50, sealed=False))) is None
    assert folding.adoptable(manifest(chunk(0, 50))) is not None


def test_the_last_chunk_of_the_prefix_is_not_folded_while_it_grows() -> None:
    growing = manifest(chunk(0, 50, sealed=False), assembly=Assembly("assembly", 0))
    assert folding.next_folds(growing, 100) == ()
    overtaken = manifest(chunk(0, 50, sealed=False), chunk(40, 20), assembly=Assembly("assembly", 0))
    assert [fold.extent for fold in folding.next_folds(overtaken, 100)] == [Extent(0, 50), Extent(50, 60)]


def test_a_fold_is_bounded_and_goes_on_where_it_stopped() -> None:
    before = manifest(chunk(0, 50), assembly=Assembly("assembly", 0))
    (fold,) = folding.next_folds(before, 20)
    assert (fold.source_offset, fold.extent) == (0, Extent(0, 20))
    after = folding.fold(before, "assembly", 20)
    assert after.chunks == before.chunks, "a chunk is needed until the whole of it is folded"
    (fold,) = folding.next_folds(after, 50)
    assert (fold.source_offset, fold.extent) == (20, Extent(20, 50))


def test_who_lost_the_race_for_the_assembly_file_folds_nothing_into_his_own() -> None:
    theirs = manifest(chunk(0, 50), assembly=Assembly("theirs", 0))
    assert folding.begin_assembly(theirs, "mine") is theirs
    assert folding.fold(theirs, "mine", 50) is theirs


def test_an_upload_in_one_piece_is_announced_without_a_copy() -> None:
    closed = manifest(chunk(0, LENGTH), phase=Phase.CLOSED)
    name = folding.whole_file(closed)
    assert name == closed.chunks[0].file
    after = transitions.announce(closed, name, PUBLICATION)
    assert (after.phase, after.assembly, after.chunks) == (Phase.PUBLISHING, Assembly(name, LENGTH), ())


def test_an_announcement_needs_the_whole_file() -> None:
    closed = manifest(chunk(50, 50), phase=Phase.CLOSED, assembly=Assembly("assembly", 50))
    assert transitions.announce(closed, "assembly", PUBLICATION) is closed


def test_a_later_name_replaces_an_earlier_one_and_never_the_other_way_round() -> None:
    second = transitions.announce(IN_PHASE[Phase.PUBLISHING], WHOLE.file, Publication("file (1)", 5, attempt=1))
    assert second.publication is not None
    assert second.publication.path == "file (1)"
    assert transitions.announce(second, WHOLE.file, PUBLICATION) is second


def test_a_file_that_the_manifest_needs_is_never_condemned() -> None:
    before = manifest(chunk(0, 50, name="chunk_0.x.dat"))
    assert transitions.condemn(before, ["chunk_0.x.dat"], STAMP) is before
