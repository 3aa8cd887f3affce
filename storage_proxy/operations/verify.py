"""Compare what lies on a volume with what its manifests promise, beside running replicas and without changing anything.

    what is found                                              severity
    a chunk whose sha256 is another, a short or missing file   decide    promised bytes are not there
    a manifest that cannot be read, or none beside data        decide
    `failed`                                                   decide    tried again by `repair --retry`, once mended
    names the service did not make                             decide    it never touches them
    closed and not published, and nobody at it for long        mend      finished by `repair` like any other upload
    files no manifest names, once they are old                 mend      swept by the janitor's own rules
    a published file that nobody wrote to, whose sha256        decide    what was published is not what is there
    is another
    the same, young; published files moved, replaced or        note
    written to

Rules: what looks wrong is reported only when the manifest, read afresh afterwards, is still the same. The sha256 of a
chunk is known until it is folded, that of a published file where it was declared or the file came in one piece; of the
assembly file, and of what a final upload has from its parts, the length is checked. Ages are this machine's clock's,
and decide only between `mend` and `note`.
"""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from storage_proxy.core.errors import ShareFault, ShareStalled, UploadNotFound
from storage_proxy.core.manifest import Chunk, Manifest, Phase, UploadId
from storage_proxy.operations.finish import UNFINISHED
from storage_proxy.operations.service import Service, Volume
from storage_proxy.store.inspection import Inspected, Inspection, expected

PIECE_BYTES = 8 << 20

# A live upload may change between two looks, but not for ever so that each finds something wrong.
LOOKS_MAX = 20

# A file that was published is written to by nobody but its owner. The share's clock stamps it, a replica's its record.
CLOCKS_DIFFER_SECONDS = 300.0

# Closed for so long, some replica's janitor should have published it.
UNFINISHED_SECONDS = 900.0


class Severity(StrEnum):
    NOTE = "note"
    MEND = "mend"
    """`repair` can put it right"""
    DECIDE = "decide"
    """a person has to"""
    UNTRIED = "untried"
    """the share gave no answer"""


@dataclass(frozen=True, slots=True)
class Discovery:
    upload: UploadId | None
    what: str
    """a word for scripts"""
    severity: Severity
    sentence: str
    files: tuple[str, ...] = ()
    damage: bool = False
    """what was promised, or the record of it, is not there: nothing may be done to this upload"""


@dataclass(slots=True)
class Report:
    discoveries: list[Discovery] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)
    files_hashed: int = 0
    bytes_hashed: int = 0
    deeds: list[Discovery] = field(default_factory=list)
    """what `repair` did"""

    @property
    def exit_status(self) -> int:
        """0 nothing is wrong, 1 something is to be mended or decided, 3 something could not be looked at."""
        severities = {discovery.severity for discovery in self.discoveries}
        if severities & {Severity.MEND, Severity.DECIDE}:
            return 1
        return 3 if Severity.UNTRIED in severities else 0


@dataclass(frozen=True, slots=True)
class Looked:
    """One upload, and what was found at it; `inspected` is None when it has gone meanwhile."""

    inspected: Inspected | None
    discoveries: tuple[Discovery, ...] = ()

    @property
    def damaged(self) -> bool:
        return any(discovery.damage or discovery.severity is Severity.UNTRIED for discovery in self.discoveries)


Tell = Callable[[UploadId], None]


async def verify(
    service: Service, volume: Volume, orphan_seconds: float, *, only: UploadId | None = None, tell: Tell | None = None
) -> Report:
    """Every upload of a volume, or one. UploadNotFound: there is no such one. NameMissing: no service was here."""
    look = Look(service, volume, orphan_seconds)
    for upload in await look.uploads(only):
        if tell is not None:
            tell(upload)
        look.note((await look.at(upload)).discoveries)
    if only is None:
        look.note(await look.at_strange_names())
    return look.report


