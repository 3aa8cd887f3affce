"""The IETF draft: creation, offset retrieval, cancellation, OPTIONS, and 104."""

from ..registry import MUST, SHOULD, NotJudged
from ..subject import GONE, demand, demand_field, demand_refused, demand_status, shown
from .ietf_words import BYTES, VERSION, Draft, draft_clause

OLD, LATER, NEWER = (3, 4, 5, 6), (6, 7, 8, 9), (7, 8, 9)
CREATION, RETRIEVAL, CANCELLATION = "Upload Creation", "Offset Retrieval", "Upload Cancellation"


@draft_clause("create-201", MUST, CREATION, "A creation that is not complete is answered 201.", OLD)
async def create_201(draft: Draft) -> None:
    demand_status(await draft.create(), 201, "a creation that is not complete")


@draft_clause("create-recommended-201", SHOULD, CREATION, "A creation that is not complete is answered 201.", NEWER)
async def create_recommended_201(draft: Draft) -> None:
    demand_status(await draft.create(), 201, "a creation that is not complete")


@draft_clause("create-location", MUST, CREATION, "The answer to a creation that is not complete has Location.")
async def create_location(draft: Draft) -> None:
    answer = await draft.create()
    demand(bool(answer.get("Location")), f"a creation was answered {answer.status} without Location")


@draft_clause("create-first-bytes", MUST, CREATION, "What comes with a creation is stored from byte 0 on.")
async def create_first_bytes(draft: Draft) -> None:
    offset = await draft.offset(await draft.made(BYTES))
    demand(offset == len(BYTES), f"after a creation with {len(BYTES)} bytes HEAD told Upload-Offset {offset}")


@draft_clause("create-offset", MUST, CREATION, "The answer to a creation has Upload-Offset.", OLD)
async def create_offset(draft: Draft) -> None:
    demand_field(await draft.create(BYTES), "Upload-Offset", str(len(BYTES)), "a creation with bytes")


@draft_clause("create-whole", MUST, CREATION, "A creation with all bytes completes the upload.")
async def create_whole(draft: Draft) -> None:
    answer = await draft.looked(await draft.made(BYTES, whole=True))
    demand(draft.is_complete(answer) is True, f"HEAD after it told {shown(answer.get(draft.completeness))}")


@draft_clause("create-not-complete", MUST, CREATION, "A creation that is not complete does not complete the upload.")
async def create_not_complete(draft: Draft) -> None:
    answer = await draft.looked(await draft.made(BYTES))
    demand(draft.is_complete(answer) is False, f"HEAD after it told {shown(answer.get(draft.completeness))}")


@draft_clause("create-told", SHOULD, CREATION, "The answer to a creation tells whether the upload is complete.")
async def create_told(draft: Draft) -> None:
    for whole in (False, True):
        answer = await draft.create(BYTES, whole=whole)
        value = shown(answer.get(draft.completeness))
        # Up to -05 a complete upload is only not called incomplete.
        kept = (whole,) if draft.version >= 7 or not whole else (whole, None)
        demand(draft.is_complete(answer) in kept, f"the answer told {draft.completeness} {value}")


@draft_clause("length-two-ways", MUST, "Length", "Two lengths in one request that differ are refused.", LATER)
async def length_two_ways(draft: Draft) -> None:
    answer = await draft.create(BYTES, whole=True, Upload_Length=str(len(BYTES) + 1))
    demand_refused(answer, "a creation with all of 10 bytes and Upload-Length: 11")


@draft_clause("head-status", MUST, RETRIEVAL, "HEAD is answered 204, from interop 5 on 204 or another success.")
async def head_status(draft: Draft) -> None:
    answer = await draft.ask("HEAD", await draft.made())
    demand_status(answer, 204 if draft.version < 5 else (200, 204), "HEAD")


@draft_clause("head-offset", MUST, RETRIEVAL, "The answer to HEAD has Upload-Offset.")
async def head_offset(draft: Draft) -> None:
    demand_field(await draft.looked(await draft.made()), "Upload-Offset", "0", "HEAD of a new upload")


@draft_clause("head-completeness", MUST, RETRIEVAL, "The answer to HEAD tells whether the upload is complete.")
async def head_completeness(draft: Draft) -> None:
    answer = await draft.looked(await draft.made())
    demand(draft.is_complete(answer) is False, f"it told {draft.completeness} {shown(answer.get(draft.completeness))}")


