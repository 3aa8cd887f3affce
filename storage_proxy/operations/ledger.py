"""What one replica knows of the space on one volume: figures, and how old they are. `space.py` keeps and uses it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from storage_proxy.ports import Space


@dataclass
class Ledger:
    """What one replica knows of one volume."""

    space: Space | None = None
    space_at: float = -math.inf
    spare: int | None = None
    """what was free and not owed, at the last look"""
    looked_at: float = -math.inf
    since: dict[str, int] = field(default_factory=dict)
    """key -> bytes promised room by this replica since the last look"""

    def left(self, free: int) -> int:
        known = free if self.spare is None else min(self.spare, free)
        return known - sum(self.since.values())

    def note(self, space: Space, owed: Mapping[str, int], now: float) -> None:
        """The result of a look: each upload that it saw, and what it owes."""
        self.space, self.space_at = space, now
        self.spare, self.looked_at = space.free - sum(owed.values()), now
        for key in self.since.keys() & owed.keys():
            del self.since[key]
