"""Whether each volume can be worked with: asked in the background, so that whoever wants to know waits for nothing.

Rules: a volume is asked by a thread of its own, one question at a time: when its mount hangs that thread hangs with it,
and no request's. Asked is what uploads need: a look at the share that no cache answers, and a lock. A server that is up
may still refuse locks (an NFS server's grace period), and a lock that somebody else holds at that moment is an answer.
Not asked is a write: a full share still has files and offsets to tell.
"""

import asyncio
from collections.abc import Mapping

from storage_proxy.core.errors import ShareStalled, StorageProxyError
from storage_proxy.core.events import VolumeProbed, VolumeTurned
from storage_proxy.core.target import STAGING
from storage_proxy.operations.service import Service, Volume
from storage_proxy.ports import LockTimeout, NameMissing, Region, Space, Workers
from storage_proxy.store import layout

PROBE_SECONDS = 2.0
PAUSE_SECONDS = 5.0
PAUSE_SECONDS_UNREADY = 1.0

NOT_ASKED = "It has not been asked yet."


class Readiness:
    def __init__(self, service: Service, probers: Mapping[str, Workers]) -> None:
        """`probers`: one thread for each volume."""
        self._service = service
        self._probers = probers
        self._found: dict[str, str | None] = dict.fromkeys(service.volumes, NOT_ASKED)
        self.space: dict[str, Space] = {}
        """as last seen, by volume"""

    def reason(self, volume: Volume) -> str | None:
        """Why it is not ready, as far as is known now; None: it is."""
        if (seconds := volume.workers.hung_seconds()) > 0:
            return str(ShareStalled(volume=volume.name, seconds=seconds))
        return self._found[volume.name]

    async def ask(self) -> None:
        """Each volume once; takes no longer than a question may."""
        await asyncio.gather(*map(self._ask, self._service.volumes.values()))

    async def ask_for_ever(self) -> None:
        await asyncio.gather(*map(self._keep_asking, self._service.volumes.values()))

    async def _keep_asking(self, volume: Volume) -> None:
        while True:
            await asyncio.sleep(PAUSE_SECONDS if self.reason(volume) is None else PAUSE_SECONDS_UNREADY)
            await self._ask(volume)

    async def _ask(self, volume: Volume) -> None:
        space: Space | None = None
        try:
            space = await self._probers[volume.name].run(lambda: probe(volume), PROBE_SECONDS)
            self.space[volume.name] = space
            reason = None
        except StorageProxyError as error:
            reason = str(error)
        except NameMissing:
            reason = f"There is no {STAGING} directory any more."
        before, self._found[volume.name] = self._found[volume.name], reason
        known = (space.free, space.total) if space is not None else (None, None)
        self._service.tell(VolumeProbed(volume.name, self.reason(volume), *known))
        # That it is ready at the start is no news.
        if (before is None) != (reason is None) and (before, reason) != (NOT_ASKED, None):
            self._service.tell(VolumeTurned(volume.name, reason))


def probe(volume: Volume) -> Space:
    """What uploads ask of a share, and its space. Blocks."""
    volume.filesystem.inspect(STAGING)
    try:
        volume.filesystem.lock(layout.PROBE_LOCK, Region.MANIFEST, 0.0).release()
    except LockTimeout:
        pass  # another replica's, which was granted just now
    return volume.filesystem.space()
