"""The same volumes and operations as a replica's, without a server: for `verify` and `repair`.

Rules: what is built here serves nobody and runs no janitor. Its volumes never expire or bury an upload, whatever the
settings say: the file that a person names here need not be the one that the replicas run with.
"""

from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.adapters.system import SystemClock, SystemEntropy
from storage_proxy.adapters.threads import ThreadWorkers
from storage_proxy.app.hooking import Hooking
from storage_proxy.app.wiring import ages_of, limits_of
from storage_proxy.core.events import Event
from storage_proxy.operations.repair import nothing_ends
from storage_proxy.operations.service import Service, Volume, open_volume
from storage_proxy.settings import Settings


class _Silence:
    """See `ports.Listener`; what was done stands in the report."""

    def hear(self, event: Event) -> None:
        return


def open_service(settings: Settings) -> Service:
    ages, hooking = ages_of(settings), Hooking(settings)
    volumes = {name: _volume(settings, name, hooking) for name in settings.volumes}
    limits = limits_of(settings)
    return Service(volumes, SystemClock(), SystemEntropy(), _Silence(), limits, ages, hooking.receivers)


def _volume(settings: Settings, name: str, hooking: Hooking) -> Volume:
    volume = settings.volumes[name]
    workers = ThreadWorkers(name, threads=4)
    filesystem = PosixFilesystem(volume.path, executor=workers.executor)
    ages = nothing_ends(ages_of(settings))
    limits = limits_of(settings)
    return open_volume(name, volume.layout, filesystem, workers, SystemEntropy(), limits, ages, hooking.rules)
