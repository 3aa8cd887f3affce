"""Refused: who asks may not do this."""

from dataclasses import dataclass

from storage_proxy.core.errors.families import Refused


@dataclass(eq=False)
class TokenRejected(Refused):
    reason: str

    def __str__(self) -> str:
        return f"The upload token is not valid: {self.reason}. Ask for a new one and go on with the same upload."


@dataclass(eq=False)
class KeyMissing(Refused):
    def __str__(self) -> str:
        return "This service needs a key; send it as 'Authorization: Bearer <key>'."


@dataclass(eq=False)
class KeyRejected(Refused):
    header: str

    def __str__(self) -> str:
        return f"The key in the header {self.header} is not one of this service's."


@dataclass(eq=False)
class TargetNotAllowed(Refused):
    path: str
    reason: str

    def __str__(self) -> str:
        return f"A file may not be stored as {self.path!r}: {self.reason}."
