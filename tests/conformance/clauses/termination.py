"""Termination: DELETE."""

from ..exchange import Answer
from ..registry import MUST, SHOULD, NotJudged, clause
from ..subject import GONE, Subject, demand, demand_field, demand_status

GROUP = "termination"
SECTION = "DELETE"


async def _deleted(subject: Subject) -> tuple[str, Answer]:
    url = await subject.create()
    await subject.sent(url, 0, b"hello")
    return url, await subject.ask("DELETE", url)


@clause("termination.announced", GROUP, MUST, "Termination", "A server that terminates announces it.", needs=())
async def announced(subject: Subject) -> None:
    if GROUP in subject.offer.extensions:
        return
    url, answer = await _deleted(subject)
    done = answer.status == 204 and (await subject.ask("HEAD", url)).status in GONE
    demand(not done, "DELETE was answered 204 and ended an upload, but Tus-Extension does not have termination")
    raise NotJudged("termination is neither announced nor done")


@clause("termination.success-204", GROUP, MUST, SECTION, "DELETE of an unfinished upload is answered 204.")
async def success_204(subject: Subject) -> None:
    demand_status((await _deleted(subject))[1], 204, "DELETE of an unfinished upload")


@clause("termination.complete-204", GROUP, MUST, SECTION, "DELETE of a complete upload is answered 204.")
async def complete_204(subject: Subject) -> None:
    url = await subject.finished()
    await subject.offset(url)
    demand_status(await subject.ask("DELETE", url), 204, "DELETE of a complete upload")


@clause("termination.resumable", GROUP, MUST, "Tus-Resumable", "The answer to DELETE has Tus-Resumable.")
async def resumable(subject: Subject) -> None:
    demand_field((await _deleted(subject))[1], "Tus-Resumable", "1.0.0", "DELETE")


@clause("termination.head-gone", GROUP, SHOULD, SECTION, "HEAD is then answered 404 or 410.")
async def head_gone(subject: Subject) -> None:
    demand_status(await subject.ask("HEAD", (await _deleted(subject))[0]), GONE, "HEAD after DELETE")


@clause("termination.patch-gone", GROUP, SHOULD, SECTION, "PATCH is then answered 404 or 410.")
async def patch_gone(subject: Subject) -> None:
    demand_status(await subject.patch((await _deleted(subject))[0], 5, b"wor"), GONE, "PATCH after DELETE")


@clause("termination.delete-gone", GROUP, SHOULD, SECTION, "A second DELETE is answered 404 or 410.")
async def delete_gone(subject: Subject) -> None:
    demand_status(await subject.ask("DELETE", (await _deleted(subject))[0]), GONE, "DELETE after DELETE")


@clause("termination.complete-gone", GROUP, SHOULD, SECTION, "A complete upload, too, is gone after DELETE.")
async def complete_gone(subject: Subject) -> None:
    url = await subject.finished()
    await subject.offset(url)
    await subject.ask("DELETE", url)
    demand_status(await subject.ask("HEAD", url), GONE, "HEAD after DELETE of a complete upload")


@clause("termination.version-412", GROUP, MUST, "Tus-Resumable", "DELETE with an unsupported version is answered 412.")
async def version_412(subject: Subject) -> None:
    url = await subject.create()
    answer = await subject.ask("DELETE", url, fields={"Tus-Resumable": "99.0.0"})
    demand_status(answer, 412, "DELETE with Tus-Resumable: 99.0.0")


@clause("termination.version-not-processed", GROUP, MUST, "Tus-Resumable", "An unsupported version deletes nothing.")
async def version_not_processed(subject: Subject) -> None:
    url = await subject.create()
    await subject.ask("DELETE", url, fields={"Tus-Resumable": "99.0.0"})
    answer = await subject.head(url)
    demand(answer.successful, f"HEAD after DELETE with Tus-Resumable: 99.0.0 was answered {answer.status}")


@clause("termination.override", GROUP, MUST, "X-HTTP-Method-Override", "POST overridden to DELETE is a DELETE.")
async def override(subject: Subject) -> None:
    url = await subject.create()
    answer = await subject.ask("POST", url, fields={"X-HTTP-Method-Override": "DELETE"})
    demand_status(answer, 204, "POST with X-HTTP-Method-Override: DELETE")
    demand_status(await subject.ask("HEAD", url), GONE, "HEAD after POST with X-HTTP-Method-Override: DELETE")
