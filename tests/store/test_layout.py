"""File names: every one that is spelled is known, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.store import layout
from storage_proxy.store.layout import Kind

TOKEN = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("info.json", Kind.MANIFEST),
        (layout.fence(TOKEN, 12).rpartition("/")[2], Kind.FENCE),
        (layout.staged_name(TOKEN), Kind.STAGED_MANIFEST),
        ("lock", Kind.LOCK),
        (layout.chunk_name(2**63 - 1, TOKEN), Kind.CHUNK),
        (layout.assembly_name(TOKEN), Kind.ASSEMBLY),
        (layout.part_name(TOKEN), Kind.PART),
        (f"clock.{TOKEN}", Kind.CLOCK),
    ],
)
def test_each_name_that_is_spelled_is_known(name: str, kind: Kind) -> None:
    assert layout.kind_of(name) is kind


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "info.json ",
        "info.json\n",
        "info.-1.json",
        "chunk_-1.a.dat",
        ".nfs000123",
        "lock2",
        "../lock",
    ],
)
def test_other_peoples_names_are_not_ours(name: str) -> None:
    assert layout.kind_of(name) is None


@given(st.text(max_size=40))
def test_no_text_that_is_known_holds_a_slash_or_leaves_the_directory(name: str) -> None:
    if layout.kind_of(name) is not None:
        assert "/" not in name
        assert name not in (".", "..")


def test_a_key_that_was_not_checked_builds_no_path() -> None:
    with pytest.raises(AssertionError):
        layout.directory("../../../../etc/passwd/00000000000")
    with pytest.raises(AssertionError):
        layout.within(TOKEN, "../other")
