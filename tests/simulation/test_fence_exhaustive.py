"""Every order of the fenced change's steps: what must hold holds, and each part of the fence is needed.

The real dialogues of `store/fence.py` run on the model in `fence_model.py`, which tells how and why it stays small. The
broken variants put something between the dialogue and the directory. `STORAGE_PROXY_PROOF=full` runs the large setups,
which take minutes.
"""

import os
from dataclasses import replace

import pytest

from storage_proxy.store import fence
from storage_proxy.store.fence import Version
from tests.simulation.fence_model import LINKED, Asked, Between, Found, Setup, Task, Value, World, explore

WRITER = Task("change")
WRITER_OF_TWO = Task("change", rounds=2)
REPEATED = Task("change", hands=2)
"""A client came again while the thread that does its first call still goes on."""
REMEMBERING = Task("change", rounds=2, remembers=True)
"""Its second change begins with what its first one wrote, as `Manifests.change` does with `seen`."""
HASTY = Task("change, not durably", rounds=2)
"""Told before it is durable: who is told of its version by others may lose it again, which is what it is for."""
REFUSED = Task("change, or a refusal", hands=2)
"""Whoever comes second is told that it has been done: of a version that others may have put there in its place."""
READER = Task("read")

HOLDS = {
    "two writers with two changes each": Setup((WRITER_OF_TWO, WRITER_OF_TWO)),
    "... and a reader": Setup((WRITER_OF_TWO, WRITER_OF_TWO, READER)),
    "... and crashes, answers lost": Setup((WRITER_OF_TWO,) * 2, crashes=1, links_repeated=True, durability=False),
    "... and a loss of power": Setup((WRITER_OF_TWO, WRITER_OF_TWO), power_losses=1),
    "... and a sweeper": Setup((WRITER_OF_TWO, WRITER_OF_TWO), sweeps=True),
    "two writers and all that can happen": Setup(
        (WRITER, WRITER), crashes=1, power_losses=1, links_repeated=True, sweeps=True
    ),
    "two writers and a reader, power lost": Setup((WRITER, WRITER, READER), power_losses=1, links_repeated=True),
    "a change done twice at once, and another": Setup((REPEATED, WRITER)),
    "a change that is refused the second time, and another": Setup((REFUSED, WRITER)),
    "a change that is refused the second time, power lost": Setup((REFUSED,), crashes=1, power_losses=1),
    "three writers": Setup((WRITER, WRITER, WRITER)),
    "three writers, answers lost": Setup((WRITER, WRITER, WRITER), links_repeated=True, durability=False),
    "three writers, one with two changes": Setup((WRITER_OF_TWO, WRITER, WRITER), durability=False),
    "two writers that remember": Setup((REMEMBERING, REMEMBERING)),
    "one that remembers, a crash": Setup((REMEMBERING, WRITER), crashes=1, durability=False),
    "one that remembers, a reader, power lost": Setup((REMEMBERING, READER), power_losses=1, sweeps=True),
    "a hasty writer and another, a crash": Setup((HASTY, WRITER), crashes=1, links_repeated=True, durability=False),
    "two hasty writers, power lost": Setup((HASTY, HASTY), power_losses=1),
}

HOLDS_TOO = {
    "three writers with two changes each": Setup((WRITER_OF_TWO,) * 3, durability=False),
    "three writers with two changes each, and what is durable": Setup((WRITER_OF_TWO,) * 3),
    "three writers with a crash, answers lost": Setup((WRITER,) * 3, crashes=1, links_repeated=True),
    "three writers, one with two changes, a crash": Setup((WRITER_OF_TWO, WRITER, WRITER), crashes=1, durability=False),
    "two writers with two changes each, and all that can happen": Setup(
        (WRITER_OF_TWO, WRITER_OF_TWO), crashes=1, power_losses=1, links_repeated=True
    ),
    "three writers and a reader": Setup((WRITER, WRITER, WRITER, READER)),
}


