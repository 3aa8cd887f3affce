"""What cannot fit, over HTTP: refused before a byte of it is sent."""

import os
from pathlib import Path

from tests.server.proxy import BYTES, TUS, Proxy, Start, metadata, problem


def total_of(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_blocks * found.f_frsize


def uploads(directory: Path) -> list[Path]:
    return list((directory / ".uploads").glob("??/*"))


async def test_more_than_is_free_is_507_and_more_than_there_ever_is_413(proxy: Proxy, directory: Path) -> None:
    total = total_of(directory)
    answer = await proxy.client.post("/files", headers={**TUS, "Upload-Length": str(total)})
    told = await problem(answer, 507, "space-short")
    assert told["size"] == total
    assert 0 < told["free"] < total
    assert answer.headers["Retry-After"] == "60"
    await problem(
        await proxy.client.post("/files", headers={**TUS, "Upload-Length": str(total + 1)}), 413, "volume-too-small"
    )
    with_bytes = {**BYTES, "Upload-Length": str(total), "Upload-Metadata": metadata(filename="a")}
    await problem(await proxy.client.post("/files", headers=with_bytes, data=b"first"), 507, "space-short")
    assert uploads(directory) == []


async def test_a_length_that_is_told_late_is_refused_and_the_upload_stays(proxy: Proxy, directory: Path) -> None:
    path = await proxy.create(None)
    await proxy.patch(path, 0, b"hello")
    length = str(total_of(directory))
    await problem(await proxy.patch(path, 5, b"", **{"Upload-Length": length}), 507, "space-short")
    assert await proxy.offset(path) == 5
    assert (await proxy.patch(path, 5, b"", **{"Upload-Length": "5"})).status == 204


async def test_without_the_check_the_share_decides(start: Start, directory: Path) -> None:
    proxy = await start(storage={"check_space": False})
    await proxy.create(total_of(directory) + 1)
