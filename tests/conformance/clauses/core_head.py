"""Core: HEAD."""

from ..registry import MUST, SHOULD, NoSetting, NotJudged, clause
from ..subject import GONE, Subject, demand, demand_status, integer


@clause("core.head.offset-always", "core", MUST, "HEAD", "Upload-Offset is there also when it is 0.")
async def offset_always(subject: Subject) -> None:
    offset = integer(await subject.head(await subject.create()), "Upload-Offset", "HEAD of a new upload")
    demand(offset == 0, f"HEAD of a new upload was answered with Upload-Offset {offset}")


@clause("core.head.offset-midway", "core", MUST, "HEAD", "Upload-Offset is where the upload has to be continued.")
async def offset_midway(subject: Subject) -> None:
    url = await subject.create()
    await subject.sent(url, 0, b"hell")
    offset = integer(await subject.head(url), "Upload-Offset", "HEAD after 4 bytes")
    demand(offset == 4, f"HEAD after 4 bytes was answered with Upload-Offset {offset}")


@clause("core.head.offset-complete", "core", MUST, "HEAD", "Upload-Offset is there also when the upload is complete.")
async def offset_complete(subject: Subject) -> None:
    offset = integer(await subject.head(await subject.finished()), "Upload-Offset", "HEAD of a complete upload")
    demand(offset == 10, f"HEAD of a complete upload of 10 bytes was answered with Upload-Offset {offset}")


@clause("core.head.length", "core", MUST, "HEAD", "Upload-Length is there when the length is known.")
async def length(subject: Subject) -> None:
    size = integer(await subject.head(await subject.create()), "Upload-Length", "HEAD of an upload of 10 bytes")
    demand(size == 10, f"HEAD of an upload of 10 bytes was answered with Upload-Length {size}")


@clause("core.head.length-large", "core", MUST, "Upload-Length", "A length beyond 32 bits is kept as it is.")
async def length_large(subject: Subject) -> None:
    wanted = min(2**32 + 10, subject.offer.max_size or 2**32 + 10)
    try:
        url = await subject.create(wanted)
    except NoSetting as refusal:
        raise NotJudged(f"there may be no room for {wanted} bytes: {refusal}") from None
    size = integer(await subject.head(url), "Upload-Length", f"HEAD of {wanted} bytes")
    demand(size == wanted, f"HEAD of an upload of {wanted} bytes was answered with Upload-Length {size}")


@clause("core.head.no-store", "core", MUST, "HEAD", "The answer has Cache-Control: no-store.")
async def no_store(subject: Subject) -> None:
    value = (await subject.head(await subject.create())).get("Cache-Control")
    words = [word.strip().lower() for word in (value or "").split(",")]
    demand("no-store" in words, f"HEAD was answered with Cache-Control {value!r}")


@clause("core.head.status", "core", SHOULD, "HEAD", "A successful HEAD is answered 200 or 204.")
async def status(subject: Subject) -> None:
    demand_status(await subject.head(await subject.create()), (200, 204), "HEAD of a new upload")


@clause("core.head.not-found", "core", SHOULD, "HEAD", "An upload that is not there is answered 404, 410 or 403.")
async def not_found(subject: Subject) -> None:
    demand_status(await subject.head(await subject.missing_url()), (*GONE, 403), "HEAD of an upload that never was")


@clause("core.head.not-found-without-offset", "core", SHOULD, "HEAD", "What is not there has no Upload-Offset.")
async def not_found_without_offset(subject: Subject) -> None:
    answer = await subject.head(await subject.missing_url())
    value = answer.get("Upload-Offset")
    demand(value is None, f"HEAD of an upload that never was: {answer.status} with Upload-Offset {value}")
