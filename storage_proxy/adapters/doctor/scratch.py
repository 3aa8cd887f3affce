"""A place on the share for the probes' files, and its removal whatever happens.

    <volume>/.uploads/doctor.<token>/       everything that one doctor makes
    <volume>/.doctor.<token>                for a moment: whether a file can go from there to where targets are

Rules: nothing is made anywhere else. What is made is removed on the way out, also after Ctrl-C; a doctor that was
killed leaves a directory of that name, which the next one removes when it is an hour old. `.uploads` is removed only
by the doctor that made it, or its partner, and only while it is empty.
"""

import errno
import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.core.target import STAGING

_NAME = re.compile(r"doctor\.[0-9a-f]{32}")
_LEFT_BEHIND_SECONDS = 3600.0

STAGING_IN_THE_WAY = f"{STAGING} is a symbolic link, or no directory: uploads would leave the volume."

# Over NFS a removed file that is still open keeps a name until it is closed, and its directory with it.
_REMOVAL_TRIES = 20


class Scratch:
    """`with Scratch(root) as scratch`: OSError where it cannot be made."""

    def __init__(self, root: Path, *, keep_staging: bool = False) -> None:
        self.root = root
        self.token = secrets.token_hex(16)
        self.staging = root / STAGING
        self.name = f"doctor.{self.token}"
        self.path = self.staging / self.name
        self.outside = root / f".doctor.{self.token}"
        self.filesystem = PosixFilesystem(self.path)
        """the service's own calls, as the probes ask for them"""
        self.made_staging = False
        self._keep_staging = keep_staging

    def __enter__(self) -> "Scratch":
        try:
            os.mkdir(self.staging, 0o700)
            self.made_staging = True
        except FileExistsError:
            # A link here would lead every upload out of the volume, and our files as well.
            if self.staging.is_symlink() or not self.staging.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, STAGING_IN_THE_WAY) from None
        try:
            os.mkdir(self.path, 0o700)
        except BaseException:
            self._remove_staging()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            os.unlink(self.outside)
        for attempt in range(_REMOVAL_TRIES):
            shutil.rmtree(self.path, ignore_errors=True)
            if not os.path.lexists(self.path):
                break
            time.sleep(0.01 * attempt)
        self._remove_staging()

    def fresh(self, name: str) -> str:
        """A new directory for one probe, as a path below `path`."""
        os.mkdir(self.path / name, 0o700)
        return name

    def remove_left_behind(self) -> int:
        """Directories of doctors that were killed; how many."""
        now, removed = self.filesystem.share_time("."), 0
        for entry in os.scandir(self.staging):
            if not _NAME.fullmatch(entry.name) or entry.name == self.name:
                continue
            with suppress(OSError):
                if now - entry.stat(follow_symlinks=False).st_mtime > _LEFT_BEHIND_SECONDS:
                    shutil.rmtree(entry.path)
                    removed += 1
        return removed

    def _remove_staging(self) -> None:
        if self.made_staging and not self._keep_staging:
            # Not empty: another doctor, or a replica, is there by now.
            with suppress(OSError):
                os.rmdir(self.staging)
