"""Core: OPTIONS, the headers that describe a server, versions, X-HTTP-Method-Override."""

import re
from dataclasses import replace

from ..exchange import Answer
from ..registry import MUST, SHOULD, NotJudged, clause
from ..subject import INTEGER, Subject, demand, demand_field, demand_status, shown

UNSUPPORTED = "99.0.0"
NAME = re.compile(r"[^\s,]+")


def _is_list(text: str) -> bool:
    return all(NAME.fullmatch(item.strip(" \t")) for item in text.split(","))


@clause(
    "core.options.success", "core", MUST, "OPTIONS", "A successful OPTIONS is answered 200 or 204 with Tus-Version."
)
async def options_success(subject: Subject) -> None:
    answer = await subject.ask("OPTIONS")
    demand_status(answer, (200, 204), "OPTIONS")
    demand(bool(answer.get("Tus-Version")), f"OPTIONS was answered {answer.status} without Tus-Version")


@clause("core.options.version-ignored", "core", MUST, "OPTIONS", "Tus-Resumable in an OPTIONS request is ignored.")
async def options_version_ignored(subject: Subject) -> None:
    answer = await subject.ask("OPTIONS", fields={"Tus-Resumable": UNSUPPORTED})
    demand_status(answer, (200, 204), f"OPTIONS with Tus-Resumable: {UNSUPPORTED}")
    demand(bool(answer.get("Tus-Version")), f"OPTIONS with Tus-Resumable: {UNSUPPORTED} got no Tus-Version")


@clause("core.version.list", "core", MUST, "Tus-Version", "Tus-Version is a comma-separated list of versions.")
async def version_list(subject: Subject) -> None:
    text = (await subject.ask("OPTIONS")).get("Tus-Version")
    demand(
        text is not None and _is_list(text), f"OPTIONS was answered with Tus-Version {shown(text)}, which is no list"
    )
    demand("1.0.0" in (text or ""), f"OPTIONS was answered with Tus-Version {shown(text)}, in which 1.0.0 is missing")


@clause(
    "core.extension.list", "core", MUST, "Tus-Extension", "Tus-Extension is a comma-separated list, or it is left out."
)
async def extension_list(subject: Subject) -> None:
    text = (await subject.ask("OPTIONS")).get("Tus-Extension")
    demand(text is None or _is_list(text), f"OPTIONS was answered with Tus-Extension {shown(text)}, which is no list")


@clause("core.max-size.integer", "core", MUST, "Tus-Max-Size", "Tus-Max-Size is a non-negative integer.")
async def max_size_integer(subject: Subject) -> None:
    text = (await subject.ask("OPTIONS")).get("Tus-Max-Size")
    if text is None:
        raise NotJudged("Tus-Max-Size is not announced")
    demand(INTEGER.fullmatch(text) is not None, f"OPTIONS was answered with Tus-Max-Size {shown(text)}")


# ---- Tus-Resumable on answers -------------------------------------------------------------------------------------


def _demand_version(answer: Answer, sent: str) -> None:
    demand_field(answer, "Tus-Resumable", "1.0.0", sent)


@clause("core.resumable.on-head", "core", MUST, "Tus-Resumable", "The answer to HEAD has Tus-Resumable.")
async def resumable_on_head(subject: Subject) -> None:
    _demand_version(await subject.ask("HEAD", await subject.create()), "HEAD")


@clause("core.resumable.on-patch", "core", MUST, "Tus-Resumable", "The answer to PATCH has Tus-Resumable.")
async def resumable_on_patch(subject: Subject) -> None:
    _demand_version(await subject.patch(await subject.create(), 0, b"hello"), "PATCH of 5 bytes at 0")


@clause("core.resumable.on-not-found", "core", MUST, "Tus-Resumable", "A HEAD that finds nothing has Tus-Resumable.")
async def resumable_on_not_found(subject: Subject) -> None:
    _demand_version(await subject.ask("HEAD", await subject.missing_url()), "HEAD of an upload that never was")


@clause("core.resumable.on-conflict", "core", MUST, "Tus-Resumable", "The refusal of a PATCH has Tus-Resumable.")
async def resumable_on_conflict(subject: Subject) -> None:
    _demand_version(await subject.patch(await subject.create(), 3, b"hello"), "PATCH at a wrong offset")


