"""Stage, promise, seal, discard: the bytes of one append, in a file of its own.

Rules: bytes are promised only after a sync that succeeded, and only those it covered. A chunk file is removed by its
own writer only when it is certain that no manifest, and no fence that may yet be carried through, promises it: after
an error of the share that is *not* certain, and the file is left to the sweeper (`store/sweeping.py`), which asks the
manifest first. These functions block; they run in `Workers`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial

from storage_proxy.core import extents, transitions
from storage_proxy.core.errors import AppendSuperseded, ChunkConflict, UploadBusy, UploadNotFound
from storage_proxy.core.extents import Coverage, Extent
from storage_proxy.core.manifest import SHA_256, Chunk, Digest, Manifest, Phase
from storage_proxy.core.transitions import NeedsComparison, Stamp
from storage_proxy.ports import Entropy, Filesystem, LinkInTheWay, NameMissing, total
from storage_proxy.store import digests, layout
from storage_proxy.store.digests import WHOLE_FILE
from storage_proxy.store.manifests import Change, Manifests
from storage_proxy.store.new_names import under_new_name
from storage_proxy.store.whole_file import WholeFiles

# Comparing reads two files side by side; this much of each is in memory.
PIECE = 1 << 20

# What one call reads again, or compares: it has a deadline, and the next one goes on where it ended.
STEP_BYTES_MAX = 16 << 20

# Between a look at the manifest and a look at the bytes, folding may move them; each round sees them further on.
ROUNDS_MAX = 100


class StagedChunk:
    """One append's file while it is being written. Not to be used by two threads at once, but for writing and `sync` of
    what an earlier `snapshot` saw, and for writing one piece while the one before is hashed."""

    def __init__(
        self, filesystem: Filesystem, key: str, offset: int, name: str, algorithms: Iterable[str] = ()
    ) -> None:
        self.offset = offset
        self.name = name
        self.length = 0
        self.promised = 0
        """how many of its bytes a manifest has promised under this file's name"""
        self.doubtful = False
        """a commit of it was begun and its end is not known: a fence may yet promise the file"""
        self.agreed: Coverage = ()
        """what was compared with bytes promised elsewhere, and found equal; that stays true"""
        self.given_up = False
        """a call of it has not come back in time: a thread may still be at it, or come to it, and the file may grow"""
        self._written = self._hashed = 0
        """how many times bytes were to be written, and how many times such bytes were hashed"""
        self.fast = False
        """whether more came while the last bytes were written: who writes on, maybe in a later request, gets help"""
        self._hash = hashlib.sha256()
        self.hashes = {SHA_256: self._hash} | {name: WHOLE_FILE[name]() for name in algorithms if name != SHA_256}
        """of all that was written; besides sha-256 only what this upload's whole file needs"""
        self._file = filesystem.stage(layout.within(key, name))
        self.inode = self._file.inode_number

    @property
    def clean(self) -> bool:
        """Whether the file holds just the bytes that were hashed, and nothing of a write that failed or may go on."""
        return self._written == self._hashed and not self.given_up

    def write(self, buffers: Sequence[bytes]) -> None:
        self.write_unhashed(buffers)
        self.hash(buffers)

    def write_unhashed(self, buffers: Sequence[bytes]) -> None:
        """To be followed by `hash` of the same, maybe in another thread, and before the next `snapshot`."""
        self._written += 1
        self._file.write(buffers)

    def hash(self, buffers: Sequence[bytes]) -> None:
        for buffer in buffers:
            for running in self.hashes.values():
                running.update(buffer)
        self.length += total(buffers)
        self._hashed += 1

    def snapshot(self, *, sealed: bool) -> Chunk:
        """The record of what was written so far. Sealed: nothing will be added to the file any more."""
        return Chunk(self.offset, self.length, self._hash.hexdigest(), self.name, sealed and self.clean)

    def sync(self) -> None:
        self._file.sync()

    def close(self) -> None:
        self._file.close()


