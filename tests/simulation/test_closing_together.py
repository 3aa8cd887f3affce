"""Two replicas, each with one half of an upload: one of them is stopped before one of its calls, the other goes on for
some calls, then the first wakes. Whoever closes the upload, what either has promised stays.

Each of its calls is tried, so what chance finds once in a hundred runs is found in every one.
"""

from functools import partial

import pytest

from storage_proxy.core.events import UploadPublished
from storage_proxy.core.manifest import Order
from tests.simulation.scheduler import Scheduler
from tests.simulation.test_replicas import LENGTH, Sent, World, play

HALF = LENGTH // 2

# More than any of the appends below needs.
CALLS = 90


def together(halves: tuple[Sent, Sent], stopped_before: int, goes_on_for: int, *, break_locks: bool) -> None:
    # After that, in turn: one may have to wait for what the other is at.
    choices = [0] * stopped_before + [1] * goes_on_for + [0] * 10 + [0, 1] * CALLS
    world = World(Order.ANY, choices)

    def strike(turn: int) -> None:
        if break_locks and turn == stopped_before:
            world.share.break_locks()

    scheduler = Scheduler(world.share, choices, strike)
    for number, half in enumerate(halves):
        replica = world.replica(f"replica{number}")
        scheduler.add(replica.name, partial(world.client, replica, [half]))
    play(world, scheduler)
    heard = [fact for replica in world.replicas.values() for fact in replica.listener.events]
    # Both may be at it, and whoever ended it tells so: nobody, where a third has carried that change through.
    assert sum(isinstance(fact, UploadPublished) for fact in heard) <= 1
    world.close()


@pytest.mark.parametrize("break_locks", [False, True], ids=["locks hold", "locks are lost"])
@pytest.mark.parametrize("at_hand", [True, False], ids=["at hand", "streamed"])
def test_what_two_replicas_promise_of_one_upload_stays_whoever_of_them_closes_it(
    at_hand: bool, break_locks: bool
) -> None:
    halves = Sent(0, HALF, HALF, at_hand=at_hand), Sent(HALF, HALF, HALF, at_hand=at_hand)
    for first in (halves, halves[::-1]):
        for stopped_before in range(1, CALLS):
            for goes_on_for in (5, 15, 25, CALLS):
                together(first, stopped_before, goes_on_for, break_locks=break_locks)
