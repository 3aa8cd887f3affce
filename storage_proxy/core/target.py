"""Where a finished file appears: a volume and a relative path that cannot climb out.

Rules: a path is checked once, here, when it enters; a `Target` that exists is a safe one as far as its *text* goes.
(That no symbolic link on the share leads outside is the file system port's promise.) A path's first part is never the
service's own directory, nor what some server may take for it.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from storage_proxy.core.errors import TargetNotAllowed

# The service's own directory at the root of each volume; nothing a client names may lie in it.
STAGING = ".uploads"

PART_BYTES_MAX = 255
PATH_BYTES_MAX = 4000

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What Unicode calls default-ignorable: HFS+ looks at none of them, and people see none.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# The short name that a Windows server makes of STAGING: `UPLOAD~1`, or, where that is taken, one with a checksum.
_SHORT = re.compile("(?:uploads?|up[0-9a-f]{4})~[0-9]+")
_VFID = re.compile(r"(?:(?P<scope>[A-Za-z0-9_.:-]*[A-Za-z0-9_])/)?(?P<folder>[0-9a-fA-F-]{32,36})")


class Layout(StrEnum):
    """How a folder's id becomes a directory below the volume."""

    PLAIN = "plain"
    """`<vfid>/<path>`"""

    BACKEND_AI = "backend-ai"
    """`<quota scope>/<2 hex>/<2 hex>/<28 hex>/<path>`, as Backend.AI's volumes have it"""


@dataclass(frozen=True, slots=True)
class Target:
    volume: str
    path: str

    def __post_init__(self) -> None:
        check_path(self.path)

    def numbered(self, number: int) -> "Target":
        """The next name to try when this one is taken and both are to be kept: `report (1).pdf`."""
        if number == 0:
            return self
        folder, slash, name = self.path.rpartition("/")
        stem, dot, ending = name.rpartition(".")
        if not stem:
            stem, dot, ending = name, "", ""
        mark = f" ({number})"
        room = PART_BYTES_MAX - len((mark + dot + ending).encode())
        if room < 1:  # an "ending" as long as a name: number the whole of it
            stem, dot, ending, room = name, "", "", PART_BYTES_MAX - len(mark.encode())
        room = min(room, PATH_BYTES_MAX - len(f"{folder}{slash}{mark}{dot}{ending}".encode()))
        if room < 1:
            raise TargetNotAllowed(path=self.path[:200], reason="its name is taken, and it is too long to be numbered")
        stem = stem.encode()[:room].decode(errors="ignore")
        return Target(self.volume, f"{folder}{slash}{stem}{mark}{dot}{ending}")


def check_path(path: str) -> None:
    """Refuse every path that is not a plain relative one below the volume."""

    def refuse(reason: str) -> TargetNotAllowed:
        return TargetNotAllowed(path=path.encode(errors="replace").decode()[:200], reason=reason)

    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise refuse("it is not valid Unicode") from None
    if not path:
        raise refuse("it is empty")
    if size > PATH_BYTES_MAX:
        raise refuse(f"it is longer than {PATH_BYTES_MAX} bytes")
    if path.startswith("/"):
        raise refuse("it must be relative")
    if _CONTROL.search(path):
        raise refuse("it holds a control character")
    parts = path.split("/")
    for part in parts:
        if part in ("", ".", ".."):
            raise refuse(f"a part of it is {part!r}")
        if len(part.encode()) > PART_BYTES_MAX:
            raise refuse(f"a part of it is longer than {PART_BYTES_MAX} bytes")
    first = _folded(parts[0])
    if first == STAGING or _SHORT.fullmatch(first):
        raise refuse(f"{STAGING} is the service's own directory")


def _folded(part: str) -> str:
    """What names have in common that some server takes for the same one: servers that do not tell upper from lower
    case, that normalise, that leave out what cannot be seen; and Windows, to which dots and spaces at the end are
    nothing and a colon begins the name of a stream."""
    folded = _IGNORABLE.sub("", unicodedata.normalize("NFKC", part)).casefold()
    # Once more: folding may have brought in what is not normal.
    return unicodedata.normalize("NFKC", folded).partition(":")[0].rstrip(" .")


def join(*parts: str) -> str:
    """Join what a client sent in pieces; empty pieces and slashes at the seams do not count."""
    return "/".join(stripped for part in parts if (stripped := part.strip("/")))


def folder_path(layout: Layout, vfid: str) -> str:
    """The directory of a folder below its volume."""
    if layout is Layout.PLAIN:
        check_path(vfid)
        return vfid
    found = _VFID.fullmatch(vfid)
    folder = found["folder"].replace("-", "").lower() if found else ""
    if found is None or len(folder) != 32:
        raise TargetNotAllowed(path=vfid[:200], reason="a folder id is <quota scope>/<32 hex digits>")
    split = join(folder[:2], folder[2:4], folder[4:])
    # A scope reads `user:0123…`; on disk it is the id without dashes, as Backend.AI writes it.
    scope = (found["scope"] or "").partition(":")
    directory = (scope[2] or scope[0]).replace("-", "") if found["scope"] else ""
    path = join(directory, split)
    check_path(path)
    return path
