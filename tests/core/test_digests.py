"""Nothing is announced whose declared digest was not found to be the file's."""

from dataclasses import replace

import pytest

from storage_proxy.core import digests, transitions
from storage_proxy.core.manifest import SHA_256, SHA_512, Assembly, Digest, Manifest, Phase
from tests.core.test_transitions import LENGTH, PUBLICATION, STAMP, chunk, manifest

RIGHT, WRONG = Digest(SHA_256, "aa"), Digest(SHA_256, "bb")
LONG = Digest(SHA_512, "cc")


def assembled(*declared: Digest) -> Manifest:
    return manifest(phase=Phase.CLOSED, assembly=Assembly("assembly", LENGTH), declared=declared)


def in_one_piece(*declared: Digest) -> Manifest:
    return manifest(chunk(0, LENGTH, name="piece", sha256="aa"), phase=Phase.CLOSED, declared=declared)


def test_a_right_digest_is_announced_and_recorded() -> None:
    after = transitions.announce(assembled(RIGHT), "assembly", PUBLICATION, [RIGHT])
    assert (after.phase, after.sha256) == (Phase.PUBLISHING, "aa")


@pytest.mark.parametrize("computed", [[], [WRONG], [LONG]], ids=["none", "another", "by another algorithm"])
def test_nothing_is_announced_without_the_digest_that_was_declared(computed: list[Digest]) -> None:
    before = assembled(RIGHT)
    assert transitions.announce(before, "assembly", PUBLICATION, computed) is before


def test_each_of_several_digests_must_be_right() -> None:
    before = assembled(RIGHT, LONG)
    assert transitions.announce(before, "assembly", PUBLICATION, [RIGHT]) is before
    assert transitions.announce(before, "assembly", PUBLICATION, [RIGHT, LONG]).phase is Phase.PUBLISHING


def test_the_sha256_of_a_file_in_one_piece_is_known_and_recorded_whether_declared_or_not() -> None:
    for before in (in_one_piece(), in_one_piece(RIGHT)):
        assert digests.to_compute(before, "piece") == ()
        after = transitions.announce(before, "piece", PUBLICATION)
        assert (after.phase, after.sha256) == (Phase.PUBLISHING, "aa")
    assert digests.to_compute(in_one_piece(LONG), "piece") == (SHA_512,)


def test_the_sha256_of_the_first_of_several_pieces_is_not_the_files() -> None:
    before = manifest(chunk(0, 50, name="piece", sha256="aa"), declared=(RIGHT,))
    assert digests.to_compute(before, "piece") == (SHA_256,)
    folded = replace(before, assembly=Assembly("piece", 50), chunks=())
    assert digests.to_compute(folded, "piece") == (SHA_256,)


def test_an_append_that_closes_with_a_wrong_digest_announces_nothing() -> None:
    before = manifest(declared=(WRONG,))
    after = transitions.commit_and_announce(before, chunk(0, LENGTH, name="piece", sha256="aa"), 5, STAMP)
    assert after.phase is Phase.CLOSED
    failed = transitions.refute(after, (), STAMP)
    assert (failed.phase, failed.reason) == (Phase.FAILED, "its sha-256 is aa, not bb as declared")
    assert failed.files == {"piece"}, "the bytes stay"


def test_what_is_not_known_to_be_wrong_is_not_refuted() -> None:
    for before in (assembled(RIGHT), in_one_piece(LONG), manifest(declared=(RIGHT,))):
        assert transitions.refute(before, (), STAMP) is before
        assert transitions.refute(before, [RIGHT], STAMP) is before


def test_who_tries_again_must_look_again() -> None:
    failed = transitions.refute(assembled(RIGHT), [WRONG], STAMP)
    again = transitions.retry(replace(failed, sha256="bb"), STAMP)
    assert (again.phase, again.sha256) == (Phase.CLOSED, None)
    assert transitions.announce(again, "assembly", PUBLICATION) is again
