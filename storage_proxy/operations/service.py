"""What every operation works with: the volumes, the outside world, the limits, and the work going on in this replica.

Rules: nothing here decides anything about an upload. A replica keeps no truth in memory: the turns and the background
tasks save work, and losing them with the process loses nothing. Blocking calls of a volume only go through
`Volume.run`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from storage_proxy.core.errors import AppendsExhausted, Draining, StorageProxyError, UploadNotFound
from storage_proxy.core.events import AppendEnded, CarryOnFailed, Fact
from storage_proxy.core.manifest import Manifest, Notice, UploadId
from storage_proxy.core.notices import Note, nobody
from storage_proxy.core.target import Layout
from storage_proxy.core.transitions import Stamp
from storage_proxy.operations.kept_files import KeptFiles
from storage_proxy.operations.ledger import Ledger
from storage_proxy.ports import Asked, Asker, Clock, Entropy, Filesystem, Hooks, Listener, Verdict, Workers
from storage_proxy.store.assembly import Assembly
from storage_proxy.store.chunks import Chunks
from storage_proxy.store.joining import Joining
from storage_proxy.store.manifests import Manifests
from storage_proxy.store.repeats import Repeats
from storage_proxy.store.sweeping import Ages, Sweeping
from storage_proxy.store.whole_file import WholeFiles

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    upload_bytes_max: int = 10 << 40
    appends_max: int = 1024
    undurable_bytes_max: int = 1 << 30
    checkpoint_bytes: int = 64 << 20
    checkpoint_seconds: float = 5.0
    closer_wait_seconds: float = 20.0
    lock_wait_seconds: float = 10.0
    claim_wait_seconds: float = 60.0
    """how long an assembly that another replica has claimed may stand still before it is done without the claim"""
    share_stall_seconds: float = 30.0
    fold_lag_bytes: int = 64 << 20
    """so many promised bytes may wait outside the assembly file; what is left at the close is no more"""
    fold_lag_chunks: int = 32
    reserve_bytes: int | None = None
    """what new uploads must leave free; None: creations are not held against the space there is"""


@dataclass(frozen=True, slots=True)
class NoticeRules:
    """What of an upload others are told, or asked; the same on all replicas."""

    note: Note = nobody
    publishing_is_asked: bool = False


@dataclass(frozen=True)
class Volume:
    name: str
    layout: Layout
    filesystem: Filesystem
    workers: Workers
    manifests: Manifests
    chunks: Chunks
    assembly: Assembly
    joining: Joining
    whole_files: WholeFiles
    repeats: Repeats
    sweeping: Sweeping
    stall_seconds: float
    ledger: Ledger = field(default_factory=Ledger)

    async def run(self, work: Callable[[], T]) -> T:
        return await self.workers.run(work, self.stall_seconds)


def open_volume(
    name: str,
    layout: Layout,
    filesystem: Filesystem,
    workers: Workers,
    entropy: Entropy,
    limits: Limits,
    ages: Ages,
    notices: NoticeRules | None = None,
    listener: Listener | None = None,
) -> Volume:
    """The store's parts over one file system."""
    notices = notices or NoticeRules()
    manifests = Manifests(filesystem, name, entropy, limits.lock_wait_seconds, notices.note, listener)
    whole_files = WholeFiles(filesystem, manifests)
    repeats = Repeats(filesystem, name)
    return Volume(
        name=name,
        layout=layout,
        filesystem=filesystem,
        workers=workers,
        manifests=manifests,
        chunks=Chunks(filesystem, manifests, entropy, whole_files, announces=not notices.publishing_is_asked),
        assembly=Assembly(filesystem, manifests, entropy),
        joining=Joining(filesystem, manifests, entropy),
        whole_files=whole_files,
        repeats=repeats,
        sweeping=Sweeping(filesystem, manifests, repeats, ages),
        # A change waits for its lock inside a thread: that is no stall.
        stall_seconds=limits.share_stall_seconds + limits.lock_wait_seconds,
    )


