"""Memory as it is on a machine that has served files for a while: in use, by files that nobody needs any more.

A virtual machine gives what is free back to its host, and each page that it takes again costs it several times what a
page costs that it has: that scattered all figures by more than a factor of two. So the kernel's cache is filled before
each load, up to little, with a file that takes no room on the disk; from then on new pages are those of that file.
"""

import os
from pathlib import Path

FREE_BYTES = 256 << 20
_STEP = 16 << 20


class Filler:
    """One for a whole run; `forget` gives all of it back."""

    def __init__(self, home: Path) -> None:
        self._path = home / "nothing"
        self._total = _kilobytes("MemTotal") * 1024
        self._position = 0

    def fill(self) -> None:
        """With what stands behind the last time's: what has gone since is what was read longest ago."""
        buffer = bytearray(_STEP)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(file, self._total)
            for _ in range(self._total // _STEP):
                if _kilobytes("MemFree") * 1024 < FREE_BYTES:
                    return
                os.preadv(file, [buffer], self._position)
                self._position = (self._position + _STEP) % (self._total - self._total % _STEP)
        finally:
            os.close(file)

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


def _kilobytes(name: str) -> int:
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{name}:"))
