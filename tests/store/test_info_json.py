"""The text of info.json: what is written is read, every version ever written is read, and nothing else is."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core.errors import ManifestTooNew, ManifestUnreadable
from storage_proxy.core.manifest import (
    Assembly,
    Chunk,
    Digest,
    Final,
    Manifest,
    Order,
    Part,
    Phase,
    Piece,
    Policy,
    Publication,
    Repeat,
    UploadId,
)
from storage_proxy.core.target import Target
from storage_proxy.store import info_json, layout

UPLOAD = UploadId("main", "3f2a" + "0" * 28)
STAGED = layout.staged_name("a" * 32)
TOKENS = st.text("0123456789abcdef", min_size=32, max_size=32)
OFFSETS = st.integers(0, 2**63 - 1)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    def chunk(offset: int, length: int, token: str, sealed: bool) -> Chunk:
        return Chunk(offset, length, "ab" * 32, layout.chunk_name(offset, token), sealed)

    pieces = st.builds(Piece, TOKENS, st.none() | OFFSETS, st.none() | TOKENS.map(layout.part_name))
    chunks = st.builds(chunk, OFFSETS, OFFSETS, TOKENS, st.booleans())
    return Manifest(
        upload=UPLOAD,
        revision=draw(st.integers(1, 2**40)),
        phase=draw(st.sampled_from(Phase)),
        length=draw(st.none() | OFFSETS),
        order=draw(st.sampled_from(Order)),
        policy=draw(st.sampled_from(Policy)),
        target=Target("main", draw(st.sampled_from(("a", "folder/ü (1).bin", "x" * 255)))),
        metadata=draw(st.sampled_from(("", "filename YQ==,empty"))),
        subdirectory=draw(st.none() | st.just("sub/dir")),
        chunks=tuple(draw(st.lists(chunks, max_size=4))),
        received=draw(st.integers(0, 100)),
        assembly=draw(st.none() | st.builds(Assembly, TOKENS.map(layout.assembly_name), OFFSETS)),
        publication=draw(st.none() | st.builds(Publication, st.just("a"), OFFSETS, st.integers(0, 9))),
        reason=draw(st.none() | st.text(max_size=30)),
        condemned=tuple(draw(st.lists(TOKENS.map(lambda token: layout.chunk_name(1, token)), max_size=3))),
        part=draw(st.none() | st.builds(Part, st.lists(TOKENS, max_size=2).map(tuple), st.booleans())),
        final=draw(st.none() | st.builds(Final, st.just("final;/files/a"), st.lists(pieces, max_size=3).map(tuple))),
        created_at=draw(st.floats(0, 4e9)),
        changed_at=draw(st.floats(0, 4e9)),
        expires_at=draw(st.none() | st.floats(0, 4e9)),
        declared=tuple(draw(st.lists(st.builds(Digest, st.just("sha-512"), TOKENS), max_size=2))),
        sha256=draw(st.none() | st.just("cd" * 32)),
        repeat=draw(st.none() | st.builds(Repeat, TOKENS, TOKENS)),
    )


@given(manifests())
def test_what_is_written_is_read(manifest: Manifest) -> None:
    assert info_json.parse(info_json.render(manifest, STAGED), UPLOAD) == manifest


@given(manifests())
def test_a_fence_tells_its_staged_file_and_its_revision(manifest: Manifest) -> None:
    text = info_json.render(manifest, STAGED)
    assert info_json.staged_of(text, UPLOAD) == STAGED
    assert info_json.revision_of(text) == manifest.revision


# Written by the first version, byte for byte; it must be readable for as long as there are such files.
SCHEMA_1 = (
    b'{"schema":1,"revision":7,"staged":"info.' + b"a" * 32 + b'.staged","key":"3f2a' + b"0" * 28 + b'","phase":"open",'
    b'"length":300,"order":"sequential","policy":"keep-both","target":"folder/report.pdf","metadata":"filename YQ==",'
    b'"subdirectory":null,"chunks":[{"offset":100,"length":50,"sha256":"' + b"0f" * 32 + b'","file":"chunk_100.'
    b"" + b"b" * 32 + b'.dat","sealed":true}],"received":3,"assembly":{"file":"chunk_0.' + b"c" * 32 + b'.dat",'
    b'"through":100},"publication":null,"reason":null,"condemned":[],"created_at":1.5,"changed_at":2.5,"expires_at":9.0}'
)


def test_schema_1_is_read_and_written_as_it_ever_was() -> None:
    manifest = info_json.parse(SCHEMA_1, UPLOAD)
    assert (manifest.prefix, manifest.received, manifest.expires_at) == (150, 3, 9.0)
    assert info_json.render(manifest, STAGED) == SCHEMA_1


# A part and a final upload, as the version wrote them that first could.
SCHEMA_2_PART = SCHEMA_1.replace(b'"schema":1', b'"schema":2').replace(
    b',"created_at"', b',"part":{"awaited_by":["' + b"d" * 32 + b'"],"joined":false},"created_at"'
)
SCHEMA_2_FINAL = SCHEMA_1.replace(b'"schema":1', b'"schema":2').replace(
    b',"created_at"',
    b',"final":{"text":"final;/files/main.' + b"e" * 32 + b'","pieces":[{"key":"' + b"e" * 32 + b'",'
    b'"length":5,"file":"part.' + b"f" * 32 + b'.dat"}]},"created_at"',
)


def test_schema_2_is_read_and_written_as_it_ever_was() -> None:
    part, final = (info_json.parse(text, UPLOAD) for text in (SCHEMA_2_PART, SCHEMA_2_FINAL))
    assert part.part == Part(awaited_by=("d" * 32,))
    assert final.final is not None
    assert final.final.pieces == (Piece("e" * 32, 5, "part." + "f" * 32 + ".dat"),)
    assert (info_json.render(part, STAGED), info_json.render(final, STAGED)) == (SCHEMA_2_PART, SCHEMA_2_FINAL)


def test_only_what_an_old_replica_could_not_tell_bears_a_newer_schema() -> None:
    plain = info_json.parse(SCHEMA_1, UPLOAD)
    assert json.loads(info_json.render(plain, STAGED))["schema"] == 1
    assert json.loads(info_json.render(replace(plain, part=Part()), STAGED))["schema"] == 2


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(SCHEMA_1), **fields}).encode()


def test_a_newer_schema_is_refused_whatever_else_it_holds() -> None:
    for text in (changed(schema=3), changed(schema=9, unheard_of=True)):
        with pytest.raises(ManifestTooNew) as refused:
            info_json.parse(text, UPLOAD)
        assert refused.value.schema_known == info_json.SCHEMA


def test_an_older_schema_is_upgraded_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def from_0(raw: dict[str, Any]) -> dict[str, Any]:
        raw["target"] = raw.pop("destination")
        return raw

    monkeypatch.setattr(info_json, "UPGRADES", {**info_json.UPGRADES, 0: from_0})
    old = json.loads(SCHEMA_1)
    old |= {"schema": 0, "destination": old.pop("target")}
    assert info_json.parse(json.dumps(old).encode(), UPLOAD) == info_json.parse(SCHEMA_1, UPLOAD)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"schema": "1"}',
        SCHEMA_1[:-10],
        changed(schema=0),
        changed(revision=0),
        changed(phase="resting"),
        changed(target="../outside"),
        changed(target="/etc/passwd"),
        changed(key="0" * 32),
        changed(unheard_of=1),
        changed(chunks=[{"offset": -1, "length": 5, "sha256": "", "file": f"chunk_1.{'b' * 32}.dat", "sealed": True}]),
        changed(chunks=[{"offset": 1, "length": 5, "sha256": "", "file": "../../x", "sealed": True}]),
        changed(assembly={"file": "info.json", "through": 5}),
        changed(assembly={"file": f"assembly.{'b' * 32}.dat", "through": -5}),
        changed(condemned=["/etc/passwd"]),
        changed(length=-1),
        SCHEMA_2_PART.replace(b"d" * 32, b"../../outside"),
        SCHEMA_2_FINAL.replace(b'"key":"' + b"e" * 32, b'"key":"../x'),
        SCHEMA_2_FINAL.replace(b"part." + b"f" * 32, b"info"),
    ],
)
def test_what_is_no_manifest_is_refused_with_a_sentence(text: bytes) -> None:
    with pytest.raises(ManifestUnreadable) as refused:
        info_json.parse(text, UPLOAD)
    assert str(refused.value).endswith("Nothing was changed.")


def test_a_fence_cannot_send_a_helper_to_another_file() -> None:
    with pytest.raises(ManifestUnreadable):
        info_json.staged_of(changed(staged="../../target"), UPLOAD)