class Budget:
    """Received bytes that are not durable yet, of all appends of this process."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.held = 0
        self.received = 0
        """ever, however they ended"""

    @property
    def exceeded(self) -> bool:
        return self.held > self._bytes_max

    def add(self, count: int) -> None:
        self.held += count
        if count > 0:
            self.received += count

    @contextmanager
    def holding(self, count: int) -> Iterator[None]:
        self.add(count)
        try:
            yield
        finally:
            self.add(-count)


@dataclass(slots=True)
class Receiving:
    """One append that is under way."""

    received: int = 0


class NobodyAsked:
    """`ports.Hooks` of a service without any."""

    def wants(self, question: Asked) -> bool:
        return False

    async def ask(self, question: Asked, manifest: Manifest, asker: Asker | None) -> Verdict:
        return Verdict()

    async def tell(self, manifest: Manifest, notice: Notice) -> None:
        return


class Service:
    def __init__(
        self,
        volumes: Mapping[str, Volume],
        clock: Clock,
        entropy: Entropy,
        listener: Listener,
        limits: Limits,
        ages: Ages,
        hooks: Hooks | None = None,
    ) -> None:
        self.volumes = volumes
        self.hooks: Hooks = hooks or NobodyAsked()
        self.clock = clock
        self.entropy = entropy
        self.limits = limits
        self.undurable = Budget(limits.undurable_bytes_max)
        self.draining = asyncio.Event()
        self.appends = 0
        self._ages = ages
        self._listeners = [listener]
        self._turns: WeakValueDictionary[UploadId, asyncio.Lock] = WeakValueDictionary()
        self._background: dict[UploadId, asyncio.Task[Any]] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self.kept = KeptFiles(self)

    def volume(self, upload: UploadId) -> Volume:
        volume = self.volumes.get(upload.volume)
        if volume is None:
            raise UploadNotFound(upload=str(upload))
        return volume

    async def read(self, upload: UploadId) -> Manifest:
        volume = self.volume(upload)
        return await volume.run(lambda: volume.manifests.read(upload.key))

    def stamp(self) -> Stamp:
        now = self.clock.now()
        return Stamp(now=now, expires_at=now + self._ages.open, sliding=self._ages.sliding)

    def stamp_of_joined(self) -> Stamp:
        """For a part whose bytes a published file has."""
        now = self.clock.now()
        return Stamp(now=now, expires_at=now + self._ages.joined)

    def tell(self, fact: Fact) -> None:
        for listener in self._listeners:
            listener.hear(fact)

    def also_tell(self, listener: Listener) -> None:
        """From now on; for listeners that work with the service themselves."""
        self._listeners.append(listener)

    # ---- work in this replica ---------------------------------------------------------------------------------------

    def turn(self, upload: UploadId) -> asyncio.Lock:
        """One thread at a time per upload: waiting here costs no thread, waiting for the share's lock does."""
        lock = self._turns.get(upload)
        if lock is None:
            lock = self._turns[upload] = asyncio.Lock()
        return lock

    @contextmanager
    def receiving(self, upload: UploadId, offset: int) -> Iterator["Receiving"]:
        """A place among the appends that this replica takes at once."""
        if self.draining.is_set():
            raise Draining()
        if self.appends >= self.limits.appends_max:
            raise AppendsExhausted(appends_max=self.limits.appends_max)
        self.appends += 1
        receiving, began = Receiving(), self.clock.monotonic()
        ending: str | None = None
        try:
            yield receiving
        except BaseException as error:
            ending = type(error).__name__
            raise
        finally:
            self.appends -= 1
            seconds = self.clock.monotonic() - began
            self.tell(AppendEnded(upload, offset, receiving.received, seconds, ending))

    def in_background(self, upload: UploadId, work: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Task[T]":
        """Go on with an upload whoever waits for it; where this replica is at it already, that work is given back."""
        running = self._background.get(upload)
        if running is not None and not running.done():
            return running
        task = asyncio.get_running_loop().create_task(work())
        self._background[upload] = task
        task.add_done_callback(lambda done: self._ended(upload, done))
        return task

    def in_background_anew(self, upload: UploadId, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """The same, for news that work under way may have missed: it is begun once more when that has ended."""

        def begin(_: object) -> None:
            if not self.draining.is_set():
                self.in_background(upload, work)

        running = self._background.get(upload)
        if running is None or running.done():
            begin(None)
        else:
            running.add_done_callback(begin)

    def _ended(self, upload: UploadId, task: "asyncio.Task[Any]") -> None:
        if self._background.get(upload) is task:
            del self._background[upload]
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, StorageProxyError):
                # Our own bug: let the event loop's handler show it with its traceback.
                raise error
            self.tell(CarryOnFailed(upload, error=str(error), fault=type(error).__name__))

    def aside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Work that nobody waits for, and that may be left undone."""
        task = asyncio.get_running_loop().create_task(work())
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def settle(self, seconds: float) -> None:
        """Give background work a last chance before the process ends; what is left, another replica carries on."""
        self.kept.let_all_go()
        if self._going_on():
            await asyncio.wait(self._going_on(), timeout=seconds)
        for task in self._going_on():
            task.cancel()

    def _going_on(self) -> "list[asyncio.Task[Any]]":
        return [*self._background.values(), *self._aside]
