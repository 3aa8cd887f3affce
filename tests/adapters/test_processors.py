"""Threads that are to run side by side are kept apart, where processors can be told apart."""

import os

import pytest

from storage_proxy.adapters import processors

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not let threads choose")


def test_the_halves_are_all_that_this_thread_may_use_and_it_runs_in_the_first() -> None:
    allowed = os.sched_getaffinity(0)
    ours, theirs = processors.halves()
    assert ours | theirs == allowed
    assert not ours & theirs
    assert abs(len(ours) - len(theirs)) <= 1


def test_a_thread_stays_on_what_it_has_chosen_and_may_go_where_it_could_before_afterwards() -> None:
    allowed = os.sched_getaffinity(0)
    for half in processors.halves():
        with processors.on(half):
            assert os.sched_getaffinity(0) == (half or allowed)
        assert os.sched_getaffinity(0) == allowed


def test_where_there_is_one_processor_both_use_it() -> None:
    allowed = os.sched_getaffinity(0)
    only = frozenset({min(allowed)})
    with processors.on(only):
        ours, theirs = processors.halves()
        assert only in (ours, theirs)
        with processors.on(ours), processors.on(theirs):
            assert os.sched_getaffinity(0) == only
    assert os.sched_getaffinity(0) == allowed


def test_a_refusal_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some containers let no thread choose."""

    def refused(thread: int, chosen: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refused)
    with processors.on(processors.halves()[0]):
        pass
