import os
import re
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from storage_proxy.wire import tokens
from storage_proxy.wire.tokens import SessionClaims
from tests.server.proxy import BYTES, TUS, Proxy, Start, names, opening, patch_opening, problem, until

TOKEN_SECRET = "a secret of the tests, for tokens"
MANAGER_SECRET = "a secret of the tests, for managers"
SECTIONS: dict[str, Any] = {"tokens": {"secret": TOKEN_SECRET}}
MANAGED: dict[str, Any] = {**SECTIONS, "manager": {"listen": "127.0.0.1:0", "secret": MANAGER_SECRET}}


async def open_session(
    proxy: Proxy, size: int, relpath: str = "file.bin", expires_in: float = 3600.0, vfid: str = "folder"
) -> str:
    """A session as the manager opens it; its token, that may be over already."""
    from storage_proxy.core.manifest import Order, Policy
    from storage_proxy.core.target import Target, folder_path, join
    from storage_proxy.operations.create import Wanted, create, new_upload_id

    service = proxy.service
    upload = new_upload_id(service, "main")
    folder = folder_path(service.volumes["main"].layout, vfid)
    await create(service, upload, Wanted(Target("main", join(folder, relpath)), size, Order.ANY, Policy.REPLACE))
    claims = SessionClaims("main", vfid, relpath, size, upload.key, service.clock.now() + expires_in)
    return tokens.mint(claims, TOKEN_SECRET)


def at(token: str, path: str = "/upload", **query: str) -> str:
    return str(URL(path).with_query({"token": token, **query}))


@pytest.fixture
async def proxy(start: Start) -> Proxy:
    return await start(**SECTIONS)


async def test_a_session_is_filled_in_any_order(proxy: Proxy, directory: Path) -> None:
    token = await open_session(proxy, 10, "a/b.bin")
    second = await proxy.patch(at(token), 6, b"6789")
    assert (second.status, second.headers["Upload-Offset"]) == (204, "10")
    assert second.headers["Upload-Committed-Offset"] == "0"
    assert second.headers["X-Backend-Ai-Chunks-Received"] == "1"
    assert second.headers["X-Backend-Ai-Progress-Percent"] == "0.00"
    assert second.headers["X-Backend-Ai-Total-Expected"] == "10"
    told = await (await proxy.client.get(at(token, "/upload/status"))).json()
    assert told["session"] == re.findall(r'"session": ?"([0-9a-f]{32})"', str(told).replace("'", '"'))[0]
    assert (told["total_size"], told["committed_offset"], told["chunks_received"]) == (10, 0, [6])
    assert told["missing_ranges"] == [{"offset": 0, "length": 6}]
    assert (told["status"], told["phase"]) == ("pending", "open")
    first = await proxy.patch(at(token), 0, b"012345")
    assert (first.status, first.headers["Upload-Offset"]) == (204, "6")
    assert first.headers["X-Backend-Ai-Chunks-Received"] == "2"
    assert first.headers["X-Backend-Ai-Progress-Percent"] == "100.00"
    assert (directory / "folder/a/b.bin").read_bytes() == b"0123456789"
    head = await proxy.client.head(at(token), headers=TUS)
    assert (head.status, head.headers["Upload-Offset"], head.headers["Upload-Length"]) == (200, "10", "10")
    told = await (await proxy.client.get(at(token, "/upload/status"))).json()
    assert (told["status"], told["phase"], told["progress_percent"]) == ("completed", "published", 100.0)


