"""A final upload that waits, and its parts: what each change does, and what it leaves alone."""

from dataclasses import replace

import pytest

from storage_proxy.core import concatenation, folding, transitions
from storage_proxy.core.concatenation import AWAITED_BY_MAX, Found
from storage_proxy.core.errors import FinalTakesNoBytes, UploadGone
from storage_proxy.core.manifest import Assembly, Chunk, Final, Manifest, Order, Part, Phase, Piece, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.core.transitions import Stamp

STAMP = Stamp(now=7.0, expires_at=99.0)
A, B = "a" * 32, "b" * 32
LINK_A, LINK_B = "part.1.dat", "part.2.dat"


def manifest(phase: Phase, **fields: object) -> Manifest:
    upload = UploadId("main", "0" * 32)
    made = Manifest(upload, 3, phase, None, Order.SEQUENTIAL, Policy.KEEP_BOTH, Target("main", "file"))
    return replace(made, **fields)  # type: ignore[arg-type] # the tests name what they change


def waiting(*pieces: Piece) -> Manifest:
    return manifest(Phase.WAITING, final=Final("final;x", pieces), length=concatenation.length_of(pieces))


def take(before: Manifest, size_max: int = 1000, **found: Found) -> Manifest:
    keys = {"a": A, "b": B}
    return concatenation.take(before, {keys[name]: each for name, each in found.items()}, size_max, STAMP)


# ---- the final upload -----------------------------------------------------------------------------------------------


def test_parts_are_taken_in_any_order_and_joined_in_that_of_the_list() -> None:
    half = take(waiting(Piece(A, 5), Piece(B, 6)), b=Found(6, LINK_B))
    assert (half.phase, half.length, half.prefix, half.files) == (Phase.WAITING, 11, 0, frozenset((LINK_B,)))
    assert concatenation.lacking(half) == (A,)
    whole = take(half, a=Found(5, LINK_A))
    assert whole.phase is Phase.CLOSED
    assert [(chunk.offset, chunk.length, chunk.file) for chunk in whole.chunks] == [(0, 5, LINK_A), (5, 6, LINK_B)]
    assert (whole.length, whole.prefix, whole.files) == (11, 11, frozenset((LINK_A, LINK_B)))


def test_a_part_that_is_in_the_list_twice_is_linked_once() -> None:
    whole = take(waiting(Piece(A, 5), Piece(B, 6), Piece(A, 5)), a=Found(5, LINK_A), b=Found(6, LINK_B))
    assert [chunk.file for chunk in whole.chunks] == [LINK_A, LINK_B, LINK_A]
    assert (whole.prefix, whole.length) == (16, 16)
    assert [fold.extent.end for fold in folding.next_folds(replace(whole, assembly=Assembly("x", 0)), 100)] == [
        5,
        11,
        16,
    ]


def test_a_part_without_a_byte_needs_no_file() -> None:
    assert take(waiting(Piece(A, 0), Piece(B, 6)), b=Found(6, LINK_B)).prefix == 6
    nothing = take(waiting(Piece(A)), a=Found(0))
    assert (nothing.phase, nothing.length, nothing.chunks) == (Phase.CLOSED, 0, ())


def test_a_length_is_told_as_soon_as_all_are_known() -> None:
    before = waiting(Piece(A, 5), Piece(B))
    assert before.length is None
    assert take(before, b=Found(6)).length == 11


def test_what_is_known_already_changes_nothing() -> None:
    before = waiting(Piece(A, 5, LINK_A), Piece(B, 6))
    assert take(before) is before
    assert take(before, a=Found(5, "part.9.dat"), b=Found(6)) is before, "the first link stays"
    done = replace(before, phase=Phase.CLOSED)
    assert take(done, b=Found(6, LINK_B)) is done


def test_a_link_that_the_janitor_has_condemned_is_not_taken() -> None:
    before = replace(waiting(Piece(A, 5)), condemned=(LINK_A,))
    assert take(before, a=Found(5, LINK_A)) is before
    assert take(before, a=Found(5, LINK_B)).phase is Phase.CLOSED


def test_parts_that_turn_out_too_long_end_it_with_that_reason() -> None:
    after = take(waiting(Piece(A, 5, LINK_A), Piece(B)), size_max=10, b=Found(6, LINK_B))
    assert (after.phase, after.files) == (Phase.EXPIRED, frozenset())
    assert after.reason == "its parts have 11 bytes together, and 10 is the limit"


