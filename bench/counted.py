"""The service with its calls of the file system port counted: `python -m bench.counted SOCKET serve ...`.

Rules: everything that a volume is asked for is counted by the name of the method, and the bytes that go either way; the
code that is counted is the service's own, unchanged. Whoever connects to SOCKET gets what has been counted so far, as
JSON.
"""

import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from storage_proxy import cli
from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.adapters.posix_files import PosixStagedFile

WRITTEN, COPIED, READ = "bytes written", "bytes copied", "bytes read"
# What is given or answered in bytes, by the method's name.
_SIZES: dict[str, tuple[str, Callable[[tuple[Any, ...], Any], int]]] = {
    "file.write": (WRITTEN, lambda given, answer: sum(map(len, given[0]))),
    "create_durably": (WRITTEN, lambda given, answer: len(given[1])),
    "copy": (COPIED, lambda given, answer: int(answer)),
    "read": (READ, lambda given, answer: len(answer)),
    "read_at": (READ, lambda given, answer: len(answer)),
}


def count_calls(counts: Counter[str]) -> None:
    """From now on, in this process."""
    _count_methods(PosixFilesystem, "", counts)
    _count_methods(PosixStagedFile, "file.", counts)


def _count_methods(kind: type, prefix: str, counts: Counter[str]) -> None:
    for name in sorted({name for one in kind.__mro__[:-1] for name in vars(one)}):
        method = getattr(kind, name)
        if not name.startswith("_") and callable(method):
            setattr(kind, name, _counting(method, prefix + name, counts))


def _counting(method: Callable[..., Any], name: str, counts: Counter[str]) -> Callable[..., Any]:
    about, size = _SIZES.get(name, ("", None))
    mutex = threading.Lock()

    def counting(self: object, *given: Any, **named: Any) -> Any:
        with mutex:
            counts[name] += 1
        answer = method(self, *given, **named)
        if size is not None:
            with mutex:
                counts[about] += size(given, answer)
        return answer

    return counting


def read_counts(at: Path) -> Counter[str]:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(at))
        pieces: Iterable[bytes] = iter(lambda: peer.recv(65536), b"")
        return Counter(json.loads(b"".join(pieces)))


def calls(counts: Counter[str]) -> int:
    """Without the bytes."""
    return sum(count for name, count in counts.items() if not name.startswith("bytes "))


def _tell(listener: socket.socket, counts: Counter[str]) -> None:
    while True:
        peer, _ = listener.accept()
        with peer:
            peer.sendall(json.dumps(dict(counts)).encode())


def main() -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    counts: Counter[str] = Counter()
    count_calls(counts)
    threading.Thread(target=_tell, args=(listener, counts), daemon=True).start()
    cli.main(sys.argv[2:])


if __name__ == "__main__":
    main()