class Look:
    """One walk over a volume, and the report that grows on the way."""

    def __init__(self, service: Service, volume: Volume, orphan_seconds: float) -> None:
        self.report = Report()
        self._service = service
        self._volume = volume
        self._inspection = Inspection(volume.filesystem, volume.manifests)
        self._orphan_seconds = orphan_seconds

    def note(self, discoveries: Iterable[Discovery]) -> None:
        self.report.discoveries += discoveries

    async def uploads(self, only: UploadId | None) -> list[UploadId]:
        keys = await self._volume.run(self._inspection.keys)
        if only is not None:
            if only.key not in keys:
                raise UploadNotFound(upload=str(only))
            return [only]
        return [UploadId(self._volume.name, key) for key in keys]

    async def at_strange_names(self) -> list[Discovery]:
        names = await self._volume.run(self._inspection.strange_names)
        return [
            Discovery(
                None, "strange", Severity.DECIDE, f"{name} was not made by the service; it is left alone.", (name,)
            )
            for name in names
        ]

    async def at(self, upload: UploadId, counted: bool = True) -> Looked:
        """One upload: whatever looks wrong is true only if the manifest still says the same afterwards."""
        whole: set[Chunk] = set()
        try:
            for _ in range(LOOKS_MAX):
                inspected = await self._inspect(upload)
                if inspected is None:
                    return Looked(None)
                discoveries = [discovery async for discovery in self._discoveries(upload, inspected, whole)]
                if all(found.severity is Severity.NOTE for found in discoveries):
                    break
                again = await self._inspect(upload)
                if again is None:
                    return Looked(None)
                if again.manifest == inspected.manifest:
                    discoveries = [found for found in discoveries if _still(found, again)]
                    break
            else:
                sentence = f"It changed {LOOKS_MAX} times while it was looked at; look again."
                return Looked(None, (Discovery(upload, "busy", Severity.NOTE, sentence),))
        except UploadNotFound:
            return Looked(None)
        except (ShareFault, ShareStalled) as error:
            return Looked(None, (Discovery(upload, "no-answer", Severity.UNTRIED, str(error)),))
        if counted:
            self.report.phases[inspected.manifest.phase if inspected.manifest else "no manifest"] += 1
        return Looked(inspected, tuple(discoveries))

    async def _inspect(self, upload: UploadId) -> Inspected | None:
        return await self._volume.run(partial(self._inspection.inspect, upload.key))

    async def _discoveries(self, upload: UploadId, inspected: Inspected, whole: set[Chunk]) -> AsyncIterator[Discovery]:
        for name in inspected.strange:
            sentence = f"{name} in its directory was not made by the service; it is left alone."
            yield Discovery(upload, "strange", Severity.DECIDE, sentence, (name,))
        if inspected.manifest is None:
            yield await self._without_manifest(upload, inspected)
            return
        manifest = inspected.manifest
        async for discovery in self._promised(upload, manifest, whole):
            yield discovery
        async for discovery in self._left_over(upload, inspected, manifest):
            yield discovery
        for discovery in self._phase(upload, manifest):
            yield discovery

    async def _without_manifest(self, upload: UploadId, inspected: Inspected) -> Discovery:
        if inspected.corrupt is not None:
            return Discovery(upload, "unreadable", Severity.DECIDE, str(inspected.corrupt), ("info.json",), damage=True)
        fences = [name for name in inspected.staged if name.endswith(".json")]
        if inspected.data or fences:
            # Neither is made before the first manifest is durable.
            return Discovery(
                upload,
                "no-manifest",
                Severity.DECIDE,
                "Its info.json is gone, but files of it are here: put info.json back from a backup or a snapshot, or "
                "move the directory away. (Copy it first: a running service may take it for one that was never born.)",
                (*inspected.data, *fences),
                damage=True,
            )
        return Discovery(
            upload,
            "unborn",
            Severity.MEND if await self._is_old(upload) else Severity.NOTE,
            "A directory without a manifest: its creator never told anybody of it.",
            inspected.staged,
        )

    # ---- what is promised -------------------------------------------------------------------------------------------

    async def _promised(self, upload: UploadId, manifest: Manifest, whole: set[Chunk]) -> AsyncIterator[Discovery]:
        for name, least in expected(manifest).items():
            entry = await self._volume.run(partial(self._inspection.entry, upload.key, name))
            if entry is None:
                sentence = f"{name}, which holds promised bytes, is not there."
                yield Discovery(upload, "missing", Severity.DECIDE, sentence, (name,), damage=True)
            elif entry.size < least:
                sentence = f"{name} has {entry.size} bytes, of which {least} were promised."
                yield Discovery(upload, "short", Severity.DECIDE, sentence, (name,), damage=True)
            else:
                for chunk in manifest.chunks:
                    if chunk.file != name or chunk in whole or not chunk.sha256:
                        continue
                    if await self._is_whole(upload, chunk) is False:
                        sentence = f"{name} is not what was promised: its sha256 is another."
                        yield Discovery(upload, "differs", Severity.DECIDE, sentence, (name,), damage=True)
                    else:
                        whole.add(chunk)
        if manifest.phase in UNFINISHED and manifest.prefix != manifest.length:
            sentence = f"It is {manifest.phase}, but only {manifest.prefix} of {manifest.length} bytes are recorded."
            yield Discovery(upload, "inconsistent", Severity.DECIDE, sentence, ("info.json",), damage=True)
        if manifest.phase is Phase.PUBLISHED:
            if (discovery := await self._at_target(upload, manifest)) is not None:
                yield discovery
        elif manifest.phase is Phase.PUBLISHING and (lost := await self._lost_in_publishing(upload, manifest)):
            yield lost

    async def _is_whole(self, upload: UploadId, chunk: Chunk) -> bool | None:
        """None: its file went away meanwhile."""
        found = await self._sha256(partial(self._inspection.piece, upload.key, chunk.file), chunk.length)
        return None if found is None else found == chunk.sha256

    async def _sha256(self, piece_at: Callable[[int, int], bytes | None], length: int) -> str | None:
        """Of so many bytes; of fewer, where the file ends. None: the file went away meanwhile."""
        digest, offset = hashlib.sha256(), 0

        def add() -> int | None:
            # This is called, and reads `offset`, while the loop below waits for it.
            piece = piece_at(offset, min(PIECE_BYTES, length - offset))
            if piece is not None:
                digest.update(piece)
            return None if piece is None else len(piece)

        while offset < length:
            if (added := await self._volume.run(add)) is None:
                return None
            if added == 0:
                break
            offset += added
        self.report.files_hashed += 1
        self.report.bytes_hashed += offset
        return digest.hexdigest()

    async def _at_target(self, upload: UploadId, manifest: Manifest) -> Discovery | None:
        publication = manifest.publication
        if publication is None:
            return None
        entry = await self._volume.run(partial(self._inspection.published, publication))
        path = publication.path
        if entry is None:
            return Discovery(upload, "moved", Severity.NOTE, f"The published file is no longer at {path!r}.")
        if entry.inode != publication.inode:
            return Discovery(upload, "replaced", Severity.NOTE, f"Another file stands at {path!r} by now.")
        if entry.size != manifest.length:
            sentence = f"{path!r} has {entry.size} bytes by now; {manifest.length} were published."
            return Discovery(upload, "changed", Severity.NOTE, sentence)
        if manifest.sha256 is None:
            return None
        piece_at = partial(self._inspection.published_piece, publication)
        found = await self._sha256(piece_at, manifest.length)
        if found is None or found == manifest.sha256:
            return None
        if entry.modified > manifest.changed_at + CLOCKS_DIFFER_SECONDS:
            return Discovery(upload, "changed", Severity.NOTE, f"{path!r} was written to since it was published.")
        sentence = (
            f"{path!r} is not what was published: its sha256 is another, and nobody has written to it. "
            "Put it back from a backup, or have it uploaded again."
        )
        return Discovery(upload, "differs", Severity.DECIDE, sentence, (path,))

    async def _lost_in_publishing(self, upload: UploadId, manifest: Manifest) -> Discovery | None:
        """The file must be on one side or the other of the one atomic step."""
        publication, assembly = manifest.publication, manifest.assembly
        if publication is None or assembly is None:
            return None
        here = await self._volume.run(partial(self._inspection.entry, upload.key, assembly.file))
        there = await self._volume.run(partial(self._inspection.published, publication))
        found = here or (there if there is not None and there.inode == publication.inode else None)
        if found is not None and found.size == manifest.length:
            return None
        sentence = f"Its file was to go to {publication.path!r}, and is whole neither there nor here."
        return Discovery(upload, "missing", Severity.DECIDE, sentence, (assembly.file,), damage=True)

    # ---- what nobody promised ---------------------------------------------------------------------------------------

    async def _left_over(self, upload: UploadId, inspected: Inspected, manifest: Manifest) -> AsyncIterator[Discovery]:
        if inspected.data:
            old = await self._is_old(upload, *inspected.data)
            sentence = "Files that no manifest names: " + (
                "what dead writers left, or uploads that have ended." if old else "a writer may be at them."
            )
            yield Discovery(upload, "orphan", Severity.MEND if old else Severity.NOTE, sentence, inspected.data)
        for name in inspected.staged:
            newest = partial(self._inspection.newest_revision, upload.key, (name,))
            if await self._is_old(upload, name) and await self._volume.run(newest) <= manifest.revision:
                sentence = f"{name}, a change that was overtaken or is done, was left behind."
                yield Discovery(upload, "left-behind", Severity.MEND, sentence, (name,))

    async def _is_old(self, upload: UploadId, *names: str) -> bool:
        """All these files; or, without any, the directory."""
        paths = [partial(self._inspection.entry, upload.key, name) for name in names]
        entries = [await self._volume.run(ask) for ask in paths or [partial(self._inspection.directory, upload.key)]]
        now = self._service.clock.now()
        return all(entry is None or now - entry.modified > self._orphan_seconds for entry in entries)

    def _phase(self, upload: UploadId, manifest: Manifest) -> Iterator[Discovery]:
        if manifest.phase is Phase.FAILED:
            sentence = f"It failed: {manifest.reason}. Mend that, then `storage-proxy repair --retry`; or terminate it."
            yield Discovery(upload, "failed", Severity.DECIDE, sentence)
        elif manifest.phase in UNFINISHED:
            old = self._service.clock.now() - manifest.changed_at > UNFINISHED_SECONDS
            sentence = "All its bytes are here and it is not published" + (
                ": no replica has finished it." if old else " yet."
            )
            yield Discovery(upload, "unfinished", Severity.MEND if old else Severity.NOTE, sentence)


def _still(found: Discovery, again: Inspected) -> bool:
    """Whether files that nobody names are still there, and still unnamed."""
    if found.what == "orphan":
        return bool(set(found.files) & set(again.data))
    if found.what in ("left-behind", "unborn") and found.files:
        return bool(set(found.files) & set(again.staged))
    return True