def test_it_ends_with_the_reason_when_a_part_is_gone() -> None:
    after = concatenation.forsake(waiting(Piece(A, 5, LINK_A), Piece(B)), "its part b is gone", STAMP)
    assert (after.phase, after.files) == (Phase.EXPIRED, frozenset())
    gone = transitions.refusal(after)
    assert isinstance(gone, UploadGone)
    assert gone.reason == "its part b is gone"
    closed = manifest(Phase.CLOSED, final=Final("final;x", ()))
    assert concatenation.forsake(closed, "too late", STAMP) is closed


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.CLOSED, Phase.PUBLISHING, Phase.PUBLISHED, Phase.FAILED])
def test_it_takes_no_bytes_in_any_phase(phase: Phase) -> None:
    final = replace(waiting(Piece(A, 5)), phase=phase)
    chunk = Chunk(0, 5, "", "chunk", sealed=True)
    for act in (
        lambda: transitions.admit(final, 0, 5, 100, any_order=False),
        lambda: transitions.admit(final, 17, 5, 100, any_order=False),
        lambda: transitions.declare_length(final, 5, 100, STAMP),
        lambda: transitions.commit(final, chunk, STAMP),
    ):
        with pytest.raises(FinalTakesNoBytes):
            act()


def test_what_it_has_from_its_parts_is_copied_and_never_becomes_its_file() -> None:
    single = take(waiting(Piece(A, 5)), a=Found(5, LINK_A))
    assert folding.adoptable(single) is None
    assert folding.whole_file(single) is None
    assert folding.adopt(single, LINK_A) is single
    begun = folding.begin_assembly(single, "assembly")
    assert [fold.source for fold in folding.next_folds(begun, 100)] == [LINK_A]
    assert folding.whole_file(folding.fold(begun, "assembly", 5)) == "assembly"


def test_an_ended_one_needs_no_file_any_more() -> None:
    before = waiting(Piece(A, 5, LINK_A), Piece(B, 6))
    assert transitions.terminate(before, STAMP).files == frozenset()


# ---- parts ----------------------------------------------------------------------------------------------------------


def part(phase: Phase = Phase.OPEN, **fields: object) -> Manifest:
    return manifest(phase, **{"part": Part(), "length": 5, "expires_at": 50.0, **fields})


def chunk(*, sealed: bool) -> Chunk:
    return Chunk(0, 5, "", "chunk", sealed)


def test_the_commit_of_the_last_byte_makes_a_part_whole_and_keeps_its_expiry() -> None:
    after = transitions.commit(part(), chunk(sealed=True), STAMP)
    assert (after.phase, after.expires_at, after.prefix) == (Phase.WHOLE, 99.0, 5)
    assert transitions.refusal(after) is None


def test_a_part_is_ready_once_it_is_one_file_that_nobody_writes_to() -> None:
    whole = transitions.commit(part(), chunk(sealed=False), STAMP)
    assert whole.phase is Phase.WHOLE
    assert not concatenation.is_ready(whole), "its writer may still be at it"
    assert transitions.is_unfinished(whole)
    sealed = transitions.commit(whole, chunk(sealed=True), STAMP)
    assert concatenation.is_ready(sealed)
    assert not transitions.is_unfinished(sealed)
    assert concatenation.is_ready(part(Phase.WHOLE, length=0))
    assert not concatenation.is_ready(part(Phase.OPEN, assembly=Assembly("chunk", 5)))


def test_only_a_part_that_is_there_can_be_joined() -> None:
    assert concatenation.unusable(part()) is None
    assert concatenation.unusable(part(Phase.WHOLE)) is None
    assert concatenation.unusable(part(Phase.EXPIRED)) == "it was not finished in time"
    assert concatenation.unusable(part(Phase.TERMINATED)) == "it was terminated"
    for other in (manifest(Phase.OPEN), manifest(Phase.PUBLISHED), waiting(Piece(A, 5))):
        assert "Upload-Concat: partial" in (concatenation.unusable(other) or "")


def test_word_is_left_with_an_open_part_only_and_moves_no_time() -> None:
    after = concatenation.await_by(part(), A)
    assert after.part == Part(awaited_by=(A,))
    assert (after.changed_at, after.expires_at) == (0.0, 50.0)
    assert concatenation.await_by(after, A) is after
    whole = part(Phase.WHOLE)
    assert concatenation.await_by(whole, A) is whole
    full = part(part=Part(tuple(f"{number:032x}" for number in range(AWAITED_BY_MAX))))
    assert concatenation.await_by(full, A) is full


def test_a_part_that_was_joined_is_told_once_how_long_it_stays() -> None:
    after = concatenation.spare(part(Phase.WHOLE), STAMP)
    assert (after.part, after.expires_at) == (Part(joined=True), 99.0)
    assert concatenation.spare(after, Stamp(1.0, 1000.0)) is after
    still_open = part()
    assert concatenation.spare(still_open, STAMP) is still_open


def test_time_that_counts_from_the_creation_is_not_given_anew() -> None:
    fixed = Stamp(now=7.0, expires_at=99.0, sliding=False)
    assert transitions.declare_length(part(length=None), 9, 100, fixed).expires_at == 50.0
    assert transitions.declare_length(part(length=None), 9, 100, STAMP).expires_at == 99.0