async def test_status_can_be_read_by_a_page(proxy: Proxy) -> None:
    answer = await proxy.client.get(at(await open_session(proxy, 3), "/upload/status"))
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_same_chunk_again_is_a_success_and_another_one_is_not(proxy: Proxy, directory: Path) -> None:
    token = await open_session(proxy, 10)
    for _ in range(2):
        again = await proxy.patch(at(token), 2, b"2345")
        assert (again.status, again.headers["Upload-Offset"]) == (204, "6")
        assert again.headers["X-Backend-Ai-Chunks-Received"] == "1"
    answer = await proxy.patch(at(token), 2, b"XXXX")
    body = await problem(answer, 409, "chunk-conflict")
    assert (body["start"], answer.headers["Upload-Offset"]) == (2, "0")
    overlapping = await proxy.patch(at(token), 0, b"01234567")
    assert overlapping.status == 204
    assert (await proxy.patch(at(token), 8, b"89")).status == 204
    assert (directory / "folder/file.bin").read_bytes() == b"0123456789"
    late = await proxy.patch(at(token), 2, b"2345")
    assert (late.status, late.headers["Upload-Offset"]) == (204, "6")


async def test_a_chunk_over_the_size_is_refused_before_its_body(proxy: Proxy) -> None:
    token = await open_session(proxy, 10)
    raw = await proxy.raw(patch_opening(at(token), 5, 6))
    assert (await raw.head())[0] == 413
    await raw.close()
    assert (await proxy.patch(at(token), 11, b"x")).status == 413


@pytest.mark.parametrize("left_out", [{"Tus-Resumable"}, {"Content-Type"}, {"Tus-Resumable", "Content-Type"}])
async def test_clients_that_leave_headers_out_are_served_as_they_always_were(proxy: Proxy, left_out: set[str]) -> None:
    token = await open_session(proxy, 3)
    lines = [
        "PATCH " + at(token) + " HTTP/1.1",
        "Host: test",
        "Upload-Offset: 0",
        "Content-Length: 3",
        *(f"{name}: {value}" for name, value in BYTES.items() if name not in left_out),
        "",
    ]
    raw = await proxy.raw("\n".join(lines), b"abc")
    assert (await raw.head())[0] == 204
    await raw.close()
    head = await proxy.client.head(at(token))
    assert (head.status, head.headers["Upload-Offset"]) == (200, "3")


async def test_the_type_that_libraries_add_is_accepted(proxy: Proxy) -> None:
    token = await open_session(proxy, 3)
    answer = await proxy.patch(at(token), 0, b"abc", **{"Content-Type": "application/octet-stream"})
    assert answer.status == 204


@pytest.mark.parametrize(
    ("headers", "status", "slug"),
    [
        ({"Content-Type": "text/plain"}, 415, "media-type-unsupported"),
        ({"Tus-Resumable": "2.0.0"}, 412, "version-unsupported"),
        ({"Upload-Offset": "-1"}, 400, "header-malformed"),
        ({"Upload-Length": "9"}, 400, "length-inconsistent"),
        ({"Upload-Checksum": "crc64 AAAA"}, 400, "checksum-unknown"),
        ({"Content-Encoding": "br"}, 400, "header-malformed"),
    ],
)
async def test_a_chunk_that_cannot_be_is_refused(proxy: Proxy, headers: dict[str, str], status: int, slug: str) -> None:
    token = await open_session(proxy, 10)
    await problem(await proxy.patch(at(token), 0, b"abc", **headers), status, slug)
    assert await proxy.offset(at(token)) == 0


async def test_a_chunk_without_offset_is_refused(proxy: Proxy) -> None:
    answer = await proxy.client.patch(at(await open_session(proxy, 3)), data=b"abc", headers=BYTES)
    await problem(answer, 400, "header-missing")


# ---- POST, OPTIONS ------------------------------------------------------------------------------------------------


async def test_post_answers_where_the_upload_is_again_and_again(proxy: Proxy) -> None:
    token = await open_session(proxy, 6)
    await proxy.patch(at(token), 0, b"abc")
    for _ in range(2):
        answer = await proxy.client.post(at(token, dst_dir="x y"), headers={**TUS, "Upload-Length": "6"})
        assert (answer.status, answer.headers["Upload-Offset"]) == (201, "3")
        location = answer.headers["Location"]
        assert location.startswith("/upload?token=" + token)
        assert URL(location).query == {"token": token, "dst_dir": "x y"}
    assert (await proxy.patch(location, 3, b"def")).status == 204


