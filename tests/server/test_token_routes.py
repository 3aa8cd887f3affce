import base64
import hashlib
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse

from storage_proxy.app import build_manager
from storage_proxy.operations.readiness import Readiness
from storage_proxy.server.event_stream import EventStream
from tests.server.proxy import BYTES, TUS, Client, Proxy, Start, settings_for

TOKEN_SECRET = "a secret of the tests, for tokens"
SECRET = "a secret of the tests, for managers"
AUTH = {"X-BackendAI-Storage-Auth-Token": SECRET}
SECTIONS: dict[str, Any] = {
    "tokens": {"secret": TOKEN_SECRET},
    "manager": {"listen": "127.0.0.1:0", "secret": SECRET},
}
ASKED = {"volume": "main", "vfid": "folder", "relpath": "a/b.bin", "size": 6}


@pytest.fixture
async def proxy(start: Start) -> Proxy:
    return await start(**SECTIONS)


@pytest.fixture
async def manager(proxy: Proxy, aiohttp_client: Callable[..., Awaitable[Client]], directory: Path) -> Client:
    return await aiohttp_client(
        build_manager(settings_for(directory, **SECTIONS), proxy.service, Readiness(proxy.service, {}), EventStream({}))
    )


def manifests(directory: Path) -> list[Path]:
    return list((directory / ".uploads").rglob("info.json"))


async def ask(manager: Client, headers: dict[str, str] = AUTH, **changed: Any) -> ClientResponse:
    return await manager.post("/folder/file/upload", json={**ASKED, **changed}, headers=headers)


async def problem_of(answer: ClientResponse, status: int) -> str:
    assert answer.status == status, await answer.text()
    assert answer.headers["Content-Type"] == "application/problem+json"
    return str(json.loads(await answer.text())["detail"])


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


async def test_a_manager_gets_the_token_that_fills_its_upload(proxy: Proxy, manager: Client, directory: Path) -> None:
    answer = await ask(manager)
    assert answer.status == 200
    told = await answer.json()
    assert list(told) == ["token"]
    claims = claims_of(told["token"])
    assert {name: claims[name] for name in ASKED} == ASKED
    assert claims["op"] == "upload"
    assert len(claims["session"]) == 32
    now = proxy.service.clock.now()
    assert now + 86000 < claims["exp"] <= now + 86400
    url = "/upload?token=" + told["token"]
    assert (await proxy.patch(url, 0, b"abcdef")).status == 204
    assert (directory / "folder/a/b.bin").read_bytes() == b"abcdef"


async def test_an_empty_file_is_there_at_once(manager: Client, directory: Path) -> None:
    assert (await ask(manager, size=0)).status == 200
    assert (directory / "folder/a/b.bin").read_bytes() == b""


@pytest.mark.parametrize("told", [None, "", "x", SECRET + "x", SECRET[:-1], SECRET.upper(), "\u00e9"])
async def test_without_the_secret_nothing_happens(manager: Client, directory: Path, told: str | None) -> None:
    headers = {} if told is None else {"X-BackendAI-Storage-Auth-Token": told}
    detail = await problem_of(await ask(manager, headers), 403)
    assert SECRET not in detail
    assert manifests(directory) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"volume": "nope"}, "volume"),
        ({"volume": 5}, "volume"),
        ({"size": -1}, "size"),
        ({"size": "many"}, "size"),
        ({"size": True}, "size"),
        ({"size": 2**63}, "size"),
        ({"relpath": ""}, "relpath"),
        ({"relpath": "//"}, "relpath"),
        ({"vfid": None}, "vfid"),
        ({"session": "../x"}, "session"),
    ],
)
async def test_a_field_that_cannot_be_is_named(manager: Client, changed: dict[str, Any], named: str) -> None:
    assert f"parameter {named} " in await problem_of(await ask(manager, **changed), 400)


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"null", b'{"volume": "main"', b"\xff"])
async def test_a_body_that_is_no_json_object_is_refused(manager: Client, body: bytes) -> None:
    answer = await manager.post("/folder/file/upload", data=body, headers=AUTH)
    assert "body" in await problem_of(answer, 400)


async def test_a_body_without_end_is_refused(manager: Client) -> None:
    body = io.BytesIO(b" " * (2 << 20))
    answer = await manager.post("/folder/file/upload", data=body, headers=AUTH)
    await problem_of(answer, 413)


@pytest.mark.parametrize("changed", [{"relpath": "../x"}, {"vfid": "../x"}, {"vfid": ".uploads"}, {"relpath": "a\x00"}])
async def test_a_path_that_climbs_out_is_refused(manager: Client, changed: dict[str, Any]) -> None:
    await problem_of(await ask(manager, **changed), 403)


async def test_too_large_a_file_is_refused(manager: Client) -> None:
    await problem_of(await ask(manager, size=11 << 40), 413)


# ---- renewal ------------------------------------------------------------------------------------------------------


async def opened(manager: Client) -> str:
    return str(claims_of((await (await ask(manager)).json())["token"])["session"])


async def test_a_token_is_renewed_for_the_same_session(proxy: Proxy, manager: Client) -> None:
    session = await opened(manager)
    answer = await ask(manager, session=session)
    token = (await answer.json())["token"]
    assert claims_of(token)["session"] == session
    assert (await proxy.client.head("/upload?token=" + token, headers=TUS)).status == 200


async def test_a_session_that_went_below_its_folder_is_renewed_too(proxy: Proxy, manager: Client) -> None:
    session = await opened(manager)
    token = (await (await ask(manager, session=session)).json())["token"]
    url = "/upload?dst_dir=sub&token=" + token
    assert (await proxy.patch(url, 0, b"abc")).status == 204
    assert (await ask(manager, session=session)).status == 200


async def test_a_session_may_declare_what_its_file_must_be(proxy: Proxy, manager: Client, directory: Path) -> None:
    right = hashlib.sha256(b"abcdef").hexdigest()
    for declared, status in ((right.upper(), 204), ("0" * 64, 422)):
        token = (await (await ask(manager, sha256=declared)).json())["token"]
        again = {"session": claims_of(token)["session"]}
        assert (await ask(manager, **again)).status == 200
        assert (await ask(manager, sha256=declared, **again)).status == 200
        await problem_of(await ask(manager, sha256="f" * 64, **again), 400)
        assert (await proxy.patch("/upload?token=" + token, 0, b"abcdef")).status == status
    assert (directory / "folder/a/b.bin").read_bytes() == b"abcdef"


async def test_another_files_token_is_not_renewed(manager: Client) -> None:
    session = await opened(manager)
    await problem_of(await ask(manager, session=session, size=7), 400)
    await problem_of(await ask(manager, session=session, relpath="a/c.bin"), 403)
    await problem_of(await ask(manager, session=session, vfid="other"), 403)
    await problem_of(await ask(manager, session="0" * 32), 404)


async def test_the_listener_answers_nothing_else(proxy: Proxy, manager: Client) -> None:
    assert (await manager.get("/folder/file/upload", headers=AUTH)).status == 405
    assert (await manager.post("/files", headers={**TUS, "Upload-Length": "1"})).status == 404
    assert (await manager.get("/health/live")).status == 200
    # Nor does the public one answer managers.
    assert (await proxy.client.post("/folder/file/upload", json=ASKED, headers={**AUTH, **BYTES})).status == 404
