"""Creation: POST, Location, lengths, metadata."""

from urllib.parse import urljoin

from ..registry import MUST, SHOULD, NotJudged, clause
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

NAMES = metadata(filename="conformance.bin", note="an ümlaut")


@clause("creation.announced", "creation", MUST, "Creation", "A server that creates uploads announces it.", needs=())
async def announced(subject: Subject) -> None:
    if "creation" in subject.offer.extensions:
        return
    answer = await subject.post(Upload_Length="10")
    demand(answer.status != 201, "POST was answered 201, but Tus-Extension does not have creation")
    raise NotJudged("creation is neither announced nor done")


@clause("creation.success-201", "creation", MUST, "POST", "A successful creation is answered 201.")
async def success_201(subject: Subject) -> None:
    demand_status(await subject.post(Upload_Length="10"), 201, "POST with Upload-Length: 10")


@clause("creation.location", "creation", MUST, "POST", "Location is the URL of the upload, absolute or relative.")
async def location(subject: Subject) -> None:
    answer = await subject.post(Upload_Length="10")
    text = answer.get("Location")
    demand(bool(text), f"POST was answered {answer.status} without Location")
    head = await subject.head(urljoin(subject.terms.url, text or ""))
    demand(head.successful, f"POST gave Location {shown(text)}, of which HEAD was answered {told(head)}")


@clause("creation.new-resource", "creation", MUST, "POST", "Each creation makes a new upload.")
async def new_resource(subject: Subject) -> None:
    first, second = await subject.create(), await subject.create()
    demand(first != second, f"two creations were given one URL, {first}")


@clause("creation.offset-0", "creation", MUST, "Creation", "A new upload begins at offset 0.")
async def offset_0(subject: Subject) -> None:
    offset = integer(await subject.head(await subject.create()), "Upload-Offset", "HEAD of a new upload")
    demand(offset == 0, f"a new upload begins at {offset}")


@clause("creation.resumable", "creation", MUST, "Tus-Resumable", "The answer to a creation has Tus-Resumable.")
async def resumable(subject: Subject) -> None:
    demand_field(await subject.post(Upload_Length="10"), "Tus-Resumable", "1.0.0", "POST")


@clause("creation.resumable-refused", "creation", MUST, "Tus-Resumable", "A refused creation has Tus-Resumable, too.")
async def resumable_refused(subject: Subject) -> None:
    demand_field(await subject.post(Upload_Length="-1"), "Tus-Resumable", "1.0.0", "POST with Upload-Length: -1")


@clause("creation.version-412", "creation", MUST, "Tus-Resumable", "POST with an unsupported version is answered 412.")
async def version_412(subject: Subject) -> None:
    answer = await subject.post(Upload_Length="10", Tus_Resumable="99.0.0")
    demand_status(answer, 412, "POST with Tus-Resumable: 99.0.0")


@clause("creation.version-412-names-versions", "creation", MUST, "Tus-Resumable", "That 412 has Tus-Version.")
async def version_412_names_versions(subject: Subject) -> None:
    answer = await subject.post(Upload_Length="10", Tus_Resumable="99.0.0")
    demand(
        bool(answer.get("Tus-Version")),
        f"POST with Tus-Resumable: 99.0.0 was answered {answer.status} without Tus-Version",
    )


@clause("creation.version-not-processed", "creation", MUST, "Tus-Resumable", "An unsupported version creates nothing.")
async def version_not_processed(subject: Subject) -> None:
    text = (await subject.post(Upload_Length="10", Tus_Resumable="99.0.0")).get("Location")
    demand(text is None, f"POST with Tus-Resumable: 99.0.0 was given Location {shown(text)}")


# ---- lengths --------------------------------------------------------------------------------------------------------


@clause("creation.length-demanded", "creation", MUST, "POST", "Without any statement of length, POST is refused.")
async def length_demanded(subject: Subject) -> None:
    demand_refused(await subject.post(), "POST with neither Upload-Length nor Upload-Defer-Length")


@clause("creation.length-negative", "creation", MUST, "Upload-Length", "A negative Upload-Length is refused.")
async def length_negative(subject: Subject) -> None:
    demand_refused(await subject.post(Upload_Length="-10"), "POST with Upload-Length: -10")


@clause(
    "creation.length-not-integer", "creation", MUST, "Upload-Length", "An Upload-Length that is no integer is refused."
)
async def length_not_integer(subject: Subject) -> None:
    for text in ("ten", "10.5", "10abc", "0xA"):
        demand_refused(await subject.post(Upload_Length=text), f"POST with Upload-Length: {text}")


