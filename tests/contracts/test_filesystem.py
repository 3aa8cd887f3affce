"""The file system suite: on the real one, bare and timed, and on its twin with and without an NFS client's memory."""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.adapters.stopwatch import Stopwatch
from storage_proxy.ports import Filesystem
from storage_proxy.testing.filesystem import SimulatedFilesystem, SimulatedShare
from tests.contracts.filesystem import (
    BytesContract,
    ExclusionContract,
    NamesContract,
    TargetsContract,
    Volume,
    VolumeContract,
)


class PosixVolume:
    def __init__(self, directory: Path, executor: ThreadPoolExecutor) -> None:
        self.root = directory / "volume"
        self._outside = directory / "outside"
        self._executor = executor
        self.root.mkdir()
        self._outside.mkdir()
        (self._outside / "secret").write_bytes(b"secret")
        self.filesystem = self.another()
        self.filesystem.make_directory(".uploads")

    def another(self) -> Filesystem:
        return PosixFilesystem(self.root, executor=self._executor)

    def _place(self, path: str) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def plant_file(self, path: str, text: bytes) -> None:
        self._place(path).write_bytes(text)

    def plant_directory(self, path: str) -> None:
        self._place(path).mkdir()

    def plant_link(self, path: str, to: str) -> None:
        self._place(path).symlink_to(to)

    def plant_pipe(self, path: str) -> None:
        os.mkfifo(self._place(path))

    def unplant(self, path: str) -> None:
        self._place(path).unlink()

    @contextmanager
    def full(self) -> Iterator[None]:
        def refuse(*args: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "pwritev", refuse)
            yield

    def outside(self) -> str:
        return str(self._outside)

    def is_untouched_outside(self) -> bool:
        return {path.name: path.read_bytes() for path in self._outside.iterdir()} == {"secret": b"secret"}


class TimedVolume(PosixVolume):
    def another(self) -> Filesystem:
        return Stopwatch("main", 30.0).around(super().another())


class SimulatedVolume:
    def __init__(self, share: SimulatedShare) -> None:
        self.share = share
        self._mounts = 0
        share.plant_directory(".uploads")
        self.filesystem = self.another()
        self.plant_file, self.plant_directory = share.plant_file, share.plant_directory
        self.plant_link, self.plant_pipe, self.unplant = share.plant_link, share.plant_pipe, share.unplant

    def another(self) -> SimulatedFilesystem:
        self._mounts += 1
        return SimulatedFilesystem(self.share, replica=f"replica-{self._mounts}")

    @contextmanager
    def full(self) -> Iterator[None]:
        self.share.capacity_bytes = 0
        yield
        self.share.capacity_bytes = None

    def outside(self) -> str:
        return "/outside"

    def is_untouched_outside(self) -> bool:
        return True


@pytest.fixture(params=["posix", "posix, timed", "simulated", "simulated without caches"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Volume]:
    real = {"posix": PosixVolume, "posix, timed": TimedVolume}.get(request.param)
    if real is not None:
        with ThreadPoolExecutor(2) as executor:
            yield real(tmp_path, executor)
    else:
        yield SimulatedVolume(SimulatedShare(caches=request.param == "simulated"))


class TestNames(NamesContract):
    pass


class TestBytes(BytesContract):
    pass


class TestExclusion(ExclusionContract):
    pass


class TestTargets(TargetsContract):
    pass


class TestVolume(VolumeContract):
    pass
