"""Small files by which replicas tell each other of themselves: who is there, and what a janitor has counted.

Rules: a note is no truth about any upload, and nothing is decided by one: it may be old, or lost. So it is replaced by
rename, for nobody to read half of one. What cannot be read is not there. These functions block; they
run in `Workers`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from storage_proxy.ports import Entropy, Filesystem, NameMissing, StagedFile
from storage_proxy.store import layout
from storage_proxy.store.new_names import under_new_name

BYTES_MAX = 64 << 10


@dataclass(frozen=True, slots=True)
class Note:
    name: str
    written: float
    """by the share's clock"""
    facts: Mapping[str, Any]


class Notes:
    def __init__(self, filesystem: Filesystem, entropy: Entropy) -> None:
        self._filesystem = filesystem
        self._entropy = entropy

    def write(self, name: str, facts: Mapping[str, Any]) -> None:
        text = json.dumps(facts, ensure_ascii=False).encode()
        try:
            staged, file = self._stage()
        except NameMissing:
            self._filesystem.make_directory(layout.NOTES)
            staged, file = self._stage()
        try:
            file.write([text])
            # Only what is synced is seen by others for certain; that its name outlives a loss of power is not needed.
            file.sync()
        finally:
            file.close()
        self._filesystem.rename(staged, layout.note(name))

    def _stage(self) -> tuple[str, StagedFile]:
        return under_new_name(self._entropy, layout.note_staged, self._filesystem.stage)

    def read(self, name: str) -> Note | None:
        try:
            self._filesystem.refresh(layout.NOTES)
            entry = self._filesystem.inspect(layout.note(name))
            if entry.size > BYTES_MAX:
                return None
            facts = json.loads(self._filesystem.read(layout.note(name)))
        except (NameMissing, ValueError):
            return None
        return Note(name, entry.modified, facts) if isinstance(facts, dict) else None

    def read_all(self, kind: str) -> Iterator[Note]:
        """All of which the name begins so."""
        for file in self._list():
            name = layout.note_of(file)
            if name is not None and name.startswith(f"{kind}.") and (note := self.read(name)) is not None:
                yield note

    def remove(self, name: str) -> None:
        self._remove(layout.note(name))

    def sweep(self, seconds: float) -> None:
        """Remove what nobody has renewed for so long."""
        now = self._filesystem.share_time(layout.ROOT)
        for file in self._list():
            if layout.note_of(file) is None and not layout.is_note_staged(file):
                continue
            path = f"{layout.NOTES}/{file}"
            try:
                old = now - self._filesystem.inspect(path).modified > seconds
            except NameMissing:
                continue
            if old:
                self._remove(path)

    def _list(self) -> list[str]:
        try:
            return self._filesystem.list(layout.NOTES)
        except NameMissing:
            return []

    def _remove(self, path: str) -> None:
        try:
            self._filesystem.remove(path)
        except NameMissing:
            return
