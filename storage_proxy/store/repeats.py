"""Which upload a creation made that may be sent again: one record for each Idempotency-Key.

Rules: a record is a hard link to the first manifest of the upload that it stands for, so it has no text of its own and
is never half written; that it is made exclusively decides between two creations at once. An upload is durable before
its record is, and outlives it: whoever finds a record without its upload has found one that a person removed. These
functions block; they run in `Workers`.
"""

from storage_proxy.core.errors import ShareFault
from storage_proxy.core.manifest import Manifest
from storage_proxy.ports import Filesystem, NameMissing, NameTaken
from storage_proxy.store import info_json, layout


class Repeats:
    def __init__(self, filesystem: Filesystem, volume: str) -> None:
        self._filesystem = filesystem
        self._volume = volume

    def find(self, name: str) -> Manifest | None:
        """The upload as it was created."""
        try:
            self._filesystem.refresh(layout.repeat_shard(name))
            text = self._filesystem.read(layout.repeat(name))
        except NameMissing:
            return None
        return info_json.parse_any(text, self._volume)

    def claim(self, manifest: Manifest) -> bool:
        """Let this new upload be the one that its key stands for. False: another one is."""
        assert manifest.repeat is not None, "only such creations claim"
        name, key = manifest.repeat.name, manifest.upload.key
        try:
            self._link(key, name)
        except NameTaken:
            # Over NFS a repeated call whose first answer was lost says so, too.
            standing = self.find(name)
            if standing is None or standing.upload.key != key:
                return False
        except NameMissing:
            raise ShareFault(operation="create", reason="the new upload's directory was swept") from None
        self._filesystem.sync_directory(layout.repeat_shard(name))
        return True

    def _link(self, key: str, name: str) -> None:
        try:
            self._filesystem.link(layout.manifest(key), layout.repeat(name))
        except NameMissing:
            if self._filesystem.make_directory(layout.REPEATS):
                self._filesystem.sync_directory(layout.ROOT)
            if self._filesystem.make_directory(layout.repeat_shard(name)):
                self._filesystem.sync_directory(layout.REPEATS)
            self._filesystem.link(layout.manifest(key), layout.repeat(name))

    def release(self, name: str, key: str) -> None:
        """Forget the record, if it stands for this upload. As long as that is there, nobody else takes its name."""
        standing = self.find(name)
        if standing is None or standing.upload.key != key:
            return
        try:
            self._filesystem.remove(layout.repeat(name))
        except NameMissing:
            return
