"""Unavailable: the operator should look."""

from dataclasses import dataclass

from storage_proxy.core.errors.families import Unavailable


@dataclass(eq=False)
class ShareFull(Unavailable):
    operation: str
    quota: bool

    def __str__(self) -> str:
        what = "The quota is used up" if self.quota else "The share is full"
        return f"{what} ({self.operation}); what was acknowledged is safe. Make room, then go on."


@dataclass(eq=False)
class SpaceShort(Unavailable):
    """Found before anything was stored, by figures that are a little old."""

    size: int
    free: int
    owed: int
    reserve: int

    def __str__(self) -> str:
        kept = f" and {self.reserve} are kept free" if self.reserve else ""
        return (
            f"There is no room for {self.size} bytes: {self.free} are free, of which {self.owed} are promised to open "
            f"uploads{kept}. Make room, or come again when others have ended."
        )


@dataclass(eq=False)
class ShareFault(Unavailable):
    operation: str
    reason: str

    def __str__(self) -> str:
        return f"The share did not do its work ({self.operation}: {self.reason}); what was acknowledged is safe."


@dataclass(eq=False)
class ShareStalled(Unavailable):
    volume: str
    seconds: float

    def __str__(self) -> str:
        return f"The volume {self.volume} has not answered for {self.seconds:.0f} s; come again."


@dataclass(eq=False)
class Draining(Unavailable):
    def __str__(self) -> str:
        return "This replica is shutting down; what had arrived is stored. Come again and another one goes on."


@dataclass(eq=False)
class HookFailed(Unavailable):
    """A question without an answer is no permission, and a notice that was not taken is told again."""

    hook: str
    reason: str

    def __str__(self) -> str:
        return f"The service that must be asked ({self.hook}) {self.reason}; try again later."
