"""A creation that is sent again over HTTP: by its Idempotency-Key a client finds the upload whose address it lost."""

import asyncio
from pathlib import Path

import pytest

from tests.server.proxy import BYTES, TUS, Proxy, Start, metadata, opening, problem, until

KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
CONTENT = b"hello world"
ASKED = {**TUS, **KEY, "Upload-Length": str(len(CONTENT)), "Upload-Metadata": metadata(filename="a.txt")}
WITH_BYTES = {**ASKED, **BYTES}


def live(directory: Path) -> int:
    return len(list((directory / ".uploads").glob("??/*/info.json")))


def published(directory: Path) -> list[str]:
    return [file.name for file in directory.glob("a*")]


def texts(directory: Path) -> list[str]:
    """Every name, and all that is in manifests and records."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [str(files), *(path.read_text() for path in files)]


async def test_the_same_request_through_another_replica_finds_the_same_upload(start: Start, directory: Path) -> None:
    one, two = await start(), await start()
    first = await one.client.post("/files", headers=ASKED)
    again = await two.client.post("/files", headers=ASKED)
    assert (first.status, again.status) == (201, 201)
    path = first.headers["Location"]
    assert again.headers["Location"] == path
    assert again.headers["Upload-Offset"] == "0"
    assert again.headers["Upload-Expires"] == first.headers["Upload-Expires"]
    assert live(directory) == 1
    await two.patch(path, 0, CONTENT[:5])
    later = await one.client.post("/files", headers=ASKED)
    assert (later.headers["Location"], later.headers["Upload-Offset"]) == (path, "5")
    await one.patch(path, 5, CONTENT[5:])
    last = await two.client.post("/files", headers=ASKED)
    assert (last.status, last.headers["Location"]) == (201, path)
    assert last.headers["Upload-Offset"] == str(len(CONTENT))
    assert published(directory) == ["a.txt"]


async def test_without_a_key_each_request_is_a_new_upload(proxy: Proxy) -> None:
    plain = {name: text for name, text in ASKED.items() if name not in KEY}
    first, second = [await proxy.client.post("/files", headers=plain) for _ in range(2)]
    assert first.headers["Location"] != second.headers["Location"]


@pytest.mark.parametrize(
    "changed",
    [
        {"Upload-Length": "12"},
        {"Upload-Metadata": metadata(filename="b.txt")},
        {"Upload-Order": "any"},
        {"Repr-Digest": "sha-256=:" + "A" * 43 + "=:"},
    ],
)
async def test_the_key_of_another_request_is_refused(proxy: Proxy, changed: dict[str, str], directory: Path) -> None:
    await proxy.client.post("/files", headers=ASKED)
    await problem(await proxy.client.post("/files", headers={**ASKED, **changed}), 422, "idempotency-key-reused")
    assert live(directory) == 1


async def test_bytes_that_come_once_more_are_stored_once(start: Start, directory: Path) -> None:
    one, two = await start(), await start()
    headers = {**WITH_BYTES, "Upload-Metadata": metadata(filename="b.txt")}
    first = await one.client.post("/files", data=CONTENT[:5], headers=headers)
    again = await two.client.post("/files", data=CONTENT[:5], headers=headers)
    assert [answer.headers["Upload-Offset"] for answer in (first, again)] == ["5", "5"]
    path = again.headers["Location"]
    assert (await two.patch(path, 5, CONTENT[5:])).status == 204
    whole = await one.client.post("/files", data=CONTENT[:5], headers=headers)
    assert (whole.status, whole.headers["Upload-Offset"]) == (201, "11")
    assert (directory / "b.txt").read_bytes() == CONTENT


async def test_a_first_request_that_was_cut_short_is_carried_on_by_the_next(proxy: Proxy, directory: Path) -> None:
    lines = [f"{name}: {text}" for name, text in WITH_BYTES.items() if name != "Tus-Resumable"]
    raw = await proxy.raw(opening("POST", "/files", *lines, f"Content-Length: {len(CONTENT)}"), CONTENT[:4])

    async def staged() -> bool:
        return any((directory / ".uploads").rglob("chunk_*"))

    await until(staged)
    await raw.close()

    async def kept() -> bool:
        return (await proxy.client.post("/files", headers=ASKED)).headers["Upload-Offset"] == "4"

    await until(kept)
    again = await proxy.client.post("/files", data=CONTENT, headers=WITH_BYTES)
    assert (again.status, again.headers["Upload-Offset"]) == (201, "4")
    assert (await proxy.patch(again.headers["Location"], 4, CONTENT[4:])).status == 204
    assert (directory / "a.txt").read_bytes() == CONTENT


async def test_a_body_that_was_refused_leaves_the_upload_to_be_found(proxy: Proxy, directory: Path) -> None:
    wrong = {**WITH_BYTES, "Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="}
    assert (await proxy.client.post("/files", data=CONTENT, headers=wrong)).status == 460
    answer = await proxy.client.post("/files", data=CONTENT, headers=WITH_BYTES)
    assert (answer.status, answer.headers["Upload-Offset"]) == (201, "11")
    assert (directory / "a.txt").read_bytes() == CONTENT


async def test_a_file_without_a_byte_is_published_once(start: Start, directory: Path) -> None:
    one, two = await start(), await start()
    empty = {**ASKED, "Upload-Length": "0"}
    answers = await asyncio.gather(*(proxy.client.post("/files", headers=empty) for proxy in (one, two, one, two)))
    assert [answer.status for answer in answers] == [201] * 4
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert published(directory) == ["a.txt"]


async def test_requests_at_once_through_two_replicas_are_one_upload(start: Start, directory: Path) -> None:
    one, two = await start(), await start()
    answers = await asyncio.gather(*(proxy.client.post("/files", headers=ASKED) for proxy in (one, two) * 4))
    assert [answer.status for answer in answers] == [201] * 8
    assert len({answer.headers["Location"] for answer in answers}) == 1


async def test_an_upload_that_was_ended_is_not_made_anew(proxy: Proxy) -> None:
    path = (await proxy.client.post("/files", headers=ASKED)).headers["Location"]
    await proxy.client.delete(path, headers=TUS)
    told = await problem(await proxy.client.post("/files", headers=ASKED), 410, "upload-gone")
    assert "another Idempotency-Key" in told["detail"]


async def test_keys_are_everybodys_own(start: Start, directory: Path) -> None:
    keys = ("the-first-of-two-long-keys", "the-second-of-two-long-keys")
    proxy = await start(access={"keys": keys})
    answers = [
        await proxy.client.post("/files", headers={**ASKED, "Authorization": f"Bearer {key}"}) for key in (*keys, *keys)
    ]
    paths = [answer.headers["Location"] for answer in answers]
    assert paths[:2] == paths[2:]
    assert paths[0] != paths[1]
    assert not any("8e03978e" in text for text in texts(directory))


async def test_a_key_that_can_be_guessed_is_refused(proxy: Proxy, directory: Path) -> None:
    answer = await proxy.client.post("/files", headers={**ASKED, "Idempotency-Key": '"1"'})
    await problem(answer, 400, "header-malformed")
    assert live(directory) == 0


# ---- by the IETF draft --------------------------------------------------------------------------------------------

DRAFT = {
    **KEY,
    "Upload-Draft-Interop-Version": "9",
    "Upload-Complete": "?1",
    "Content-Disposition": 'inline; filename="a.txt"',
}
GOING_ON = {"Upload-Draft-Interop-Version": "9", "Content-Type": "application/partial-upload", "Upload-Complete": "?1"}


async def test_the_same_request_of_the_draft_finds_the_same_upload(start: Start, directory: Path) -> None:
    one, two = await start(), await start()
    asked = {**DRAFT, "Upload-Complete": "?0"}
    first = await one.client.post("/files", data=CONTENT[:5], headers=asked)
    again = await two.client.post("/files", data=CONTENT[:5], headers=asked)
    path = first.headers["Location"]
    for answer in (first, again):
        told = [answer.headers[name] for name in ("Location", "Upload-Offset", "Upload-Complete")]
        assert (answer.status, told) == (201, [path, "5", "?0"])
    assert live(directory) == 1
    last = await two.client.patch(path, data=CONTENT[5:], headers={**GOING_ON, "Upload-Offset": "5"})
    assert (last.status, last.headers["Upload-Complete"]) == (201, "?1")
    later = await one.client.post("/files", data=CONTENT[:5], headers=asked)
    assert (later.headers["Location"], later.headers["Upload-Complete"]) == (path, "?1")
    assert published(directory) == ["a.txt"]


async def test_a_whole_file_that_is_sent_again_by_the_draft_is_published_once(start: Start, directory: Path) -> None:
    one, two = await start(), await start()
    answers = [await proxy.client.post("/files", data=CONTENT, headers=DRAFT) for proxy in (one, two)]
    assert [answer.headers["Upload-Complete"] for answer in answers] == ["?1", "?1"]
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert published(directory) == ["a.txt"]


async def test_a_file_without_a_byte_is_published_once_by_the_draft(start: Start, directory: Path) -> None:
    one, two = await start(), await start()
    answers = await asyncio.gather(*(proxy.client.post("/files", headers=DRAFT) for proxy in (one, two) * 2))
    # Who finds it before it is published comes again.
    assert {answer.status for answer in answers} <= {201, 503}
    answers = [answer for answer in answers if answer.status == 201]
    answers += [await proxy.client.post("/files", headers=DRAFT) for proxy in (one, two)]
    assert {(answer.status, answer.headers["Upload-Complete"]) for answer in answers} == {(201, "?1")}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert published(directory) == ["a.txt"]


async def test_what_the_draft_could_not_publish_is_said_again_and_not_tried_anew(proxy: Proxy, directory: Path) -> None:
    wrong = {**DRAFT, "Repr-Digest": "sha-256=:" + "A" * 43 + "=:"}
    for _ in range(2):
        answer = await proxy.client.post("/files", data=CONTENT, headers=wrong)
        assert (answer.status, answer.headers["Upload-Complete"]) == (422, "?1")
    assert live(directory) == 1


@pytest.mark.parametrize(
    ("content", "changed"),
    [
        (CONTENT[:5], {}),
        (CONTENT, {"Content-Disposition": 'inline; filename="b.txt"'}),
        (CONTENT, {"Content-Type": "text/plain"}),
        (CONTENT, {"Upload-Complete": "?0"}),
        (CONTENT, {"Upload-Metadata": metadata(filename="a.txt")}),
        (CONTENT, {"Repr-Digest": "sha-256=:" + "A" * 43 + "=:"}),
    ],
)
async def test_the_key_of_another_request_is_refused_in_the_draft_too(
    proxy: Proxy, content: bytes, changed: dict[str, str], directory: Path
) -> None:
    assert (await proxy.client.post("/files", data=CONTENT, headers=DRAFT)).status == 201
    answer = await proxy.client.post("/files", data=content, headers={**DRAFT, **changed})
    assert (answer.status, (await answer.json())["type"]) == (422, "urn:storage-proxy:problem:idempotency-key-reused")
    assert live(directory) == 1
