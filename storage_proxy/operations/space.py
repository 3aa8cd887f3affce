"""Whether an upload that is to be created can fit: refused early, it costs its client nothing.

Rules: advice, never a promise. What is not refused here may still find the share full, which is dealt with where it
happens; a share that does not tell its size is not asked twice. What open uploads still owe is known from a look at
all of them, the janitor's or one of our own every so often, less what this replica has created since; what others
have created since is not known. Between two looks an upload's progress changes nothing: what it owes and what is free
shrink together. Nobody waits for a look but who would be refused without a fresh one.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from storage_proxy.core.errors import SpaceShort, StorageProxyError, Unavailable, VolumeTooSmall
from storage_proxy.core.manifest import UploadId
from storage_proxy.operations.ledger import Ledger
from storage_proxy.operations.service import Service, Volume
from storage_proxy.ports import Space

# The share is asked for its size at most so often.
SPACE_SECONDS = 1.0

# A creation that finds no younger look starts one, and goes on.
LOOK_SECONDS = 300.0

# Before a refusal a look that is older than this is not believed, and another one waited for, but not for long.
BELIEVED_SECONDS = 10.0
PATIENCE_SECONDS = 2.0

# Manifests read by one call of a thread.
BATCH = 50


@asynccontextmanager
async def room_for(service: Service, volume: Volume, key: str, size: int) -> AsyncIterator[None]:
    """Refuse what cannot fit; else the room counts as taken, unless what is done with it fails."""
    ledger, reserve = volume.ledger, service.limits.reserve_bytes
    if reserve is None or size == 0:
        yield
        return
    await _require(service, volume, size, reserve)
    before = ledger.since.get(key, 0)
    ledger.since[key] = before + size
    try:
        yield
    except BaseException:
        if before:
            ledger.since[key] = before
        else:
            # An upload that never came to be is found by no look: its entry would be left for ever.
            ledger.since.pop(key, None)
        raise


async def _require(service: Service, volume: Volume, size: int, reserve: int) -> None:
    ledger = volume.ledger
    space = await _space(service, volume, ledger)
    # Some file systems say 0 of 0.
    if space is None or space.total == 0:
        return
    if size + reserve > space.total:
        raise VolumeTooSmall(size=size, total=space.total, reserve=reserve)
    age = service.clock.monotonic() - ledger.looked_at
    short = ledger.left(space.free) - reserve < size
    if age >= (BELIEVED_SECONDS if short else LOOK_SECONDS):
        looking = service.in_background(UploadId(volume.name, "0" * 32), partial(look, service, volume))
        if short:
            await asyncio.wait([looking], timeout=PATIENCE_SECONDS)
            space = ledger.space or space
            short = ledger.left(space.free) - reserve < size
    if short:
        owed = space.free - ledger.left(space.free)
        raise SpaceShort(size=size, free=space.free, owed=owed, reserve=reserve)


async def _space(service: Service, volume: Volume, ledger: Ledger) -> Space | None:
    """None: the share does not say; then creating the upload will find out what is wrong."""
    now = service.clock.monotonic()
    if now - ledger.space_at >= SPACE_SECONDS:
        # Before the answer is there: of many creations at once one asks.
        ledger.space_at = now
        try:
            ledger.space = await volume.run(volume.filesystem.space)
        except Unavailable:
            ledger.space = None
    return ledger.space


async def look(service: Service, volume: Volume) -> None:
    """Read every upload's manifest, and set what they owe against what is free."""
    owed: dict[str, int] = {}
    keys = await volume.run(lambda: list(volume.sweeping.keys()))
    for start in range(0, len(keys), BATCH):
        owed |= await volume.run(partial(_owed, volume, keys[start : start + BATCH]))
    note(service, volume, owed, await volume.run(volume.filesystem.space))


def note(service: Service, volume: Volume, owed: Mapping[str, int], space: Space) -> None:
    volume.ledger.note(space, owed, service.clock.monotonic())


def _owed(volume: Volume, keys: Sequence[str]) -> dict[str, int]:
    owed: dict[str, int] = {}
    for key in keys:
        try:
            owed[key] = volume.manifests.read(key).owed
        except StorageProxyError:
            continue  # being created, gone, or damaged: it owes nothing that is known
    return owed
