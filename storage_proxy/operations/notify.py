"""Tell others what has happened: each notice at least once, those of one upload in order.

Rules: the truth is the manifest (`core/notices.py`); what is here only hurries. Whoever has made a notice tries to
deliver it at once, again with growing pauses while its receiver does not take it, and after that leaves it to the
janitor of any replica. One replica at a time delivers an upload's notices, by a lock that only saves repetitions. A
notice that nobody has taken for `give_up_seconds` is dropped, with an error in the log: a receiver that is gone must
not keep the records of all uploads for ever.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from storage_proxy.core import notices
from storage_proxy.core.errors import HookFailed, StorageProxyError
from storage_proxy.core.events import (
    ChunkCommitted,
    Event,
    Fact,
    NoticeDelayed,
    NoticeDelivered,
    NoticeDropped,
    NoticesWaiting,
    PublishRefused,
    UploadCreated,
    UploadExpired,
    UploadPublished,
    UploadTerminated,
)
from storage_proxy.core.manifest import Manifest, Notice, UploadId
from storage_proxy.core.notices import Told
from storage_proxy.operations.service import Service, Volume
from storage_proxy.ports import Hooks

# By what a replica hears that it has itself made a notice.
NEWS: Mapping[type[Event], Told] = {
    UploadCreated: Told.CREATED,
    ChunkCommitted: Told.RECEIVED,
    UploadPublished: Told.PUBLISHED,
    PublishRefused: Told.FAILED,
    UploadTerminated: Told.TERMINATED,
    UploadExpired: Told.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Patience:
    pauses: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
    """between one replica's tries; after the last the janitor's rounds go on"""
    give_up_seconds: float = 3 * 86400.0
    deliveries_max: int = 16
    """at the same time, so that a receiver is not flooded after it was down"""
    uploads_max: int = 1000
    """whose notices one replica holds tasks for; for more the janitor comes by"""
    claim_seconds: float = 600.0
    """a notice that has waited for so long is delivered although another replica has the claim: it may be dead, which
    NFS 3 never notices"""


class Notifier:
    """A listener: what it hears only tells it where to look."""

    def __init__(self, service: Service, hooks: Hooks, told: frozenset[Told], patience: Patience) -> None:
        self._service = service
        self._hooks = hooks
        self._told = told
        self._patience = patience
        self._places = asyncio.Semaphore(patience.deliveries_max)
        self._at_it: dict[UploadId, asyncio.Task[None]] = {}
        self._again: set[UploadId] = set()

    def hear(self, fact: Fact) -> None:
        if not isinstance(fact, Event):
            return
        if not isinstance(fact, NoticesWaiting) and NEWS.get(type(fact)) not in self._told:
            return
        upload = fact.upload
        if upload in self._at_it:
            self._again.add(upload)
        elif len(self._at_it) < self._patience.uploads_max:
            task = asyncio.get_running_loop().create_task(self._deliver_all(upload))
            self._at_it[upload] = task
            task.add_done_callback(partial(self._ended, upload))

    async def settle(self, seconds: float) -> None:
        """Before the process ends; what is left, another replica delivers."""
        if self._at_it:
            await asyncio.wait(list(self._at_it.values()), timeout=seconds)
        for task in list(self._at_it.values()):
            task.cancel()

    def _ended(self, upload: UploadId, task: "asyncio.Task[None]") -> None:
        del self._at_it[upload]
        if upload in self._again:
            self._again.discard(upload)
            self.hear(NoticesWaiting(upload))
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error  # our own bug: the event loop's handler shows it

    async def _deliver_all(self, upload: UploadId) -> None:
        for pause in (*self._patience.pauses, None):
            self._again.discard(upload)
            try:
                async with self._places:
                    await deliver(self._service, self._hooks, upload, self._patience)
                return
            except HookFailed:
                if pause is None or self._service.draining.is_set():
                    return
            except StorageProxyError:
                return  # the share is in trouble, or the upload is gone; the janitor comes by
            await asyncio.sleep(pause)


async def deliver(service: Service, hooks: Hooks, upload: UploadId, patience: Patience) -> None:
    """Everything that waits, one after the other. HookFailed: the first that was not taken stays, and all behind it."""
    volume = service.volume(upload)
    manifest = await service.read(upload)
    if not manifest.notices:
        return
    claim = await volume.run(partial(volume.manifests.claim_notices, upload.key))
    if claim is None and service.clock.now() - manifest.notices[0].at < patience.claim_seconds:
        return  # another replica is at it
    try:
        manifest = await service.read(upload)
        while manifest.notices:
            notice = manifest.notices[0]
            await _hand_over(service, hooks, manifest, notice, patience.give_up_seconds)
            manifest = await _forget(service, volume, manifest, notice)
    finally:
        if claim is not None:
            volume.workers.abandon(claim.release)


async def _hand_over(
    service: Service, hooks: Hooks, manifest: Manifest, notice: Notice, give_up_seconds: float
) -> None:
    upload = manifest.upload
    try:
        await hooks.tell(manifest, notice)
    except HookFailed as error:
        if service.clock.now() - notice.at < give_up_seconds:
            service.tell(NoticeDelayed(upload, notice.number, notice.kind, error.reason))
            raise
        service.tell(NoticeDropped(upload, notice.number, notice.kind, error.reason))
        return
    service.tell(NoticeDelivered(upload, notice.number, notice.kind))


async def _forget(service: Service, volume: Volume, manifest: Manifest, notice: Notice) -> Manifest:
    transition = partial(notices.delivered, number=notice.number)
    async with service.turn(manifest.upload):
        change = await volume.run(partial(volume.manifests.change, manifest.upload.key, transition))
    return change.after