def _report(found: Found) -> str:
    return (
        f"{found.states:,} states, {found.ends} ends, at most {found.rubbish_fences_max} rubbish fences at an end, "
        f"a new writer alone needs at most {found.solo_steps_max} steps"
    )


def _hold(setup: Setup) -> Found:
    found = explore(setup)
    if found.violation:
        told = explore(replace(setup, reduced=False))
        pytest.fail(f"{told.violation}\n" + "\n".join(told.trace), pytrace=False)
    print(_report(found))
    assert found.ends > 0
    return found


@pytest.mark.parametrize("setup", HOLDS.values(), ids=HOLDS.keys())
def test_no_order_of_steps_loses_an_update_or_untells_one(setup: Setup) -> None:
    _hold(setup)


@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    os.environ.get("STORAGE_PROXY_PROOF") != "full", reason="takes minutes; STORAGE_PROXY_PROOF=full runs it"
)
@pytest.mark.parametrize("setup", HOLDS_TOO.values(), ids=HOLDS_TOO.keys())
def test_no_order_of_many_more_steps_loses_an_update_or_untells_one(setup: Setup) -> None:
    _hold(setup)


def test_without_trouble_nothing_is_left_lying_about() -> None:
    """The model judges staged files and later fences at each end itself; old fences are rubbish it only counts."""
    assert _hold(Setup((WRITER, WRITER, WRITER), durability=False)).rubbish_fences_max == 0


def test_a_crash_leaves_no_more_than_a_few_old_fences() -> None:
    found = _hold(Setup((WRITER, WRITER), crashes=1))
    assert 0 < found.rubbish_fences_max <= 2


# ---- the model's short cuts -----------------------------------------------------------------------------------------

SHORT_CUTS = {
    "two and one": Setup((WRITER_OF_TWO, WRITER)),
    "an answer lost": Setup((WRITER_OF_TWO, WRITER), links_repeated=True),
    "a crash": Setup((WRITER_OF_TWO, WRITER), crashes=1, durability=False),
    "a loss of power, a reader": Setup((WRITER, READER), power_losses=1, sweeps=True),
}


@pytest.mark.parametrize("setup", SHORT_CUTS.values(), ids=SHORT_CUTS.keys())
def test_the_short_way_shows_the_same_directories_as_the_long_way(setup: Setup) -> None:
    """No two of these clients have the same task, so the short way never lets them change places."""
    short, long = explore(setup), explore(replace(setup, reduced=False))
    assert short.violation is long.violation is None
    assert short.states < long.states
    assert short.directories == long.directories
    assert short.rubbish_fences_max == long.rubbish_fences_max


def test_clients_that_change_places_show_the_same_revisions_and_fences() -> None:
    def shown(found: Found) -> set[object]:
        return {
            (
                revision,
                durable,
                tuple((fenced, staged and (staged.revision, staged.change)) for fenced, staged in fences),
            )
            for revision, durable, fences in found.directories
        }

    setup = Setup((WRITER, WRITER), crashes=1)
    assert shown(explore(setup)) == shown(explore(replace(setup, reduced=False)))


# ---- each part is needed --------------------------------------------------------------------------------------------


def _no_fence(world: World, asked: Asked) -> int | None:
    match asked.steps[-1]:
        case fence.Link():
            return LINKED.index(fence.Linked.YES)
        case fence.ReadFence():
            return 0
    return None


def _as_before(asked: Asked) -> int:
    version: Version[Value] = asked.answers[0]
    return version.revision << 1 | version.value.mine


def _no_second_look_before_helping(world: World, asked: Asked) -> int | None:
    match asked.steps:
        case [*_, fence.ReadFence(), fence.Read()]:
            return _as_before(asked)
    return None


def _no_second_look_after_the_link(world: World, asked: Asked) -> int | None:
    match asked.steps:
        case [*_, fence.Link() | fence.CountLinks(), fence.Read()]:
            return _as_before(asked)
    return None


