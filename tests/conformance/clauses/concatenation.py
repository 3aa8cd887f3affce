"""Concatenation, also of parts that are not finished."""

import asyncio
import time
from urllib.parse import urljoin, urlsplit

from ..exchange import Answer
from ..registry import MUST, SHOULD, NoSetting, NotJudged, clause
from ..subject import (
    Subject,
    demand,
    demand_field,
    demand_refused,
    demand_status,
    integer,
    metadata,
    parsed_metadata,
    shown,
    told,
)

GROUP = "concatenation"
UNFINISHED = "concatenation-unfinished"
SECTION = "Concatenation"


async def _part(subject: Subject, body: bytes, sent: int | None = None, **fields: str | None) -> str:
    url = await subject.create(len(body), Upload_Concat="partial", **fields)
    if body[:sent]:
        await subject.sent(url, 0, body[:sent])
    return url


async def _final(subject: Subject, parts: list[str], metadata_text: str | None = None) -> str:
    answer = await subject.post(Upload_Concat=f"final;{' '.join(parts)}", Upload_Metadata=metadata_text)
    location = answer.get("Location")
    if answer.status != 201 or location is None:
        raise NoSetting(f"the final upload that this needs was answered {told(answer)}")
    return urljoin(subject.terms.url, location)


async def _complete(subject: Subject, url: str) -> Answer:
    """HEAD of a final upload, once the parts have been joined or there was time enough for it."""
    end = time.monotonic() + subject.terms.seconds
    while True:
        answer = await subject.head(url)
        offset, length = answer.get("Upload-Offset"), answer.get("Upload-Length")
        if (offset is not None and offset == length) or time.monotonic() > end:
            return answer
        await asyncio.sleep(0.1)


async def _hello_world(subject: Subject) -> str:
    return await _final(subject, [await _part(subject, b"hello"), await _part(subject, b" world")])


# ---- parts ----------------------------------------------------------------------------------------------------------


@clause(f"{GROUP}.announced", GROUP, MUST, SECTION, "A server that concatenates announces it.", needs=())
async def announced(subject: Subject) -> None:
    if GROUP in subject.offer.extensions:
        return
    try:
        url = await _part(subject, b"hello")
    except NoSetting:
        raise NotJudged("concatenation is neither announced nor done") from None
    demand(
        (await subject.head(url)).get("Upload-Concat") is None,
        "POST with Upload-Concat: partial made a partial upload, but Tus-Extension does not have concatenation",
    )
    answer = await subject.post(Upload_Concat=f"final;{url}")
    demand(answer.status != 201, "a final upload was created, but Tus-Extension does not have concatenation")
    raise NotJudged("concatenation is neither announced nor done")


@clause(f"{GROUP}.part-201", GROUP, MUST, SECTION, "POST with Upload-Concat: partial creates a part.")
async def part_201(subject: Subject) -> None:
    demand_status(
        await subject.post(Upload_Length="5", Upload_Concat="partial"), 201, "POST with Upload-Concat: partial"
    )


@clause(f"{GROUP}.part-echo", GROUP, MUST, SECTION, "HEAD of a part has Upload-Concat: partial.")
async def part_echo(subject: Subject) -> None:
    demand_field(await subject.head(await _part(subject, b"hello", 3)), "Upload-Concat", "partial", "HEAD of a part")


@clause(f"{GROUP}.part-offset", GROUP, MUST, SECTION, "HEAD of a part has Upload-Offset.")
async def part_offset(subject: Subject) -> None:
    demand_field(await subject.head(await _part(subject, b"hello", 3)), "Upload-Offset", "3", "HEAD of a part")
    demand_field(await subject.head(await _part(subject, b"hello")), "Upload-Offset", "5", "HEAD of a complete part")


@clause(f"{GROUP}.part-length", GROUP, MUST, SECTION, "HEAD of a part has Upload-Length.")
async def part_length(subject: Subject) -> None:
    demand_field(await subject.head(await _part(subject, b"hello", 3)), "Upload-Length", "5", "HEAD of a part")


@clause(f"{GROUP}.value", GROUP, MUST, "Upload-Concat", "Upload-Concat is 'partial' or 'final;...', or it is refused.")
async def value(subject: Subject) -> None:
    for text in ("neither", "final", "final;"):
        answer = await subject.post(Upload_Length="5", Upload_Concat=text)
        demand_refused(answer, f"POST with Upload-Concat: {text}")


# ---- the final upload -----------------------------------------------------------------------------------------------


@clause(f"{GROUP}.final-201", GROUP, MUST, SECTION, "POST with Upload-Concat: final and no Upload-Length creates it.")
async def final_201(subject: Subject) -> None:
    parts = [await _part(subject, b"hello"), await _part(subject, b" world")]
    answer = await subject.post(Upload_Concat=f"final;{' '.join(parts)}")
    demand_status(answer, 201, "POST with Upload-Concat: final;... of two complete parts")
    demand(bool(answer.get("Location")), "the creation of a final upload was answered without Location")


