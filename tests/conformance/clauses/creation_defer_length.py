"""Creation with a deferred length."""

from ..registry import MUST, SHOULD, NotJudged, clause
from ..subject import Subject, demand, demand_field, demand_refused, demand_status, shown, told

GROUP = "creation-defer-length"
SECTION = "Upload-Defer-Length"


@clause("creation.defer.announced", GROUP, MUST, "POST", "A server that defers lengths announces it.", needs=())
async def announced(subject: Subject) -> None:
    if GROUP in subject.offer.extensions:
        return
    if "creation" not in subject.judged:
        raise NotJudged("creation is not announced")
    answer = await subject.post(Upload_Defer_Length="1")
    demand(answer.status != 201, f"POST with Upload-Defer-Length: 1 was answered 201, but {GROUP} is not announced")
    raise NotJudged(f"{GROUP} is neither announced nor done")


@clause("creation.defer.success-201", GROUP, MUST, "POST", "POST with Upload-Defer-Length: 1 creates an upload.")
async def success_201(subject: Subject) -> None:
    demand_status(await subject.post(Upload_Defer_Length="1"), 201, "POST with Upload-Defer-Length: 1")


@clause("creation.defer.told", GROUP, MUST, "POST", "While the length is unknown, HEAD has Upload-Defer-Length: 1.")
async def defer_told(subject: Subject) -> None:
    url = await subject.create(None)
    demand_field(await subject.head(url), "Upload-Defer-Length", "1", "HEAD of a deferred upload")
    await subject.sent(url, 0, b"hello")
    demand_field(await subject.head(url), "Upload-Defer-Length", "1", "HEAD of a deferred upload after 5 bytes")


@clause("creation.defer.offset-told", GROUP, MUST, "HEAD", "HEAD has Upload-Offset while the length is unknown.")
async def offset_told(subject: Subject) -> None:
    url = await subject.create(None)
    await subject.sent(url, 0, b"hello")
    demand_field(await subject.head(url), "Upload-Offset", "5", "HEAD of a deferred upload after 5 bytes")


@clause("creation.defer.no-length", GROUP, MUST, "Upload-Length", "While the length is unknown, none is told.")
async def no_length(subject: Subject) -> None:
    url = await subject.create(None)
    await subject.sent(url, 0, b"hello")
    value = (await subject.head(url)).get("Upload-Length")
    demand(value is None, f"HEAD of a deferred upload after 5 bytes was answered with Upload-Length {shown(value)}")


@clause("creation.defer.value-must-be-1", GROUP, MUST, SECTION, "Any other value than 1 is refused.")
async def value_must_be_1(subject: Subject) -> None:
    for value in ("0", "2", "true"):
        demand_refused(await subject.post(Upload_Defer_Length=value), f"POST with Upload-Defer-Length: {value}")


@clause("creation.defer.bad-value-400", GROUP, SHOULD, "POST", "Any other value than 1 is answered 400.")
async def bad_value_400(subject: Subject) -> None:
    demand_status(await subject.post(Upload_Defer_Length="2"), 400, "POST with Upload-Defer-Length: 2")


@clause("creation.defer.length-set", GROUP, MUST, "POST", "Upload-Length on a PATCH sets the length.")
async def length_set(subject: Subject) -> None:
    url = await subject.create(None)
    await subject.sent(url, 0, b"hello")
    demand_status(await subject.patch(url, 5, b"wor", Upload_Length="10"), 204, "PATCH with Upload-Length: 10")
    demand_field(await subject.head(url), "Upload-Length", "10", "HEAD after a PATCH with Upload-Length: 10")


@clause("creation.defer.header-omitted", GROUP, MUST, SECTION, "Once the length is known it is not called deferred.")
async def header_omitted(subject: Subject) -> None:
    url = await subject.create(None)
    await subject.sent(url, 0, b"hello", Upload_Length="10")
    value = (await subject.head(url)).get("Upload-Defer-Length")
    demand(value is None, f"HEAD after the length was set was answered with Upload-Defer-Length {value}")


@clause("creation.defer.length-with-first-patch", GROUP, MUST, "POST", "The length may come with the first PATCH.")
async def length_with_first_patch(subject: Subject) -> None:
    url = await subject.create(None)
    answer = await subject.patch(url, 0, b"0123456789", Upload_Length="10")
    demand_status(answer, 204, "the first PATCH, with all bytes and Upload-Length: 10")
    head = await subject.head(url)
    demand_field(head, "Upload-Offset", "10", "HEAD after it")
    demand_field(head, "Upload-Length", "10", "HEAD after it")


@clause("creation.defer.length-without-bytes", GROUP, SHOULD, "POST", "The length may come with a PATCH without bytes.")
async def length_without_bytes(subject: Subject) -> None:
    url = await subject.create(None)
    await subject.sent(url, 0, b"hello")
    demand_status(await subject.patch(url, 5, Upload_Length="5"), 204, "an empty PATCH with Upload-Length: 5")
    demand_field(await subject.head(url), "Upload-Length", "5", "HEAD after an empty PATCH with Upload-Length: 5")


@clause("creation.defer.length-fixed", GROUP, MUST, "POST", "Once set, the length does not change.")
async def length_fixed(subject: Subject) -> None:
    url = await subject.create(None)
    await subject.sent(url, 0, b"hello", Upload_Length="10")
    await subject.patch(url, 5, b"wor", Upload_Length="12")
    demand_field(await subject.head(url), "Upload-Length", "10", "HEAD after Upload-Length: 10 and then 12")


@clause("creation.defer.known-length-fixed", GROUP, MUST, "POST", "A length of the creation does not change either.")
async def known_length_fixed(subject: Subject) -> None:
    url = await subject.create(10)
    await subject.patch(url, 0, b"hello", Upload_Length="12")
    demand_field(await subject.head(url), "Upload-Length", "10", "HEAD of an upload of 10 after Upload-Length: 12")


@clause("creation.defer.length-below-offset", GROUP, MUST, "Upload-Length", "No length is less than what is there.")
async def length_below_offset(subject: Subject) -> None:
    url = await subject.create(None)
    await subject.sent(url, 0, b"0123456789")
    answer = await subject.patch(url, 10, Upload_Length="5")
    sent = "PATCH with Upload-Length: 5 after 10 bytes"
    demand(answer.status < 500, f"{sent} was answered {told(answer)}")
    value = (await subject.head(url)).get("Upload-Length")
    demand(value != "5", f"{sent} was answered {answer.status}, and HEAD says that 10 of 5 bytes are there")


@clause("creation.defer.bad-length-refused", GROUP, MUST, "Upload-Length", "A length that is no integer is refused.")
async def bad_length_refused(subject: Subject) -> None:
    for text in ("-10", "ten"):
        url = await subject.create(None)
        demand_refused(await subject.patch(url, 0, b"hello", Upload_Length=text), f"PATCH with Upload-Length: {text}")