async def test_post_with_another_length_is_refused(proxy: Proxy) -> None:
    token = await open_session(proxy, 6)
    await problem(await proxy.client.post(at(token), headers={**TUS, "Upload-Length": "7"}), 400, "length-inconsistent")


async def test_post_may_stand_for_patch(proxy: Proxy) -> None:
    token = await open_session(proxy, 3)
    headers = {**BYTES, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert (await proxy.client.post(at(token), data=b"abc", headers=headers)).status == 204


async def test_options_needs_no_token(proxy: Proxy) -> None:
    answer = await proxy.client.options("/upload")
    assert answer.status == 200
    assert answer.headers["Tus-Version"] == "1.0.0"
    # Uploads are created and ended by others, and chunks come in any order because the settings say so.
    assert answer.headers["Tus-Extension"] == "checksum,checksum-trailer,expiration,unordered"


async def test_options_does_not_offer_the_order_that_the_settings_forbid(start: Start) -> None:
    proxy = await start(**SECTIONS, sessions={"order": "sequential"})
    assert (await proxy.client.options("/upload")).headers["Tus-Extension"] == "checksum,checksum-trailer,expiration"


async def test_a_session_is_no_part_of_another_upload(proxy: Proxy) -> None:
    headers = {**TUS, "Upload-Length": "6", "Upload-Concat": "partial"}
    await problem(await proxy.client.post(at(await open_session(proxy, 6)), headers=headers), 400, "header-malformed")


@pytest.mark.parametrize("method", ["DELETE", "GET", "PUT"])
async def test_other_methods_are_not_possible(proxy: Proxy, method: str) -> None:
    answer = await proxy.client.request(method, at(await open_session(proxy, 3)), headers=TUS)
    await problem(answer, 405, "method-unsupported")
    assert answer.headers["Allow"] == "OPTIONS, HEAD, PATCH, POST"


# ---- tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/upload", "/upload/status"])
@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "\r\nX: y", "é", "a" * 9000, "../../etc"]
)
async def test_a_token_that_is_none_is_400(proxy: Proxy, path: str, token: str) -> None:
    method = "GET" if path.endswith("status") else "PATCH"
    answer = await proxy.client.request(method, at(token, path), headers={**BYTES, "Upload-Offset": "0"})
    await problem(answer, 400, "token-rejected")


async def test_a_token_that_is_missing_is_400(proxy: Proxy) -> None:
    await problem(await proxy.client.patch("/upload", headers=BYTES), 400, "token-rejected")


async def test_somebody_elses_token_is_400_also_on_head(proxy: Proxy) -> None:
    claims = SessionClaims("main", "folder", "x", 3, "0" * 32, 4e9)
    head = await proxy.client.head(
        at(tokens.mint(claims, "somebody else has this secret, and it is long")), headers=TUS
    )
    assert head.status == 400


async def test_an_expired_token_begins_nothing(proxy: Proxy) -> None:
    token = await open_session(proxy, 3, expires_in=-1.0)
    answer = await proxy.patch(at(token), 0, b"abc")
    body = await problem(answer, 400, "token-rejected")
    assert "expired" in body["detail"]


async def test_an_expired_token_goes_on_with_what_it_has_begun(start: Start) -> None:
    proxy = await start(**SECTIONS)
    strict = await start(tokens={"secret": TOKEN_SECRET, "outlive": False})
    token = await open_session(proxy, 6, expires_in=-1.0)
    claims = tokens.read(token, TOKEN_SECRET, 0.0).claims
    alive = tokens.mint(SessionClaims(claims.volume, claims.vfid, claims.relpath, 6, claims.session, 4e9), TOKEN_SECRET)
    # Out of order: begun, although the prefix is still 0.
    assert (await proxy.patch(at(alive), 3, b"def")).status == 204
    await problem(await strict.patch(at(token), 0, b"abc"), 400, "token-rejected")
    assert (await proxy.patch(at(token), 0, b"abc")).status == 204
    assert await proxy.offset(at(token)) == 6


