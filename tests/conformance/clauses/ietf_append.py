"""The IETF draft: appending."""

from ..registry import MUST
from ..subject import demand, demand_field, demand_refused, demand_status, integer, shown
from .ietf_words import BYTES, Draft, draft_clause

OLD, LATER, NEWER = (3, 4, 5, 6), (6, 7, 8, 9), (7, 8, 9)
APPEND = "Upload Append"


@draft_clause("append-status", MUST, APPEND, "An append is answered 201, from interop 7 on with any success.")
async def append_status(draft: Draft) -> None:
    answer = await draft.append(await draft.made(BYTES), len(BYTES), b"abc")
    demand_status(answer, 201 if draft.version < 7 else (200, 201, 204), "an append")


@draft_clause("append-stored", MUST, APPEND, "What was appended counts in the offset.")
async def append_stored(draft: Draft) -> None:
    url = await draft.made(BYTES)
    await draft.sent(url, len(BYTES), b"abc", whole=False)
    offset = await draft.offset(url)
    demand(offset == len(BYTES) + 3, f"after an append of 3 bytes at 10 HEAD told Upload-Offset {offset}")


@draft_clause("append-offset", MUST, APPEND, "The answer to an append has Upload-Offset.", OLD)
async def append_offset(draft: Draft) -> None:
    answer = await draft.append(await draft.made(BYTES), len(BYTES), b"abc")
    demand_field(answer, "Upload-Offset", str(len(BYTES) + 3), "an append")


@draft_clause("append-not-last", MUST, APPEND, "The answer to an append that is not the last says so.")
async def append_not_last(draft: Draft) -> None:
    answer = await draft.append(await draft.made(BYTES), len(BYTES), b"abc")
    demand(draft.is_complete(answer) is False, f"it told {draft.completeness} {shown(answer.get(draft.completeness))}")


@draft_clause("append-last", MUST, APPEND, "The last append completes the upload.")
async def append_last(draft: Draft) -> None:
    url = await draft.made(BYTES)
    await draft.sent(url, len(BYTES), b"abc", whole=True)
    answer = await draft.looked(url)
    demand(draft.is_complete(answer) is True, f"HEAD told {shown(answer.get(draft.completeness))}")
    offset = integer(answer, "Upload-Offset", "HEAD")
    demand(offset == len(BYTES) + 3, f"HEAD told Upload-Offset {offset} of 13 bytes")


@draft_clause("append-last-empty", MUST, APPEND, "The last append may be empty.")
async def append_last_empty(draft: Draft) -> None:
    url = await draft.made(BYTES)
    answer = await draft.append(url, len(BYTES), whole=True)
    demand(answer.successful, f"an empty last append was answered {answer.status}")
    demand(draft.is_complete(await draft.looked(url)) is True, "HEAD after it does not call the upload complete")


@draft_clause("append-last-told", MUST, APPEND, "The answer to the last append says that it was.", NEWER)
async def append_last_told(draft: Draft) -> None:
    answer = await draft.append(await draft.made(BYTES), len(BYTES), b"abc", whole=True)
    demand(draft.is_complete(answer) is True, f"it told {draft.completeness} {shown(answer.get(draft.completeness))}")


@draft_clause(
    "append-last-not-incomplete", MUST, APPEND, "The answer to the last append calls nothing incomplete.", OLD
)
async def append_last_not_incomplete(draft: Draft) -> None:
    answer = await draft.append(await draft.made(BYTES), len(BYTES), b"abc", whole=True)
    demand(draft.is_complete(answer) is not False, "it called the upload incomplete")


@draft_clause("append-conflict", MUST, APPEND, "A wrong offset is answered 409.")
async def append_conflict(draft: Draft) -> None:
    url = await draft.made(BYTES)
    for offset in (len(BYTES) - 1, len(BYTES) + 1):
        demand_status(await draft.append(url, offset, b"abc"), 409, f"an append at {offset} of 10")


@draft_clause("append-conflict-told", MUST, APPEND, "That answer has the right Upload-Offset.")
async def append_conflict_told(draft: Draft) -> None:
    answer = await draft.append(await draft.made(BYTES), 3, b"abc")
    demand_field(answer, "Upload-Offset", str(len(BYTES)), "an append at 3 of 10")


@draft_clause("append-conflict-incomplete", MUST, APPEND, "That answer has Upload-Complete: ?0.", NEWER)
async def append_conflict_incomplete(draft: Draft) -> None:
    answer = await draft.append(await draft.made(BYTES), 3, b"abc")
    demand_field(answer, "Upload-Complete", "?0", "an append at 3 of 10")


@draft_clause("append-conflict-untouched", MUST, APPEND, "A wrong offset changes nothing.")
async def append_conflict_untouched(draft: Draft) -> None:
    url = await draft.made(BYTES)
    await draft.append(url, 3, b"abc")
    offset = await draft.offset(url)
    demand(offset == len(BYTES), f"after an append at 3 of 10 HEAD told Upload-Offset {offset}")


@draft_clause("append-type", MUST, "Media Type", "An append of another media type is refused.", LATER)
async def append_type(draft: Draft) -> None:
    url = await draft.made(BYTES)
    demand_refused(await draft.append(url, len(BYTES), b"abc", Content_Type="text/plain"), "an append of text/plain")


@draft_clause("append-beyond", MUST, APPEND, "An append beyond the length is refused.", LATER)
async def append_beyond(draft: Draft) -> None:
    url = await draft.made(BYTES, Upload_Length="12")
    demand_refused(await draft.append(url, len(BYTES), b"abc"), "an append up to byte 13 of 12")


@draft_clause("append-length-changed", MUST, "Length", "A length other than the one told before is refused.", LATER)
async def append_length_changed(draft: Draft) -> None:
    url = await draft.made(BYTES, Upload_Length="20")
    demand_refused(await draft.append(url, len(BYTES), b"abc", whole=True), "a last append up to byte 13 of 20")


@draft_clause("append-complete-refused", MUST, APPEND, "Bytes for a complete upload are refused.", LATER)
async def append_complete_refused(draft: Draft) -> None:
    url = await draft.made(BYTES, whole=True)
    await draft.looked(url)
    demand_refused(await draft.append(url, len(BYTES), b"abc", whole=True), "3 bytes for a complete upload")
