"""Creation with upload: the first bytes come with the POST."""

from dataclasses import replace
from urllib.parse import urljoin

from ..exchange import Answer
from ..registry import MUST, SHOULD, NotJudged, clause
from ..subject import OFFSET_STREAM, Subject, demand, demand_field, demand_status, integer, told
from .checksum import WRONG

GROUP = "creation-with-upload"
SECTION = "Creation With Upload"


def _url(subject: Subject, answer: Answer) -> str:
    return urljoin(subject.terms.url, answer.get("Location") or "")


@clause(f"{GROUP}.needs-creation", GROUP, MUST, SECTION, "It is not offered without creation.", needs=())
async def needs_creation(subject: Subject) -> None:
    if GROUP not in subject.offer.extensions:
        raise NotJudged(f"{GROUP} is not announced")
    demand("creation" in subject.offer.extensions, f"Tus-Extension has {GROUP}, but not creation")


@clause(f"{GROUP}.announced", GROUP, MUST, SECTION, "A server that takes bytes with the POST announces it.", needs=())
async def announced(subject: Subject) -> None:
    if GROUP in subject.offer.extensions:
        return
    if "creation" not in subject.judged:
        raise NotJudged("creation is not announced")
    answer = await subject.post(b"hello", Upload_Length="10")
    taken = answer.status == 201 and await subject.offset(_url(subject, answer)) == 5
    demand(not taken, f"POST with 5 bytes stored them, but Tus-Extension does not have {GROUP}")
    raise NotJudged(f"{GROUP} is neither announced nor done")


@clause(f"{GROUP}.offset-told", GROUP, MUST, SECTION, "The answer has Upload-Offset.")
async def offset_told(subject: Subject) -> None:
    answer = await subject.post(b"hello", Upload_Length="10")
    demand_status(answer, 201, "POST with 5 of 10 bytes")
    integer(answer, "Upload-Offset", "POST with 5 of 10 bytes")


@clause(f"{GROUP}.offset-true", GROUP, MUST, SECTION, "It is the offset at which HEAD then finds the upload.")
async def offset_true(subject: Subject) -> None:
    answer = await subject.post(b"hello", Upload_Length="10")
    said = integer(answer, "Upload-Offset", "POST with 5 of 10 bytes")
    offset = await subject.offset(_url(subject, answer))
    demand(said == offset, f"POST with 5 of 10 bytes was answered with Upload-Offset {said}, HEAD says {offset}")


@clause(f"{GROUP}.all-accepted", GROUP, SHOULD, SECTION, "As many bytes as possible are accepted.")
async def all_accepted(subject: Subject) -> None:
    for body in (b"hello", b"0123456789"):
        sent = f"POST with {len(body)} of 10 bytes"
        demand_field(await subject.post(body, Upload_Length="10"), "Upload-Offset", str(len(body)), sent)


@clause(f"{GROUP}.continued", GROUP, MUST, SECTION, "The upload goes on by PATCH where the POST left it.")
async def continued(subject: Subject) -> None:
    answer = await subject.post(b"hello", Upload_Length="10")
    url = _url(subject, answer)
    offset = await subject.offset(url)
    patched = await subject.patch(url, offset, b"helloWORLD"[offset:])
    demand_status(patched, 204, "PATCH of the rest after a POST with bytes")
    demand_field(patched, "Upload-Offset", "10", "PATCH of the rest after a POST with bytes")


@clause(f"{GROUP}.bytes-right", GROUP, SHOULD, SECTION, "The bytes are the first ones of the upload.")
async def bytes_right(subject: Subject) -> None:
    answer = await subject.post(b"0123456789", Upload_Length="10")
    if answer.get("Upload-Offset") != "10":
        raise NotJudged("the server did not accept all bytes")
    content = await subject.content(_url(subject, answer))
    demand(content == b"0123456789", f"of a POST with b'0123456789', GET gave {content[:40]!r}")


@clause(f"{GROUP}.content-type", GROUP, SHOULD, SECTION, "A body of another type is not taken for upload data.")
async def content_type(subject: Subject) -> None:
    answer = await subject.post(b"hello", Upload_Length="10", Content_Type="application/octet-stream")
    sent = "POST of application/octet-stream"
    demand(answer.status < 500, f"{sent} was answered {told(answer)}")
    if answer.status == 201:
        offset = await subject.offset(_url(subject, answer))
        demand(offset == 0, f"{sent} was answered 201, and its {offset} bytes were stored")


@clause(f"{GROUP}.never-beyond-length", GROUP, MUST, "Upload-Length", "No more is stored than the upload's length.")
async def never_beyond_length(subject: Subject) -> None:
    answer = await subject.post(b"0123456789 and more", Upload_Length="10")
    sent = "POST with 19 bytes of an upload of 10"
    demand(answer.status < 500, f"{sent} was answered {told(answer)}")
    if answer.status == 201:
        said = integer(answer, "Upload-Offset", sent)
        demand(said <= 10, f"{sent} was answered 201 with Upload-Offset {said}")
        offset = await subject.offset(_url(subject, answer))
        demand(offset <= 10, f"{sent} was answered 201, and HEAD says {offset}")


@clause(f"{GROUP}.expect-continue", GROUP, SHOULD, SECTION, "Expect: 100-continue gets an early answer.")
async def expect_continue(subject: Subject) -> None:
    fields = {"Upload-Length": "10", "Content-Type": OFFSET_STREAM, "Expect": "100-continue"}
    request = subject.request("POST", subject.terms.url, fields, b"hello")
    answer = await subject.exchange(replace(request, wait_for_continue=True))
    demand_status(answer, 201, "POST with Expect: 100-continue and 5 bytes")
    demand(answer.continued, "POST with Expect: 100-continue got no 100 before the body was sent unasked")


@clause(f"{GROUP}.expect-refused", GROUP, SHOULD, SECTION, "A creation that is refused is refused before its body.")
async def expect_refused(subject: Subject) -> None:
    fields = {"Upload-Length": "-1", "Content-Type": OFFSET_STREAM, "Expect": "100-continue"}
    request = subject.request("POST", subject.terms.url, fields, b"hello")
    answer = await subject.exchange(replace(request, wait_for_continue=True))
    sent = "POST with Expect: 100-continue and Upload-Length: -1"
    demand(400 <= answer.status < 500, f"{sent} was answered {told(answer)} instead of being refused")
    demand(not answer.continued, f"{sent} was told to send its body, and only then answered {answer.status}")


@clause(
    f"{GROUP}.deferred",
    GROUP,
    MUST,
    SECTION,
    "It also works for an upload whose length is deferred.",
    needs=(GROUP, "creation-defer-length"),
)
async def deferred(subject: Subject) -> None:
    answer = await subject.post(b"hello", Upload_Defer_Length="1")
    demand_status(answer, 201, "POST with 5 bytes and Upload-Defer-Length: 1")
    integer(answer, "Upload-Offset", "POST with 5 bytes and Upload-Defer-Length: 1")


@clause(
    f"{GROUP}.checksum",
    GROUP,
    SHOULD,
    SECTION,
    "As with PATCH, bytes that do not match their checksum are not stored.",
    needs=(GROUP, "checksum"),
)
async def checksum(subject: Subject) -> None:
    answer = await subject.post(b"hello", Upload_Length="10", Upload_Checksum=WRONG)
    sent = "POST with 5 bytes and a wrong sha1"
    demand(answer.status < 500, f"{sent} was answered {told(answer)}")
    if answer.status == 201:
        offset = await subject.offset(_url(subject, answer))
        demand(offset == 0, f"{sent} was answered 201, and its {offset} bytes were stored")
