"""Hooks with real processes and a real HTTP receiver: what a replica that was killed has left, another one tells."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.end_to_end.clients import TUS, Client
from tests.end_to_end.replicas import Replica, Replicas, until

SECRET = "signs-what-the-receiver-gets"
EVERYTHING = [
    *("pre-create", "pre-finish", "pre-terminate"),
    *("post-create", "post-receive", "post-finish", "post-fail", "post-terminate"),
]


@dataclass
class Receiver:
    """Takes everything, unless it is told to fail."""

    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    fails: frozenset[str] = frozenset()
    replies: dict[str, Any] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
        assert request.headers["webhook-signature"] == f"v1,{expected}"
        document = json.loads(body)
        if document["Type"] in self.fails:
            return web.Response(status=502)
        self.got.append(document)
        return web.json_response(self.replies.get(document["Type"], {}))

    def told(self, path: str) -> list[str]:
        identity = path.rpartition("/")[2]
        mine = [document for document in self.got if document["Event"]["Upload"]["ID"] == identity]
        return [document["Type"] for document in mine if document["Number"] > 0]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hooks", receiver.handle)
    server = TestServer(app)
    await server.start_server()
    receiver.url = str(server.make_url("/hooks"))
    yield receiver
    await server.close()


async def start(replicas: Replicas, receiver: Receiver, count: int = 1) -> list[Replica]:
    hooks = f'[hooks]\nurl = "{receiver.url}"\nsecret = "{SECRET}"\nevents = {EVERYTHING}\nforward_headers = ["X-User"]'
    return await replicas.start(count, more=hooks)


async def test_a_receiver_hears_of_everything_in_order_and_signed(
    replicas: Replicas, receiver: Receiver, client: Client
) -> None:
    [replica] = await start(replicas, receiver)
    path = await client.create(replica.url, 10, filename="a.txt")
    await client.patch(replica.url, path, 0, b"01234")
    await client.patch(replica.url, path, 5, b"56789")

    async def all_told() -> bool:
        return receiver.told(path)[-1:] == ["post-finish"]

    await until("post-finish is told", all_told)
    told = receiver.told(path)
    assert told[0] == "post-create"
    assert set(told) == {"post-create", "post-receive", "post-finish"}
    last = receiver.got[-1]["Event"]["Upload"]
    assert (last["Offset"], last["Storage"]["Path"], last["MetaData"]) == (10, "a.txt", {"filename": "a.txt"})


async def test_what_a_killed_replica_could_not_tell_another_tells(
    replicas: Replicas, receiver: Receiver, client: Client
) -> None:
    first, second = await start(replicas, receiver, 2)
    path = await client.create(first.url, 5, filename="a.txt")

    async def created_told() -> bool:
        return receiver.told(path) == ["post-create"]

    await until("post-create is told", created_told)
    # The question must be answered, or nothing would be published.
    receiver.fails = frozenset({"post-receive", "post-finish"})
    assert (await client.patch(first.url, path, 0, b"hello")).status == 204
    first.kill()
    receiver.fails = frozenset()

    async def finished_told() -> bool:
        return receiver.told(path)[-1:] == ["post-finish"]

    await until("the other replica tells what is left", finished_told)
    assert (replicas.data / "a.txt").read_bytes() == b"hello"
    assert await client.offset(second.url, path) == 5


async def test_a_client_reads_why_a_hook_has_refused(replicas: Replicas, receiver: Receiver, client: Client) -> None:
    [replica] = await start(replicas, receiver)
    refusal = {"RejectUpload": True, "HTTPResponse": {"Body": "Only text files here"}}
    receiver.replies["pre-create"] = refusal
    answer = await client.ask("POST", f"{replica.url}/files", {**TUS, "Upload-Length": "5", "X-User": "seven"})
    assert (answer.status, answer.json["detail"]) == (403, "Only text files here.")
    assert receiver.got[-1]["Event"]["HTTPRequest"]["Header"] == {"X-User": ["seven"]}

    receiver.replies = {"pre-finish": refusal}
    path = await client.create(replica.url, 5, filename="a.txt")
    refused = await client.patch(replica.url, path, 0, b"hello")
    assert refused.status == 422
    assert "Only text files here." in refused.json["detail"]
    assert (await client.status(replica.url, path))["phase"] == "failed"
    assert not (replicas.data / "a.txt").exists()

    receiver.replies = {"pre-terminate": {"RejectTermination": True, "HTTPResponse": {"Body": "Ask the office"}}}
    path = await client.create(replica.url, 5, filename="b.txt")
    answer = await client.ask("DELETE", replica.url + path, TUS)
    assert (answer.status, answer.json["detail"]) == (403, "Ask the office.")
    assert await client.offset(replica.url, path) == 0


async def test_while_nobody_answers_for_a_file_its_client_is_told_to_come_again(
    replicas: Replicas, receiver: Receiver, client: Client
) -> None:
    [replica] = await start(replicas, receiver)
    path = await client.create(replica.url, 5, filename="a.txt")
    receiver.fails = frozenset({"pre-create", "pre-finish"})
    assert (await client.try_to_create(replica.url, 5)).status == 503
    answer = await client.patch(replica.url, path, 0, b"hello")
    assert (answer.status, answer.json["type"]) == (503, "urn:storage-proxy:problem:hook-failed")
    assert (await client.head(replica.url, path)).status == 423
    receiver.fails = frozenset()
    assert await client.reaches(replica.url, path, 5) == 5
    assert (replicas.data / "a.txt").read_bytes() == b"hello"
