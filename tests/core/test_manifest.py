"""What can be read off a manifest agrees with itself, whatever chunks it holds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core import extents
from storage_proxy.core.errors import UploadNotFound
from storage_proxy.core.extents import Extent
from storage_proxy.core.manifest import Assembly, Chunk, Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target

TOP = 40
KEY = "0123456789abcdef" * 2


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    offset = draw(st.integers(0, TOP))
    length = draw(st.integers(0, TOP - offset))
    return Chunk(offset, length, "", f"chunk_{draw(st.integers(0, 20))}.dat", draw(st.booleans()))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    return Manifest(
        upload=UploadId("v", KEY),
        revision=draw(st.integers(0, 99)),
        phase=draw(st.sampled_from(Phase)),
        length=draw(st.none() | st.just(TOP) | st.integers(TOP, 2 * TOP)),
        order=draw(st.sampled_from(Order)),
        policy=draw(st.sampled_from(Policy)),
        target=Target("v", "a"),
        chunks=tuple(draw(st.lists(chunks(), max_size=6))),
        assembly=draw(st.none() | st.builds(Assembly, st.just("assembly.dat"), st.integers(0, TOP))),
    )


def promised(manifest: Manifest) -> set[int]:
    """The model: the number of every byte that some chunk or the assembly holds, or all once it is published."""
    if manifest.phase is Phase.PUBLISHED:
        return set(range(manifest.length or 0))
    held = set(range(manifest.assembly.through if manifest.assembly else 0))
    return held.union(*(range(chunk.offset, chunk.offset + chunk.length) for chunk in manifest.chunks))


@given(manifests())
def test_coverage_is_every_byte_that_is_promised(manifest: Manifest) -> None:
    covered = {number for one in manifest.coverage for number in range(one.start, one.end)}
    assert covered == promised(manifest)
    assert extents.merge(manifest.coverage) == manifest.coverage


@given(manifests())
def test_the_prefix_is_the_first_byte_that_is_missing(manifest: Manifest) -> None:
    held = promised(manifest)
    assert manifest.prefix == next(number for number in range(3 * TOP) if number not in held)
    assert manifest.length is None or manifest.prefix <= manifest.length


@given(manifests())
def test_missing_and_covered_tile_the_upload(manifest: Manifest) -> None:
    end = manifest.length if manifest.length is not None else max(promised(manifest), default=-1) + 1
    missing = {number for one in manifest.missing for number in range(one.start, one.end)}
    assert missing == set(range(end)) - promised(manifest)
    assert extents.merge(manifest.missing) == manifest.missing
    # The first gap is where the prefix ends.
    assert manifest.prefix == (manifest.missing[0].start if manifest.missing else end)


@given(manifests())
def test_progress_says_100_for_all_of_it_and_for_nothing_less(manifest: Manifest) -> None:
    percent = manifest.progress_percent
    assert 0.0 <= percent <= 100.0
    assert (percent == 100.0) == (manifest.length is not None and manifest.prefix == manifest.length)
    assert round(percent, 2) == percent


def test_progress_of_a_huge_upload_is_not_rounded_up() -> None:
    length = 2**62
    manifest = Manifest(
        upload=UploadId("v", KEY),
        revision=1,
        phase=Phase.OPEN,
        length=length,
        order=Order.ANY,
        policy=Policy.REFUSE,
        target=Target("v", "a"),
        chunks=(Chunk(0, length - 1, "", "c", True),),
    )
    assert manifest.progress_percent == 99.99
    assert manifest.missing == (Extent(length - 1, length),)


@given(manifests())
def test_the_assembly_never_reaches_beyond_the_prefix(manifest: Manifest) -> None:
    assert manifest.assembled <= manifest.prefix


@given(manifests())
def test_the_files_that_are_needed_are_those_that_hold_bytes(manifest: Manifest) -> None:
    needed = {chunk.file for chunk in manifest.chunks}
    assert manifest.files == (needed | {"assembly.dat"} if manifest.assembly else needed)


IDS = [f"v.{KEY}", f"volume1.{KEY}", f"a-b_c.{KEY}"]
NOT_IDS = [
    "",
    ".",
    "v",
    "v.",
    KEY,
    f"v.{KEY[:-1]}",
    f"v.{KEY}0",
    f"v.{KEY}\n",
    f"v.{KEY.upper()}",
    f"v.../{KEY[3:]}",
    f"v.{chr(0x660) * 32}",
    f"v.{KEY}.x",
    "v." + "x" * 100_000,
]


@pytest.mark.parametrize("text", IDS)
def test_an_upload_id_reads_back(text: str) -> None:
    upload = UploadId.parse(text)
    assert str(upload) == text
    assert UploadId.parse(str(upload)) == upload


@pytest.mark.parametrize("text", NOT_IDS)
def test_what_is_no_upload_id_is_an_upload_that_is_not_there(text: str) -> None:
    with pytest.raises(UploadNotFound) as caught:
        UploadId.parse(text)
    assert len(str(caught.value)) < 200


@given(st.text() | st.from_regex(r"\A[a-z.]{0,4}\.[0-9a-f]{31,33}\Z"))
def test_any_text_is_an_upload_id_or_not_found(text: str) -> None:
    try:
        upload = UploadId.parse(text)
    except UploadNotFound:
        return
    assert str(upload) == text
    assert len(upload.key) == 32


@given(manifests(), manifests())
def test_what_is_remembered_of_a_manifest_is_never_that_of_another(one: Manifest, other: Manifest) -> None:
    fresh = replace(other)
    assert one.coverage is one.coverage
    changed = replace(one, phase=other.phase, length=other.length, chunks=other.chunks, assembly=other.assembly)
    assert changed.coverage == other.coverage
    # Asked or not, it is the same manifest.
    assert fresh == other
