"""How each interop version of draft-ietf-httpbis-resumable-upload spells things, and a client that speaks it.

Rules: written from the drafts, and from nothing else. `draft_clause` makes one clause for each version that has it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from urllib.parse import urljoin

from ..exchange import Answer, NoAnswer
from ..registry import INTEROP_VERSIONS, Judge, Level, NoSetting, clause
from ..subject import COME_AGAIN, Subject, integer, told

VERSION = "Upload-Draft-Interop-Version"
PARTIAL = "application/partial-upload"
BYTES = b"0123456789"


@dataclass(frozen=True, slots=True)
class Draft:
    """One client of one version."""

    version: int
    subject: Subject

    @property
    def completeness(self) -> str:
        return "Upload-Incomplete" if self.version == 3 else "Upload-Complete"

    def complete(self, whether: bool) -> dict[str, str | None]:
        return {self.completeness: "?1" if whether is not (self.version == 3) else "?0"}

    def is_complete(self, answer: Answer) -> bool | None:
        value = answer.get(self.completeness)
        return None if value not in ("?0", "?1") else (value == "?1") is not (self.version == 3)

    async def ask(
        self, method: str, url: str | None = None, body: bytes = b"", fields: dict[str, str | None] | None = None
    ) -> Answer:
        return await self.subject.ask(method, url, body, self._spoken(fields or {}))

    def _spoken(self, fields: dict[str, str | None]) -> dict[str, str | None]:
        return {"Tus-Resumable": None, VERSION: str(self.version), **fields}

    async def create(self, body: bytes = b"", *, whole: bool = False, **fields: str | None) -> Answer:
        return await self.ask("POST", body=body, fields=self.complete(whole) | _named(fields))

    async def append(
        self, url: str, offset: int, body: bytes = b"", *, whole: bool = False, **fields: str | None
    ) -> Answer:
        usual = {**self.complete(whole), "Upload-Offset": str(offset), "Content-Type": PARTIAL}
        return await self.ask("PATCH", url, body, usual | _named(fields))

    # ---- the setting ------------------------------------------------------------------------------------------------

    async def made(self, body: bytes = b"", *, whole: bool = False, **fields: str | None) -> str:
        answer = await self._settled("creation", partial(self.create, body, whole=whole, **fields))
        location = answer.get("Location")
        if location is None:
            raise NoSetting(f"the creation that this needs was answered {told(answer)} without Location")
        return urljoin(self.subject.terms.url, location)

    async def sent(self, url: str, offset: int, body: bytes, *, whole: bool) -> Answer:
        return await self._settled("append", partial(self.append, url, offset, body, whole=whole))

    async def looked(self, url: str) -> Answer:
        return await self._settled("HEAD", partial(self.ask, "HEAD", url))

    async def offset(self, url: str) -> int:
        return integer(await self.looked(url), "Upload-Offset", "HEAD")

    async def _settled(self, what: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        end = time.monotonic() + self.subject.terms.seconds
        try:
            while (answer := await ask()).status in COME_AGAIN and time.monotonic() < end:  # noqa: ASYNC110 # another process
                await asyncio.sleep(0.1)
        except NoAnswer as error:
            raise NoSetting(f"the {what} that this needs got no answer: {error}") from None
        if not answer.successful:
            raise NoSetting(f"the {what} that this needs was answered {told(answer)}")
        return answer


async def speaks(subject: Subject, version: int) -> bool:
    """Whether a creation in this version, or HEAD after it, is answered in its words; what it made is deleted."""
    draft = Draft(version, subject)
    try:
        answer = await draft.create()
        location = answer.get("Location")
        if not answer.successful or location is None:
            return answer.successful and draft.is_complete(answer) is not None
        url = urljoin(subject.terms.url, location)
        looked = await draft.ask("HEAD", url)
        await draft.ask("DELETE", url)
    except NoAnswer:
        return False
    return draft.is_complete(answer) is not None or (looked.successful and draft.is_complete(looked) is not None)


def draft_clause(
    name: str,
    level: Level,
    section: str,
    text: str,
    versions: Iterable[int] = INTEROP_VERSIONS,
) -> Callable[[Callable[[Draft], Awaitable[None]]], None]:
    """One clause for each version; the function is given a client that speaks it."""

    def register(judge: Callable[[Draft], Awaitable[None]]) -> None:
        for version in versions:
            clause(f"ietf-{version}.{name}", f"ietf-interop-{version}", level, section, text)(_of(judge, version))

    return register


def _of(judge: Callable[[Draft], Awaitable[None]], version: int) -> Judge:
    async def judged(subject: Subject) -> None:
        await judge(Draft(version, subject))

    return judged


def _named(fields: dict[str, str | None]) -> dict[str, str | None]:
    return {name.replace("_", "-"): value for name, value in fields.items()}
