"""Expiration."""

import asyncio
import re
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

from ..exchange import Answer
from ..registry import MUST, SHOULD, NotJudged, clause
from ..subject import GONE, Subject, demand, demand_status, shown

GROUP = "expiration"
SECTION = "Upload-Expires"

# RFC 9110 5.6.7. The two obsolete forms may be read, but must not be sent.
IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)


def _seconds(text: str) -> float:
    return parsedate_to_datetime(text).timestamp()


def _now(answer: Answer) -> float:
    """By the server's clock, where it tells."""
    date = answer.get("Date")
    return _seconds(date) if date is not None and IMF_FIXDATE.fullmatch(date) else time.time()


async def _patched(subject: Subject) -> Answer:
    return await subject.sent(await subject.create(), 0, b"hello")


@clause("expiration.told", GROUP, SHOULD, SECTION, "A server that announces expiration tells when an upload expires.")
async def expires_told(subject: Subject) -> None:
    post, patch = await subject.post(Upload_Length="10"), await _patched(subject)
    demand(
        any(answer.get("Upload-Expires") for answer in (post, patch)),
        "expiration is announced, but neither POST nor PATCH was answered with Upload-Expires",
    )


@clause("expiration.on-patch", GROUP, MUST, SECTION, "Every PATCH of an upload that will expire is told when.")
async def on_patch(subject: Subject) -> None:
    created = await subject.post(Upload_Length="10")
    url = urljoin(subject.terms.url, created.get("Location") or "")
    answers = [await subject.sent(url, 0, b"hello"), await subject.sent(url, 5, b"wor")]
    told = [bool(answer.get("Upload-Expires")) for answer in (created, *answers, await subject.head(url))]
    if not any(told):
        raise NotJudged("there is no Upload-Expires: this upload may never expire")
    demand(all(told[1:3]), "PATCH of an unfinished upload was answered without Upload-Expires, which it has elsewhere")


@clause("expiration.on-post", GROUP, MUST, SECTION, "If it is known at the creation, the answer to POST tells it.")
async def on_post(subject: Subject) -> None:
    answer = await subject.post(Upload_Length="10")
    if answer.get("Upload-Expires"):
        return
    # Known at the creation is what is told before anything else has happened.
    head = await subject.head(await subject.create())
    demand(head.get("Upload-Expires") is None, "HEAD of a new upload has Upload-Expires, the answer to POST has not")
    raise NotJudged("POST is answered without Upload-Expires; whether it was known cannot be seen from outside")


@clause("expiration.date", GROUP, MUST, SECTION, "Upload-Expires is a date as RFC 9110 has them.")
async def date(subject: Subject) -> None:
    post, patch = await subject.post(Upload_Length="10"), await _patched(subject)
    told = [text for answer in (post, patch) for text in answer.all("Upload-Expires")]
    if not told:
        raise NotJudged("there is no Upload-Expires")
    for text in told:
        demand(
            IMF_FIXDATE.fullmatch(text) is not None, f"Upload-Expires is {shown(text)}, which is no date of RFC 9110"
        )


@clause("expiration.ahead", GROUP, MUST, SECTION, "Upload-Expires of an upload that can be continued lies ahead.")
async def ahead(subject: Subject) -> None:
    answer = await _patched(subject)
    text = answer.get("Upload-Expires")
    if text is None or not IMF_FIXDATE.fullmatch(text):
        raise NotJudged("there is no Upload-Expires that can be read")
    demand(_seconds(text) >= _now(answer), f"PATCH was answered with Upload-Expires {text!r}, which has passed")


@clause("expiration.gone", GROUP, SHOULD, SECTION, "An upload that has expired is answered 404 or 410.")
async def gone(subject: Subject) -> None:
    url = await subject.create()
    answer = await subject.sent(url, 0, b"hello")
    text = answer.get("Upload-Expires")
    if text is None or not IMF_FIXDATE.fullmatch(text):
        raise NotJudged("there is no Upload-Expires that can be read")
    left = _seconds(text) - _now(answer)
    if left > subject.terms.patience:
        raise NotJudged(f"uploads expire after {left:.0f} s; --patience waits longer")
    await asyncio.sleep(max(left, 0) + 2)
    demand_status(await subject.ask("HEAD", url), GONE, f"HEAD 2 s after {text}")
    demand_status(await subject.patch(url, 5, b"wor"), GONE, f"PATCH 2 s after {text}")
