"""Disks of one kind or another, made for a measurement: a file, a file system in it, mounted.

Rules: whatever happens, it is unmounted and the file is gone afterwards. It needs root, the program that makes the file
system, and room; where one of them is missing, `CannotMount` says which.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# By kind: what makes one. The first copies by sharing blocks (reflink), the second cannot.
MAKERS = {
    "xfs with reflink": ["mkfs.xfs", "-q", "-m", "reflink=1"],
    "ext4, no reflink": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"],
}
SPARE = 4 * 2**30


class CannotMount(Exception):
    """A sentence with the reason."""


@contextmanager
def mounted(kind: str, size: int, home: Path) -> Iterator[Path]:
    maker, *options = MAKERS[kind]
    _require(maker, size, home)
    image, at = home / "disk.img", home / "disk"
    at.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    try:
        _run(maker, *options, str(image))
        # discard: what was deleted takes no room in the image either.
        _run("mount", "-o", "loop,discard", str(image), str(at))
        try:
            shutil.rmtree(at / "lost+found", ignore_errors=True)
            yield at
        finally:
            _run("umount", str(at))
    finally:
        image.unlink()
        at.rmdir()


def _require(maker: str, size: int, home: Path) -> None:
    if os.geteuid() != 0:
        raise CannotMount("only root may mount a disk")
    for program in (maker, "mount"):
        if shutil.which(program) is None:
            raise CannotMount(f"there is no {program}")
    if (free := shutil.disk_usage(home).free) < size + SPARE:
        raise CannotMount(f"{free >> 30} GiB are free, and {size + SPARE >> 30} GiB are needed")


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotMount(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[:200]}")
