"""The digest of a whole file over HTTP: declared, given back, and looked at before anything is published."""

import base64
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientResponse

from storage_proxy.core.manifest import Phase
from tests.server.proxy import BYTES, TUS, Proxy, Start, metadata, problem

CONTENT = b"hello world"
OTHER = hashlib.sha256(b"something else")


def repr_digest(content: bytes, name: str = "sha-256") -> str:
    digest = hashlib.new(name.replace("-", ""), content).digest()
    return f"{name}=:{base64.b64encode(digest).decode()}:"


RIGHT, WRONG = repr_digest(CONTENT), repr_digest(b"something else")


Send = Callable[[Proxy, str], Awaitable[int]]


def published(directory: Path) -> list[Path]:
    return [file for file in directory.iterdir() if file.is_file()]


async def in_pieces(proxy: Proxy, path: str) -> int:
    assert (await proxy.patch(path, 0, CONTENT[:5])).status == 204
    return (await proxy.patch(path, 5, CONTENT[5:])).status


async def in_one_piece(proxy: Proxy, path: str) -> int:
    return (await proxy.patch(path, 0, CONTENT)).status


SENT = pytest.mark.parametrize("send", [in_one_piece, in_pieces])


@SENT
@pytest.mark.parametrize("declared", [RIGHT, repr_digest(CONTENT, "sha-512")], ids=["sha-256", "sha-512"])
async def test_a_right_digest_is_given_back_from_the_first_head_to_the_last_get(
    proxy: Proxy, directory: Path, send: Send, declared: str
) -> None:
    path = await proxy.create(len(CONTENT), **{"Repr-Digest": declared})
    head = await proxy.client.head(path, headers=TUS)
    assert head.headers["Repr-Digest"] == declared
    assert "Repr-Digest" in head.headers["Access-Control-Expose-Headers"]
    assert await send(proxy, path) == 204
    assert (directory / "file.bin").read_bytes() == CONTENT
    for answer in (
        await proxy.client.head(path, headers=TUS),
        await proxy.client.get(path),
        await proxy.client.get(path, headers={"Range": "bytes=2-4"}),
    ):
        assert declared in answer.headers["Repr-Digest"].split(", ")


@SENT
@pytest.mark.parametrize("name", ["sha-256", "sha-512"])
async def test_a_wrong_digest_is_a_final_answer_and_the_bytes_are_kept(
    proxy: Proxy, directory: Path, send: Send, name: str
) -> None:
    path = await proxy.create(len(CONTENT), **{"Repr-Digest": repr_digest(b"something else", name)})
    assert await send(proxy, path) == 422
    told = await (await proxy.client.get(path + "/status")).json()
    assert told["phase"] == "failed"
    assert told["reason"].startswith(f"its {name} is {hashlib.new(name.replace('-', ''), CONTENT).hexdigest()}, not ")
    assert not (directory / "file.bin").exists()
    kept = [file.read_bytes() for file in (directory / ".uploads").rglob("*.dat")]
    assert kept == [CONTENT]
    assert (await proxy.client.head(path, headers=TUS)).status == 422
    await problem(await proxy.patch(path, 11, b""), 422, "publish-failed")


@pytest.mark.parametrize(
    "text", [OTHER.hexdigest(), base64.b64encode(OTHER.digest()).decode()], ids=["hex digits", "base64"]
)
async def test_a_browser_may_declare_it_in_the_metadata(proxy: Proxy, text: str) -> None:
    path = await proxy.create(len(CONTENT), **{"Upload-Metadata": metadata(filename="a", sha256=text)})
    assert (await proxy.client.head(path, headers=TUS)).headers["Repr-Digest"] == WRONG
    assert await in_one_piece(proxy, path) == 422


async def test_a_file_in_one_piece_tells_its_digest_though_nobody_declared_one(proxy: Proxy) -> None:
    path = await proxy.create(len(CONTENT))
    assert "Repr-Digest" not in (await proxy.client.head(path, headers=TUS)).headers
    await in_one_piece(proxy, path)
    assert (await proxy.client.get(path)).headers["Repr-Digest"] == RIGHT
    told = await (await proxy.client.get(path + "/status")).json()
    assert told["digests"] == {"sha-256": hashlib.sha256(CONTENT).hexdigest()}


async def test_a_file_that_its_owner_has_made_longer_is_not_said_to_have_that_digest(
    proxy: Proxy, directory: Path
) -> None:
    path = await proxy.create(len(CONTENT), **{"Repr-Digest": RIGHT})
    await in_one_piece(proxy, path)
    with (directory / "file.bin").open("ab") as file:
        file.write(b"!")
    assert "Repr-Digest" not in (await proxy.client.get(path)).headers


async def test_a_digest_that_is_not_known_is_ignored_and_the_answer_says_which_are(proxy: Proxy) -> None:
    headers = {**TUS, "Upload-Length": "3", "Repr-Digest": "md5=:AAAA:"}
    answer = await proxy.client.post("/files", headers=headers)
    assert answer.status == 201
    assert answer.headers["Want-Repr-Digest"] == "sha-256=10, sha-512=1"
    assert "Repr-Digest" not in (await proxy.client.head(answer.headers["Location"], headers=TUS)).headers
    assert "Want-Repr-Digest" in (await proxy.client.options("/files")).headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr-Digest": "sha-256=:AAAA:"},
        {"Repr-Digest": "sha-256"},
        {"Repr-Digest": RIGHT, "Upload-Metadata": metadata(sha256=OTHER.hexdigest())},
        {"Upload-Metadata": metadata(sha256="nonsense")},
    ],
)
async def test_a_digest_that_cannot_be_is_refused(proxy: Proxy, headers: dict[str, str], directory: Path) -> None:
    answer = await proxy.client.post("/files", headers={**TUS, "Upload-Length": "3", **headers})
    assert answer.status == 400
    assert list((directory / ".uploads").glob("??")) == []


