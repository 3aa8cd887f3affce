"""The IETF draft, version by version, on the real application."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse

from storage_proxy.core import transitions
from storage_proxy.core.errors import ShareFault, StorageProxyError, UploadBusy
from storage_proxy.core.manifest import UploadId
from storage_proxy.wire.ietf import DIALECTS, Dialect
from tests.server.proxy import TUS, Proxy, Start, leftovers, metadata, names, problem

EVERY = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: f"interop {dialect.version}")
V3, V5, V6, V7, V9 = (DIALECTS[version] for version in (3, 5, 6, 7, 9))

IANA = "https://iana.org/assignments/http-problem-types#"
UNKNOWN = "/files/main." + "0" * 32


def version(dialect: Dialect) -> dict[str, str]:
    return {"Upload-Draft-Interop-Version": str(dialect.version)}


def complete(dialect: Dialect, whether: bool) -> dict[str, str]:
    if dialect.version == 3:
        return {"Upload-Incomplete": "?0" if whether else "?1"}
    return {"Upload-Complete": "?1" if whether else "?0"}


def told_complete(dialect: Dialect, answer: ClientResponse) -> bool:
    told = answer.headers["Upload-Incomplete" if dialect.version == 3 else "Upload-Complete"]
    assert told in ("?0", "?1")
    return (told == "?1") is not (dialect.version == 3)


def disposition(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'inline; filename="{name}"'}


async def creation(
    proxy: Proxy, dialect: Dialect, data: bytes = b"", *, whole: bool, name: str = "file.bin", **headers: str
) -> ClientResponse:
    told = {**version(dialect), **complete(dialect, whole), **disposition(name)}
    return await proxy.client.post("/files", data=data, headers={**told, **headers})


async def appending(
    proxy: Proxy, dialect: Dialect, path: str, offset: int, data: bytes, *, whole: bool, **headers: str
) -> ClientResponse:
    told = {**version(dialect), **complete(dialect, whole), "Upload-Offset": str(offset)}
    typed = {"Content-Type": "application/partial-upload"}
    return await proxy.client.patch(path, data=data, headers={**told, **typed, **headers})


async def opened(proxy: Proxy, dialect: Dialect, data: bytes = b"", name: str = "file.bin", **headers: str) -> str:
    """The path of an upload that is not complete yet."""
    answer = await creation(proxy, dialect, data, whole=False, name=name, **headers)
    assert answer.status == 201, await answer.text()
    return answer.headers["Location"]


async def looked(proxy: Proxy, dialect: Dialect, path: str) -> Mapping[str, str]:
    answer = await proxy.client.head(path, headers=version(dialect))
    assert answer.status == 204
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.headers


# ---- a whole upload, in each version ------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_file_sent_in_one_request_is_there_when_that_is_answered(
    proxy: Proxy, directory: Path, dialect: Dialect, method: str
) -> None:
    told = {**version(dialect), **complete(dialect, True), **disposition("a.bin")}
    answer = await proxy.client.request(method, "/files", data=b"helloworld", headers=told)
    assert answer.status == 201
    assert told_complete(dialect, answer)
    assert answer.headers["Upload-Offset"] == "10"
    assert answer.headers["Upload-Draft-Interop-Version"] == str(dialect.version)
    assert (directory / "a.bin").read_bytes() == b"helloworld"
    head = await looked(proxy, dialect, answer.headers["Location"])
    assert (head["Upload-Offset"], head["Upload-Length"]) == ("10", "10")
    assert leftovers(directory) == []


@EVERY
async def test_an_upload_in_parts_whose_length_is_known_only_at_the_end(
    proxy: Proxy, directory: Path, dialect: Dialect
) -> None:
    path = await opened(proxy, dialect, b"hel", "a.bin")
    head = await looked(proxy, dialect, path)
    assert "Upload-Length" not in head
    middle = await appending(proxy, dialect, path, 3, b"lowo", whole=False)
    assert middle.status == (201 if dialect.version <= 6 else 204)
    assert middle.headers["Upload-Offset"] == "7"
    assert not told_complete(dialect, middle)
    assert not (directory / "a.bin").exists()
    last = await appending(proxy, dialect, path, 7, b"rld", whole=True)
    assert last.status == 201
    assert last.headers["Upload-Offset"] == "10"
    assert told_complete(dialect, last)
    # Later versions answer as the creation would have; before, the draft knows no Location here.
    assert last.headers.get("Location") == (path if dialect.version >= 7 else None)
    assert (directory / "a.bin").read_bytes() == b"helloworld"


@EVERY
async def test_an_upload_is_closed_by_an_append_without_a_byte(proxy: Proxy, directory: Path, dialect: Dialect) -> None:
    path = await opened(proxy, dialect, b"hello", "a.bin")
    assert not (directory / "a.bin").exists()
    for _ in range(2):  # a client that lost the answer asks again
        last = await appending(proxy, dialect, path, 5, b"", whole=True)
        assert last.status == 201
        assert told_complete(dialect, last)
    assert (directory / "a.bin").read_bytes() == b"hello"


@EVERY
@pytest.mark.parametrize("first", [True, False])
async def test_a_body_of_unknown_length_closes_the_upload_where_it_ends(
    proxy: Proxy, directory: Path, dialect: Dialect, first: bool
) -> None:
    async def pieces() -> Any:
        yield b"hello"
        yield b"world"

    if first:
        answer = await creation(proxy, dialect, pieces(), whole=True, name="a.bin")
    else:
        path = await opened(proxy, dialect, b"", "a.bin")
        answer = await appending(proxy, dialect, path, 0, pieces(), whole=True)
    assert answer.status == 201, await answer.text()
    assert told_complete(dialect, answer)
    assert (directory / "a.bin").read_bytes() == b"helloworld"


@EVERY
async def test_an_empty_file(proxy: Proxy, directory: Path, dialect: Dialect) -> None:
    answer = await creation(proxy, dialect, whole=True, name="empty")
    assert answer.status == 201
    assert told_complete(dialect, answer)
    assert (directory / "empty").read_bytes() == b""


@EVERY
async def test_a_declared_length_is_told_and_its_last_byte_completes(
    proxy: Proxy, directory: Path, dialect: Dialect
) -> None:
    path = await opened(proxy, dialect, b"hello", "a.bin", **{"Upload-Length": "10"})
    head = await looked(proxy, dialect, path)
    assert (head["Upload-Length"], head[dialect.completeness]) == ("10", complete(dialect, False)[dialect.completeness])
    last = await appending(proxy, dialect, path, 5, b"world", whole=False)
    assert told_complete(dialect, last)
    assert (directory / "a.bin").read_bytes() == b"helloworld"
    # Who goes by the letter and closes it all the same hears the same.
    again = await appending(proxy, dialect, path, 10, b"", whole=True)
    assert again.status == 201
    assert told_complete(dialect, again)


@EVERY
async def test_a_cancelled_upload_is_gone(proxy: Proxy, directory: Path, dialect: Dialect) -> None:
    path = await opened(proxy, dialect, b"hello", "a.bin")
    answer = await proxy.client.delete(path, headers=version(dialect))
    assert answer.status == 204
    assert (await proxy.client.head(path, headers=version(dialect))).status == 404
    assert (await appending(proxy, dialect, path, 5, b"x", whole=True)).status == 404
    assert names(directory) == [".uploads"]
    assert leftovers(directory) == []


# ---- both protocols -----------------------------------------------------------------------------------------------


@EVERY
async def test_what_one_protocol_has_begun_the_other_goes_on_with(
    proxy: Proxy, directory: Path, dialect: Dialect
) -> None:
    path = await opened(proxy, dialect, b"hello", "a.bin", **{"Content-Type": "text/plain"})
    head = await proxy.client.head(path, headers=TUS)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Defer-Length"]) == ("5", "1")
    assert head.headers["Upload-Metadata"] == metadata(filename="a.bin", filetype="text/plain")
    assert (await proxy.patch(path, 5, b"world", **{"Upload-Length": "10"})).status == 204
    assert (directory / "a.bin").read_bytes() == b"helloworld"

    other = await proxy.create(10, "b.bin")
    assert (await proxy.patch(other, 0, b"hello")).status == 204
    assert (await appending(proxy, dialect, other, 5, b"world", whole=True)).status == 201
    assert (directory / "b.bin").read_bytes() == b"helloworld"


async def test_a_part_of_a_tus_upload_is_complete_when_it_is_whole(proxy: Proxy, directory: Path) -> None:
    path = await proxy.create(10, "part", **{"Upload-Concat": "partial"})
    assert (await appending(proxy, V9, path, 0, b"hello", whole=False)).headers["Upload-Complete"] == "?0"
    last = await appending(proxy, V9, path, 5, b"world", whole=True)
    assert (last.status, last.headers["Upload-Complete"]) == (201, "?1")
    assert (await looked(proxy, V9, path))["Upload-Complete"] == "?1"
    joined = {**TUS, "Upload-Concat": f"final;{path}", "Upload-Metadata": metadata(filename="a.bin")}
    final = (await proxy.client.post("/files", headers=joined)).headers["Location"]
    assert (directory / "a.bin").read_bytes() == b"helloworld"
    assert (await appending(proxy, V9, final, 10, b"x", whole=True)).status == 403


async def test_the_name_comes_from_upload_metadata_first_and_else_is_the_uploads_own(
    proxy: Proxy, directory: Path
) -> None:
    sent = {"Upload-Metadata": metadata(filename="told.bin")}
    await creation(proxy, V6, b"x", whole=True, name="other.bin", **sent)
    plain = {**version(V6), **complete(V6, True)}
    answer = await proxy.client.post("/files", data=b"y", headers=plain)
    own = UploadId.parse(answer.headers["Location"].rpartition("/")[2]).key
    await proxy.client.post("/files", data=b"z", headers={**plain, **disposition("../../z.bin")})
    assert names(directory) == sorted([".uploads", "told.bin", own, "z.bin"])


async def test_the_type_of_an_append_is_no_type_of_a_file(proxy: Proxy) -> None:
    """tus-js-client sends it with a creation, too."""
    path = await opened(proxy, V6, b"x", **{"Content-Type": "application/partial-upload"})
    head = await proxy.client.head(path, headers=TUS)
    assert head.headers["Upload-Metadata"] == metadata(filename="file.bin")


async def test_a_request_that_names_no_version_is_an_ordinary_upload_without_104(proxy: Proxy, directory: Path) -> None:
    raw = await proxy.raw(
        "PUT /files HTTP/1.1\nHost: test\nUpload-Complete: ?1\nContent-Length: 5\n"
        'Content-Disposition: inline; filename="a.bin"\n',
        b"hello",
    )
    status, headers = await raw.head()
    assert status == 201
    assert headers["Upload-Complete"] == "?1"
    assert "Upload-Draft-Interop-Version" not in headers
    assert (directory / "a.bin").read_bytes() == b"hello"
    await raw.close()


async def test_the_draft_can_be_turned_off(start: Start) -> None:
    proxy = await start(files={"ietf_draft": False})
    answer = await creation(proxy, V6, b"hello", whole=True)
    await problem(answer, 412, "version-unsupported")
    assert "Upload-Limit" not in (await proxy.client.options("/files")).headers


async def test_a_key_is_asked_for_as_ever(start: Start) -> None:
    proxy = await start(access={"keys": ["0123456789abcdef"]})
    answer = await creation(proxy, V9, b"hello", whole=True)
    await problem(answer, 401, "key-missing")
    answer = await creation(proxy, V9, b"x", whole=True, Authorization="Bearer 0123456789abcdef")
    assert answer.status == 201


async def test_options_tells_pages_and_clients_what_there_is(proxy: Proxy) -> None:
    answer = await proxy.client.options("/files", headers={"Origin": "https://app.example.org"})
    assert answer.headers["Upload-Limit"] == f"max-size={10 << 40}"
    assert "application/partial-upload" in answer.headers["Accept-Patch"]
    assert "Tus-Version" in answer.headers
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Upload-Complete", "Upload-Incomplete", "Upload-Limit", "Upload-Draft-Interop-Version"} <= set(exposed)
    # Who names a version hears the same.
    assert (await proxy.client.options("/files", headers=version(V6))).headers["Upload-Limit"]
    # No upload is created at an upload's own address.
    assert "Upload-Limit" not in (await proxy.client.options(UNKNOWN)).headers


@pytest.mark.parametrize("dialect", [V6, V7, V9], ids=lambda dialect: f"interop {dialect.version}")
async def test_limits_tell_how_long_an_open_upload_lives(start: Start, dialect: Dialect) -> None:
    proxy = await start(limits={"upload_bytes_max": 1000}, expiry={"open": 3600})
    answer = await creation(proxy, dialect, b"hello", whole=False)
    key = "expires" if dialect.version == 6 else "max-age"
    for limits in (
        answer.headers["Upload-Limit"],
        (await looked(proxy, dialect, answer.headers["Location"]))["Upload-Limit"],
    ):
        size, age = limits.split(", ")
        assert size == "max-size=1000"
        assert age.partition("=")[0] == key
        assert 3500 < int(age.partition("=")[2]) <= 3600
    last = await appending(proxy, dialect, answer.headers["Location"], 5, b"", whole=True)
    assert last.headers["Upload-Limit"] == "max-size=1000"


async def test_get_is_an_offset_retrieval_in_the_newest_and_the_file_before(proxy: Proxy) -> None:
    path = (await creation(proxy, V9, b"hello", whole=True)).headers["Location"]
    newest = await proxy.client.get(path, headers=version(V9))
    assert (newest.status, newest.headers["Upload-Offset"], await newest.read()) == (204, "5", b"")
    before = await proxy.client.get(path, headers=version(V7))
    assert (before.status, await before.read()) == (200, b"hello")


# ---- refusals -----------------------------------------------------------------------------------------------------


@EVERY
async def test_a_wrong_offset_is_a_conflict_that_tells_the_right_one(proxy: Proxy, dialect: Dialect) -> None:
    path = await opened(proxy, dialect, b"hello")
    answer = await appending(proxy, dialect, path, 3, b"xx", whole=False)
    kind = IANA + "mismatching-upload-offset" if dialect.version >= 6 else "offset-mismatch"
    body = await problem(answer, 409, kind)
    assert answer.headers["Upload-Offset"] == "5"
    if dialect.version >= 6:
        assert (body["expected-offset"], body["provided-offset"]) == (5, 3)
    if dialect.version >= 7:
        assert answer.headers["Upload-Complete"] == "?0"
    assert (await looked(proxy, dialect, path))["Upload-Offset"] == "5"


@EVERY
async def test_lengths_that_do_not_agree_are_refused_and_change_nothing(proxy: Proxy, dialect: Dialect) -> None:
    kind = IANA + "inconsistent-upload-length" if dialect.version >= 7 else "length-inconsistent"
    answer = await creation(proxy, dialect, b"hello", whole=True, **{"Upload-Length": "6"})
    await problem(answer, 400, kind)
    path = await opened(proxy, dialect, b"hello", **{"Upload-Length": "10"})
    for data, whole, more in [(b"wor", True, {}), (b"w", False, {"Upload-Length": "11"})]:
        answer = await appending(proxy, dialect, path, 5, data, whole=whole, **more)
        await problem(answer, 400, kind)
    assert (await looked(proxy, dialect, path))["Upload-Offset"] == "5"


@EVERY
async def test_a_chunked_body_that_ends_before_the_declared_length_is_kept_but_not_complete(
    proxy: Proxy, directory: Path, dialect: Dialect
) -> None:
    async def pieces() -> Any:
        yield b"wor"

    path = await opened(proxy, dialect, b"hello", "a.bin", **{"Upload-Length": "10"})
    answer = await appending(proxy, dialect, path, 5, pieces(), whole=True)
    assert answer.status == 400
    assert (await looked(proxy, dialect, path))["Upload-Offset"] == "8"
    assert not (directory / "a.bin").exists()
    assert (await appending(proxy, dialect, path, 8, b"ld", whole=True)).status == 201


@EVERY
async def test_more_than_the_length_is_refused(proxy: Proxy, dialect: Dialect) -> None:
    path = await opened(proxy, dialect, b"hello", **{"Upload-Length": "10"})
    answer = await appending(proxy, dialect, path, 5, b"worlds", whole=False)
    await problem(answer, 400, IANA + "inconsistent-upload-length" if dialect.version >= 7 else "length-exceeded")
    assert (await looked(proxy, dialect, path))["Upload-Offset"] == "5"


@EVERY
async def test_a_complete_upload_takes_no_more(proxy: Proxy, directory: Path, dialect: Dialect) -> None:
    path = (await creation(proxy, dialect, b"hello", whole=True, name="a.bin")).headers["Location"]
    answer = await appending(proxy, dialect, path, 5, b"x", whole=True)
    kinds = {3: "length-exceeded", 4: "length-exceeded", 5: "length-exceeded"}
    kinds |= {6: IANA + "completed-upload", 7: IANA + "completed-upload"}
    await problem(answer, 400, kinds.get(dialect.version, IANA + "inconsistent-upload-length"))
    assert (directory / "a.bin").read_bytes() == b"hello"
    # Where the answer to the last append was lost: 409 sends the client to HEAD, and that tells it the end.
    assert (await appending(proxy, dialect, path, 0, b"hello", whole=True)).status == 409


@EVERY
async def test_a_file_over_the_limit_is_refused_with_the_limit(start: Start, dialect: Dialect) -> None:
    proxy = await start(limits={"upload_bytes_max": 4})
    answer = await creation(proxy, dialect, b"hello", whole=True)
    await problem(answer, 413, "size-exceeded")
    assert answer.headers.get("Upload-Limit") == (None if dialect.version < 6 else "max-size=4")


@EVERY
async def test_an_append_of_another_type_is_refused_from_draft_04_on(proxy: Proxy, dialect: Dialect) -> None:
    path = await opened(proxy, dialect)
    answer = await appending(
        proxy, dialect, path, 0, b"x", whole=False, **{"Content-Type": "application/offset+octet-stream"}
    )
    assert answer.status == (dialect.appended if dialect.version < 6 else 415)
    if dialect.version >= 6:
        assert answer.headers["Accept-Patch"] == "application/partial-upload"


@EVERY
@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
async def test_the_old_drafts_refuse_head_and_delete_with_an_offset(
    proxy: Proxy, dialect: Dialect, method: str
) -> None:
    path = await opened(proxy, dialect)
    answer = await proxy.client.request(method, path, headers={**version(dialect), "Upload-Offset": "0"})
    assert answer.status == (400 if dialect.version <= 6 else 204)


@EVERY
async def test_an_expired_upload_is_missing_in_the_old_drafts_and_gone_later(proxy: Proxy, dialect: Dialect) -> None:
    path = await opened(proxy, dialect, b"hello")
    volume, key = proxy.service.volumes["main"], UploadId.parse(path.rpartition("/")[2]).key
    expire = partial(transitions.expire, stamp=proxy.service.stamp())
    await volume.run(partial(volume.manifests.change, key, expire))
    answer = await proxy.client.head(path, headers=version(dialect))
    assert answer.status == (404 if dialect.version <= 6 else 410)


@EVERY
@pytest.mark.parametrize("error", [ShareFault(operation="read", reason="EIO"), UploadBusy()], ids=["fault", "busy"])
async def test_what_passes_lets_clients_of_each_version_come_again(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, dialect: Dialect, error: StorageProxyError
) -> None:
    path = await opened(proxy, dialect, b"hello")

    async def faulty(upload: UploadId) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(proxy.service, "read", faulty)
        head = await proxy.client.head(path, headers=version(dialect))
        append = await appending(proxy, dialect, path, 5, b"x", whole=True)
    # tus-js-client, which speaks 5 and 6, starts over from byte 0 at anything but 423.
    assert head.status == (423 if dialect.version in (5, 6) else 503)
    assert append.status == 503
    for answer in (head, append):
        assert int(answer.headers["Retry-After"]) > 0
    assert append.headers.get("Upload-Complete") == ("?0" if dialect.version >= 7 else None)


@EVERY
async def test_bytes_that_could_not_become_a_file_are_told_from_bytes_that_did_not_come(
    start: Start, directory: Path, dialect: Dialect
) -> None:
    proxy = await start(files={"conflict": "refuse"})
    (directory / "a.bin").write_bytes(b"there before")
    path = await opened(proxy, dialect, b"hello", "a.bin")
    answer = await appending(proxy, dialect, path, 5, b"", whole=True)
    assert answer.status == 422
    assert answer.headers.get("Upload-Complete") == ("?1" if dialect.version >= 7 else None)
    assert (directory / "a.bin").read_bytes() == b"there before"


async def test_a_file_that_is_not_there_yet_is_not_called_complete(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object) -> Any:
        raise UploadBusy()

    monkeypatch.setattr("storage_proxy.operations.create.finish", busy)
    answer = await creation(proxy, V9, whole=True, name="empty")
    await problem(answer, 503, "not-yet-published")
    assert answer.headers["Upload-Complete"] == "?0"


@EVERY
async def test_appends_come_in_order_whatever_the_settings_allow_to_tus(start: Start, dialect: Dialect) -> None:
    proxy = await start(files={"order": "any"})
    path = await opened(proxy, dialect)
    assert (await appending(proxy, dialect, path, 3, b"xx", whole=False)).status == 409


async def test_a_content_encoding_is_refused(proxy: Proxy) -> None:
    answer = await creation(proxy, V9, b"x", whole=True, **{"Content-Encoding": "gzip"})
    await problem(answer, 400, "header-malformed")
