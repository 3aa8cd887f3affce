import base64
import hashlib
import os
from pathlib import Path

import pytest

from storage_proxy.core.errors import ShareFault
from storage_proxy.ports import Entry
from tests.server.proxy import (
    BYTES,
    TUS,
    Proxy,
    Start,
    leftovers,
    metadata,
    names,
    opening,
    patch_opening,
    problem,
    until,
)

UNKNOWN = "/files/main." + "0" * 32


# ---- OPTIONS ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/files", "/files/", UNKNOWN, UNKNOWN + "/status"])
async def test_options_tells_what_is_offered_and_ignores_the_version(proxy: Proxy, path: str) -> None:
    answer = await proxy.client.options(path, headers={"Tus-Resumable": "0.1"})
    assert answer.status == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert "creation-with-upload" in answer.headers["Tus-Extension"].split(",")
    assert {"sha1", "sha256"} <= set(answer.headers["Tus-Checksum-Algorithm"].split(","))
    assert answer.headers["Tus-Max-Size"] == str(10 << 40)


# ---- creation -----------------------------------------------------------------------------------------------------


async def test_creation_answers_where_the_upload_is_as_a_path(proxy: Proxy) -> None:
    answer = await proxy.client.post("/files", headers={**TUS, "Upload-Length": "5"})
    assert answer.status == 201
    location = answer.headers["Location"]
    assert location.startswith("/files/main.")
    assert len(location) == len(UNKNOWN)
    assert "Upload-Expires" in answer.headers
    assert await proxy.offset(location) == 0


async def test_an_upload_sent_in_two_requests_appears_under_its_name(proxy: Proxy, directory: Path) -> None:
    path = await proxy.create(10, "a/b.txt")
    first = await proxy.patch(path, 0, b"hello")
    assert (first.status, first.headers["Upload-Offset"]) == (204, "5")
    assert first.headers["Upload-Committed-Offset"] == "5"
    assert "Upload-Expires" in first.headers
    assert not (directory / "a/b.txt").exists()
    last = await proxy.patch(path, 5, b"world")
    assert (last.status, last.headers["Upload-Offset"]) == (204, "10")
    assert "Upload-Expires" not in last.headers
    assert (directory / "a/b.txt").read_bytes() == b"helloworld"
    assert await proxy.offset(path) == 10
    assert leftovers(directory) == []


async def test_head_tells_offset_length_and_the_metadata_as_sent(proxy: Proxy) -> None:
    sent = metadata(filename="x.bin", anything="ü")
    answer = await proxy.client.post("/files", headers={**TUS, "Upload-Length": "5", "Upload-Metadata": sent})
    head = await proxy.client.head(answer.headers["Location"], headers=TUS)
    assert head.status == 200
    assert head.headers["Upload-Offset"] == "0"
    assert head.headers["Upload-Length"] == "5"
    assert head.headers["Upload-Metadata"] == sent
    assert head.headers["Cache-Control"] == "no-store"
    assert "Upload-Expires" in head.headers


async def test_the_length_may_come_with_a_last_request_that_has_no_body(proxy: Proxy, directory: Path) -> None:
    path = await proxy.create(None, "late.bin")
    head = await proxy.client.head(path, headers=TUS)
    assert head.headers["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in head.headers
    assert (await proxy.patch(path, 0, b"abc")).headers["Upload-Offset"] == "3"
    last = await proxy.patch(path, 3, b"", **{"Upload-Length": "3"})
    assert (last.status, last.headers["Upload-Offset"]) == (204, "3")
    assert (directory / "late.bin").read_bytes() == b"abc"


async def test_an_append_without_a_byte_moves_nothing(proxy: Proxy) -> None:
    path = await proxy.create(5)
    for offset in (0, 3):
        answer = await proxy.patch(path, offset, b"")
        assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(offset))
        assert await proxy.offset(path) == offset
        await proxy.patch(path, offset, b"abc"[offset:])


async def test_the_metadata_are_told_as_sent_of_a_finished_upload_too(proxy: Proxy) -> None:
    sent = metadata(filename="x.bin", anything="ü")
    path = await proxy.create(3, **{"Upload-Metadata": sent})
    await proxy.patch(path, 0, b"abc")
    head = await proxy.client.head(path, headers=TUS)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Metadata"]) == ("3", sent)