@clause(f"{GROUP}.final-length", GROUP, MUST, SECTION, "The final length is the sum of the parts' lengths.")
async def final_length(subject: Subject) -> None:
    length = integer(await subject.head(await _hello_world(subject)), "Upload-Length", "HEAD of a final upload")
    demand(length == 11, f"HEAD of a final upload of parts of 5 and 6 bytes has Upload-Length {length}")


@clause(f"{GROUP}.final-offset", GROUP, MUST, SECTION, "After concatenation Upload-Offset equals Upload-Length.")
async def final_offset(subject: Subject) -> None:
    demand_field(await _complete(subject, await _hello_world(subject)), "Upload-Offset", "11", "HEAD of a final upload")


@clause(f"{GROUP}.final-echo", GROUP, MUST, SECTION, "HEAD of a final upload has Upload-Concat as it was sent.")
async def final_echo(subject: Subject) -> None:
    parts = [await _part(subject, b"hello"), await _part(subject, b" world")]
    answer = await subject.head(await _final(subject, parts))
    demand_field(answer, "Upload-Concat", f"final;{' '.join(parts)}", "HEAD of a final upload")


@clause(f"{GROUP}.final-order", GROUP, MUST, SECTION, "The parts are joined in the order of the list.")
async def final_order(subject: Subject) -> None:
    first, second = await _part(subject, b"hello"), await _part(subject, b" world")
    for parts, wanted in (([first, second], b"hello world"), ([second, first], b" worldhello")):
        try:
            url = await _final(subject, parts)
        except NoSetting as refusal:
            raise NotJudged(f"the parts cannot be used twice: {refusal}") from None
        await _complete(subject, url)
        content = await subject.content(url)
        demand(content == wanted, f"the parts that make {wanted!r} became {content[:40]!r}")


@clause(f"{GROUP}.relative-urls", GROUP, MUST, "Upload-Concat", "The parts' URLs may be relative.")
async def relative_urls(subject: Subject) -> None:
    parts = [urlsplit(await _part(subject, body)).path for body in (b"hello", b" world")]
    answer = await subject.post(Upload_Concat=f"final;{' '.join(parts)}")
    demand_status(answer, 201, f"POST with Upload-Concat: final;{parts[0]} ...")


@clause(f"{GROUP}.absolute-urls", GROUP, MUST, "Upload-Concat", "The parts' URLs may be absolute.")
async def absolute_urls(subject: Subject) -> None:
    parts = [await _part(subject, body) for body in (b"hello", b" world")]
    answer = await subject.post(Upload_Concat=f"final;{' '.join(parts)}")
    demand_status(answer, 201, f"POST with Upload-Concat: final;{parts[0]} ...")


@clause(f"{GROUP}.part-missing", GROUP, MUST, SECTION, "A final upload over what is not there is refused.")
async def part_missing(subject: Subject) -> None:
    parts = [await _part(subject, b"hello"), await subject.missing_url()]
    answer = await subject.post(Upload_Concat=f"final;{' '.join(parts)}")
    demand_refused(answer, "POST of a final upload of which one part never was")


@clause(f"{GROUP}.final-patch-403", GROUP, MUST, SECTION, "PATCH of a final upload is answered 403.")
async def final_patch_403(subject: Subject) -> None:
    url = await _hello_world(subject)
    await _complete(subject, url)
    demand_status(await subject.patch(url, 11, b"!"), 403, "PATCH at 11 of a final upload")
    demand_status(await subject.patch(url, 0, b"HELLO"), 403, "PATCH at 0 of a final upload")


@clause(f"{GROUP}.final-patch-untouched", GROUP, MUST, SECTION, "PATCH of a final upload changes nothing.")
async def final_patch_untouched(subject: Subject) -> None:
    url = await _hello_world(subject)
    await _complete(subject, url)
    for offset in (0, 11):
        await subject.patch(url, offset, b"HELLO")
    answer = await subject.head(url)
    demand_field(answer, "Upload-Offset", "11", "HEAD of a final upload after PATCH")
    demand_field(answer, "Upload-Length", "11", "HEAD of a final upload after PATCH")


@clause(f"{GROUP}.metadata-own", GROUP, MUST, SECTION, "A final upload has the metadata of its own creation.")
async def metadata_own(subject: Subject) -> None:
    parts = [await _part(subject, b"hello", Upload_Metadata=metadata(part="one"))]
    text = metadata(filename="whole.bin")
    told_back = (await subject.head(await _final(subject, parts, text))).get("Upload-Metadata")
    demand(
        told_back is not None and parsed_metadata(told_back) == parsed_metadata(text),
        f"a final upload created with {text!r} has Upload-Metadata {shown(told_back)}",
    )


@clause(f"{GROUP}.metadata-not-inherited", GROUP, MUST, SECTION, "A part's metadata do not pass to the final upload.")
async def metadata_not_inherited(subject: Subject) -> None:
    parts = [await _part(subject, b"hello", Upload_Metadata=metadata(part="one"))]
    text = (await subject.head(await _final(subject, parts))).get("Upload-Metadata") or ""
    demand("part" not in (parsed_metadata(text) or {}), f"a final upload inherited its part's metadata: {text!r}")


