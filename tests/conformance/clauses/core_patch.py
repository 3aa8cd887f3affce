"""Core: PATCH."""

from dataclasses import replace

from ..exchange import Answer
from ..registry import MUST, SHOULD, clause
from ..subject import (
    OFFSET_STREAM,
    Subject,
    demand,
    demand_field,
    demand_refused,
    demand_status,
    integer,
    told,
)

LARGE = bytes(range(256)) * 2048


@clause("core.patch.success-204", "core", MUST, "PATCH", "A successful PATCH is answered 204.")
async def success_204(subject: Subject) -> None:
    demand_status(await subject.patch(await subject.create(), 0, b"hello"), 204, "PATCH of 5 bytes at 0")


@clause("core.patch.new-offset", "core", MUST, "PATCH", "The answer's Upload-Offset is old offset + bytes received.")
async def new_offset(subject: Subject) -> None:
    url = await subject.create()
    demand_field(await subject.patch(url, 0, b"hello"), "Upload-Offset", "5", "PATCH of 5 bytes at 0")
    demand_field(await subject.patch(url, 5, b"wor"), "Upload-Offset", "8", "PATCH of 3 bytes at 5")


@clause("core.patch.last-offset", "core", MUST, "PATCH", "Also the PATCH that completes an upload tells its offset.")
async def last_offset(subject: Subject) -> None:
    answer = await subject.patch(await subject.create(), 0, b"0123456789")
    demand_status(answer, 204, "PATCH of all 10 bytes")
    demand_field(answer, "Upload-Offset", "10", "PATCH of all 10 bytes")


@clause("core.patch.head-agrees", "core", MUST, "PATCH", "HEAD then tells the offset that PATCH was answered with.")
async def head_agrees(subject: Subject) -> None:
    url = await subject.create()
    said = integer(await subject.sent(url, 0, b"hello"), "Upload-Offset", "PATCH of 5 bytes at 0")
    offset = await subject.offset(url)
    demand(offset == said, f"PATCH was answered with Upload-Offset {said}, but HEAD then says {offset}")


@clause("core.patch.large", "core", MUST, "PATCH", "A body of half a MiB counts in full.")
async def large(subject: Subject) -> None:
    url = await subject.create(len(LARGE))
    answer = await subject.patch(url, 0, LARGE)
    demand_status(answer, 204, f"PATCH of {len(LARGE)} bytes")
    demand_field(answer, "Upload-Offset", str(len(LARGE)), f"PATCH of {len(LARGE)} bytes")


@clause("core.patch.bytes-applied", "core", SHOULD, "PATCH", "The bytes are applied at the offset they came for.")
async def bytes_applied(subject: Subject) -> None:
    url, half = await subject.create(len(LARGE)), len(LARGE) // 2
    await subject.sent(url, 0, LARGE[:half])
    await subject.sent(url, half, LARGE[half:])
    content = await subject.content(url)
    demand(content == LARGE, f"of {len(LARGE)} bytes in two PATCHes, GET gave back {len(content)} that differ")


@clause("core.patch.empty", "core", SHOULD, "PATCH", "A PATCH without bytes is accepted and moves nothing.")
async def empty(subject: Subject) -> None:
    url = await subject.create()
    await subject.sent(url, 0, b"hello")
    answer = await subject.patch(url, 5)
    demand_status(answer, 204, "PATCH of no bytes at 5")
    demand_field(answer, "Upload-Offset", "5", "PATCH of no bytes at 5")


@clause("core.patch.chunked", "core", SHOULD, "PATCH", "A body of Transfer-Encoding: chunked is accepted.")
async def chunked(subject: Subject) -> None:
    url = await subject.create()
    answer = await subject.exchange(replace(subject.patch_request(url, 0, b"hello"), chunked=True))
    demand_status(answer, 204, "PATCH of 5 bytes, chunked")
    demand_field(answer, "Upload-Offset", "5", "PATCH of 5 bytes, chunked")


@clause("core.patch.expect-continue", "core", SHOULD, "PATCH", "A PATCH with Expect: 100-continue is served.")
async def expect_continue(subject: Subject) -> None:
    request = subject.patch_request(await subject.create(), 0, b"hello", Expect="100-continue")
    answer = await subject.exchange(replace(request, wait_for_continue=True))
    demand_status(answer, 204, "PATCH with Expect: 100-continue")
    demand(answer.continued, "PATCH with Expect: 100-continue got no 100 before the body was sent unasked")


# ---- offsets --------------------------------------------------------------------------------------------------------


async def _at(subject: Subject, offset: int | str | None) -> tuple[str, Answer]:
    """An upload of 10 bytes of which 5 are there, and a PATCH at this offset."""
    url = await subject.create()
    await subject.sent(url, 0, b"hello")
    return url, await subject.patch(url, offset, b"123")


async def _demand_untouched(subject: Subject, url: str, sent: str) -> None:
    offset = await subject.offset(url)
    demand(offset == 5, f"{sent} moved the offset from 5 to {offset}")


@clause("core.patch.ahead-409", "core", MUST, "PATCH", "An offset beyond the current one is answered 409.")
async def ahead_409(subject: Subject) -> None:
    demand_status((await _at(subject, 7))[1], 409, "PATCH at 7 where the offset is 5")


