"""Changes of one manifest by several client kernels at once, with each safeguard on and off.

What is left of the changes is counted in the manifest itself, by the words each of them leaves there.
"""

from dataclasses import dataclass
from itertools import product
from secrets import token_hex

import pytest

from tests.lab.conftest import Findings
from tests.lab.laboratory import V3, V42, Laboratory, Mount
from tests.lab.strings import Strings

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

CHANGES = 100
MOUNTS = {"4.2": V42, "3": V3}


@dataclass(frozen=True, slots=True)
class Safeguards:
    lock: bool
    refresh: bool
    fence: bool

    def __str__(self) -> str:
        said = {"lock": self.lock, "refresh": self.refresh, "fence": self.fence}
        return ", ".join(name if on else f"no {name}" for name, on in said.items())


ALL = Safeguards(lock=True, refresh=True, fence=True)


@dataclass(frozen=True, slots=True)
class Left:
    """What came of it."""

    made: int
    left: int
    conflicts: int
    helped: int
    broken: int
    """writers that could not go on, because the store found something impossible"""


def contend(puppets: dict[str, Strings], writers: str, mount: Mount, safeguards: Safeguards, changes: int) -> Left:
    key = token_hex(16)
    puppets[writers[0]].do("create", share=mount.path, key=key)
    acts = [
        puppets[writer].begin(
            "change",
            share=mount.path,
            key=key,
            writer=writer,
            count=changes,
            lock=safeguards.lock,
            refresh=safeguards.refresh,
            fence=safeguards.fence,
        )
        for writer in writers
    ]
    failures = [act.ended.exception(400) for act in acts]
    told = [act.result() for act, failure in zip(acts, failures, strict=True) if failure is None]
    words = puppets[writers[0]].do("read", share=mount.path, key=key)["words"]
    return Left(
        made=sum(each["changes"] for each in told),
        left=sum(word.rstrip("0123456789") in writers for word in set(words)),
        conflicts=sum(each["conflicts"] for each in told),
        helped=sum(each["helped"] for each in told),
        broken=sum(failure is not None for failure in failures),
    )


@pytest.mark.parametrize("version", MOUNTS)
@pytest.mark.parametrize("writers", ["AB", "ABC"])
def test_no_change_is_lost_however_many_kernels_write(
    laboratory: Laboratory, puppets: dict[str, Strings], findings: Findings, writers: str, version: str
) -> None:
    findings.title(f"Changes of one manifest, {len(writers)} kernels, NFS {version}", *COLUMNS)
    for safeguards in (ALL, Safeguards(lock=False, refresh=True, fence=True)):
        left = contend(puppets, writers, MOUNTS[version], safeguards, CHANGES)
        tell(findings, safeguards, left)
        assert left.broken == 0
        assert left.left == left.made == CHANGES * len(writers)


@pytest.mark.parametrize("version", MOUNTS)
def test_with_a_safeguard_switched_off_the_loss_is_seen(
    laboratory: Laboratory, puppets: dict[str, Strings], findings: Findings, version: str
) -> None:
    findings.title(f"With safeguards switched off, 2 kernels, NFS {version}", *COLUMNS)
    lost = {}
    for lock, refresh, fence in product((True, False), (True, False), (True, False)):
        safeguards = Safeguards(lock, refresh, fence)
        if refresh and fence:
            continue  # above
        left = contend(puppets, "AB", MOUNTS[version], safeguards, CHANGES)
        tell(findings, safeguards, left)
        lost[lock, refresh, fence] = left.made - left.left + left.broken
    without_lock_and_fence = lost[False, True, False] + lost[False, False, False]
    assert without_lock_and_fence > 0, "without lock and fence nothing was lost: the proof above proves nothing"
    if version == "4.2":
        assert lost[True, False, False] > 0, "without refresh and fence nothing was lost under the lock"


COLUMNS = ("switched", "changes made", "left", "lost", "conflicts", "helped", "writers broken")


def tell(findings: Findings, safeguards: Safeguards, left: Left) -> None:
    findings.row(safeguards, left.made, left.left, left.made - left.left, left.conflicts, left.helped, left.broken)