async def test_first_bytes_beyond_the_length_are_refused_and_not_stored(proxy: Proxy, directory: Path) -> None:
    answer = await proxy.client.post("/files", data=b"abcdef", headers={**BYTES, "Upload-Length": "3"})
    await problem(answer, 413, "length-exceeded")
    assert leftovers(directory) == []
    assert names(directory) == [".uploads"]


async def test_a_creation_that_asks_is_told_to_send_its_first_bytes(proxy: Proxy) -> None:
    lines = ("Upload-Length: 9", "Content-Length: 3", "Content-Type: " + BYTES["Content-Type"], "Expect: 100-continue")
    raw = await proxy.raw(opening("POST", "/files", *lines))
    assert (await raw.head())[0] == 100
    await raw.send(b"abc")
    status, headers = await raw.head()
    assert (status, headers["Upload-Offset"]) == (201, "3")
    await raw.close()


async def test_creation_takes_the_first_bytes_along(proxy: Proxy, directory: Path) -> None:
    headers = {**BYTES, "Upload-Length": "6", "Upload-Metadata": metadata(filename="w.bin")}
    answer = await proxy.client.post("/files", data=b"abc", headers=headers)
    assert (answer.status, answer.headers["Upload-Offset"]) == (201, "3")
    assert (await proxy.patch(answer.headers["Location"], 3, b"def")).status == 204
    assert (directory / "w.bin").read_bytes() == b"abcdef"


async def test_an_upload_without_a_byte_is_published_at_once(proxy: Proxy, directory: Path) -> None:
    path = await proxy.create(0, "empty.bin")
    assert (directory / "empty.bin").read_bytes() == b""
    assert await proxy.offset(path) == 0


async def test_first_bytes_that_are_refused_leave_no_upload_behind(proxy: Proxy, directory: Path) -> None:
    checksum = "sha256 " + base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    answer = await proxy.client.post(
        "/files", data=b"abc", headers={**BYTES, "Upload-Length": "3", "Upload-Checksum": checksum}
    )
    await problem(answer, 460, "checksum-mismatch")
    assert leftovers(directory) == []
    (manifest,) = (directory / ".uploads").rglob("info.json")
    assert '"terminated"' in manifest.read_text()


async def test_first_bytes_that_stall_tell_where_the_upload_is_and_how_far_it_came(start: Start) -> None:
    proxy = await start(limits={"body_idle_seconds": 0.2})
    raw = await proxy.raw(
        opening("POST", "/files", "Upload-Length: 9", "Content-Length: 9", "Content-Type: " + BYTES["Content-Type"]),
        b"abc",
    )
    status, headers = await raw.head()
    assert (status, headers["Upload-Offset"], headers["Connection"]) == (201, "3", "close")
    await raw.close()
    assert await proxy.offset(headers["Location"]) == 3


@pytest.mark.parametrize(
    ("fields", "appears"),
    [
        ({"relativePath": "d/e.bin", "filename": "f.bin"}, "d/e.bin"),
        ({"relativePath": "null", "filename": "f.bin"}, "f.bin"),
        ({"relativePath": "", "name": "n.bin"}, "n.bin"),
    ],
)
async def test_the_name_is_the_most_telling_one(
    proxy: Proxy, directory: Path, fields: dict[str, str], appears: str
) -> None:
    headers = {**TUS, "Upload-Length": "0", "Upload-Metadata": metadata(**fields)}
    assert (await proxy.client.post("/files", headers=headers)).status == 201
    assert (directory / appears).is_file()


async def test_without_a_name_the_upload_is_its_own(proxy: Proxy, directory: Path) -> None:
    answer = await proxy.client.post("/files/", headers={**TUS, "Upload-Length": "0"})
    assert (directory / answer.headers["Location"].rpartition(".")[2]).is_file()