class Chunks:
    def __init__(
        self,
        filesystem: Filesystem,
        manifests: Manifests,
        entropy: Entropy,
        whole_files: WholeFiles,
        *,
        announces: bool = True,
    ) -> None:
        """`announces`: the chunk that is a whole file is closed and announced in one commit; not where somebody must
        be asked before anything is published."""
        self._filesystem = filesystem
        self._announces = announces
        self._manifests = manifests
        self._entropy = entropy
        self._whole_files = whole_files

    def stage(self, key: str, offset: int, declared: Iterable[Digest] = ()) -> StagedChunk:
        """`declared`: of the whole file, whose beginning this may become."""
        algorithms = () if offset else tuple(digest.algorithm for digest in declared)

        def make(name: str) -> StagedChunk:
            return StagedChunk(self._filesystem, key, offset, name, algorithms)

        try:
            return under_new_name(self._entropy, partial(layout.chunk_name, offset), make)[1]
        except NameMissing:
            raise UploadNotFound(upload=key) from None

    def promise(
        self, key: str, staged: StagedChunk, chunk: Chunk, stamp: Stamp, seen: Manifest | None = None
    ) -> Change:
        """Sync, then commit what `chunk` records of the staged file. Refused: nothing of it is promised.

        `seen`: see `Manifests.change`."""
        while (change := self.promise_on(key, staged, chunk, stamp, seen)) is None:
            pass
        return change

    def promise_on(
        self, key: str, staged: StagedChunk, chunk: Chunk, stamp: Stamp, seen: Manifest | None = None
    ) -> Change | None:
        """As `promise`, but no more than one step of comparing. None: there is more, call again."""
        staged.sync()
        left = STEP_BYTES_MAX
        for _ in range(ROUNDS_MAX):
            try:
                change = self._commit(key, staged, chunk, stamp, seen)
            except NeedsComparison as undecided:
                equal = self._compare(undecided.manifest, chunk, undecided.overlapping, left)
                staged.agreed = extents.merge((*staged.agreed, *equal))
                left -= sum(extent.length for extent in equal)
                if left == 0:
                    return None
            else:
                if chunk.file in change.after.files:
                    staged.promised = max(staged.promised, chunk.length)
                    self._keep_hashes(change.after, staged, chunk)
                return change
        raise UploadBusy()

    def _keep_hashes(self, manifest: Manifest, staged: StagedChunk, chunk: Chunk) -> None:
        """Of what may become the assembly file: who folds then need not read it to hash on."""
        grows = manifest.phase in (Phase.OPEN, Phase.CLOSED)
        if manifest.declared and grows and chunk.sealed and chunk.offset == 0:
            self._whole_files.begin(manifest.upload.key, chunk.file, chunk.length, staged.hashes)

    def _commit(self, key: str, staged: StagedChunk, chunk: Chunk, stamp: Stamp, seen: Manifest | None) -> Change:
        promise = (
            partial(transitions.commit_and_announce, inode=staged.inode) if self._announces else transitions.commit
        )
        named = False

        def transition(manifest: Manifest) -> Manifest:
            nonlocal named
            named = chunk.file in manifest.files
            return promise(manifest, chunk=chunk, stamp=stamp, promised=staged.promised, agreed=staged.agreed)

        # Once in doubt, always in doubt: this commit's certain end says nothing about the fence of an earlier one.
        doubtful, staged.doubtful = staged.doubtful, True
        try:
            change = self._manifests.change(key, transition, seen)
        except (NeedsComparison, *transitions.SAID_NO):
            # The newest manifest says no. It may have been yes before: a change that another replica has carried
            # through in our place is only found in what that one has made of it since.
            staged.doubtful = doubtful or named
            raise
        staged.doubtful = doubtful
        return change

    def hash_on(self, key: str, staged: StagedChunk, digest: digests.Digest, start: int) -> int:
        """One bounded step through what was written to the staged file; where it ends."""
        if start == 0:
            # Then every later open reads what is there.
            staged.sync()
        end = min(start + STEP_BYTES_MAX, staged.length)
        for position in range(start, end, PIECE):
            try:
                piece = self._filesystem.read_at(layout.within(key, staged.name), position, min(PIECE, end - position))
            except NameMissing:
                raise UploadNotFound(upload=key) from None
            digest.update(piece)
        return end

    def discard(self, key: str, staged: StagedChunk) -> None:
        """Remove the file, unless something promises it, or may yet."""
        staged.close()
        if staged.promised or staged.doubtful:
            return
        try:
            self._filesystem.remove(layout.within(key, staged.name))
        except NameMissing:
            return

    # ---- the same bytes again, or different ones? -------------------------------------------------------------------

    def _compare(self, manifest: Manifest, chunk: Chunk, overlapping: Coverage, bytes_max: int) -> Coverage:
        """What of the overlaps was found equal; bytes that have moved meanwhile are left for the next round."""
        equal: list[Extent] = []
        for extent in overlapping:
            start, end = extent.start, min(extent.start + bytes_max, extent.end)
            while start < end:
                piece = Extent(start, min(start + PIECE, end))
                theirs = self._promised_bytes(manifest, chunk, piece)
                if not theirs:
                    break
                if theirs != self._own_bytes(manifest, chunk, Extent(start, start + len(theirs))):
                    raise ChunkConflict(start=start, end=start + len(theirs), prefix=manifest.prefix)
                start += len(theirs)
            equal.append(Extent(extent.start, start))
            bytes_max -= start - extent.start
        return extents.merge(equal)

    def _own_bytes(self, manifest: Manifest, chunk: Chunk, extent: Extent) -> bytes:
        path = layout.within(manifest.upload.key, chunk.file)
        try:
            return self._filesystem.read_at(path, extent.start - chunk.offset, extent.length)
        except NameMissing:
            # Only a file that was committed, and folded since, is removed under its writer.
            raise AppendSuperseded(prefix=manifest.prefix) from None

    def _promised_bytes(self, manifest: Manifest, chunk: Chunk, piece: Extent) -> bytes:
        """What is promised from the piece's start on, as much of it as lies in one file; empty: it has moved."""
        key = manifest.upload.key
        try:
            if manifest.publication is not None:
                return self._published_bytes(manifest, piece)
            if manifest.assembly is not None and piece.start < manifest.assembly.through:
                end = min(piece.end, manifest.assembly.through)
                return self._filesystem.read_at(
                    layout.within(key, manifest.assembly.file), piece.start, end - piece.start
                )
            for held in manifest.chunks:
                if held.file != chunk.file and held.offset <= piece.start < held.extent.end:
                    end = min(piece.end, held.extent.end)
                    return self._filesystem.read_at(
                        layout.within(key, held.file), piece.start - held.offset, end - piece.start
                    )
        except NameMissing:
            return b""
        return b""

    def _published_bytes(self, manifest: Manifest, piece: Extent) -> bytes:
        publication = manifest.publication
        assert publication is not None
        try:
            found = self._filesystem.read_target_at(publication.path, publication.inode, piece.start, piece.length)
        except (NameMissing, LinkInTheWay):
            found = b""
        if not found:
            # The file was moved or replaced since: nothing can show that these bytes are the same.
            raise ChunkConflict(start=piece.start, end=piece.end, prefix=manifest.prefix)
        return found
