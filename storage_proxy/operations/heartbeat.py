"""Who is there: each replica (each of its workers) leaves a note of itself on every volume, again and again.

Rules: it is for people to look at, and decides nothing. A replica that ends takes its notes along; those of one that
was killed are swept by whoever is left. A volume that is in trouble is left alone until the next time.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from storage_proxy.core.errors import StorageProxyError
from storage_proxy.operations.service import Service, Volume
from storage_proxy.ports import NameMissing
from storage_proxy.store.notes import Note, Notes

BEAT_SECONDS = 15.0
SWEEP_SECONDS = 3600.0
KIND = "replica"

# A volume that does not answer holds up nobody for longer.
PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    replica: str
    seconds_ago: float
    facts: Mapping[str, object]


class Heartbeat:
    def __init__(self, service: Service, replica: str, version: str) -> None:
        self._service = service
        self._replica = replica
        self._version = version
        self._name = f"{KIND}.{re.sub(r'[^A-Za-z0-9_-]', '-', replica)[:100]}"
        self._began = service.clock.now()

    async def beat_for_ever(self) -> None:
        await asyncio.gather(*map(self._beat_on, self._service.volumes.values()))

    async def end(self) -> None:
        await asyncio.gather(*(self._try(volume, lambda notes: notes.remove(self._name)) for volume in self._volumes))

    async def beat(self, volume: Volume) -> None:
        service = self._service
        facts = {
            "replica": self._replica,
            "version": self._version,
            "started_at": self._began,
            "appends": service.appends,
            "draining": service.draining.is_set(),
        }
        await self._try(volume, lambda notes: notes.write(self._name, facts))

    @property
    def _volumes(self) -> tuple[Volume, ...]:
        return tuple(self._service.volumes.values())

    async def _beat_on(self, volume: Volume) -> None:
        swept = -SWEEP_SECONDS
        while True:
            await self.beat(volume)
            if self._service.clock.monotonic() - swept >= SWEEP_SECONDS:
                swept = self._service.clock.monotonic()
                await self._try(volume, lambda notes: notes.sweep(SWEEP_SECONDS))
            await asyncio.sleep(BEAT_SECONDS)

    async def _try(self, volume: Volume, work: Callable[[Notes], object]) -> None:
        notes = Notes(volume.filesystem, self._service.entropy)
        try:
            await volume.workers.run(partial(work, notes), PATIENCE_SECONDS)
        except (StorageProxyError, NameMissing):
            return  # the volume's trouble is told by those who need it


async def seen_on(service: Service, volume: Volume) -> list[Seen]:
    """The latest first."""
    notes = Notes(volume.filesystem, service.entropy)

    def look() -> tuple[float, list[Note]]:
        return volume.sweeping.share_time(), list(notes.read_all(KIND))

    now, found = await volume.run(look)
    seen = [Seen(str(note.facts.get("replica", "?")), max(0.0, now - note.written), note.facts) for note in found]
    return sorted(seen, key=lambda each: each.seconds_ago)