def _help_that_leaves_the_owners_staged_name(world: World, asked: Asked) -> int | None:
    match asked.steps:
        case [*_, fence.ReadFence(), fence.Read(), fence.Install(named)]:
            world.install(asked.names[int(named)], keep_name=True)
            return 0
    return None


def _help_that_installs_nothing(world: World, asked: Asked) -> int | None:
    match asked.steps:
        case [*_, fence.ReadFence(), fence.Read(), fence.Install()]:
            return 0
    return None


def _links_never_counted(world: World, asked: Asked) -> int | None:
    return 1 if isinstance(asked.steps[-1], fence.CountLinks) else None


def _links_always_enough(world: World, asked: Asked) -> int | None:
    return 2 if isinstance(asked.steps[-1], fence.CountLinks) else None


def _staged_files_kept(world: World, asked: Asked) -> int | None:
    return 0 if isinstance(asked.steps[-1], fence.RemoveStaged) else None


def _fences_kept(world: World, asked: Asked) -> int | None:
    """Rubbish only: it costs the readers a sync each, and nothing else."""
    return 0 if isinstance(asked.steps[-1], fence.RemoveFence) else None


def _names_never_synced(world: World, asked: Asked) -> int | None:
    return 0 if isinstance(asked.steps[-1], fence.SyncNames) else None


def _names_not_synced_before_a_fence_that_had_been_helped_goes(world: World, asked: Asked) -> int | None:
    match asked.steps:
        case [*_, fence.RemoveStaged(), fence.SyncNames()]:
            return 0
    return None


def _names_not_synced_before_they_are_told(world: World, asked: Asked) -> int | None:
    match asked.steps:
        case [fence.Read(), fence.ReadFence()]:
            return 0
    return None


LOST = "was put in the place of"
POWER = "a loss of power may leave"
WEDGED = "a new writer alone is not done"

BROKEN: dict[str, tuple[Between, Setup, str]] = {
    "no fence": (_no_fence, Setup((WRITER, WRITER)), LOST),
    "no second look before helping": (_no_second_look_before_helping, Setup((WRITER, WRITER, WRITER)), LOST),
    "no second look after the link": (_no_second_look_after_the_link, Setup((WRITER, WRITER)), LOST),
    "help under another name": (_help_that_leaves_the_owners_staged_name, Setup((WRITER, WRITER)), LOST),
    "no help": (_help_that_installs_nothing, Setup((WRITER, WRITER)), WEDGED),
    "links never counted": (_links_never_counted, Setup((WRITER, WRITER), links_repeated=True), WEDGED),
    "links always enough": (_links_always_enough, Setup((WRITER, WRITER)), LOST),
    "staged files kept": (_staged_files_kept, Setup((WRITER, WRITER)), "a staged file is left"),
    "names never synced": (_names_never_synced, Setup((WRITER,)), POWER),
    "a helped fence removed unsynced": (
        _names_not_synced_before_a_fence_that_had_been_helped_goes,
        Setup((WRITER, WRITER)),
        POWER,
    ),
    "readers do not sync": (_names_not_synced_before_they_are_told, Setup((WRITER, READER)), POWER),
    "refusals do not sync": (_names_not_synced_before_they_are_told, Setup((REFUSED,)), POWER),
}


@pytest.mark.parametrize(("between", "setup", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_no_part_of_the_fence_can_be_left_out(between: Between, setup: Setup, expected: str) -> None:
    found = explore(replace(setup, between=between, reduced=False))
    print(f"after {len(found.trace)} moves: {found.violation}", *found.trace, sep="\n")
    assert found.violation is not None, _report(found)
    assert expected in found.violation
    assert explore(replace(setup, between=between)).violation is not None, "the short way found nothing"


def test_fences_that_are_never_removed_do_no_harm() -> None:
    _hold(Setup((WRITER_OF_TWO, WRITER), between=_fences_kept))
