"""The upload page as it was built from web/: read once, at the start, from inside the package.

Rules: it lies in `storage_proxy/page`, in a checkout as in a wheel; where nobody has built it there is nothing, and
that is no error.
"""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

PACKAGE = "storage_proxy"
FOLDER = "page"


def read_page() -> Mapping[str, bytes]:
    """Path below the page (`index.html`, `assets/…`) -> bytes; empty when it was not built."""
    folder = files(PACKAGE) / FOLDER
    return dict(_walk(folder, "")) if folder.is_dir() else {}


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _walk(each, f"{prefix}{each.name}/")
        else:
            yield f"{prefix}{each.name}", each.read_bytes()
