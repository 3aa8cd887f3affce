"""A lock that runs out while its holder stands still: between any two steps of a change, on the real share.

One client kernel is stopped while several of its writers, each at another step of a change of another upload, hold
their locks. It stands still for longer than the server keeps the lock of a client it does not hear from; meanwhile a
second kernel gets every lock and goes on. Then the first wakes, and its writers go on as if nothing had happened.
"""

import time
from secrets import token_hex

import pytest

from tests.lab.conftest import Findings
from tests.lab.laboratory import V3, V42, Laboratory
from tests.lab.strings import Act, Strings

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

STEPS = ("Read", "Stage", "Link", "Read again", "Install", "SyncNames", "RemoveFence")
STEPS_UNFENCED = ("Stage", "Install")
OTHERS = 3
"""changes that the second kernel makes meanwhile"""
MORE = 2
"""changes that each makes afterwards"""
# Past the lease, the server still waits for its own round over the clients, and for another to ask.
PATIENCE = 4.0


def begin(puppets: dict[str, Strings], share: str, step: str, fence: bool) -> tuple[str, Act]:
    """A change by A of an upload of its own, stopped before this step."""
    key = token_hex(16)
    puppets["A"].do("create", share=share, key=key)
    act = puppets["A"].begin("change", share=share, key=key, writer="A", count=1, fence=fence, stop_before=step)
    act.wait_until_stopped()
    return key, act


def test_a_writer_that_wakes_after_its_lock_was_lost_undoes_nothing(
    laboratory: Laboratory, puppets: dict[str, Strings], findings: Findings
) -> None:
    share, first = V42.path, laboratory.clients["A"]
    cases = [(step, True, *begin(puppets, share, step, True)) for step in STEPS]
    cases += [(step, False, *begin(puppets, share, step, False)) for step in STEPS_UNFENCED]

    begun = time.monotonic()
    first.pause()
    try:
        others = [
            puppets["B"].begin("change", share=share, key=key, writer="B", count=OTHERS, fence=fence)
            for _, fence, key, _ in cases
        ]
        told = [act.result(60) for act in others]
        got_after = time.monotonic() - begun
        time.sleep(max(0.0, laboratory.lease_seconds + PATIENCE - got_after))
    finally:
        first.resume()
    paused = time.monotonic() - begun

    findings.title(
        f"A kernel paused for {paused:.1f} s (lease {laboratory.lease_seconds} s) under its locks, NFS 4.2; the other "
        f"had changed every upload {OTHERS} times after {got_after:.1f} s",
        *("stopped before", "fence", "changes made", "left", "conflicts of the one that woke", "helped by the other"),
    )
    lost = {True: 0, False: 0}
    for (step, fence, key, act), other in zip(cases, told, strict=True):
        act.go_on()
        woken = act.result(60)
        for name in ("A", "B"):
            puppets[name].do("change", share=share, key=key, writer=f"{name}.", count=MORE, fence=fence)
        words = set(puppets["B"].do("read", share=share, key=key)["words"])
        made = 1 + OTHERS + 2 * MORE
        lost[fence] += made - len(words)
        findings.row(step, "on" if fence else "off", made, len(words), woken["conflicts"], other["helped"])
    assert paused > laboratory.lease_seconds
    assert lost[True] == 0
    assert lost[False] > 0, "without the fence nothing was lost: this proves nothing"


@pytest.mark.parametrize("step", ["Link", "Install"])
def test_the_same_over_nfs_3_where_a_lock_outlives_its_holders_silence(
    laboratory: Laboratory, puppets: dict[str, Strings], findings: Findings, step: str
) -> None:
    """NFS 3 has no lease: the second kernel waits for a bounded time, then goes on under the fence alone."""
    share = V3.path
    key, act = begin(puppets, share, step, True)
    laboratory.clients["A"].pause()
    try:
        other = puppets["B"].begin("change", share=share, key=key, writer="B", count=1, patience=3.0)
        assert other.result(30)["changes"] == 1
    finally:
        laboratory.clients["A"].resume()
    act.go_on()
    assert act.result(60)["changes"] == 1
    puppets["B"].do("change", share=share, key=key, writer="B.", count=OTHERS)
    words = puppets["B"].do("read", share=share, key=key)["words"]
    findings.title(f"A kernel paused before {step} under its lock, NFS 3: the other went on; {len(words)} words left")
    assert len(words) == 2 + OTHERS
