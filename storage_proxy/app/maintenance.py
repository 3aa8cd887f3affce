"""The same volumes and operations as a replica's, without a server: for the commands that work on a share.

Rules: what is built here serves nobody and runs no janitor. Its volumes never expire or bury an upload, whatever the
settings say: the file that a person names here need not be the one that the replicas run with. It always syncs.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from storage_proxy.adapters.system import SystemClock, SystemEntropy
from storage_proxy.app.hooking import Hooking
from storage_proxy.app.volumes import ages_of, limits_of, open_volumes
from storage_proxy.core.events import Fact
from storage_proxy.operations.repair import nothing_ends
from storage_proxy.operations.service import Service
from storage_proxy.settings import Settings

THREADS = 4


class _Silence:
    """See `ports.Listener`; what was done stands in the report."""

    def hear(self, fact: Fact) -> None:
        return


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """PluginMissing."""
    ages, silence, hooking = ages_of(settings), _Silence(), Hooking(settings)
    volumes = open_volumes(settings, nothing_ends(ages), silence, hooking.rules, threads=THREADS)
    try:
        yield Service(volumes, SystemClock(), SystemEntropy(), silence, limits_of(settings), ages, hooking.receivers)
    finally:
        await hooking.close()