async def test_the_volume_may_be_named_and_the_directory_is_the_settings(start: Start, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    proxy = await start(volumes={"other": {"path": other}}, files={"directory": "in/box"})
    fields = metadata(filename="x", volume="other")
    answer = await proxy.client.post("/files", headers={**TUS, "Upload-Length": "0", "Upload-Metadata": fields})
    assert answer.headers["Location"].startswith("/files/other.")
    assert (other / "in/box/x").is_file()


HOSTILE_NAMES = ["../x", "/etc/x", "a/../../x", ".uploads/x", "a\x00b", "a//b", "x\r\nSet-Cookie: a", "..", "y" * 300]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_a_hostile_name_is_refused(proxy: Proxy, tmp_path: Path, name: str) -> None:
    headers = {**TUS, "Upload-Length": "0", "Upload-Metadata": metadata(filename=name)}
    await problem(await proxy.client.post("/files", headers=headers), 403, "target-not-allowed")
    assert names(tmp_path) == ["share"]


@pytest.mark.parametrize(
    ("headers", "status", "slug"),
    [
        ({}, 400, "header-missing"),
        ({"Upload-Length": "-1"}, 400, "header-malformed"),
        ({"Upload-Length": "ten"}, 400, "header-malformed"),
        ({"Upload-Length": "5", "Upload-Defer-Length": "1"}, 400, "header-malformed"),
        ({"Upload-Defer-Length": "2"}, 400, "header-malformed"),
        ({"Upload-Length": str(11 << 40)}, 413, "size-exceeded"),
        ({"Upload-Length": "5", "Upload-Metadata": "a b c"}, 400, "header-malformed"),
        ({"Upload-Length": "5", "Upload-Metadata": "a YQ==,a YQ=="}, 400, "header-malformed"),
        ({"Upload-Length": "5", "Upload-Metadata": "filename /w=="}, 400, "header-malformed"),
        ({"Upload-Length": "5", "Upload-Metadata": metadata(volume="nope")}, 403, "target-not-allowed"),
        ({"Upload-Length": "5", "Upload-Order": "random"}, 400, "header-malformed"),
        ({"Upload-Length": "5", "Upload-Concat": "neither"}, 400, "header-malformed"),
        ({"Upload-Length": "5", "Upload-Concat": "final;/files/main." + "a" * 32}, 400, "header-malformed"),
        ({"Upload-Length": "5", "Tus-Resumable": "0.2.2"}, 412, "version-unsupported"),
        ({"Upload-Length": "5", "Tus-Resumable": ""}, 412, "version-unsupported"),
        ({"Upload-Length": "5", "X-HTTP-Method-Override": "BREW"}, 400, "header-malformed"),
        ({"Upload-Length": "5", "X-HTTP-Method-Override": "DELETE"}, 405, "method-unsupported"),
    ],
)
async def test_a_creation_that_cannot_be_is_refused(
    proxy: Proxy, headers: dict[str, str], status: int, slug: str
) -> None:
    answer = await proxy.client.post("/files", headers={**TUS, **headers})
    await problem(answer, status, slug)
    if status == 412:
        assert answer.headers["Tus-Version"] == "1.0.0"
    if status == 405:
        assert answer.headers["Allow"] == "OPTIONS, POST"


async def test_metadata_over_the_limit_is_refused(start: Start) -> None:
    proxy = await start(limits={"metadata_bytes_max": 40})
    headers = {**TUS, "Upload-Length": "5", "Upload-Metadata": metadata(filename="x" * 40)}
    await problem(await proxy.client.post("/files", headers=headers), 400, "header-malformed")


# ---- PATCH --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "slug"),
    [
        ({"Upload-Offset": "1"}, 409, "offset-mismatch"),
        ({"Upload-Offset": "six"}, 400, "header-malformed"),
        ({"Upload-Offset": str(2**64)}, 400, "header-malformed"),
        ({"Content-Type": "text/plain"}, 415, "media-type-unsupported"),
        ({"Tus-Resumable": "2.0.0"}, 412, "version-unsupported"),
        ({"Upload-Checksum": "sha3 abc="}, 400, "checksum-unknown"),
        ({"Upload-Checksum": "sha1 abc"}, 400, "header-malformed"),
        ({"Upload-Length": "6"}, 400, "length-inconsistent"),
        ({"Content-Encoding": "gzip"}, 400, "header-malformed"),
    ],
)
async def test_an_append_that_cannot_be_is_refused_and_changes_nothing(
    proxy: Proxy, directory: Path, headers: dict[str, str], status: int, slug: str
) -> None:
    path = await proxy.create(5)
    answer = await proxy.patch(path, 0, b"abc", **headers)
    body = await problem(answer, status, slug)
    if status == 409:
        assert answer.headers["Upload-Offset"] == "0"
        assert (body["expected"], body["received"]) == (0, 1)
    assert await proxy.offset(path) == 0
    assert leftovers(directory) == []


