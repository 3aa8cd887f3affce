"""Bodies that break off, stall, or never come; a part of core that decides what resuming is worth."""

import asyncio
from dataclasses import replace

from ..exchange import NoAnswer, Request
from ..registry import MUST, SHOULD, NotJudged, clause
from ..subject import Subject, demand, demand_status

SIZE = 512 * 1024
SENT = 200_000
BYTES = bytes(range(251)) * (SIZE // 251 + 1)
SECTION = "PATCH"


def _promised(subject: Subject, url: str) -> Request:
    """The head of a PATCH of all bytes."""
    return replace(subject.patch_request(url, 0), content_length=SIZE)


async def _broken_off(subject: Subject, how: str, *, chunked: bool = False) -> str:
    """The URL of an upload whose only PATCH ended after `SENT` of its `SIZE` bytes."""
    url = await subject.create(SIZE)
    promised = _promised(subject, url)
    async with subject.connect(url) as connection:
        if chunked:
            whole = replace(promised, content_length=None, chunked=True, body=BYTES[:SENT])
            await connection.send(whole.head())
            *pieces, _end = whole.pieces()
            await connection.send(b"".join(pieces))
        else:
            await connection.send(promised.head() + BYTES[:SENT])
        if how == "reset":
            # The server gets a moment to read what came before: a reset takes along what is still on its way.
            await asyncio.sleep(0.3)
            connection.reset()
        else:
            connection.finish_sending()
            await connection.closed_by_server(1.0)
            await connection.close()
    return url


@clause("interruption.closed.all-kept", "interruption", SHOULD, SECTION, "Bytes before an orderly end are all stored.")
async def closed_all_kept(subject: Subject) -> None:
    offset = await subject.settled_offset(await _broken_off(subject, "close"), SENT)
    demand(offset == SENT, f"of a PATCH that ended in order after {SENT} of {SIZE} bytes, {offset} bytes are kept")


@clause("interruption.reset.some-kept", "interruption", SHOULD, SECTION, "Bytes received before a reset are stored.")
async def reset_some_kept(subject: Subject) -> None:
    offset = await subject.settled_offset(await _broken_off(subject, "reset"), SENT)
    demand(offset > 0, f"of a PATCH that was reset after {SENT} of {SIZE} bytes, none is kept")


@clause("interruption.chunked.kept", "interruption", SHOULD, SECTION, "Of a chunked body, too, what came is stored.")
async def chunked_kept(subject: Subject) -> None:
    offset = await subject.settled_offset(await _broken_off(subject, "close", chunked=True), SENT)
    demand(offset > 0, f"of a chunked PATCH that ended after {SENT} bytes without its last chunk, none is kept")


@clause("interruption.offset-honest", "interruption", MUST, SECTION, "No offset counts bytes that were never received.")
async def offset_honest(subject: Subject) -> None:
    for how in ("close", "reset"):
        offset = await subject.settled_offset(await _broken_off(subject, how), SENT)
        demand(offset <= SENT, f"after {SENT} bytes and a {how}, HEAD says {offset}")


@clause("interruption.resumes", "interruption", MUST, SECTION, "An upload that broke off goes on at its offset.")
async def resumes(subject: Subject) -> None:
    url = await _broken_off(subject, "reset")
    offset = await subject.settled_offset(url, SENT)
    answer = await subject.patch(url, offset, BYTES[offset:SIZE])
    demand_status(answer, 204, f"PATCH of the rest at {offset} after a reset")
    demand(
        await subject.offset(url) == SIZE, "the rest was accepted, but HEAD does not say that the upload is complete"
    )


@clause("interruption.bytes-right", "interruption", MUST, SECTION, "What was kept of a broken body is what was sent.")
async def bytes_right(subject: Subject) -> None:
    url = await _broken_off(subject, "close")
    offset = await subject.settled_offset(url, SENT)
    await subject.sent(url, offset, BYTES[offset:SIZE])
    content = await subject.content(url)
    wrong = next((at for at, pair in enumerate(zip(content, BYTES, strict=False)) if pair[0] != pair[1]), None)
    demand(
        content == BYTES[:SIZE],
        f"continued at {offset} after a break, GET gave {len(content)} of {SIZE} bytes, the first wrong one at {wrong}",
    )


@clause("interruption.never-beyond-sent", "interruption", MUST, SECTION, "While a body comes, HEAD never runs ahead.")
async def never_beyond_sent(subject: Subject) -> None:
    url = await subject.create(SIZE)
    async with subject.connect(url) as connection:
        await connection.send(_promised(subject, url).head() + BYTES[:SENT])
        try:
            answer = await subject.ask("HEAD", url)
        except NoAnswer:
            raise NotJudged("HEAD waits while a body is being received") from None
    text = answer.get("Upload-Offset") or "0"
    demand(text.isdigit() and int(text) <= SENT, f"HEAD while {SENT} bytes were sent says {text}")


@clause(
    "interruption.idle-closed", "interruption", SHOULD, SECTION, "A connection whose body stalls is closed in time."
)
async def idle_closed(subject: Subject) -> None:
    url, patience = await subject.create(SIZE), subject.terms.patience
    async with subject.connect(url) as connection:
        await connection.send(_promised(subject, url).head() + BYTES[:1000])
        if not await connection.closed_by_server(patience):
            # Nothing says how long is too long.
            raise NotJudged(f"a stalled body was not ended within {patience:g} s; --patience waits longer")
