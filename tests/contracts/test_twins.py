"""The twin answers as the real one: the same calls, in the same order, come to the same results, names and bytes."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.ports import Entry, Filesystem, Region, StagedFile
from storage_proxy.testing.filesystem import SimulatedFilesystem, SimulatedShare

DIRECTORIES = ("u", "u/d", "u/d/e", "none/d", "u/one/d")
# The service uses no directory as if it were a file, so what would come of it is not compared.
FILES = ("u/one", "u/two", "u/three", "u/d/one", "none/one", "u/one/below")
LONG = "n" * 256
TARGETS = (
    "report",
    "f/report",
    "f/g/report",
    "f",
    "f/g",
    "report/below",
    "u",
    "away",
    "away/report",
    "file",
    LONG,
    f"f/{LONG}/report",
)

directory, file, target = st.sampled_from(DIRECTORIES), st.sampled_from(FILES), st.sampled_from(TARGETS)
name = st.one_of(directory, file)
place = st.integers(0, 12)
Call = tuple[object, ...]
call = st.one_of(
    st.tuples(st.just("make_directory"), directory),
    st.tuples(st.sampled_from(["list", "refresh", "inspect", "remove_directory", "sync_directory"]), name),
    st.tuples(st.sampled_from(["read", "remove", "stage", "close", "sync", "lock"]), file),
    st.tuples(st.just("create_durably"), file, st.sampled_from([b"", b"text", b"longer text"])),
    st.tuples(st.sampled_from(["link", "rename"]), file, st.one_of(file, st.just("u/d/e"))),
    st.tuples(st.just("read_at"), file, place, place),
    st.tuples(st.just("write"), file, st.lists(st.binary(max_size=5), max_size=3)),
    st.tuples(st.just("copy"), file, place, file, place, place),
    st.tuples(st.sampled_from(["link_target", "rename_target"]), file, target),
    st.tuples(st.sampled_from(["sync_target", "inspect_target", "target_text"]), target),
)


class Driver:
    """Makes calls, and tells what came of them in words that do not depend on the machine."""

    def __init__(self, filesystem: Filesystem) -> None:
        self._filesystem = filesystem
        self._staged: dict[str, StagedFile] = {}
        filesystem.make_directory("u")

    def tell(self, verb: str, *arguments: object) -> object:
        try:
            return self._plain(getattr(self, f"_{verb}", None) or getattr(self._filesystem, verb), *arguments)
        except Exception as error:
            # What a fault is called differs; that it is one does not.
            return type(error).__name__

    def close_all(self) -> None:
        for staged in self._staged.values():
            staged.close()

    def _plain(self, function: object, *arguments: object) -> object:
        assert callable(function)
        result = function(*arguments)
        if isinstance(result, Entry):
            # Of a directory the machine has its own idea of size and links.
            return "directory" if result.is_directory else (result.size, result.links)
        return sorted(result) if isinstance(result, list) else result

    def _stage(self, path: str) -> None:
        staged = self._filesystem.stage(path)
        self._close(path)
        self._staged[path] = staged

    def _write(self, path: str, pieces: list[bytes]) -> None:
        if path in self._staged:
            self._staged[path].write(pieces)
            self._staged[path].sync()

    def _close(self, path: str) -> None:
        if path in self._staged:
            self._staged[path].close()

    def _copy(self, source: str, source_offset: int, name: str, offset: int, length: int) -> int | None:
        if self._filesystem.inspect(source).inode == self._filesystem.inspect(name).inode:
            return None  # the port speaks of two files
        return self._filesystem.copy(source, source_offset, name, offset, length)

    def _lock(self, path: str) -> None:
        self._filesystem.lock(path, Region.MANIFEST, 0).release()

    def _target_text(self, path: str) -> bytes:
        return self._filesystem.read_target_at(path, self._filesystem.inspect_target(path).inode, 1, 100)


def walk(root: Path) -> Iterator[tuple[str, bytes]]:
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(root)), path.read_bytes()


@settings(max_examples=150, deadline=None)
@given(st.lists(call, max_size=30))
def test_the_twin_does_what_the_real_one_does(calls: list[Call]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "away").symlink_to("/nowhere")
        (root / "file").touch()
        share = SimulatedShare(caches=False)
        share.plant_link("away", "/nowhere")
        share.plant_file("file", b"")
        real, twin = Driver(PosixFilesystem(root, sync=False)), Driver(SimulatedFilesystem(share))
        for number, (verb, *arguments) in enumerate(calls):
            assert (number, twin.tell(str(verb), *arguments)) == (number, real.tell(str(verb), *arguments))
        real.close_all()
        twin.close_all()
        assert share.tree() == dict(walk(root))
