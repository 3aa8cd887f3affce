"""Contended: nobody is wrong; the client comes again."""

from dataclasses import dataclass

from storage_proxy.core.errors.families import Contended


@dataclass(eq=False)
class UploadBusy(Contended):
    def __str__(self) -> str:
        return "The upload is being changed by several at once, and others were first each time. Come again."


@dataclass(eq=False)
class NotYetPublished(Contended):
    assembled: int
    length: int

    def __str__(self) -> str:
        return f"All bytes are stored; the file is being assembled ({self.assembled} of {self.length}). Come again."


@dataclass(eq=False)
class PartsUnfinished(Contended):
    parts: int
    unfinished: int

    def __str__(self) -> str:
        return f"The upload joins {self.parts} others, of which {self.unfinished} are not taken in yet. Come again."


@dataclass(eq=False)
class AppendsExhausted(Contended):
    appends_max: int

    def __str__(self) -> str:
        return f"This replica is receiving {self.appends_max} bodies, its limit; come again."


@dataclass(eq=False)
class BodyBrokenOff(Contended):
    committed: int

    def __str__(self) -> str:
        return f"The body broke off; what had arrived is stored up to byte {self.committed}. Go on from there."


@dataclass(eq=False)
class BodyStalled(Contended):
    idle_seconds: float
    committed: int

    def __str__(self) -> str:
        return (
            f"No byte arrived for {self.idle_seconds:.0f} s, so the request was ended; what had arrived is stored "
            f"up to byte {self.committed}. Go on from there."
        )
