"""Corrupt: what was promised is not there."""

from dataclasses import dataclass

from storage_proxy.core.errors.families import Corrupt


@dataclass(eq=False)
class ManifestUnreadable(Corrupt):
    upload: str
    reason: str

    def __str__(self) -> str:
        return f"The manifest of upload {self.upload} cannot be read: {self.reason}. Nothing was changed."


@dataclass(eq=False)
class ManifestTooNew(Corrupt):
    upload: str
    schema: int
    schema_known: int

    def __str__(self) -> str:
        return (
            f"Upload {self.upload} was written by a newer version (schema {self.schema}, this one knows "
            f"{self.schema_known}); upgrade this replica. Nothing was changed."
        )


@dataclass(eq=False)
class PromisedBytesMissing(Corrupt):
    upload: str
    file: str
    reason: str

    def __str__(self) -> str:
        return f"Bytes of upload {self.upload} that were promised are not in {self.file}: {self.reason}."