# ---- versions that are not supported --------------------------------------------------------------------------------


async def _unsupported(subject: Subject, method: str) -> Answer:
    url = await subject.create()
    if method == "HEAD":
        return await subject.ask("HEAD", url, fields={"Tus-Resumable": UNSUPPORTED})
    return await subject.patch(url, 0, b"hello", Tus_Resumable=UNSUPPORTED)


@clause("core.version.412-head", "core", MUST, "Tus-Resumable", "HEAD with an unsupported version is answered 412.")
async def version_412_head(subject: Subject) -> None:
    demand_status(await _unsupported(subject, "HEAD"), 412, f"HEAD with Tus-Resumable: {UNSUPPORTED}")


@clause("core.version.412-patch", "core", MUST, "Tus-Resumable", "PATCH with an unsupported version is answered 412.")
async def version_412_patch(subject: Subject) -> None:
    demand_status(await _unsupported(subject, "PATCH"), 412, f"PATCH with Tus-Resumable: {UNSUPPORTED}")


@clause("core.version.412-names-versions", "core", MUST, "Tus-Resumable", "The 412 has Tus-Version.")
async def version_412_names_versions(subject: Subject) -> None:
    answer = await _unsupported(subject, "PATCH")
    demand(
        bool(answer.get("Tus-Version")),
        f"PATCH with Tus-Resumable: {UNSUPPORTED} was answered {answer.status} without Tus-Version",
    )


@clause(
    "core.version.not-processed", "core", MUST, "Tus-Resumable", "A PATCH with an unsupported version changes nothing."
)
async def version_not_processed(subject: Subject) -> None:
    url = await subject.create()
    await subject.patch(url, 0, b"hello", Tus_Resumable=UNSUPPORTED)
    offset = await subject.offset(url)
    demand(offset == 0, f"PATCH of 5 bytes with Tus-Resumable: {UNSUPPORTED} moved the offset to {offset}")


# ---- X-HTTP-Method-Override -----------------------------------------------------------------------------------------


async def _overridden_patch(subject: Subject, actual: str) -> None:
    url = await subject.create()
    request = subject.patch_request(url, 0, b"hello", X_HTTP_Method_Override="PATCH")
    answer = await subject.exchange(replace(request, method=actual))
    sent = f"{actual} with X-HTTP-Method-Override: PATCH and 5 bytes"
    demand_status(answer, 204, sent)
    demand_field(answer, "Upload-Offset", "5", sent)
    offset = await subject.offset(url)
    demand(offset == 5, f"{sent} was answered 204, but HEAD then says {offset}")


@clause("core.override.patch", "core", MUST, "X-HTTP-Method-Override", "POST overridden to PATCH is a PATCH.")
async def override_patch(subject: Subject) -> None:
    await _overridden_patch(subject, "POST")


@clause(
    "core.override.actual-method-ignored",
    "core",
    MUST,
    "X-HTTP-Method-Override",
    "The actual method of an overridden request is ignored, whatever it is (PUT here).",
)
async def override_actual_method_ignored(subject: Subject) -> None:
    await _overridden_patch(subject, "PUT")


@clause("core.override.head", "core", MUST, "X-HTTP-Method-Override", "POST overridden to HEAD tells the offset.")
async def override_head(subject: Subject) -> None:
    url = await subject.create()
    await subject.sent(url, 0, b"hello")
    request = subject.request("POST", url, {"X-HTTP-Method-Override": "HEAD"})
    answer = await subject.exchange(replace(request, bodiless=True))
    sent = "POST with X-HTTP-Method-Override: HEAD"
    demand_status(answer, (200, 204), sent)
    demand_field(answer, "Upload-Offset", "5", sent)


@clause(
    "core.max-size.announced",
    "core",
    SHOULD,
    "Tus-Max-Size",
    "A limit that the server enforces at creation is announced as Tus-Max-Size.",
    needs=("creation",),
)
async def max_size_announced(subject: Subject) -> None:
    if subject.offer.max_size is not None:
        return
    # Longer than any share has room for, and still what every language's integers can hold.
    answer = await subject.post(Upload_Length=str(2**53 - 1))
    demand(answer.status != 413, "a creation of 2^53 - 1 bytes was answered 413, but OPTIONS has no Tus-Max-Size")
