"""What one kernel has looked up never hides what another has done, as long as it is asked through the port.

Beside each question through the store the same is asked by plain system calls, which may answer from a cache: that they
do is shown too, or there would be nothing to be proved.
"""

import time
from secrets import token_hex

import pytest

from tests.lab.conftest import Findings
from tests.lab.laboratory import V3, V42, Laboratory, Mount
from tests.lab.strings import Strings

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

ROUNDS = 100
MOUNTS = {"4.2": V42, "3": V3}


@pytest.mark.parametrize("version", MOUNTS)
def test_a_commit_is_seen_by_a_kernel_that_had_looked_before(
    laboratory: Laboratory, puppets: dict[str, Strings], findings: Findings, version: str
) -> None:
    share, key = MOUNTS[version].path, token_hex(16)
    puppets["A"].do("create", share=share, key=key)
    stale = {"store": 0, "plain open": 0}
    for number in range(ROUNDS):
        writer, reader = ("A", "B") if number % 2 else ("B", "C")
        for name in puppets:
            puppets[name].do("glance", share=share, key=key)  # everybody has it in mind
        puppets[writer].do("change", share=share, key=key, writer=f"{writer}{number}.", count=1)
        plain = puppets[reader].do("glance", share=share, key=key)
        found = puppets[reader].do("read", share=share, key=key)
        stale["plain open"] += plain["revision"] != number + 2
        stale["store"] += found["revision"] != number + 2
    findings.title(f"Reads that were behind another kernel's commit, NFS {version}", "asked through", "stale", "of")
    for way, count in stale.items():
        findings.row(way, count, ROUNDS)
    assert stale["store"] == 0
    if version == "4.2":
        assert stale["plain open"] > 0, "no cache was ever stale: this proves nothing"


# An NFS 3 client knows only by a directory's times that it has changed, and those stand still for a tick of the
# server's clock; version 4 counts the changes. So with version 3, and only for a name that was looked up before it was
# there, absence may be believed too long. lookupcache=positive forbids the mount to remember absence.
PROMISED = {
    "4.2": V42,
    "3, lookupcache=positive": Mount("/mnt/v3positive", "vers=3,nosharecache,lookupcache=positive"),
    "3, lookupcache=none": Mount("/mnt/v3none", "vers=3,nosharecache,lookupcache=none"),
}
SLOWLY = "3, with 50 ms between any two changes"
NOT_PROMISED = {"3": V3, SLOWLY: V3}
TICKS_SECONDS = 0.05


@pytest.mark.parametrize("version", [*PROMISED, *NOT_PROMISED])
def test_an_upload_that_was_not_there_is_found_once_another_kernel_made_it(
    laboratory: Laboratory, puppets: dict[str, Strings], findings: Findings, version: str
) -> None:
    mount = {**PROMISED, **NOT_PROMISED}[version]
    laboratory.mount(mount, ("A", "B"))
    missed = {"store": 0, "plain open": 0}
    # One directory for all of them, as the store has it for keys that begin alike.
    keys = [f"00{token_hex(15)}" for _ in range(ROUNDS)]
    for key in keys:
        before = [puppets["B"].do(how, share=mount.path, key=key)["revision"] for how in ("read", "glance")]
        assert before == [-1, -1]
        time.sleep(TICKS_SECONDS if version == SLOWLY else 0.0)
        puppets["A"].do("create", share=mount.path, key=key)
        plain = puppets["B"].do("glance", share=mount.path, key=key)
        found = puppets["B"].do("read", share=mount.path, key=key)
        missed["plain open"] += plain["revision"] != 1
        missed["store"] += found["revision"] != 1
    findings.title(
        f"New uploads that were still absent for a kernel that had asked before, NFS {version}",
        *("asked through", "absent", "of"),
    )
    for way, count in missed.items():
        findings.row(way, count, ROUNDS)
    if version in PROMISED or version == SLOWLY:
        assert missed["store"] == 0
    if "lookupcache" not in mount.options:
        assert missed["plain open"] > 0, "no absence was ever remembered: this proves nothing"


LOOKUPCACHE = Mount("/mnt/nocache", "vers=4.2,nosharecache,lookupcache=none")


def test_with_lookupcache_none_not_even_a_plain_open_is_stale(
    laboratory: Laboratory, puppets: dict[str, Strings], findings: Findings
) -> None:
    laboratory.mount(LOOKUPCACHE, ("A", "B"))
    share, key = LOOKUPCACHE.path, token_hex(16)
    puppets["A"].do("create", share=share, key=key)
    stale = 0
    for number in range(ROUNDS):
        writer, reader = ("A", "B") if number % 2 else ("B", "A")
        puppets[reader].do("glance", share=share, key=key)
        puppets[writer].do("change", share=share, key=key, writer=f"{writer}{number}.", count=1)
        stale += puppets[reader].do("glance", share=share, key=key)["revision"] != number + 2
    findings.title("Plain opens that were behind, NFS 4.2 with lookupcache=none", "stale", "of")
    findings.row(stale, ROUNDS)
    assert stale == 0
