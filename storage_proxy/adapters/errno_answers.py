"""What an errno means to the rest of the house: the one table.

Rules: no OSError leaves `adapters`; what a name can be is answered by the exceptions of `ports.py`, a share in trouble
by core's `ShareFull` and `ShareFault`. A sentence names the operation and the errno's text, never a path: it reaches
clients.
"""

import errno
import os
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from storage_proxy.core.errors import ShareFault, ShareFull
from storage_proxy.ports import DirectoryNotEmpty, LinkInTheWay, NameMissing, NameRefused, NameTaken

T = TypeVar("T")

# An NFS server forgets a file that somebody replaced while it was being read; a fresh open finds the new one.
STALE_TRIES_MAX = 4

_STORE: dict[int, type[Exception]] = {
    errno.ENOENT: NameMissing,
    errno.ENOTDIR: NameMissing,
    errno.ESTALE: NameMissing,
    errno.EEXIST: NameTaken,
    errno.ENOTEMPTY: DirectoryNotEmpty,
}
_TARGET: dict[int, type[Exception]] = {
    errno.ENOENT: NameMissing,
    errno.ESTALE: NameMissing,
    errno.EEXIST: NameTaken,
    # What a rename says of a directory that has the name.
    errno.EISDIR: NameTaken,
    errno.ENOTEMPTY: NameTaken,
    # What opening with O_NOFOLLOW says of a link, and with O_DIRECTORY of a link or a file.
    errno.ELOOP: LinkInTheWay,
    errno.ENOTDIR: LinkInTheWay,
    # What opening a socket says, or a device that is not there.
    errno.ENXIO: LinkInTheWay,
}
# Only where a name is given: a sync or a read that says EINVAL says it of something else. Not EACCES and EROFS, which
# are mended without a look at the upload.
_REFUSED = (errno.EXDEV, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
_FULL: dict[int, bool] = {errno.ENOSPC: False, errno.EDQUOT: True}


def answer(error: OSError, operation: str, of_target: bool = False, naming: bool = False) -> Exception:
    number = error.errno or 0
    if naming and number in _REFUSED:
        return NameRefused(os.strerror(number))
    if number in _FULL:
        return ShareFull(operation=operation, quota=_FULL[number])
    meaning = (_TARGET if of_target else _STORE).get(number)
    if meaning is not None:
        return meaning(operation)
    return ShareFault(operation=operation, reason=os.strerror(number) if number else type(error).__name__)


# A word, not a noun, since it is read as one: `with asking("rename"):`. No generator: that costs three times as much.
class asking:
    """Every OSError inside leaves as its answer."""

    __slots__ = ("_naming", "_of_target", "_operation")

    def __init__(self, operation: str, of_target: bool = False, naming: bool = False) -> None:
        """`naming`: a file is given a target's name."""
        self._operation = operation
        self._of_target = of_target
        self._naming = naming

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise answer(error, self._operation, self._of_target, self._naming) from error


def freshly(work: Callable[[], T]) -> T:
    """Do it again while the share says ESTALE; `work` opens what it needs anew each time and may be repeated."""
    for _ in range(STALE_TRIES_MAX - 1):
        try:
            return work()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return work()
