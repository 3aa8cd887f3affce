"""The server under judgement, as one clause sees it: short ways to ask, to make uploads, and to demand.

Rules: `ask` is the request that is judged, and takes any answer. `create`, `sent` and `offset` make the setting: when
they fail, nothing was learnt about the clause (`NoSetting`). 423 and 503 say "come again" and are asked again in the
setting, for as long as one request may take. Whatever is created is deleted afterwards where that is offered.
"""

import asyncio
import base64
import random
import re
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin

from .exchange import Answer, Connection, NoAnswer, Request, Unreachable, ask
from .registry import Broken, NoSetting, NotJudged

VERSION = "1.0.0"
OFFSET_STREAM = "application/offset+octet-stream"
INTEGER = re.compile(r"[0-9]+")
GONE = (404, 410)
COME_AGAIN = (423, 503)
WORDS_MAX = 90


@dataclass(frozen=True, slots=True)
class Offer:
    """What the answer to OPTIONS says."""

    versions: tuple[str, ...]
    extensions: tuple[str, ...]
    algorithms: tuple[str, ...]
    max_size: int | None
    drafts: tuple[int, ...] = ()
    """interop versions of the IETF draft that were answered in their own words"""


@dataclass(frozen=True, slots=True)
class Terms:
    """How to ask, the same for all clauses of a run."""

    url: str
    fields: tuple[tuple[str, str], ...] = ()
    """sent with every request: keys, tokens"""
    seconds: float = 10.0
    """for one exchange"""
    patience: float = 5.0
    """for what takes its time by design: idle connections, expiry"""


@dataclass
class Subject:
    terms: Terms
    offer: Offer
    judged: frozenset[str]
    """the extensions that are judged: those announced, or those named by the caller"""
    made: list[str] = field(default_factory=list)

    # ---- asking -----------------------------------------------------------------------------------------------------

    def request(self, method: str, url: str, fields: Mapping[str, str | None], body: bytes = b"") -> Request:
        """With Tus-Resumable, unless the fields say otherwise; None leaves a field out."""
        own = dict(self.terms.fields) | ({} if method == "OPTIONS" else {"Tus-Resumable": VERSION}) | dict(fields)
        return Request(method, url, tuple((name, value) for name, value in own.items() if value is not None), body)

    async def ask(
        self, method: str, url: str | None = None, body: bytes = b"", fields: Mapping[str, str | None] | None = None
    ) -> Answer:
        return await self.exchange(self.request(method, url or self.terms.url, fields or {}, body))

    async def exchange(self, request: Request) -> Answer:
        try:
            answer = await ask(request, self.terms.seconds)
        except NoAnswer as error:
            raise NoAnswer(f"{_summary(request)}: {error}") from None
        self._remember(request, answer)
        return answer

    async def head(self, url: str) -> Answer:
        """HEAD, asked again while the server says "come again"."""
        end = time.monotonic() + self.terms.seconds
        while (answer := await self.ask("HEAD", url)).status in COME_AGAIN and time.monotonic() < end:  # noqa: ASYNC110 # another process
            await asyncio.sleep(0.1)
        return answer

    async def patch(self, url: str, offset: int | str | None, body: bytes = b"", **fields: str | None) -> Answer:
        """A PATCH; `fields` with _ for -, and None to leave a usual one out."""
        return await self.exchange(self.patch_request(url, offset, body, **fields))

    def patch_request(self, url: str, offset: int | str | None, body: bytes = b"", **fields: str | None) -> Request:
        usual = {"Content-Type": OFFSET_STREAM, "Upload-Offset": None if offset is None else str(offset)}
        return self.request("PATCH", url, usual | _named(fields), body)

    async def post(self, body: bytes = b"", **fields: str | None) -> Answer:
        """A creation; `fields` as for `patch`. A body gets its type."""
        usual: dict[str, str | None] = {"Content-Type": OFFSET_STREAM} if body else {}
        return await self.ask("POST", body=body, fields=usual | _named(fields))

    def connect(self, url: str) -> Connection:
        return Connection(url, self.terms.seconds)

    # ---- the setting ------------------------------------------------------------------------------------------------

    async def create(self, length: int | None = 10, **fields: str | None) -> str:
        """The URL of a new upload; None: its length is deferred."""
        if "creation" not in self.judged:
            raise NotJudged("no upload can be made: creation is not announced")
        size = {"Upload_Defer_Length": "1"} if length is None else {"Upload_Length": str(length)}
        answer = await self._for_setting("POST", self.request("POST", self.terms.url, _named(size | fields)))
        location = answer.get("Location")
        if answer.status != 201 or location is None:
            raise NoSetting(f"the creation that this needs was answered {told(answer)}")
        return urljoin(self.terms.url, location)

    async def sent(self, url: str, offset: int, body: bytes, **fields: str | None) -> Answer:
        """A PATCH that the clause takes for granted."""
        answer = await self._for_setting("PATCH", self.patch_request(url, offset, body, **fields))
        if not answer.successful:
            raise NoSetting(f"the PATCH of {len(body)} bytes at {offset} that this needs was answered {told(answer)}")
        return answer

    async def _for_setting(self, what: str, request: Request) -> Answer:
        end = time.monotonic() + self.terms.seconds
        try:
            while (answer := await self.exchange(request)).status in COME_AGAIN and time.monotonic() < end:  # noqa: ASYNC110 # another process
                await asyncio.sleep(0.1)
        except NoAnswer as error:
            raise NoSetting(f"the {what} that this needs got no answer: {error}") from None
        return answer

    async def finished(self, body: bytes = b"0123456789", **fields: str | None) -> str:
        """The URL of an upload that is complete."""
        url = await self.create(len(body), **fields)
        await self.sent(url, 0, body)
        return url

    async def offset(self, url: str) -> int:
        """Where the upload is, by HEAD."""
        answer = await self.head(url)
        text = answer.get("Upload-Offset")
        if not answer.successful or text is None or not INTEGER.fullmatch(text):
            raise NoSetting(f"the HEAD that this needs was answered {told(answer)} with Upload-Offset {text!r}")
        return int(text)

    async def settled_offset(self, url: str, wanted: int, seconds: float = 4.0) -> int:
        """Where the upload is after something that the server may notice a moment later: the first offset that is
        `wanted`, or the last one seen."""
        end = time.monotonic() + seconds
        while (offset := await self.offset(url)) != wanted and time.monotonic() < end:  # noqa: ASYNC110 # another process
            await asyncio.sleep(0.1)
        return offset

    async def content(self, url: str) -> bytes:
        """The uploaded bytes, where the server gives them back at the upload's URL; TUS does not ask it to."""
        await self.head(url)
        answer = await self.ask("GET", url)
        if answer.status != 200:
            raise NotJudged(f"the bytes cannot be seen from outside: GET was answered {answer.status}")
        return answer.body

    async def missing_url(self) -> str:
        """The URL of an upload that was never made, of the form that this server gives its uploads."""
        url = await self.create()
        begin = url.rfind("/") + 1
        letters = list(url)
        # The end of an id is where the chance is; its letters are kept in their kind, for servers check the form.
        places = [place for place in range(begin, len(url)) if url[place] in string.hexdigits][-8:]
        for place in places:
            kind = "0123456789" if letters[place].isdigit() else "abcdef"
            letters[place] = random.choice(kind.replace(letters[place].lower(), ""))  # no secret
        return "".join(letters)

    # ---- afterwards -------------------------------------------------------------------------------------------------

    def _remember(self, request: Request, answer: Answer) -> None:
        location = answer.get("Location")
        if answer.status == 201 and location is not None:
            self.made.append(urljoin(request.url, location))

    async def clean_up(self) -> None:
        if "termination" not in self.offer.extensions:
            return
        for url in reversed(self.made):
            try:
                await self.ask("DELETE", url)
            except (NoAnswer, Unreachable):
                pass  # the clause has been judged; a server that breaks now breaks another one