async def test_a_wrong_checksum_leaves_the_offset_where_it_was(proxy: Proxy) -> None:
    path = await proxy.create(6)
    await proxy.patch(path, 0, b"abc")
    wrong = "sha256 " + base64.b64encode(hashlib.sha256(b"xyz").digest()).decode()
    right = "sha256 " + base64.b64encode(hashlib.sha256(b"def").digest()).decode()
    answer = await proxy.patch(path, 3, b"def", **{"Upload-Checksum": wrong})
    await problem(answer, 460, "checksum-mismatch")
    assert answer.reason == "Checksum mismatch"
    assert await proxy.offset(path) == 3
    assert (await proxy.patch(path, 3, b"def", **{"Upload-Checksum": right})).status == 204


async def test_a_body_over_the_length_is_refused_before_it_is_read(proxy: Proxy) -> None:
    path = await proxy.create(5)
    raw = await proxy.raw(patch_opening(path, 0, 1 << 30))
    status, headers = await raw.head()
    assert (status, headers["Connection"]) == (413, "close")
    await raw.close()


async def test_a_chunked_body_over_the_length_is_refused_as_a_whole(proxy: Proxy) -> None:
    path = await proxy.create(3)
    raw = await proxy.raw(
        opening(
            "PATCH", path, "Upload-Offset: 0", "Transfer-Encoding: chunked", "Content-Type: " + BYTES["Content-Type"]
        ),
        b"4\r\nabcd\r\n0\r\n\r\n",
    )
    assert (await raw.head())[0] == 413
    await raw.close()
    assert await proxy.offset(path) == 0


async def test_with_any_order_chunks_may_come_in_any(proxy: Proxy, directory: Path) -> None:
    path = await proxy.create(6, "any.bin", **{"Upload-Order": "any"})
    second = await proxy.patch(path, 3, b"def")
    assert (second.headers["Upload-Offset"], second.headers["Upload-Committed-Offset"]) == ("6", "0")
    assert await proxy.offset(path) == 0
    first = await proxy.patch(path, 0, b"abc")
    assert (first.headers["Upload-Offset"], first.headers["Upload-Committed-Offset"]) == ("3", "6")
    assert (directory / "any.bin").read_bytes() == b"abcdef"


async def test_post_with_the_override_header_is_the_other_method(proxy: Proxy, directory: Path) -> None:
    path = await proxy.create(3, "over.bin")
    headers = {**BYTES, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert (await proxy.client.post(path, data=b"abc", headers=headers)).status == 204
    assert (directory / "over.bin").read_bytes() == b"abc"
    head = await proxy.client.post(path, headers={**TUS, "X-HTTP-Method-Override": "head"})
    assert (head.status, head.headers["Upload-Offset"]) == (200, "3")
    assert (await proxy.client.post(path, headers=TUS)).status == 405


# ---- one upload's end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "GET"])
@pytest.mark.parametrize(
    "path",
    [
        UNKNOWN,
        "/files/nope." + "0" * 32,
        "/files/main.xyz",
        "/files/" + "0" * 32,
        "/files/main." + "A" * 32,
        "/files/..%2f..%2fetc",
        "/files/main.%00",
        "/files/main." + "0" * 31 + "%0a",
    ],
)
async def test_an_upload_that_is_not_there_is_not_found(proxy: Proxy, method: str, path: str) -> None:
    answer = await proxy.client.request(method, path, headers={**BYTES, "Upload-Offset": "0"})
    assert answer.status == 404
    assert "Upload-Offset" not in answer.headers
    if method != "HEAD":
        await problem(answer, 404, "upload-not-found")


async def test_after_delete_an_upload_is_not_found(proxy: Proxy, directory: Path) -> None:
    path = await proxy.create(5)
    await proxy.patch(path, 0, b"abc")
    assert (await proxy.client.delete(path, headers=TUS)).status == 204
    assert leftovers(directory) == []
    for method in ("HEAD", "GET", "DELETE"):
        assert (await proxy.client.request(method, path, headers=TUS)).status == 404
    assert (await proxy.client.get(path + "/status")).status == 404


async def test_after_delete_a_finished_upload_is_not_found_and_its_file_stays(proxy: Proxy, directory: Path) -> None:
    path = await proxy.create(3)
    await proxy.patch(path, 0, b"abc")
    assert (await proxy.client.delete(path, headers=TUS)).status == 204
    for method in ("HEAD", "GET", "DELETE"):
        assert (await proxy.client.request(method, path, headers=TUS)).status == 404
    assert (directory / "file.bin").read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("conflict", "status", "first", "second"),
    [("keep-both", 204, b"old", b"new"), ("replace", 204, b"new", None), ("refuse", 422, b"old", None)],
)
async def test_a_taken_name_is_met_as_the_settings_say(
    start: Start, directory: Path, conflict: str, status: int, first: bytes, second: bytes | None
) -> None:
    (directory / "t.bin").write_bytes(b"old")
    proxy = await start(files={"conflict": conflict})
    path = await proxy.create(3, "t.bin")
    answer = await proxy.patch(path, 0, b"new")
    assert answer.status == status
    assert (directory / "t.bin").read_bytes() == first
    numbered = directory / "t (1).bin"
    assert (numbered.read_bytes() if numbered.exists() else None) == second
    if status == 422:
        await problem(answer, 422, "publish-failed")
        told = await (await proxy.client.get(path + "/status")).json()
        assert told["phase"] == "failed"
        assert "exists" in told["reason"]


