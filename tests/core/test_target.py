"""Paths that people send: the fine ones pass as they are, the hostile ones do not pass at all."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core.errors import TargetNotAllowed
from storage_proxy.core.target import (
    PART_BYTES_MAX,
    PATH_BYTES_MAX,
    STAGING,
    Layout,
    Target,
    check_path,
    folder_path,
    join,
)

FINE = [
    "a",
    "a/b/c.txt",
    ".hidden",
    "..a",
    "a..",
    "...",
    "a/...",
    "a b/c (1).txt",
    "ä/日本/\U0001f600",
    "e\u0301",  # not composed: names are bytes to a file system
    "a\\..\\b",  # a backslash is a letter to a file system
    "C:/a",
    "~/a",
    "$HOME/`a`",
    "-rf",
    "a*?[]",
    "%2e%2e/a",
    "a/" + STAGING,
    STAGING + "2/a",
    ".uploadsx",
    ".upload",
    "uploads/a",
    "a/UPLOAD~1",
    "upload~1.txt",
    "upload~x/a",
    "up~1/a",
    "x" * PART_BYTES_MAX,
    "/".join(["x" * 99] * 40),
]
HOSTILE = [
    "",
    "/",
    "//",
    "/etc/passwd",
    "//etc/passwd",
    ".",
    "..",
    "../a",
    "a/..",
    "a/../../b",
    "a/./b",
    "./a",
    "a//b",
    "a/",
    STAGING,
    STAGING + "/ab/info.json",
    # What a server that folds case, normalises, ignores or abbreviates may take for it.
    ".UpLoads/a",
    ".upload\u017f/a",
    "\uff0euploads/a",
    "\u2024\uff55\uff50\uff4c\uff4f\uff41\uff44\uff53/a",
    ".up\u200cloads/a",
    "\ufeff.uploads",
    ".uploads\u2060/a",
    ".upl\u00adoads/a",
    ".uploads./a",
    ".uploads . /a",
    ".uploads::$INDEX_ALLOCATION/a",
    "UPLOAD~1/a",
    "upload~12",
    "uploads~1/a",
    "UP3F0A~1/a",
    "a\x00b",
    "a\nb",
    "a\rb",
    "a\x1bb",
    "a\x7fb",
    "\ud800",
    "a/\udcff",
    "x" * (PART_BYTES_MAX + 1),
    "ä" * 128,  # 256 bytes
    "/".join(["x" * 99] * 40) + "/x",
    "x/" * 3000 + "x",
]


@pytest.mark.parametrize("path", FINE)
def test_a_plain_relative_path_is_fine_and_stays_as_it_is(path: str) -> None:
    check_path(path)
    assert Target("v", path).path == path


@pytest.mark.parametrize("path", HOSTILE)
def test_every_other_path_is_refused_in_words_that_can_be_shown(path: str) -> None:
    for build in (check_path, lambda path: Target("v", path)):
        with pytest.raises(TargetNotAllowed) as caught:
            build(path)
        str(caught.value).encode()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1500


def test_the_limits_are_exact() -> None:
    longest = "/".join(["x" * 99] * 40) + "/" + "x"
    assert len(longest) == PATH_BYTES_MAX + 1
    check_path(longest[:-2] + "y")
    assert len((longest[:-2] + "y").encode()) == PATH_BYTES_MAX


PIECES = st.sampled_from(["..", ".", "/", "//", "a", STAGING, "\x00", "\n", "\\", "..\\", "ä", "\ud800", " ", "%2e%2e"])
PATHS = st.text(max_size=20) | st.lists(PIECES, max_size=8).map("".join) | st.lists(PIECES, max_size=6).map("/".join)


@given(PATHS)
def test_a_target_never_leaves_its_root_and_never_enters_the_services_own_directory(path: str) -> None:
    try:
        target = Target("v", path)
    except TargetNotAllowed:
        return
    joined = posixpath.join("/root", target.path)
    assert posixpath.normpath(joined) == joined
    assert joined.startswith("/root/")
    assert not (joined + "/").startswith(f"/root/{STAGING}/")
    assert "\x00" not in joined


@given(st.lists(PATHS, max_size=4))
def test_pieces_that_were_joined_are_still_checked(pieces: list[str]) -> None:
    joined = join(*pieces)
    assert not joined.startswith("/")
    assert not joined.endswith("/")
    try:
        check_path(joined)
    except TargetNotAllowed:
        return
    assert not {"", ".", ".."} & set(joined.split("/"))


@pytest.mark.parametrize(
    ("pieces", "path"),
    [((), ""), (("", "a", ""), "a"), (("a/", "/b"), "a/b"), (("/", "a"), "a"), (("a", "../b"), "a/../b")],
)
def test_slashes_at_the_seams_do_not_count(pieces: tuple[str, ...], path: str) -> None:
    assert join(*pieces) == path


NUMBERED = [
    ("report.pdf", 0, "report.pdf"),
    ("report.pdf", 1, "report (1).pdf"),
    ("a/b.c/report", 12, "a/b.c/report (12)"),
    ("archive.tar.gz", 1, "archive.tar (1).gz"),
    (".hidden", 1, ".hidden (1)"),
    ("a.", 1, "a (1)."),
    ("..a", 1, ". (1).a"),
    ("x" * 255, 1, "x" * 251 + " (1)"),
    ("x" * 251 + ".txt", 1, "x" * 247 + " (1).txt"),
    ("ä" * 127, 1, "ä" * 125 + " (1)"),
    ("a." + "x" * 253, 1, "a." + "x" * 249 + " (1)"),
]


@pytest.mark.parametrize(("path", "number", "numbered"), NUMBERED)
def test_the_next_name_has_a_number_before_its_ending(path: str, number: int, numbered: str) -> None:
    assert Target("v", path).numbered(number) == Target("v", numbered)


NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=300
).filter(lambda name: name not in (".", "..", STAGING) and len(name.encode()) <= PART_BYTES_MAX)
LONG_NAMES = st.builds(
    lambda letter, stem, ending: (letter * stem)[: 255 - len(ending)] + ending,
    st.sampled_from("xä日\U0001f600"),
    st.integers(1, 255),
    st.sampled_from(["", ".txt", ".ä", "." + "y" * 100, "." + "y" * 254]),
).filter(lambda name: 0 < len(name.encode()) <= PART_BYTES_MAX)


@given(NAMES | LONG_NAMES, st.sampled_from(["", "a/", "ä/b/"]), st.sets(st.integers(0, 10_000), max_size=6))
def test_numbers_give_distinct_names_in_the_same_directory(name: str, folder: str, given: set[int]) -> None:
    target = Target("v", folder + name)
    numbered = {target.numbered(number).path for number in given}
    assert len(numbered) == len(given)
    for path in numbered:
        assert posixpath.dirname(path) == folder.rstrip("/")
        assert len(posixpath.basename(path).encode()) <= PART_BYTES_MAX


FOLDER = "0123456789abcdef0123456789abcdef"
DASHED = "01234567-89ab-cdef-0123-456789abcdef"
SPLIT = "01/23/456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("vfid", "path"),
    [
        (FOLDER, SPLIT),
        (DASHED, SPLIT),
        (DASHED.upper(), SPLIT),
        (f"user:{DASHED}/{FOLDER}", f"{FOLDER}/{SPLIT}"),
        (f"project:{FOLDER}/{DASHED}", f"{FOLDER}/{SPLIT}"),
        (f"scope/{FOLDER}", f"scope/{SPLIT}"),
    ],
)
def test_a_folder_of_backend_ai_lies_where_its_volumes_have_it(vfid: str, path: str) -> None:
    assert folder_path(Layout.BACKEND_AI, vfid) == path


@pytest.mark.parametrize(
    "vfid",
    [
        "",
        "a",
        FOLDER[:-1],
        FOLDER + "0",
        FOLDER + "\n",
        "g" * 32,
        "-" * 36,
        f"a/b/{FOLDER}",
        f"/{FOLDER}",
        f"./{FOLDER}",
        f"../{FOLDER}",
        f"user:../{FOLDER}",
        f"user:..-/{FOLDER}",
        f"{STAGING}/{FOLDER}",
    ],
)
def test_a_folder_id_that_is_none_is_refused(vfid: str) -> None:
    with pytest.raises(TargetNotAllowed):
        folder_path(Layout.BACKEND_AI, vfid)


@given(st.from_regex(r"\A([A-Za-z0-9_.:-]{1,12}/)?[0-9a-fA-F-]{32,36}\Z") | st.text(max_size=40))
def test_a_folder_never_lies_outside_its_volume(vfid: str) -> None:
    for layout in Layout:
        try:
            path = folder_path(layout, vfid)
        except TargetNotAllowed:
            continue
        check_path(path)


@pytest.mark.parametrize("vfid", ["..", "a/../b", "/a", "", STAGING])
def test_a_plain_folder_is_checked_like_every_path(vfid: str) -> None:
    assert folder_path(Layout.PLAIN, FOLDER) == FOLDER
    with pytest.raises(TargetNotAllowed):
        folder_path(Layout.PLAIN, vfid)