@clause("creation.length-zero", "creation", MUST, "POST", "An upload of length 0 is complete at once.")
async def length_zero(subject: Subject) -> None:
    answer = await subject.post(Upload_Length="0")
    demand_status(answer, 201, "POST with Upload-Length: 0")
    head = await subject.head(urljoin(subject.terms.url, answer.get("Location") or ""))
    demand_field(head, "Upload-Offset", "0", "HEAD of an upload of length 0")
    demand_field(head, "Upload-Length", "0", "HEAD of an upload of length 0")


@clause("creation.too-large-413", "creation", MUST, "POST", "More than Tus-Max-Size is answered 413.")
async def too_large_413(subject: Subject) -> None:
    if subject.offer.max_size is None:
        raise NotJudged("Tus-Max-Size is not announced")
    answer = await subject.post(Upload_Length=str(subject.offer.max_size + 1))
    demand_status(answer, 413, "POST with Upload-Length: Tus-Max-Size + 1")


@clause("creation.not-deferred", "creation", MUST, "Upload-Defer-Length", "A known length is not said to be deferred.")
async def not_deferred(subject: Subject) -> None:
    value = (await subject.head(await subject.create())).get("Upload-Defer-Length")
    demand(value is None, f"HEAD of an upload of 10 bytes was answered with Upload-Defer-Length {value}")


# ---- metadata -------------------------------------------------------------------------------------------------------


async def _demand_echo(subject: Subject, text: str) -> None:
    value = (await subject.head(await subject.create(Upload_Metadata=text))).get("Upload-Metadata")
    said = None if value is None else parsed_metadata(value)
    # The pairs have no order of their own, and an empty value may do without its space.
    demand(
        said == parsed_metadata(text),
        f"created with Upload-Metadata {text!r}, HEAD was answered with {shown(value)}",
    )


@clause("creation.metadata.echoed", "creation", MUST, "POST", "HEAD gives back the metadata of the creation.")
async def metadata_echoed(subject: Subject) -> None:
    await _demand_echo(subject, NAMES)


@clause("creation.metadata.echoed-complete", "creation", MUST, "POST", "Also when the upload is complete.")
async def metadata_echoed_complete(subject: Subject) -> None:
    value = (await subject.head(await subject.finished(Upload_Metadata=NAMES))).get("Upload-Metadata")
    said = None if value is None else parsed_metadata(value)
    demand(said == parsed_metadata(NAMES), f"HEAD of a complete upload with {NAMES!r} was answered with {shown(value)}")


@clause(
    "creation.metadata.empty-value", "creation", MUST, "Upload-Metadata", "A value may be empty, without its space."
)
async def metadata_empty_value(subject: Subject) -> None:
    await _demand_echo(subject, "filename Y29uZm9ybWFuY2U=,is_confidential")
    await _demand_echo(subject, "filename Y29uZm9ybWFuY2U=,is_confidential ")


async def _demand_grammar(subject: Subject, text: str) -> None:
    """A server may refuse or ignore metadata; what it says itself must still be well formed."""
    answer = await subject.post(Upload_Length="10", Upload_Metadata=text)
    demand(answer.status < 500, f"POST with Upload-Metadata {text!r} was answered {told(answer)}")
    if answer.status != 201:
        return
    value = (await subject.head(urljoin(subject.terms.url, answer.get("Location") or ""))).get("Upload-Metadata")
    demand(
        not value or parsed_metadata(value) is not None,
        f"created with Upload-Metadata {text!r}, HEAD was answered with {shown(value)}, which is malformed",
    )


@clause(
    "creation.metadata.bad-base64", "creation", MUST, "Upload-Metadata", "A value that is not Base64 is never told."
)
async def metadata_bad_base64(subject: Subject) -> None:
    await _demand_grammar(subject, "filename not*base64!")


@clause("creation.metadata.key-twice", "creation", MUST, "Upload-Metadata", "No key is told twice.")
async def metadata_key_twice(subject: Subject) -> None:
    await _demand_grammar(subject, "filename YQ==,filename Yg==")


@clause("creation.metadata.key-empty", "creation", MUST, "Upload-Metadata", "No empty key is told.")
async def metadata_key_empty(subject: Subject) -> None:
    await _demand_grammar(subject, "filename YQ==,,note Yg==")


@clause(
    "creation.metadata.no-smuggling", "creation", SHOULD, "Upload-Metadata", "No value becomes a header of its own."
)
async def metadata_no_smuggling(subject: Subject) -> None:
    text = metadata(filename="a\r\nX-Smuggled: 1\r\nb", filetype="text/plain\r\nX-Smuggled: 2")
    answer = await subject.post(Upload_Length="0", Upload_Metadata=text)
    demand(answer.status < 500, f"POST with line breaks in metadata was answered {told(answer)}")
    if answer.status != 201:
        return
    url = urljoin(subject.terms.url, answer.get("Location") or "")
    for method in ("HEAD", "GET"):
        value = (await subject.ask(method, url)).get("X-Smuggled")
        demand(value is None, f"{method} was answered with the header X-Smuggled, which came in a metadata value")