@clause(
    "core.patch.ahead-too-long-409",
    "core",
    MUST,
    "PATCH",
    "So is one from which the body, besides, would reach beyond the length.",
)
async def ahead_too_long_409(subject: Subject) -> None:
    url = await subject.create()
    await subject.sent(url, 0, b"hello")
    demand_status(await subject.patch(url, 7, b"12345"), 409, "PATCH of 5 bytes at 7 where 5 of 10 are there")


@clause("core.patch.ahead-untouched", "core", MUST, "PATCH", "An offset beyond the current one changes nothing.")
async def ahead_untouched(subject: Subject) -> None:
    await _demand_untouched(subject, (await _at(subject, 7))[0], "PATCH at 7")


@clause("core.patch.behind-409", "core", MUST, "PATCH", "An offset before the current one is answered 409.")
async def behind_409(subject: Subject) -> None:
    demand_status((await _at(subject, 0))[1], 409, "PATCH at 0 where the offset is 5")


@clause("core.patch.behind-untouched", "core", MUST, "PATCH", "An offset before the current one changes nothing.")
async def behind_untouched(subject: Subject) -> None:
    await _demand_untouched(subject, (await _at(subject, 0))[0], "PATCH at 0")


@clause("core.patch.conflict-bytes-untouched", "core", MUST, "PATCH", "A 409 leaves the bytes that are there alone.")
async def conflict_bytes_untouched(subject: Subject) -> None:
    for offset in (0, 7):
        url, _ = await _at(subject, offset)
        await subject.sent(url, 5, b"WORLD")
        content = await subject.content(url)
        demand(content == b"helloWORLD", f"after a PATCH at {offset} where the offset is 5, GET gave {content!r}")


@clause("core.patch.complete-409", "core", MUST, "PATCH", "A wrong offset is answered 409 on a complete upload, too.")
async def complete_409(subject: Subject) -> None:
    url = await subject.finished()
    await subject.offset(url)
    answer = await subject.patch(url, 0, b"12345")
    demand_status(answer, 409, "PATCH at 0 of a complete upload")


@clause(
    "core.patch.offset-missing", "core", MUST, "PATCH", "Without Upload-Offset a PATCH is refused, nothing changes."
)
async def offset_missing(subject: Subject) -> None:
    url, answer = await _at(subject, None)
    demand_refused(answer, "PATCH without Upload-Offset")
    await _demand_untouched(subject, url, "PATCH without Upload-Offset")


@clause("core.patch.offset-negative", "core", MUST, "Upload-Offset", "A negative Upload-Offset is refused.")
async def offset_negative(subject: Subject) -> None:
    url, answer = await _at(subject, -5)
    demand_refused(answer, "PATCH with Upload-Offset: -5")
    await _demand_untouched(subject, url, "PATCH with Upload-Offset: -5")


@clause(
    "core.patch.offset-not-integer", "core", MUST, "Upload-Offset", "An Upload-Offset that is no integer is refused."
)
async def offset_not_integer(subject: Subject) -> None:
    for text in ("five", "5.0", "5abc", "0x5"):
        url, answer = await _at(subject, text)
        demand_refused(answer, f"PATCH with Upload-Offset: {text}")
        await _demand_untouched(subject, url, f"PATCH with Upload-Offset: {text}")


# ---- what is no PATCH ------------------------------------------------------------------------------------------------


@clause("core.patch.content-type-415", "core", SHOULD, "PATCH", f"Another type than {OFFSET_STREAM} is answered 415.")
async def content_type_415(subject: Subject) -> None:
    url = await subject.create()
    answer = await subject.patch(url, 0, b"hello", Content_Type="application/octet-stream")
    demand_status(answer, 415, "PATCH of application/octet-stream")


@clause("core.patch.content-type-missing-415", "core", SHOULD, "PATCH", "A body without a type is answered 415.")
async def content_type_missing_415(subject: Subject) -> None:
    answer = await subject.patch(await subject.create(), 0, b"hello", Content_Type=None)
    demand_status(answer, 415, "PATCH without Content-Type")


@clause("core.patch.content-type-untouched", "core", SHOULD, "PATCH", "A body of another type changes nothing.")
async def content_type_untouched(subject: Subject) -> None:
    url = await subject.create()
    await subject.patch(url, 0, b"hello", Content_Type="application/octet-stream")
    offset = await subject.offset(url)
    demand(offset == 0, f"PATCH of application/octet-stream moved the offset to {offset}")


@clause("core.patch.not-found-404", "core", SHOULD, "PATCH", "A PATCH of an upload that is not there is answered 404.")
async def not_found_404(subject: Subject) -> None:
    answer = await subject.patch(await subject.missing_url(), 0, b"hello")
    demand_status(answer, 404, "PATCH of an upload that never was")


@clause("core.patch.never-beyond-length", "core", MUST, "Upload-Length", "The length is the size of the entire upload.")
async def never_beyond_length(subject: Subject) -> None:
    for is_chunked in (False, True):
        url = await subject.create()
        request = subject.patch_request(url, 0, b"0123456789and more")
        answer = await subject.exchange(replace(request, chunked=is_chunked))
        sent = "PATCH of 18 bytes to an upload of 10" + (", chunked," if is_chunked else "")
        demand(answer.status < 500, f"{sent} was answered {told(answer)}")
        if answer.successful:
            said = integer(answer, "Upload-Offset", sent)
            demand(said <= 10, f"{sent} was answered {answer.status} with Upload-Offset {said}")
        offset = await subject.offset(url)
        demand(offset <= 10, f"{sent} moved the offset to {offset}")