async def test_an_upload_that_is_not_there_is_404(proxy: Proxy) -> None:
    for volume in ("main", "nope"):
        claims = SessionClaims(volume, "folder", "x", 3, "0" * 32, 4e9)
        answer = await proxy.patch(at(tokens.mint(claims, TOKEN_SECRET)), 0, b"abc")
        await problem(answer, 404, "upload-not-found")


async def test_without_a_secret_there_are_no_sessions(start: Start) -> None:
    proxy = await start()
    assert (await proxy.client.head("/upload?token=x")).status == 404


# ---- dst_dir ------------------------------------------------------------------------------------------------------


async def test_dst_dir_is_a_directory_below_the_folder(proxy: Proxy, directory: Path) -> None:
    token = await open_session(proxy, 6, "f.bin")
    assert (await proxy.patch(at(token, dst_dir="/new/deep/"), 0, b"abc")).status == 204
    # Another spelling of the same, and none at all, are fine; another directory is not.
    await problem(await proxy.patch(at(token, dst_dir="other"), 3, b"def"), 403, "target-not-allowed")
    assert (await proxy.patch(at(token, dst_dir="./new//deep"), 3, b"def")).status == 204
    assert (directory / "folder/new/deep/f.bin").read_bytes() == b"abcdef"


@pytest.mark.parametrize("hostile", ["..", "../..", "a/../../b", "/../x", "a\x00b", "a\nb", "x" * 300])
@pytest.mark.parametrize("method", ["PATCH", "HEAD", "POST"])
async def test_a_dst_dir_that_climbs_out_is_refused(
    proxy: Proxy, tmp_path: Path, directory: Path, hostile: str, method: str
) -> None:
    token = await open_session(proxy, 3)
    answer = await proxy.client.request(
        method,
        at(token, dst_dir=hostile),
        data=b"abc" if method == "PATCH" else None,
        headers={**BYTES, "Upload-Offset": "0"},
    )
    assert answer.status == 403
    assert await proxy.offset(at(token)) == 0
    assert names(tmp_path) == ["share"]
    assert names(directory) == [".uploads"]


async def test_a_planted_link_leads_no_session_out_of_the_volume(proxy: Proxy, directory: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (directory / "folder").mkdir()
    os.symlink(outside, directory / "folder/way")
    token = await open_session(proxy, 3)
    await problem(await proxy.patch(at(token, dst_dir="way"), 0, b"abc"), 422, "publish-failed")
    assert names(outside) == []


async def test_a_session_replaces_the_file_of_its_name(proxy: Proxy, directory: Path) -> None:
    (directory / "folder").mkdir()
    (directory / "folder/file.bin").write_bytes(b"older")
    token = await open_session(proxy, 3)
    assert (await proxy.patch(at(token), 0, b"new")).status == 204
    assert (directory / "folder/file.bin").read_bytes() == b"new"


async def test_a_dropped_chunk_of_a_session_is_kept_as_far_as_it_came(proxy: Proxy) -> None:
    token = await open_session(proxy, 100)
    head = patch_opening(at(token), 0, 100, "Expect: 100-continue")
    raw = await proxy.raw(head)
    assert (await raw.head())[0] == 100
    await raw.send(b"x" * 40)
    await raw.close()

    async def kept() -> bool:
        return await proxy.offset(at(token)) == 40

    await until(kept)


async def test_a_path_that_only_looks_like_ours_is_not_found(proxy: Proxy) -> None:
    raw = await proxy.raw(opening("GET", "/upload/status/../../etc/passwd"))
    assert (await raw.head())[0] == 404
    await raw.close()