# ---- demanding ----------------------------------------------------------------------------------------------------


def demand(kept: bool, what: str) -> None:
    if not kept:
        raise Broken(what)


def demand_status(answer: Answer, wanted: int | tuple[int, ...], sent: str) -> None:
    codes = (wanted,) if isinstance(wanted, int) else wanted
    if answer.status not in codes:
        raise Broken(f"{sent} was answered {told(answer)} instead of {' or '.join(map(str, codes))}")


def demand_refused(answer: Answer, sent: str) -> None:
    if not 400 <= answer.status < 500:
        raise Broken(f"{sent} was answered {told(answer)} instead of being refused")


def demand_field(answer: Answer, name: str, wanted: str, sent: str) -> None:
    value = answer.get(name)
    if value != wanted:
        raise Broken(f"{sent} was answered {answer.status} with {name} {shown(value)} instead of {wanted!r}")


def integer(answer: Answer, name: str, sent: str) -> int:
    value = answer.get(name)
    if value is None or not INTEGER.fullmatch(value):
        raise Broken(f"{sent} was answered {answer.status} with {name} {shown(value)} instead of a whole number")
    return int(value)


def shown(value: str | None) -> str:
    return "missing" if value is None else repr(value[:120])


def told(answer: Answer) -> str:
    """The status, and the beginning of what the server said, on one line."""
    words = " ".join(answer.body[:400].decode("utf-8", "replace").split())
    if not words or words.startswith("<"):
        return str(answer.status)
    return f"{answer.status} ({words if len(words) <= WORDS_MAX else f'{words[:WORDS_MAX]}…'})"


def _summary(request: Request) -> str:
    own = [f"{name}: {value[:60]}" for name, value in request.fields if name.lower().startswith(("upload-", "x-http"))]
    return f"{request.method} with {len(request.body)} bytes{', ' if own else ''}{', '.join(own)}"


# ---- writing and reading metadata ---------------------------------------------------------------------------------


def metadata(**values: str | bytes) -> str:
    pairs = ((key, value.encode() if isinstance(value, str) else value) for key, value in values.items())
    return ",".join(f"{key} {base64.b64encode(value).decode()}".rstrip(" ") for key, value in pairs)


def parsed_metadata(text: str) -> dict[str, bytes] | None:
    """None where the text breaks the grammar of Upload-Metadata."""
    values: dict[str, bytes] = {}
    for pair in text.split(","):
        key, _, encoded = pair.strip(" ").partition(" ")
        if not key or key in values:
            return None
        try:
            values[key] = base64.b64decode(encoded, validate=True)
        except ValueError:
            return None
    return values


def _named(fields: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name.replace("_", "-"): value for name, value in fields.items()}