@draft_clause("head-length", MUST, RETRIEVAL, "The answer to HEAD has the length, once a client told it.", LATER)
async def head_length(draft: Draft) -> None:
    demand_field(await draft.looked(await draft.made(Upload_Length="12")), "Upload-Length", "12", "HEAD")


@draft_clause("head-limits", MUST, RETRIEVAL, "The answer to HEAD has Upload-Limit.", (8, 9))
async def head_limits(draft: Draft) -> None:
    demand(bool((await draft.looked(await draft.made())).get("Upload-Limit")), "HEAD was answered without it")


@draft_clause("head-no-store", SHOULD, RETRIEVAL, "The answer to HEAD has Cache-Control: no-store.")
async def head_no_store(draft: Draft) -> None:
    value = (await draft.looked(await draft.made())).get("Cache-Control") or ""
    demand("no-store" in value, f"HEAD was answered with Cache-Control {value!r}")


@draft_clause("head-bare", MUST, RETRIEVAL, "HEAD with Upload-Offset is answered 400.", OLD)
async def head_bare(draft: Draft) -> None:
    answer = await draft.ask("HEAD", await draft.made(), fields={"Upload-Offset": "0"})
    demand_status(answer, 400, "HEAD with Upload-Offset")


@draft_clause("get-offset", MUST, RETRIEVAL, "A successful GET of an unfinished upload has Upload-Offset.", (9,))
async def get_offset(draft: Draft) -> None:
    answer = await draft.ask("GET", await draft.made(BYTES))
    if not answer.successful:
        raise NotJudged(f"GET of an unfinished upload was answered {answer.status}")
    demand_field(answer, "Upload-Offset", str(len(BYTES)), "GET")


@draft_clause("delete-204", MUST, CANCELLATION, "DELETE is answered 204, from interop 8 on with any success.")
async def delete_204(draft: Draft) -> None:
    answer = await draft.ask("DELETE", await draft.made(BYTES))
    demand_status(answer, 204 if draft.version < 8 else (200, 202, 204), "DELETE")


@draft_clause("delete-gone", MUST, CANCELLATION, "Afterwards the upload is 404; from interop 7 on it may be 410.")
async def delete_gone(draft: Draft) -> None:
    url = await draft.made(BYTES)
    await draft.ask("DELETE", url)
    demand_status(await draft.ask("HEAD", url), 404 if draft.version < 7 else GONE, "HEAD after DELETE")


@draft_clause("options-limits", MUST, "Limits", "OPTIONS where uploads are created has Upload-Limit.", LATER)
async def options_limits(draft: Draft) -> None:
    answer = await draft.ask("OPTIONS")
    demand(bool(answer.get("Upload-Limit")), f"OPTIONS was answered {answer.status} without Upload-Limit")


@draft_clause("interim-sent", SHOULD, CREATION, "A creation is told its upload's address by 104.")
async def interim_sent(draft: Draft) -> None:
    answer = await draft.create(BYTES, whole=True)
    demand(any(interim.status == 104 for interim in answer.interim), "no 104 came")


@draft_clause("interim-version", MUST, "Draft Version Identification", "Each 104 names the version.")
async def interim_version(draft: Draft) -> None:
    interims = [each for each in (await draft.create(BYTES, whole=True)).interim if each.status == 104]
    if not interims:
        raise NotJudged("no 104 came")
    for interim in interims:
        demand_field(interim, VERSION, str(draft.version), "a creation")


@draft_clause("interim-location", MUST, CREATION, "The first 104 has the Location that the answer has.")
async def interim_location(draft: Draft) -> None:
    answer = await draft.create(BYTES)
    interims = [each for each in answer.interim if each.status == 104]
    if not interims:
        raise NotJudged("no 104 came")
    told, last = interims[0].get("Location"), answer.get("Location")
    demand(told is not None and told == last, f"104 told Location {shown(told)}, the answer {shown(last)}")


@draft_clause("interim-unknown", MUST, "Draft Version Identification", "No 104 for a version that nobody knows.")
async def interim_unknown(draft: Draft) -> None:
    fields = {**draft.complete(True), VERSION: "999999"}
    answer = await draft.ask("POST", body=BYTES, fields=fields)
    demand(not any(each.status == 104 for each in answer.interim), "104 came")