async def test_a_planted_link_leads_nothing_out_of_the_volume(proxy: Proxy, directory: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    os.symlink(outside, directory / "way")
    path = await proxy.create(3, "way/out.bin")
    await problem(await proxy.patch(path, 0, b"abc"), 422, "publish-failed")
    assert names(outside) == []


# ---- GET ----------------------------------------------------------------------------------------------------------


async def finished(proxy: Proxy, data: bytes, name: str = "file.bin") -> str:
    path = await proxy.create(len(data), name)
    if data:
        assert (await proxy.patch(path, 0, data)).status == 204
    return path


async def test_the_finished_file_can_be_fetched_but_not_run(proxy: Proxy) -> None:
    path = await finished(proxy, b"<script>", "page.html")
    answer = await proxy.client.get(path)
    assert (answer.status, await answer.read()) == (200, b"<script>")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="page.html"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"].startswith(f'"{path.rpartition(".")[2]}-')
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("asked", "status", "content", "told"),
    [
        ({"Range": "bytes=2-4"}, 206, b"234", "bytes 2-4/10"),
        ({"Range": "bytes=7-"}, 206, b"789", "bytes 7-9/10"),
        ({"Range": "bytes=-3"}, 206, b"789", "bytes 7-9/10"),
        ({"Range": "bytes=5-999"}, 206, b"56789", "bytes 5-9/10"),
        ({"Range": "bytes=0-1,3-4"}, 200, b"0123456789", None),
        ({"Range": "lines=1-2"}, 200, b"0123456789", None),
        ({"Range": "bytes=2-4", "If-Range": '"other"'}, 200, b"0123456789", None),
    ],
)
async def test_a_range_of_the_file_is_that_range(
    proxy: Proxy, asked: dict[str, str], status: int, content: bytes, told: str | None
) -> None:
    path = await finished(proxy, b"0123456789")
    answer = await proxy.client.get(path, headers=asked)
    assert (answer.status, await answer.read()) == (status, content)
    assert answer.headers.get("Content-Range") == told


async def test_a_range_goes_on_with_the_same_version_and_never_with_another(proxy: Proxy, directory: Path) -> None:
    path = await finished(proxy, b"0123456789")
    first = (await proxy.client.get(path)).headers["ETag"]
    asked = {"Range": "bytes=2-4", "If-Range": first}
    answer = await proxy.client.get(path, headers=asked)
    assert (answer.status, await answer.read(), answer.headers["ETag"]) == (206, b"234", first)
    # The file is its owner's: written to in place, it keeps its inode, and here its size.
    file = directory / "file.bin"
    then = file.stat().st_mtime_ns
    file.write_bytes(b"abcdefghij")
    os.utime(file, ns=(then, then + 1_000))
    answer = await proxy.client.get(path, headers=asked)
    assert (answer.status, await answer.read()) == (200, b"abcdefghij")
    file.write_bytes(b"0123456789+")
    os.utime(file, ns=(then, then))
    answer = await proxy.client.get(path, headers=asked)
    assert (answer.status, await answer.read()) == (200, b"0123456789+")


async def test_a_range_behind_the_end_is_refused_with_the_size(proxy: Proxy) -> None:
    answer = await proxy.client.get(await finished(proxy, b"0123456789"), headers={"Range": "bytes=10-"})
    await problem(answer, 416, "range-unsatisfiable")
    assert answer.headers["Content-Range"] == "bytes */10"


