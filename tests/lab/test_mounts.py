"""Two writers over each way to mount the share that an operator may choose: what is kept, and what it costs."""

import time
from secrets import token_hex
from statistics import median

import pytest

from tests.lab.conftest import Findings
from tests.lab.laboratory import Laboratory, Mount
from tests.lab.strings import Strings
from tests.lab.test_fence import ALL, contend

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

OPTIONS = (
    "vers=4.2",
    "vers=4.2,lookupcache=none",
    "vers=4.2,actimeo=0",
    "vers=4.2,noac",
    "vers=4.1",
    "vers=4.0",
    "vers=3",
    "vers=3,lookupcache=positive",
    "vers=3,lookupcache=none",
    "vers=3,nolock",
)
CHANGES = 30
GLANCES = 30
ROUNDS, ROUND_CHANGES = 3, 10


def test_no_change_is_lost_over_any_mount(
    laboratory: Laboratory, puppets: dict[str, Strings], findings: Findings
) -> None:
    mounts = {options: Mount(f"/mnt/way{n}", f"{options},nosharecache") for n, options in enumerate(OPTIONS)}
    for mount in mounts.values():
        laboratory.mount(mount, ("A", "B"))
    left = {options: contend(puppets, "AB", mount, ALL, CHANGES) for options, mount in mounts.items()}
    stale = {options: _stale_glances(puppets, mount) for options, mount in mounts.items()}
    # In turn, so that whatever else the machine does meets all of them alike.
    rounds = [{options: _milliseconds(puppets, mount) for options, mount in mounts.items()} for _ in range(ROUNDS)]
    findings.title(
        "Ways to mount the share, 2 kernels, everything on",
        *("options", "changes made", "lost", "conflicts", "ms a change, alone", "plain opens that were stale"),
    )
    for options, each in left.items():
        took = median(found[options] for found in rounds)
        findings.row(
            *(options, each.made, each.made - each.left + each.broken, each.conflicts),
            *(f"{took:.0f}", f"{stale[options]} of {GLANCES}"),
        )
    assert all(each.left == each.made == 2 * CHANGES for each in left.values()), left


def _milliseconds(puppets: dict[str, Strings], mount: Mount) -> float:
    """Of one change by one writer whom nobody disturbs, and a read."""
    key = token_hex(16)
    puppets["A"].do("create", share=mount.path, key=key)
    begun = time.monotonic()
    puppets["A"].do("change", share=mount.path, key=key, writer="A", count=ROUND_CHANGES)
    return (time.monotonic() - begun) * 1000 / ROUND_CHANGES


def _stale_glances(puppets: dict[str, Strings], mount: Mount) -> int:
    """How often a program that trusts its mount would have read an old manifest."""
    key, stale = token_hex(16), 0
    puppets["A"].do("create", share=mount.path, key=key)
    for number in range(GLANCES):
        puppets["B"].do("glance", share=mount.path, key=key)
        puppets["A"].do("change", share=mount.path, key=key, writer=f"A{number}.", count=1)
        stale += puppets["B"].do("glance", share=mount.path, key=key)["revision"] != number + 2
    return stale
