"""The janitor: expire, sweep, bury, and carry on what others left; and count what is there, as it reads it all anyhow.

Rules: one replica at a time does a volume's round, by a lock that only saves work: each single step is safe against
every append, completion, retry and other janitor (`store/sweeping.py`). A volume that hangs holds up no other.
"""

import asyncio
from functools import partial

from storage_proxy.core.errors import ShareStalled, StorageProxyError
from storage_proxy.core.events import CarryOnFailed, LeftoversSwept, NoticesWaiting, UploadExpired, UploadReaped
from storage_proxy.core.manifest import Manifest, UploadId
from storage_proxy.core.transitions import is_unfinished
from storage_proxy.operations import space
from storage_proxy.operations.finish import carry_on
from storage_proxy.operations.service import Service, Volume
from storage_proxy.operations.survey import Survey, leave_note
from storage_proxy.ports import HeldLock, LockTimeout, NameMissing, Region
from storage_proxy.store import layout
from storage_proxy.store.sweeping import Tended


async def reap(service: Service, volume: Volume) -> bool:
    """One round over a volume; False: another replica is at it."""
    lock = await volume.run(partial(_claim, volume))
    if lock is None:
        return False
    try:
        began = service.clock.monotonic()
        survey = Survey()
        now = await volume.run(volume.sweeping.share_time)
        await volume.run(partial(volume.sweeping.sweep_clocks, now))
        owed: dict[str, int] = {}
        for key in await volume.run(lambda: list(volume.sweeping.keys())):
            if service.draining.is_set():
                return True
            manifest = await _tend(service, volume, key, now)
            survey.add(manifest)
            if manifest is not None:
                owed[key] = manifest.owed
        if service.limits.reserve_bytes is not None:
            space.note(service, volume, owed, await volume.run(volume.filesystem.space))
        told = survey.told(volume.name, service.clock.monotonic() - began, service.clock.now())
        service.tell(told)
        await volume.run(partial(leave_note, volume, service, told))
    finally:
        volume.workers.abandon(lock.release)
    return True


async def reap_for_ever(service: Service, seconds: float) -> None:
    """A round at start-up, then one every so often, on every volume by itself."""
    await asyncio.gather(*(_rounds(service, volume, seconds) for volume in service.volumes.values()))


async def _rounds(service: Service, volume: Volume, seconds: float) -> None:
    while not service.draining.is_set():
        try:
            await reap(service, volume)
        except Exception as error:  # whatever it was, the next round is needed
            nobody = UploadId(volume.name, "0" * 32)
            fault = type(error).__name__
            service.tell(CarryOnFailed(nobody, error=f"{fault}: {error}", fault=fault))
        try:
            await asyncio.wait_for(service.draining.wait(), seconds)
        except TimeoutError:
            continue


def _claim(volume: Volume) -> HeldLock | None:
    try:
        return volume.filesystem.lock(layout.JANITOR_LOCK, Region.MANIFEST, 0.0)
    except (LockTimeout, NameMissing):
        return None


async def _tend(service: Service, volume: Volume, key: str, now: float) -> Manifest | None:
    upload = UploadId(volume.name, key)
    try:
        tended = await volume.run(partial(volume.sweeping.tend, key, now, service.stamp()))
    except ShareStalled:
        # The volume does not answer: each of the others would only be waited for as long.
        raise
    except StorageProxyError as error:
        # Left as it is, for people or the next round; the others are tended all the same.
        service.tell(CarryOnFailed(upload, error=str(error), fault=type(error).__name__))
        return None
    _tell(service, upload, tended)
    if tended.manifest is not None and tended.manifest.notices:
        service.tell(NoticesWaiting(upload))
    if tended.manifest is not None and is_unfinished(tended.manifest):
        carry_on(service, upload)
    return None if tended.reaped else tended.manifest


def _tell(service: Service, upload: UploadId, tended: Tended) -> None:
    if tended.expired and tended.manifest is not None:
        service.tell(UploadExpired(upload, prefix=tended.manifest.prefix))
    if tended.reaped:
        service.tell(UploadReaped(upload))
    if tended.swept:
        service.tell(LeftoversSwept(upload, files=tended.swept))