async def test_an_empty_file_is_an_empty_answer(proxy: Proxy) -> None:
    answer = await proxy.client.get(await finished(proxy, b""))
    assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, "0", b"")


async def test_a_large_file_comes_back_as_it_went(proxy: Proxy) -> None:
    data = os.urandom(3 << 20)
    answer = await proxy.client.get(await finished(proxy, data))
    assert await answer.read() == data


async def test_an_unfinished_upload_cannot_be_fetched(proxy: Proxy) -> None:
    path = await proxy.create(5)
    await problem(await proxy.client.get(path), 409, "not-finished")


async def test_a_file_that_was_replaced_since_is_gone(proxy: Proxy, directory: Path) -> None:
    path = await finished(proxy, b"abc", "g.bin")
    (directory / "new").write_bytes(b"other")
    (directory / "new").rename(directory / "g.bin")
    await problem(await proxy.client.get(path), 410, "upload-gone")


async def test_a_file_that_ends_early_ends_the_connection(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    path = await finished(proxy, b"0123456789", "short.bin")
    found = Entry(inode=(proxy.directory / "short.bin").stat().st_ino, size=20, links=1, modified=0.0)
    monkeypatch.setattr("storage_proxy.adapters.posix_targets.entry_of", lambda _: found)
    raw = await proxy.raw(opening("GET", path))
    status, headers = await raw.head()
    assert (status, headers["Content-Length"]) == (200, "20")
    # It is over before Content-Length is reached: no client takes it for whole.
    assert len(await raw.rest()) <= 10
    await raw.close()


# ---- status -------------------------------------------------------------------------------------------------------


async def test_status_tells_how_far_an_upload_is(proxy: Proxy) -> None:
    path = await proxy.create(10, **{"Upload-Order": "any"})
    await proxy.patch(path, 6, b"gh")
    answer = await proxy.client.get(path + "/status")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    told = await answer.json()
    assert isinstance(told.pop("expires_at"), float)
    assert told == {
        "upload": path.removeprefix("/files/"),
        "total_size": 10,
        "committed_offset": 0,
        "chunks_received": [6],
        "missing_ranges": [{"offset": 0, "length": 6}, {"offset": 8, "length": 2}],
        "progress_percent": 0.0,
        "status": "pending",
        "phase": "open",
        "assembled_offset": 0,
        "reason": None,
        "digests": {},
    }


async def test_status_of_a_published_upload_is_completed(proxy: Proxy) -> None:
    told = await (await proxy.client.get(await finished(proxy, b"abc") + "/status")).json()
    assert (told["status"], told["phase"], told["committed_offset"]) == ("completed", "published", 3)
    assert (told["progress_percent"], told["missing_ranges"], told["expires_at"]) == (100.0, [], None)


# ---- trouble ------------------------------------------------------------------------------------------------------


async def test_trouble_of_the_share_is_423_on_head_and_503_elsewhere(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await proxy.create(5)

    def broken(*_: object) -> None:
        raise ShareFault(operation="refresh", reason="Input/output error")

    monkeypatch.setattr(proxy.service.volumes["main"].filesystem, "refresh", broken)
    head = await proxy.client.head(path, headers=TUS)
    assert (head.status, "Retry-After" in head.headers) == (423, True)
    await problem(await proxy.patch(path, 0, b"abc"), 503, "share-fault")


async def test_a_closed_upload_is_423_until_it_is_published(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = await start(limits={"closer_wait_seconds": 0.1})
    path = await proxy.create(3)
    filesystem = proxy.service.volumes["main"].filesystem
    link = filesystem.link_target

    def broken(*_: object) -> None:
        raise ShareFault(operation="link", reason="Input/output error")

    monkeypatch.setattr(filesystem, "link_target", broken)
    assert (await proxy.patch(path, 0, b"abc")).status == 503
    head = await proxy.client.head(path, headers=TUS)
    assert (head.status, "Retry-After" in head.headers, "Upload-Offset" in head.headers) == (423, True, False)
    monkeypatch.setattr(filesystem, "link_target", link)

    async def published() -> bool:
        return await proxy.offset(path) == 3

    await until(published)
    assert (proxy.directory / "file.bin").read_bytes() == b"abc"
