"""What a burst of uploads needed is not kept for the slow ones that follow.

Rules: only while bytes come in, and once more after that; never in the event loop's own thread.
"""

import asyncio
from collections.abc import Callable

from storage_proxy.operations.service import Service

# Each time, what threads have at hand to receive into has to be fetched from the kernel again: a millisecond, maybe.
# More often would show in the throughput; more seldom, and a burst would be seen in the memory long after it.
GIVE_BACK_SECONDS = 2.0


class IdleMemory:
    def __init__(self, service: Service, give_back: Callable[[], None]) -> None:
        self._service = service
        self._give_back = give_back
        self._received = 0
        self._was_busy = False

    async def look(self) -> None:
        before, self._received = self._received, self._service.undurable.received
        busy = self._received != before
        if busy or self._was_busy:
            await asyncio.to_thread(self._give_back)
        # What came last may not have been written, and so not have been freed, by now.
        self._was_busy = busy

    async def look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(GIVE_BACK_SECONDS)
            await self.look()
