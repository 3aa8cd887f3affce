"""Ways to plant a defect in a server that has none.

Rules: a defect is a change to requests before the application sees them, or to answers before the client does. It is
judged by its clauses alone, so it may well break others. `application` is any aiohttp application that serves TUS.
The functions are named as they read in `defects.py`, where each defect stands beside the clauses that must find it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDict

Fields = CIMultiDict[str]
OfRequest = Callable[[web.Request, Fields], None]
OfAnswer = Callable[[web.Request, web.StreamResponse], None]
Offset = Callable[[web.Request], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Mutation:
    defect: str
    caught_by: tuple[str, ...]
    of_request: OfRequest | None = None
    of_answer: OfAnswer | None = None
    """its headers, when it is about to be sent"""
    of_status: OfAnswer | None = None
    """before that: the status cannot be changed later"""
    takes_any_offset: bool = False
    content: bytes | None = None
    """what GET gives back, whatever was uploaded"""


def plant(application: web.Application, mutation: Mutation, offset_of: Offset) -> None:
    """`offset_of`: where the upload of a request is, for the defect of taking bytes for any offset."""

    @web.middleware
    async def mutate(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        fields = CIMultiDict(request.headers)
        if mutation.of_request is not None:
            mutation.of_request(request, fields)
        if mutation.takes_any_offset and request.method == "PATCH":
            fields["Upload-Offset"] = str(await offset_of(request))
        if mutation.content is not None and request.method == "GET":
            return web.Response(body=mutation.content)
        answer = await handler(request.clone(headers=fields))
        if mutation.of_status is not None and not answer.prepared:
            mutation.of_status(request, answer)
        return answer

    async def prepare(request: web.Request, answer: web.StreamResponse) -> None:
        if mutation.of_answer is not None:
            mutation.of_answer(request, answer)

    application.middlewares.insert(0, mutate)
    application.on_response_prepare.append(prepare)


# ---- the ways to be wrong -------------------------------------------------------------------------------------------


def lacks(name: str, *methods: str) -> OfAnswer:
    def change(request: web.Request, answer: web.StreamResponse) -> None:
        if not methods or request.method in methods:
            answer.headers.pop(name, None)

    return change


def says(name: str, value: str, *methods: str) -> OfAnswer:
    def change(request: web.Request, answer: web.StreamResponse) -> None:
        if not methods or request.method in methods:
            answer.headers[name] = value

    return change


def shifts(name: str, *methods: str) -> OfAnswer:
    """A number that is one too large."""

    def change(request: web.Request, answer: web.StreamResponse) -> None:
        if request.method in methods and name in answer.headers:
            answer.headers[name] = str(int(answer.headers[name]) + 1)

    return change


def answers(wrong: int, right: int, *methods: str) -> OfAnswer:
    def change(request: web.Request, answer: web.StreamResponse) -> None:
        if answer.status == right and (not methods or request.method in methods):
            answer.set_status(wrong)

    return change


def overlooks(name: str, *methods: str) -> OfRequest:
    def change(request: web.Request, fields: Fields) -> None:
        if not methods or request.method in methods:
            fields.popall(name, None)

    return change


def takes_for(name: str, value: str, *methods: str) -> OfRequest:
    """Whatever the header says where it is there, it is taken for this."""

    def change(request: web.Request, fields: Fields) -> None:
        if name in fields and (not methods or request.method in methods):
            fields[name] = value

    return change


def supposes(name: str, value: str, method: str) -> OfRequest:
    def change(request: web.Request, fields: Fields) -> None:
        if request.method == method:
            fields.setdefault(name, value)

    return change


def continues(request: web.Request, fields: Fields) -> None:
    """100 Continue before anything has been looked at."""
    if fields.get("Expect") and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def announces_elsewhere(request: web.Request, fields: Fields) -> None:
    """104 to whoever creates, with another version and another address."""
    if request.method == "POST" and request.transport is not None:
        request.transport.write(
            b"HTTP/1.1 104 Upload Resumption Supported\r\n"
            b"Upload-Draft-Interop-Version: 2\r\nLocation: /elsewhere\r\n\r\n"
        )


def only_at(offset: int, change: OfAnswer) -> OfAnswer:
    def changed(request: web.Request, answer: web.StreamResponse) -> None:
        if answer.headers.get("Upload-Offset") == str(offset):
            change(request, answer)

    return changed


def where_status(status: int, change: OfAnswer) -> OfAnswer:
    def changed(request: web.Request, answer: web.StreamResponse) -> None:
        if answer.status == status:
            change(request, answer)

    return changed


def several(*changes: OfAnswer) -> OfAnswer:
    def change(request: web.Request, answer: web.StreamResponse) -> None:
        for each in changes:
            each(request, answer)

    return change


def claims_success(refusal: int, method: str) -> OfAnswer:
    """A refusal that looks like a success."""

    def change(request: web.Request, answer: web.StreamResponse) -> None:
        if request.method == method and answer.status == refusal:
            answer.set_status(201 if method == "POST" else 204)
            answer.headers["Location"] = str(request.rel_url.path)

    return change


def forgets_and_takes_last(name: str) -> OfAnswer:
    """HEAD tells what the last PATCH said of it."""
    said: dict[str, str] = {}

    def change(request: web.Request, answer: web.StreamResponse) -> None:
        if request.method == "PATCH" and name in request.headers:
            said[request.path] = request.headers[name]
        if request.method == "HEAD" and request.path in said:
            answer.headers[name] = said[request.path]

    return change
