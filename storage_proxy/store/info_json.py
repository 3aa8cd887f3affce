"""The text of `info.json`, every version ever written.

Rules: `SCHEMA` is the newest version written, and a text bears the oldest that can tell it: replicas that know no
newer one go on with all other uploads. An older text is upgraded, one step of `UPGRADES` at a time, when it is read. A
newer one is refused and stays untouched: an old replica must not drop fields it does not know. docs/disk-format.md
describes each field for people.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from storage_proxy.core.errors import ManifestTooNew, ManifestUnreadable, StorageProxyError
from storage_proxy.core.manifest import (
    Assembly,
    Chunk,
    Digest,
    Final,
    Manifest,
    Notice,
    Order,
    Part,
    Phase,
    Policy,
    Publication,
    Repeat,
    UploadId,
)
from storage_proxy.core.target import Target
from storage_proxy.store import layout

SCHEMA = 2

# What schema 2 added. A text that has nothing to say in any of these is one that the first version wrote, and reads.
SCHEMA_2 = {"notices", "notices_made", "part", "final", "declared", "sha256", "repeat"}

# From schema n to n + 1. A step gets the parsed JSON and gives it back changed; its text never changes again.
UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: lambda raw: raw}


class _Text(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: int = Field(alias="schema")
    revision: int = Field(ge=1)
    staged: str
    """the name under which this version was staged: a fence, being the same file, tells it to helpers"""
    key: str
    phase: Phase
    length: int | None = Field(ge=0)
    order: Order
    policy: Policy
    target: str
    metadata: str
    subdirectory: str | None
    chunks: tuple[Chunk, ...]
    received: int
    assembly: Assembly | None
    publication: Publication | None
    reason: str | None
    condemned: tuple[str, ...]
    notices: tuple[Notice, ...] = ()
    notices_made: int = 0
    part: Part | None = None
    final: Final | None = None
    created_at: float
    changed_at: float
    expires_at: float | None
    declared: tuple[Digest, ...] = ()
    sha256: str | None = None
    repeat: Repeat | None = None


def render(manifest: Manifest, staged: str) -> bytes:
    unused = {name for name in SCHEMA_2 if not getattr(manifest, name)}
    # `model_construct`: what is in a manifest was checked when it got there; checking it again costs each commit.
    return (
        _Text.model_construct(
            schema_=1 if unused == SCHEMA_2 else SCHEMA,
            revision=manifest.revision,
            staged=staged,
            key=manifest.upload.key,
            phase=manifest.phase,
            length=manifest.length,
            order=manifest.order,
            policy=manifest.policy,
            target=manifest.target.path,
            metadata=manifest.metadata,
            subdirectory=manifest.subdirectory,
            chunks=manifest.chunks,
            received=manifest.received,
            assembly=manifest.assembly,
            publication=manifest.publication,
            reason=manifest.reason,
            condemned=manifest.condemned,
            notices=manifest.notices,
            notices_made=manifest.notices_made,
            part=manifest.part,
            final=manifest.final,
            created_at=manifest.created_at,
            changed_at=manifest.changed_at,
            expires_at=manifest.expires_at,
            declared=manifest.declared,
            sha256=manifest.sha256,
            repeat=manifest.repeat,
        )
        .model_dump_json(by_alias=True, exclude=unused)
        .encode()
    )


def parse(text: bytes, upload: UploadId) -> Manifest:
    read = _read(text, upload)
    if read.key != upload.key:
        raise ManifestUnreadable(upload=str(upload), reason=f"it belongs to upload {read.key}")
    return _manifest(read, upload)


def parse_any(text: bytes, volume: str) -> Manifest:
    """A manifest whose upload is only known from its text."""
    read = _read(text, UploadId(volume, "0" * 32))
    return _manifest(read, UploadId(volume, read.key))


def _manifest(read: _Text, upload: UploadId) -> Manifest:
    try:
        manifest = Manifest(
            upload=upload,
            revision=read.revision,
            phase=read.phase,
            length=read.length,
            order=read.order,
            policy=read.policy,
            target=Target(upload.volume, read.target),
            metadata=read.metadata,
            subdirectory=read.subdirectory,
            chunks=read.chunks,
            received=read.received,
            assembly=read.assembly,
            publication=read.publication,
            reason=read.reason,
            condemned=read.condemned,
            notices=read.notices,
            notices_made=read.notices_made,
            part=read.part,
            final=read.final,
            created_at=read.created_at,
            changed_at=read.changed_at,
            expires_at=read.expires_at,
            declared=read.declared,
            sha256=read.sha256,
            repeat=read.repeat,
        )
        if any(chunk.offset < 0 or chunk.length < 0 for chunk in manifest.chunks) or manifest.assembled < 0:
            raise ValueError("it holds a negative offset or length")
        for name in (*manifest.files, *manifest.condemned):
            if layout.kind_of(name) not in layout.DATA:
                raise ValueError(f"it names a file {name!r}")
        for key in _others(manifest):
            if not layout.is_key(key):
                raise ValueError(f"it names an upload {key!r}")
    except (ValueError, StorageProxyError) as error:
        raise ManifestUnreadable(upload=str(upload), reason=str(error)) from error
    return manifest


def _others(manifest: Manifest) -> tuple[str, ...]:
    """Keys of the uploads that it names."""
    pieces = manifest.final.pieces if manifest.final is not None else ()
    return (*(piece.key for piece in pieces), *(manifest.part.awaited_by if manifest.part is not None else ()))


def staged_of(text: bytes, upload: UploadId) -> str:
    """The staged file that a fence names."""
    staged = _read(text, upload).staged
    if layout.kind_of(staged) is not layout.Kind.STAGED_MANIFEST:
        raise ManifestUnreadable(upload=str(upload), reason=f"a fence names the file {staged!r}")
    return staged


def revision_of(text: bytes) -> int:
    """The revision that a staged manifest or a fence is about; 0 for a torn one: never synced, it was never used."""
    try:
        revision = json.loads(text)["revision"]
    except (ValueError, KeyError, TypeError):
        return 0
    return revision if isinstance(revision, int) else 0


def _read(text: bytes, upload: UploadId) -> _Text:
    try:
        # The common case first: a schema that needs no step, checked and built in one go.
        if (today := _Text.model_validate_json(text)).schema_ in (1, SCHEMA):
            return today
    except ValidationError:
        pass
    try:
        raw = json.loads(text)
        schema = raw["schema"]
        if not isinstance(schema, int):
            raise ValueError("its schema is no number")
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestUnreadable(upload=str(upload), reason=f"it is no manifest ({error})") from error
    if schema > SCHEMA:
        raise ManifestTooNew(upload=str(upload), schema=schema, schema_known=SCHEMA)
    try:
        for step in range(schema, SCHEMA):
            raw = UPGRADES[step](raw)
            raw["schema"] = step + 1
        return _Text.model_validate(raw)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise ManifestUnreadable(upload=str(upload), reason=_brief(error)) from error


def _brief(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the text'}: {first['msg']}"
    return f"{type(error).__name__}: {error}"
