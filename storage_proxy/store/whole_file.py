"""The digests of whole files: computed as the one file grows, so that nothing but its tail is left for the close.

Rules: what is hashed is the very file that will be published, below the point up to which its bytes are synced and
final. A running hash is in this process's memory only, and is given up rather than doubted: whoever finds none reads
the file from its start, which costs time and nothing else. It belongs to one thread while that hashes on. These
functions block; they run in `Workers`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage_proxy.core.digests import to_compute
from storage_proxy.core.errors import PromisedBytesMissing
from storage_proxy.core.folding import whole_file
from storage_proxy.core.manifest import Digest, Manifest, Phase
from storage_proxy.ports import Filesystem, NameMissing
from storage_proxy.store import layout
from storage_proxy.store.digests import WHOLE_FILE
from storage_proxy.store.manifests import Manifests

if TYPE_CHECKING:
    from hashlib import _Hash

PIECE_BYTES = 4 << 20

# What one step reads: as much as one step of folding copies.
STEP_BYTES_MAX = 64 << 20

# A running hash is a few hundred bytes; so many uploads with a digest go on at once without reading anything twice.
KEPT_MAX = 4096


@dataclass(slots=True)
class _Running:
    hash: "_Hash"
    through: int = 0


@dataclass(frozen=True, slots=True)
class Hashed:
    digests: tuple[Digest, ...]
    """of the whole file; complete only when there is no more to do"""
    more: bool


NOTHING = Hashed((), more=False)


class WholeFiles:
    def __init__(self, filesystem: Filesystem, manifests: Manifests) -> None:
        self._filesystem = filesystem
        self._manifests = manifests
        # One call each to take, to put and to drop: threads need no lock of ours.
        self._kept: OrderedDict[tuple[str, str, str], _Running] = OrderedDict()

    def begin(self, key: str, file: str, through: int, hashes: Mapping[str, "_Hash"]) -> None:
        """What a writer has hashed of a file from its first byte on."""
        for algorithm, running in hashes.items():
            self._keep((key, file, algorithm), _Running(running.copy(), through))

    def hash_on(self, manifest: Manifest) -> Hashed:
        """One bounded step, for every digest that was declared and must be computed."""
        if manifest.phase is Phase.CLOSED and (file := whole_file(manifest)) is not None:
            through = manifest.length or 0
        elif manifest.phase in (Phase.OPEN, Phase.CLOSED) and manifest.assembly is not None:
            file, through = manifest.assembly.file, manifest.assembly.through
        else:
            return NOTHING
        digests, more = [], False
        for algorithm in to_compute(manifest, file):
            try:
                running = self._step(manifest, file, algorithm, through)
            except NameMissing:
                return self._overtaken(manifest, file)
            more = more or running.through < through
            digests.append(Digest(algorithm, running.hash.hexdigest()))
            self._keep((manifest.upload.key, file, algorithm), running)
        return Hashed(tuple(digests), more)

    def _step(self, manifest: Manifest, file: str, algorithm: str, through: int) -> _Running:
        key = manifest.upload.key
        running = self._kept.pop((key, file, algorithm), None)
        if running is None:
            running = _Running(WHOLE_FILE[algorithm]())
        end = min(through, running.through + STEP_BYTES_MAX)
        while running.through < end:
            length = min(PIECE_BYTES, end - running.through)
            piece = self._filesystem.read_at(layout.within(key, file), running.through, length)
            if not piece:
                reason = f"it ends {through - running.through} early"
                raise PromisedBytesMissing(upload=str(manifest.upload), file=file, reason=reason)
            running.hash.update(piece)
            running.through += len(piece)
        return running

    def _overtaken(self, manifest: Manifest, file: str) -> Hashed:
        """The file is gone: right if another replica has published it meanwhile, a loss if the manifest stands."""
        if self._manifests.read(manifest.upload.key).revision == manifest.revision:
            raise PromisedBytesMissing(upload=str(manifest.upload), file=file, reason="it is gone")
        return NOTHING

    def _keep(self, place: tuple[str, str, str], running: _Running) -> None:
        self._kept[place] = running
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    def forget(self, manifest: Manifest) -> None:
        """It is published, or failed: who tries again after that reads what is there then."""
        for file in manifest.files:
            for algorithm in WHOLE_FILE:
                self._kept.pop((manifest.upload.key, file, algorithm), None)
