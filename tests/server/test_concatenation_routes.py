"""Concatenation over HTTP: what parts and final uploads answer, and which URLs are taken for parts."""

from aiohttp import ClientResponse

from tests.server.proxy import TUS, Proxy, Start, leftovers, metadata, names, problem, until


async def part(proxy: Proxy, body: bytes, sent: int | None = None, **headers: str) -> str:
    path = await proxy.create(len(body), **{"Upload-Concat": "partial", **headers})
    if body[:sent]:
        assert (await proxy.patch(path, 0, body[:sent])).status == 204
    return path


async def join(proxy: Proxy, *urls: str, at: str = "/files", **headers: str) -> ClientResponse:
    name = {"Upload-Metadata": metadata(filename="whole.bin")}
    return await proxy.client.post(at, headers={**TUS, "Upload-Concat": f"final;{' '.join(urls)}", **name, **headers})


async def test_parts_become_one_file_under_the_final_uploads_name(proxy: Proxy) -> None:
    paths = [await part(proxy, b"hello"), await part(proxy, b" world")]
    answer = await join(proxy, *paths)
    assert answer.status == 201
    path = answer.headers["Location"]
    head = await proxy.client.head(path, headers=TUS)
    assert head.headers["Upload-Concat"] == f"final;{' '.join(paths)}"
    assert head.headers["Upload-Offset"] == head.headers["Upload-Length"] == "11"
    assert await (await proxy.client.get(path)).read() == b"hello world"
    assert names(proxy.directory) == [".uploads", "whole.bin"], "parts have no names of their own"


async def test_a_final_upload_has_the_metadata_of_its_own_creation_and_not_its_parts(proxy: Proxy) -> None:
    first = await part(proxy, b"hello", None, **{"Upload-Metadata": metadata(filename="part.bin", colour="red")})
    own = metadata(filename="whole.bin", taste="sweet")
    for told, header in (({"Upload-Metadata": own}, own), ({"Upload-Metadata": ""}, None)):
        path = (await join(proxy, first, **told)).headers["Location"]
        head = await proxy.client.head(path, headers=TUS)
        assert head.headers.get("Upload-Metadata") == header
    assert "part.bin" not in names(proxy.directory)


async def test_parts_are_found_by_every_spelling_of_their_urls(start: Start) -> None:
    proxy = await start(server={"base_path": "/storage", "trusted_proxies": ["127.0.0.0/8"]})
    first = await part(proxy, b"a")
    assert first.startswith("/storage/files/")
    name = first.rpartition("/")[2]
    spellings = [first, f"/files/{name}", f"https://public.example{first}", f"http://127.0.0.1/files/{name}?x=y"]
    assert (await join(proxy, *spellings)).status == 201
    assert (await join(proxy, name, f"./{name}", at="/storage/files/")).status == 201
    told = {"X-Forwarded-Prefix": "/deep"}
    assert (await join(proxy, f"/deep/files/{name}", **told)).status == 201
    await problem(await join(proxy, f"/deep/files/{name}"), 400, "header-malformed")
    await problem(await join(proxy, f"/other/{name}"), 400, "header-malformed")
    await problem(await join(proxy, "/files/main.unknown"), 404, "upload-not-found")


async def test_a_part_says_what_it_is_as_long_as_it_is_there(proxy: Proxy) -> None:
    path = await part(proxy, b"hello", 3)
    for offset in ("3", "5"):
        head = await proxy.client.head(path, headers=TUS)
        assert (head.status, head.headers["Upload-Concat"]) == (200, "partial")
        assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == (offset, "5")
        assert "Upload-Expires" in head.headers
        if offset == "3":
            answer = await proxy.patch(path, 3, b"lo", **{"Upload-Concat": "partial"})
            assert (answer.status, answer.headers["Upload-Offset"]) == (204, "5")
    await problem(await proxy.client.get(path), 409, "part-has-no-file")
    assert (await proxy.client.delete(path, headers=TUS)).status == 204
    assert leftovers(proxy.directory) == []


async def test_a_final_upload_waits_without_an_offset_and_takes_no_bytes(proxy: Proxy) -> None:
    slow = await part(proxy, b"hello", 3)
    answer = await join(proxy, slow, await part(proxy, b" world"))
    assert answer.status == 201
    path = answer.headers["Location"]
    head = await proxy.client.head(path, headers=TUS)
    assert (head.status, head.headers["Upload-Length"], "Upload-Offset" in head.headers) == (200, "11", False)
    assert "Upload-Defer-Length" not in head.headers
    await problem(await proxy.patch(path, 0, b"HELLO"), 403, "final-takes-no-bytes")
    await problem(await proxy.client.get(path), 423, "parts-unfinished")
    assert (await proxy.patch(slow, 3, b"lo")).status == 204

    async def published() -> bool:
        # Nobody asks for it: who completes the last part sees to it.
        return "whole.bin" in names(proxy.directory)

    await until(published)
    await problem(await proxy.patch(path, 11, b"!"), 403, "final-takes-no-bytes")
    assert (proxy.directory / "whole.bin").read_bytes() == b"hello world"


async def test_a_final_upload_whose_part_is_gone_says_so(proxy: Proxy) -> None:
    slow = await part(proxy, b"hello", 3)
    path = (await join(proxy, slow)).headers["Location"]
    assert (await proxy.client.delete(slow, headers=TUS)).status == 204
    body = await problem(await proxy.client.get(path + "/status"), 410, "upload-gone")
    assert slow.rpartition(".")[2] in body["detail"]


async def test_a_name_that_is_taken_is_told_to_who_joins(start: Start) -> None:
    proxy = await start(files={"conflict": "refuse"})
    (proxy.directory / "whole.bin").write_bytes(b"old")
    first = await part(proxy, b"hello")
    await problem(await join(proxy, first), 422, "publish-failed")
    # The parts are there for another try, under another name.
    answer = await join(proxy, first, **{"Upload-Metadata": metadata(filename="other.bin")})
    assert answer.status == 201
    assert (proxy.directory / "other.bin").read_bytes() == b"hello"
    assert (proxy.directory / "whole.bin").read_bytes() == b"old"


async def test_what_is_joined_is_on_one_volume(start: Start, proxy: Proxy) -> None:
    other = proxy.directory / "other"
    other.mkdir()
    both = await start(volumes={"second": {"path": other}})
    first = await part(both, b"hello", None, **{"Upload-Metadata": metadata(volume="second")})
    assert (await join(both, first)).status == 201, "the parts' volume, where none is named"
    assert (other / "whole.bin").read_bytes() == b"hello"
    named = {"Upload-Metadata": metadata(filename="x", volume="main")}
    body = await problem(await join(both, first, **named), 400, "part-unusable")
    assert "'second'" in body["detail"]


async def test_a_final_upload_has_no_body_and_no_length_of_its_own(proxy: Proxy) -> None:
    first = await part(proxy, b"hello")
    await problem(await join(proxy, first, **{"Upload-Length": "5"}), 400, "header-malformed")
    await problem(await join(proxy, first, **{"Upload-Defer-Length": "1"}), 400, "header-malformed")


async def test_a_part_may_come_with_its_creation(proxy: Proxy) -> None:
    headers = {**TUS, "Upload-Length": "5", "Upload-Concat": "partial"}
    headers["Content-Type"] = "application/offset+octet-stream"
    answer = await proxy.client.post("/files", data=b"hello", headers=headers)
    assert (answer.status, answer.headers["Upload-Offset"]) == (201, "5")
    assert (await join(proxy, answer.headers["Location"])).status == 201
    assert (proxy.directory / "whole.bin").read_bytes() == b"hello"
