"""What is on a volume, in numbers: added up as the janitor reads each upload on its round.

Rules: nothing is read for the sake of counting. The numbers are as old as the round is long, and the next round makes
them anew. One replica's janitor leaves them on the volume as a note, so that every replica can tell them.
"""

from collections import Counter

from storage_proxy.core.errors import ShareFault, ShareFull
from storage_proxy.core.events import VolumeSurveyed
from storage_proxy.core.manifest import Manifest, Phase
from storage_proxy.operations.service import Service, Volume
from storage_proxy.ports import NameMissing
from storage_proxy.store.notes import Note, Notes

NAME = "survey"


class Survey:
    def __init__(self) -> None:
        self._phases: Counter[str] = Counter()
        self._owed = 0
        self._unassembled = 0
        self._closed_at: list[float] = []

    def add(self, manifest: Manifest | None) -> None:
        """None: an upload that is gone, or whose manifest cannot be read."""
        if manifest is None:
            return
        self._phases[manifest.phase.value] += 1
        promised = sum(extent.length for extent in manifest.coverage)
        if manifest.phase in (Phase.OPEN, Phase.CLOSED, Phase.PUBLISHING):
            self._unassembled += promised - manifest.assembled
        self._owed += manifest.owed
        if manifest.phase in (Phase.CLOSED, Phase.PUBLISHING):
            # By the change that closed it: what it waits for since changes nothing that clients see.
            self._closed_at.append(manifest.changed_at)

    def told(self, volume: str, seconds: float, now: float) -> VolumeSurveyed:
        phases = tuple(sorted(self._phases.items()))
        oldest = max((now - closed for closed in self._closed_at), default=0.0)
        return VolumeSurveyed(volume, phases, self._owed, self._unassembled, seconds, max(0.0, oldest))


def leave_note(volume: Volume, service: Service, told: VolumeSurveyed) -> None:
    """For all replicas. Blocks."""
    facts = {
        "phases": dict(told.phases),
        "owed": told.owed,
        "unassembled": told.unassembled,
        "seconds": told.seconds,
        "oldest_closed_seconds": told.oldest_closed_seconds,
        "at": service.clock.now(),
    }
    try:
        Notes(volume.filesystem, service.entropy).write(NAME, facts)
    except (ShareFault, ShareFull, NameMissing):
        return  # the next round makes another


async def last_survey(volume: Volume, service: Service) -> Note | None:
    """None: no janitor has been round yet."""
    notes = Notes(volume.filesystem, service.entropy)
    return await volume.run(lambda: notes.read(NAME))
