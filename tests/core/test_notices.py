"""What is to be told of a change, as the change itself says it."""

from dataclasses import replace

import pytest

from storage_proxy.core import notices, transitions
from storage_proxy.core.manifest import Chunk, Manifest, Order, Phase, Policy, Publication, UploadId
from storage_proxy.core.notices import Noting, Told
from storage_proxy.core.target import Target
from storage_proxy.core.transitions import Stamp

ALL = Noting(frozenset(Told))
STAMP = Stamp(now=7.0)
NEW = Manifest(
    UploadId("main", "0" * 32), 1, Phase.OPEN, 10, Order.ANY, Policy.REFUSE, Target("main", "file"), changed_at=3.0
)


def chunk(offset: int, length: int) -> Chunk:
    return Chunk(offset, length, "", f"chunk_{offset}.{'a' * 32}.dat", sealed=True)


def kinds(manifest: Manifest) -> list[str]:
    return [notice.kind for notice in manifest.notices]


def test_an_upload_that_is_created_is_told() -> None:
    noted = ALL(None, NEW)
    assert [(notice.number, notice.kind, notice.at, notice.offset) for notice in noted.notices] == [
        (1, "post-create", 3.0, 0)
    ]


@pytest.mark.parametrize(
    ("phase", "kind"),
    [
        (Phase.PUBLISHED, "post-finish"),
        (Phase.FAILED, "post-fail"),
        (Phase.TERMINATED, "post-terminate"),
        (Phase.EXPIRED, "post-expire"),
    ],
)
def test_each_end_of_an_upload_is_told_once(phase: Phase, kind: str) -> None:
    ended = ALL(NEW, replace(NEW, phase=phase, length=0))
    assert kinds(ended) == [kind]
    assert kinds(ALL(ended, replace(ended, changed_at=9.0))) == [kind]


def test_phases_on_the_way_are_nobodys_business() -> None:
    assert ALL(NEW, replace(NEW, phase=Phase.CLOSED)).notices == ()
    assert ALL(NEW, replace(NEW, phase=Phase.PUBLISHING)).notices == ()


def test_of_several_receptions_that_wait_only_the_newest_is_told() -> None:
    first = ALL(NEW, transitions.commit(NEW, chunk(0, 4), STAMP))
    second = ALL(first, transitions.commit(first, chunk(4, 2), STAMP))
    assert [(notice.number, notice.kind, notice.offset) for notice in second.notices] == [(2, "post-receive", 6)]


def test_bytes_behind_a_gap_are_not_received_yet() -> None:
    assert ALL(NEW, transitions.commit(NEW, chunk(5, 5), STAMP)).notices == ()


def test_other_notices_keep_their_place_behind_a_reception() -> None:
    noted = ALL(None, NEW)
    noted = ALL(noted, transitions.commit(noted, chunk(0, 4), STAMP))
    noted = ALL(noted, transitions.terminate(noted, STAMP))
    assert kinds(noted) == ["post-create", "post-receive", "post-terminate"]
    assert [notice.number for notice in noted.notices] == [1, 2, 3]


def test_only_what_somebody_wants_to_know_is_kept() -> None:
    few = Noting(frozenset({Told.TERMINATED}))
    noted = few(None, NEW)
    noted = few(noted, transitions.commit(noted, chunk(0, 4), STAMP))
    assert noted.notices == ()
    assert kinds(few(noted, transitions.terminate(noted, STAMP))) == ["post-terminate"]
    assert notices.nobody(None, NEW) is NEW


def test_a_notice_leaves_when_it_is_delivered_and_its_number_never_comes_again() -> None:
    noted = ALL(None, NEW)
    delivered = notices.delivered(noted, 1)
    assert (delivered.notices, delivered.notices_made) == ((), 1)
    assert notices.delivered(delivered, 1) is delivered
    again = ALL(delivered, transitions.terminate(delivered, STAMP))
    assert [notice.number for notice in again.notices] == [2]


def test_a_delivery_is_no_news() -> None:
    noted = ALL(None, replace(NEW, phase=Phase.PUBLISHED, publication=Publication("file", 1)))
    after = notices.delivered(noted, 1)
    assert ALL(noted, after) is after
