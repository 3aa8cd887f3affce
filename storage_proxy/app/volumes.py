"""Settings -> volumes: the real file systems, threads and limits, for a replica as for a command that looks at a share.

Rules: the two differ in what they pass here, and in nothing else.
"""

from collections.abc import Mapping

from storage_proxy.adapters.metrics import Metrics
from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.adapters.system import SystemEntropy
from storage_proxy.adapters.threads import ThreadWorkers
from storage_proxy.operations.service import Limits, NoticeRules, Volume, open_volume
from storage_proxy.ports import Filesystem, Listener
from storage_proxy.settings import Settings
from storage_proxy.store.sweeping import Ages


def open_volumes(
    settings: Settings,
    ages: Ages,
    listener: Listener,
    notices: NoticeRules,
    *,
    threads: int,
    sync: bool = True,
    metrics: Metrics | None = None,
) -> Mapping[str, Volume]:
    limits = limits_of(settings)

    def one(name: str) -> Volume:
        volume = settings.volumes[name]
        workers = ThreadWorkers(name, threads)
        filesystem: Filesystem = PosixFilesystem(volume.path, sync=sync, executor=workers.executor)
        if metrics is not None:
            filesystem = metrics.stopwatch(name, limits.share_stall_seconds).around(filesystem)
        return open_volume(name, volume.layout, filesystem, workers, SystemEntropy(), limits, ages, notices, listener)

    return {name: one(name) for name in settings.volumes}


def limits_of(settings: Settings) -> Limits:
    limits, checkpoints = settings.limits, settings.checkpoints
    return Limits(
        upload_bytes_max=limits.upload_bytes_max,
        appends_max=limits.appends_max,
        undurable_bytes_max=limits.undurable_bytes_max,
        checkpoint_bytes=checkpoints.bytes,
        checkpoint_seconds=checkpoints.seconds,
        closer_wait_seconds=limits.closer_wait_seconds,
        lock_wait_seconds=limits.lock_wait_seconds,
        share_stall_seconds=limits.share_stall_seconds,
        reserve_bytes=settings.storage.reserve if settings.storage.check_space else None,
    )


def ages_of(settings: Settings) -> Ages:
    expiry = settings.expiry
    return Ages(
        open=expiry.open,
        published=expiry.published,
        ended=expiry.ended,
        orphans=expiry.orphans,
        # The record is what remembers a notice that waits.
        notices=settings.hooks.give_up,
        joined=expiry.joined,
        sliding=expiry.sliding,
    )
