"""The store in a guest, moved by the hand of a test outside: `python -m tests.lab.puppet HOST:PORT`.

Rules: the store is the product's own code; what a test switches off is switched off by the classes in `switched.py`.
Each act runs in a thread of its own and is told outside when it ends; a writer that is to be stopped between two steps
tells so and goes on when it is told to. One line of JSON a message.
"""

import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.adapters.system import SystemEntropy
from storage_proxy.core.errors import UploadNotFound
from storage_proxy.core.manifest import Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.store import layout
from storage_proxy.store.manifests import Manifests
from tests.lab.switched import NEVER, SteppingManifests, UnfencedManifests, filesystem_of

VOLUME = "lab"
LOCK_WAIT_SECONDS = 60.0


class Puppet:
    def __init__(self, lines: socket.socket) -> None:
        self._lines = lines
        self._telling = threading.Lock()
        self._waiting: dict[int, threading.Event] = {}

    def obey(self) -> None:
        with self._lines.makefile("rb") as told:
            for line in told:
                order = json.loads(line)
                if order["act"] == "go on":
                    self._waiting[order["id"]].set()
                    continue
                self._waiting[order["id"]] = threading.Event()
                threading.Thread(target=self._act, args=(order,), daemon=True).start()

    def _act(self, order: dict[str, Any]) -> None:
        act: Callable[..., Any] = getattr(self, f"act_{order['act']}")
        try:
            self._tell(id=order["id"], done=act(order["id"], **order["with"]))
        except Exception as error:
            self._tell(id=order["id"], failed=f"{type(error).__name__}: {error}")

    def _tell(self, **message: object) -> None:
        with self._telling:
            self._lines.sendall(json.dumps(message).encode() + b"\n")

    def _stop(self, number: int) -> None:
        self._tell(id=number, stopped=True)
        self._waiting[number].wait()

    # ---- acts -------------------------------------------------------------------------------------------------------

    def act_create(self, number: int, share: str, key: str) -> int:
        store = Manifests(PosixFilesystem(share), VOLUME, SystemEntropy(), LOCK_WAIT_SECONDS)
        store.prepare()
        return store.create(_first(key)).revision

    def act_change(
        self,
        number: int,
        share: str,
        key: str,
        writer: str,
        count: int,
        lock: bool = True,
        refresh: bool = True,
        fence: bool = True,
        stop_before: str = NEVER,
        patience: float = LOCK_WAIT_SECONDS,
    ) -> dict[str, int]:
        """`count` changes of one manifest, each of which leaves a word in its metadata."""
        kind = SteppingManifests if fence else UnfencedManifests
        store = kind(filesystem_of(lock, refresh)(share), VOLUME, SystemEntropy(), patience)
        store.stop_before(stop_before, partial(self._stop, number))
        told = {"changes": 0, "conflicts": 0, "helped": 0, "unseen": 0}
        for index in range(count):
            word = f"{writer}{index}"
            change = store.change(key, partial(_with_word, word=word))
            told["changes"] += 1
            told["conflicts"] += change.conflicts
            told["helped"] += change.helped
            told["unseen"] += word not in store.read(key).metadata.split()
        return told

    def act_read(self, number: int, share: str, key: str) -> dict[str, Any]:
        """What the store finds; -1: no such upload."""
        store = Manifests(PosixFilesystem(share), VOLUME, SystemEntropy(), LOCK_WAIT_SECONDS)
        try:
            manifest = store.read(key)
        except UploadNotFound:
            return {"revision": -1, "words": []}
        return {"revision": manifest.revision, "words": manifest.metadata.split()}

    def act_glance(self, number: int, share: str, key: str) -> dict[str, int]:
        """The same by plain system calls, as a program would that trusts its mount."""
        path = f"{share}/{layout.manifest(key)}"
        try:
            with open(path, "rb") as file:
                opened: int = json.load(file)["revision"]
        except FileNotFoundError:
            opened = -1
        except OSError:
            opened = -2
        try:
            size = os.stat(path).st_size
        except OSError:
            size = -1
        return {"revision": opened, "size": size}


def _first(key: str) -> Manifest:
    return Manifest(
        upload=UploadId(VOLUME, key),
        revision=1,
        phase=Phase.OPEN,
        length=None,
        order=Order.ANY,
        policy=Policy.KEEP_BOTH,
        target=Target(VOLUME, key),
    )


def _with_word(manifest: Manifest, word: str) -> Manifest:
    words = manifest.metadata.split()
    return manifest if word in words else replace(manifest, metadata=" ".join([*words, word]))


def main(outside: str) -> None:
    host, _, port = outside.partition(":")
    with socket.create_connection((host, int(port))) as lines:
        lines.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Puppet(lines).obey()


if __name__ == "__main__":
    main(sys.argv[1])