@clause(f"{GROUP}.part-repeated", GROUP, SHOULD, SECTION, "A part may be in the list several times.")
async def part_repeated(subject: Subject) -> None:
    part = await _part(subject, b"hello")
    answer = await subject.post(Upload_Concat=f"final;{part} {part}")
    demand_status(answer, 201, "POST of a final upload with the same part twice")
    url = urljoin(subject.terms.url, answer.get("Location") or "")
    demand_field(
        await _complete(subject, url), "Upload-Offset", "10", "HEAD of a final upload with the same part twice"
    )


@clause(f"{GROUP}.part-reused", GROUP, SHOULD, SECTION, "A part that is still there may be used again.")
async def part_reused(subject: Subject) -> None:
    part = await _part(subject, b"hello")
    await _complete(subject, await _final(subject, [part]))
    if not (await subject.head(part)).successful:
        raise NotJudged("parts are deleted after concatenation, which is allowed")
    answer = await subject.post(Upload_Concat=f"final;{part}")
    demand_status(answer, 201, "POST of a second final upload over the same part")


@clause(f"{GROUP}.resumable", GROUP, MUST, "Tus-Resumable", "The answers about a final upload have Tus-Resumable.")
async def resumable(subject: Subject) -> None:
    url = await _hello_world(subject)
    demand_field(await subject.ask("HEAD", url), "Tus-Resumable", "1.0.0", "HEAD of a final upload")
    demand_field(await subject.patch(url, 0, b"HELLO"), "Tus-Resumable", "1.0.0", "PATCH of a final upload")


# ---- over unfinished parts ------------------------------------------------------------------------------------------


@clause(f"{UNFINISHED}.announced", UNFINISHED, MUST, SECTION, "Taking unfinished parts is announced.", needs=(GROUP,))
async def unfinished_announced(subject: Subject) -> None:
    if UNFINISHED in subject.offer.extensions:
        return
    parts = [await _part(subject, b"hello", 3), await _part(subject, b" world")]
    answer = await subject.post(Upload_Concat=f"final;{' '.join(parts)}")
    demand(
        answer.status != 201, f"a final upload over an unfinished part was created, but {UNFINISHED} is not announced"
    )


async def _over_unfinished(subject: Subject) -> tuple[str, str]:
    """A final upload, and the part of it that lacks its last two bytes."""
    part = await _part(subject, b"hello", 3)
    return await _final(subject, [part, await _part(subject, b" world")]), part


@clause(f"{UNFINISHED}.final-201", UNFINISHED, MUST, SECTION, "A final upload over unfinished parts is created.")
async def unfinished_201(subject: Subject) -> None:
    part = await _part(subject, b"hello", 3)
    demand_status(
        await subject.post(Upload_Concat=f"final;{part}"), 201, "POST of a final upload over an unfinished part"
    )


@clause(
    f"{UNFINISHED}.no-offset", UNFINISHED, SHOULD, SECTION, "Until the parts are joined, HEAD has no Upload-Offset."
)
async def unfinished_no_offset(subject: Subject) -> None:
    text = (await subject.head((await _over_unfinished(subject))[0])).get("Upload-Offset")
    demand(text is None, f"HEAD of a final upload over an unfinished part has Upload-Offset {text}")


@clause(f"{UNFINISHED}.length", UNFINISHED, MUST, SECTION, "Where the parts' lengths are known, the final one is told.")
async def unfinished_length(subject: Subject) -> None:
    answer = await subject.head((await _over_unfinished(subject))[0])
    demand_field(answer, "Upload-Length", "11", "HEAD of a final upload over an unfinished part")


@clause(f"{UNFINISHED}.completes", UNFINISHED, MUST, SECTION, "When the parts are complete, so is the final upload.")
async def unfinished_completes(subject: Subject) -> None:
    url, part = await _over_unfinished(subject)
    await subject.sent(part, 3, b"lo")
    answer = await _complete(subject, url)
    demand_field(answer, "Upload-Offset", "11", "HEAD of a final upload after its last part was completed")
    demand_field(answer, "Upload-Length", "11", "HEAD of a final upload after its last part was completed")


@clause(f"{UNFINISHED}.bytes-right", UNFINISHED, MUST, SECTION, "It then consists of its parts, in order.")
async def unfinished_bytes_right(subject: Subject) -> None:
    url, part = await _over_unfinished(subject)
    await subject.sent(part, 3, b"lo")
    await _complete(subject, url)
    content = await subject.content(url)
    demand(content == b"hello world", f"the parts of 'hello world', the first finished last, became {content[:40]!r}")


@clause(f"{UNFINISHED}.patch-403", UNFINISHED, MUST, SECTION, "PATCH of the final upload is answered 403 before, too.")
async def unfinished_patch_403(subject: Subject) -> None:
    url, _ = await _over_unfinished(subject)
    demand_status(await subject.patch(url, 0, b"HELLO"), 403, "PATCH of a final upload over an unfinished part")
