"""A field in several lines: one value is refused, whichever line a proxy before us would have read; a list is one."""

import base64
import hashlib
from pathlib import Path

import pytest
from multidict import CIMultiDict

from tests.server.proxy import BYTES, TUS, Proxy, Start, leftovers, metadata, problem
from tests.server.test_digests import CONTENT, RIGHT, WRONG, repr_digest

KEY = "a-key-of-the-tests-0123456789"
SHA1 = "sha1 " + base64.b64encode(hashlib.sha1(b"hello", usedforsecurity=False).digest()).decode()
NO_SHA1 = "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="

CREATION = {**TUS, "Upload-Length": "5", "Upload-Order": "sequential", "Idempotency-Key": '"' + "k" * 20 + '"'}
APPEND = {**BYTES, "Upload-Offset": "0", "Upload-Checksum": SHA1}


def lines(headers: dict[str, str], *more: tuple[str, str]) -> CIMultiDict[str]:
    return CIMultiDict([*headers.items(), *more])


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("Tus-Resumable", "1.0.0"),
        ("Upload-Length", "5"),
        ("Upload-Length", "6"),
        ("Upload-Order", "any"),
        ("Idempotency-Key", '"' + "l" * 20 + '"'),
    ],
)
async def test_a_creation_that_says_one_thing_twice_creates_nothing(
    proxy: Proxy, directory: Path, name: str, second: str
) -> None:
    told = await problem(
        await proxy.client.post("/files", headers=lines(CREATION, (name, second))), 400, "header-malformed"
    )
    assert (told["header"], told["received"]) == (name, "2 lines")
    assert list((directory / ".uploads").rglob("info.json")) == []


async def test_a_part_is_not_a_final_upload_at_the_same_time(proxy: Proxy) -> None:
    twice = lines(CREATION, ("Upload-Concat", "partial"), ("Upload-Concat", "final;/files/main." + "0" * 32))
    await problem(await proxy.client.post("/files", headers=twice), 400, "header-malformed")


async def test_a_length_is_deferred_once(proxy: Proxy) -> None:
    twice = lines(TUS, ("Upload-Defer-Length", "1"), ("Upload-Defer-Length", "1"))
    await problem(await proxy.client.post("/files", headers=twice), 400, "header-malformed")


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("Tus-Resumable", "1.0.0"),
        ("Upload-Offset", "0"),
        ("Upload-Offset", "3"),
        ("Upload-Checksum", SHA1),
        ("Upload-Checksum", NO_SHA1),
    ],
)
async def test_an_append_that_says_one_thing_twice_changes_nothing(proxy: Proxy, name: str, second: str) -> None:
    path = await proxy.create(5)
    answer = await proxy.client.patch(path, data=b"hello", headers=lines(APPEND, (name, second)))
    assert (await problem(answer, 400, "header-malformed"))["header"] == name
    assert await proxy.offset(path) == 0
    assert leftovers(proxy.directory) == []


async def test_a_length_that_comes_late_comes_once(proxy: Proxy) -> None:
    path = await proxy.create(None)
    twice = lines(APPEND, ("Upload-Length", "5"), ("Upload-Length", "6"))
    await problem(await proxy.client.patch(path, data=b"hello", headers=twice), 400, "header-malformed")
    assert await proxy.offset(path) == 0


async def test_a_method_is_overridden_once(proxy: Proxy) -> None:
    path = await proxy.create(5)
    twice = lines(APPEND, ("X-HTTP-Method-Override", "PATCH"), ("X-HTTP-Method-Override", "DELETE"))
    await problem(await proxy.client.post(path, data=b"hello", headers=twice), 400, "header-malformed")
    assert await proxy.offset(path) == 0


async def test_two_keys_open_nothing_and_are_not_repeated(start: Start) -> None:
    proxy = await start(access={"keys": [KEY]})
    twice = lines(CREATION, ("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer another-key"))
    answer = await proxy.client.post("/files", headers=twice)
    await problem(answer, 400, "header-malformed")
    assert KEY not in await answer.text()
    assert "another-key" not in await answer.text()


@pytest.mark.parametrize(
    "digests", [(repr_digest(CONTENT, "sha-512"), WRONG), (WRONG, repr_digest(CONTENT, "sha-512"))]
)
async def test_digests_in_several_lines_are_all_looked_at(
    proxy: Proxy, directory: Path, digests: tuple[str, str]
) -> None:
    told = lines(
        {**BYTES, "Upload-Length": str(len(CONTENT)), "Upload-Metadata": metadata(filename="a")},
        *(("Repr-Digest", digest) for digest in digests),
    )
    await problem(await proxy.client.post("/files", data=CONTENT, headers=told), 422, "publish-failed")
    assert not (directory / "a").exists()


async def test_metadata_in_several_lines_are_one_list(proxy: Proxy, directory: Path) -> None:
    told = lines(
        {**BYTES, "Upload-Length": str(len(CONTENT)), "Repr-Digest": RIGHT},
        ("Upload-Metadata", metadata(filename="a")),
        ("Upload-Metadata", metadata(filetype="b")),
    )
    answer = await proxy.client.post("/files", data=CONTENT, headers=told)
    assert answer.status == 201
    assert (directory / "a").read_bytes() == CONTENT
    head = await proxy.client.head(answer.headers["Location"], headers=TUS)
    assert head.headers["Upload-Metadata"] == f"{metadata(filename='a')}, {metadata(filetype='b')}"
    again = lines({**TUS, "Upload-Length": "0"}, *(("Upload-Metadata", metadata(filename=name)) for name in "ab"))
    await problem(await proxy.client.post("/files", headers=again), 400, "header-malformed")


# ---- the IETF draft -----------------------------------------------------------------------------------------------

DRAFT = {"Upload-Draft-Interop-Version": "9", "Upload-Complete": "?1"}


async def test_in_the_draft_a_field_in_two_lines_is_no_such_field(proxy: Proxy, directory: Path) -> None:
    """State, M: what is no such structured field is ignored, and two items are none (RFC 9651 4.2)."""
    named = {"Content-Disposition": 'inline; filename="a"'}
    twice = lines({**DRAFT, **named}, ("Upload-Complete", "?1"))
    answer = await proxy.client.post("/files", data=b"hello", headers=twice)
    # Nobody has said that this is all.
    assert (answer.status, answer.headers["Upload-Complete"]) == (201, "?0")
    assert not (directory / "a").exists()
    append = {**DRAFT, "Content-Type": "application/partial-upload", "Upload-Offset": "5"}
    for second in ("5", "0"):
        again = lines(append, ("Upload-Offset", second))
        assert (await proxy.client.patch(answer.headers["Location"], headers=again)).status == 400
    assert not (directory / "a").exists()


async def test_in_the_draft_a_file_has_one_name(proxy: Proxy) -> None:
    names = (("Content-Disposition", f'inline; filename="{name}"') for name in "ab")
    answer = await proxy.client.post("/files", data=b"hello", headers=lines(DRAFT, *names))
    assert (answer.status, (await answer.json())["header"]) == (400, "Content-Disposition")