async def test_a_wrong_digest_of_a_creation_with_its_bytes_keeps_them(proxy: Proxy, directory: Path) -> None:
    headers = {**BYTES, "Upload-Length": str(len(CONTENT)), "Repr-Digest": WRONG}
    assert (await proxy.client.post("/files", data=CONTENT, headers=headers)).status == 422
    assert [file.read_bytes() for file in (directory / ".uploads").rglob("*.dat")] == [CONTENT]


async def test_an_empty_file_has_a_digest_too(proxy: Proxy, directory: Path) -> None:
    path = await proxy.create(0, "empty", **{"Repr-Digest": repr_digest(b"")})
    assert (directory / "empty").read_bytes() == b""
    assert (await proxy.client.get(path)).headers["Repr-Digest"] == repr_digest(b"")
    headers = {**TUS, "Upload-Length": "0", "Repr-Digest": RIGHT}
    assert (await proxy.client.post("/files", headers=headers)).status == 422


async def test_a_length_that_comes_last_is_looked_at_with_its_digest(start: Start, directory: Path) -> None:
    one, two = await start(), await start()
    for declared, status in ((RIGHT, 204), (WRONG, 422)):
        path = await one.create(None, "late", **{"Repr-Digest": declared})
        assert (await one.patch(path, 0, CONTENT)).status == 204
        assert (await two.patch(path, len(CONTENT), b"", **{"Upload-Length": str(len(CONTENT))})).status == status
    assert [file.name for file in published(directory)] == ["late"]


async def test_replicas_that_take_turns_publish_what_is_right_and_nothing_else(start: Start, directory: Path) -> None:
    replicas = [await start(), await start()]
    for declared, phase in ((RIGHT, Phase.PUBLISHED), (WRONG, Phase.FAILED)):
        path = await replicas[0].create(len(CONTENT), **{"Repr-Digest": declared})
        for offset in range(len(CONTENT)):
            await replicas[offset % 2].patch(path, offset, CONTENT[offset : offset + 1])
        told = await (await replicas[0].client.get(path + "/status")).json()
        assert told["phase"] == phase
    assert [file.read_bytes() for file in published(directory)] == [CONTENT]


# ---- parts and what joins them --------------------------------------------------------------------------------------


async def join(proxy: Proxy, declared: str, *bodies: bytes) -> ClientResponse:
    """As clients do that send the same headers with everything."""
    paths = [await proxy.create(len(body), **{"Upload-Concat": "partial", "Repr-Digest": declared}) for body in bodies]
    for path, body in zip(paths, bodies, strict=True):
        assert (await proxy.patch(path, 0, body)).status == 204
    headers = {"Upload-Concat": f"final;{' '.join(paths)}", "Upload-Metadata": metadata(filename="file.bin")}
    return await proxy.client.post("/files", headers={**TUS, **headers, "Repr-Digest": declared})


async def test_the_digest_of_joined_parts_is_that_of_their_whole(proxy: Proxy, directory: Path) -> None:
    answer = await join(proxy, RIGHT, CONTENT[:5], CONTENT[5:])
    assert answer.status == 201
    assert (directory / "file.bin").read_bytes() == CONTENT
    assert (await proxy.client.get(answer.headers["Location"])).headers["Repr-Digest"] == RIGHT


async def test_joined_parts_with_a_wrong_digest_are_refused_and_kept(proxy: Proxy, directory: Path) -> None:
    await problem(await join(proxy, WRONG, CONTENT[:5], CONTENT[5:]), 422, "publish-failed")
    assert published(directory) == []
    assert CONTENT in [file.read_bytes() for file in (directory / ".uploads").rglob("*.dat")]


async def test_a_part_has_no_digest_of_its_own(proxy: Proxy) -> None:
    path = await proxy.create(5, **{"Upload-Concat": "partial", "Repr-Digest": RIGHT})
    assert "Repr-Digest" not in (await proxy.client.head(path, headers=TUS)).headers


# ---- by the IETF draft --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["3", "6", "9"])
async def test_the_last_answer_of_the_draft_tells_the_digest_and_so_does_head_when_it_was_lost(
    proxy: Proxy, version: str
) -> None:
    speaking = {"Upload-Draft-Interop-Version": version}
    last, more = ("Upload-Incomplete", "?0"), ("Upload-Incomplete", "?1")
    if version != "3":
        last, more = ("Upload-Complete", "?1"), ("Upload-Complete", "?0")
    both = f"{RIGHT}, {repr_digest(CONTENT, 'sha-512')}"
    first = {**speaking, **dict([more]), "Upload-Length": str(len(CONTENT)), "Repr-Digest": both}
    answer = await proxy.client.post("/files", data=CONTENT[:5], headers=first)
    path = answer.headers["Location"]
    # An upload's is that of the bytes that have come.
    assert "Repr-Digest" not in answer.headers
    assert "Repr-Digest" not in (await proxy.client.head(path, headers=speaking)).headers
    rest = {**speaking, **dict([last]), "Upload-Offset": "5", "Content-Type": "application/partial-upload"}
    answer = await proxy.client.patch(path, data=CONTENT[5:], headers=rest)
    assert (answer.status, answer.headers["Repr-Digest"]) == (201, both)
    head = await proxy.client.head(path, headers=speaking)
    assert (head.status, head.headers["Repr-Digest"]) == (204, both)
