"""A webhook against a real HTTP server that behaves as badly as servers do."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from storage_proxy.core.errors import HookFailed
from storage_proxy.hooks.webhooks import REPLY_BYTES_MAX, Webhook, signature
from storage_proxy.testing.system import HandClock

SECRET = "a-secret-of-this-test"
DOCUMENT = {"Type": "pre-create", "Id": "main.1"}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    def __init__(self) -> None:
        self.answer: Answer = self._ok
        self.got: list[tuple[web.Request, bytes]] = []
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self.server = TestServer(app)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.got.append((request, await request.read()))
        return await self.answer(request)

    async def _ok(self, request: web.Request) -> web.StreamResponse:
        return web.Response()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.server.start_server()
    yield receiver
    await receiver.server.close()


@pytest.fixture
async def webhook(receiver: Receiver) -> AsyncIterator[Webhook]:
    url = str(receiver.server.make_url("/hooks"))
    webhook = Webhook(url, SECRET, frozenset({"pre-create"}), 1.0, HandClock(1_700_000_000.9))
    yield webhook
    await webhook.close()


async def test_a_document_is_posted_signed(receiver: Receiver, webhook: Webhook) -> None:
    assert await webhook.send(DOCUMENT) is None
    [(request, body)] = receiver.got
    assert (request.method, request.path, request.content_type) == ("POST", "/hooks", "application/json")
    assert json.loads(body) == DOCUMENT
    assert (request.headers["webhook-id"], request.headers["webhook-timestamp"]) == ("main.1", "1700000000")
    assert request.headers["webhook-signature"] == signature(SECRET.encode(), "main.1", 1_700_000_000, body)


async def test_a_signature_is_the_one_of_standard_webhooks(receiver: Receiver) -> None:
    """With the values of the example that their libraries are tested with."""
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    webhook = Webhook("http://127.0.0.1:1/", key, frozenset(), 1.0, HandClock(1_614_265_330.0))
    headers = webhook._signed("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_its_reply_comes_back(receiver: Receiver, webhook: Webhook) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.json_response({"RejectUpload": True})

    receiver.answer = refuse
    assert await webhook.send(DOCUMENT) == {"RejectUpload": True}


@pytest.mark.parametrize("status", [301, 307, 400, 403, 404, 500, 502])
async def test_only_2xx_is_an_answer_and_no_redirect_is_followed(
    receiver: Receiver, webhook: Webhook, status: int
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    receiver.answer = answer
    with pytest.raises(HookFailed, match=f"answered {status}"):
        await webhook.send(DOCUMENT)
    assert len(receiver.got) == 1


async def test_an_answer_that_does_not_come_in_time_is_none(receiver: Receiver) -> None:
    never = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    receiver.answer = answer
    webhook = Webhook(str(receiver.server.make_url("/")), SECRET, frozenset(), 0.05, HandClock())
    try:
        with pytest.raises(HookFailed, match=r"did not answer in 0.05 s"):
            await webhook.send(DOCUMENT)
    finally:
        never.set()
        await webhook.close()


async def test_a_reply_without_end_is_cut_off(receiver: Receiver, webhook: Webhook) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b" " * (REPLY_BYTES_MAX + 1))

    receiver.answer = answer
    with pytest.raises(HookFailed, match="more than"):
        await webhook.send(DOCUMENT)


async def test_a_reply_that_is_no_json_is_none(receiver: Receiver, webhook: Webhook) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>")

    receiver.answer = answer
    with pytest.raises(HookFailed, match="no JSON"):
        await webhook.send(DOCUMENT)


async def test_a_receiver_that_is_not_there_is_named_by_no_address() -> None:
    webhook = Webhook("http://127.0.0.1:1/secret-path", SECRET, frozenset(), 1.0, HandClock())
    try:
        with pytest.raises(HookFailed) as caught:
            await webhook.send(DOCUMENT)
    finally:
        await webhook.close()
    assert "secret-path" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
