"""104: where an upload is, told before its answer."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from storage_proxy.wire.ietf import Dialect
from tests.server.proxy import Proxy, Raw, Start, until
from tests.server.test_ietf_routes import EVERY, V6, V9, appending, complete, disposition, looked, opened, version


def opening(method: str, path: str, dialect: Dialect, *lines: str, http: str = "1.1") -> str:
    fields = {**version(dialect), **{"Host": "test"}}
    return "\n".join([f"{method} {path} HTTP/{http}", *(f"{k}: {v}" for k, v in fields.items()), *lines, ""])


def line(fields: Mapping[str, str]) -> str:
    ((name, value),) = fields.items()
    return f"{name}: {value}"


async def announced(raw: Raw, dialect: Dialect) -> str:
    """The Location of the 104 that comes next."""
    status, headers = await raw.head()
    assert status == 104
    assert headers["Upload-Draft-Interop-Version"] == str(dialect.version)
    assert ("Upload-Limit" in headers) == (dialect.version >= 6)
    return headers["Location"]


@EVERY
async def test_104_tells_where_the_upload_is_before_a_byte_of_it_has_come(
    proxy: Proxy, directory: Path, dialect: Dialect
) -> None:
    raw = await proxy.raw(
        opening(
            "POST",
            "/files",
            dialect,
            line(complete(dialect, True)),
            "Content-Length: 5",
            *map(line, [disposition("a.bin")]),
        )
    )
    path = await announced(raw, dialect)
    assert (await looked(proxy, dialect, path))["Upload-Offset"] == "0"
    await raw.send(b"hello")
    status, headers = await raw.head()
    assert status == 201
    assert headers["Location"] == path
    assert (directory / "a.bin").read_bytes() == b"hello"
    await raw.close()


@EVERY
async def test_a_client_that_was_cut_off_while_it_created_goes_on_where_104_said(
    proxy: Proxy, directory: Path, dialect: Dialect
) -> None:
    data = os.urandom(300_000)
    raw = await proxy.raw(
        opening("POST", "/files", dialect, line(complete(dialect, True)), f"Content-Length: {len(data)}",
                line(disposition("a.bin"))),
        data[:200_000],
    )  # fmt: skip
    path = await announced(raw, dialect)
    await raw.close()

    async def stands_there() -> bool:
        return (await looked(proxy, dialect, path))["Upload-Offset"] == "200000"

    await until(stands_there)
    answer = await appending(proxy, dialect, path, 200_000, data[200_000:], whole=True)
    assert answer.status == 201
    assert hashlib.sha256((directory / "a.bin").read_bytes()).digest() == hashlib.sha256(data).digest()


@EVERY
@pytest.mark.parametrize("creating", [True, False])
async def test_104_tells_what_need_not_be_kept_any_more(start: Start, dialect: Dialect, creating: bool) -> None:
    proxy = await start(checkpoints={"bytes": 65536, "seconds": 0.05})
    path = "/files" if creating else await opened(proxy, dialect)
    raw = await proxy.raw(
        opening("POST" if creating else "PATCH", path, dialect, line(complete(dialect, True)),
                *([] if creating else ["Upload-Offset: 0", "Content-Type: application/partial-upload"]),
                "Content-Length: 200000"),
        bytes(100_000),
    )  # fmt: skip
    if creating:
        path = await announced(raw, dialect)
    if dialect.version >= 5:
        told = 0
        while told < 100_000:
            status, headers = await raw.head()
            assert status == 104
            assert "Location" not in headers
            assert int(headers["Upload-Offset"]) > told
            told = int(headers["Upload-Offset"])
            assert int((await looked(proxy, dialect, path))["Upload-Offset"]) >= told
    else:

        async def committed() -> bool:
            return (await looked(proxy, dialect, path))["Upload-Offset"] == "100000"

        await until(committed)
    await raw.send(bytes(100_000))
    status = 104
    while status == 104:
        status, headers = await raw.head()
        assert status != 104 or dialect.version >= 5
    assert (status, headers["Upload-Offset"]) == (201, "200000")
    await raw.close()


async def test_100_is_not_left_out_because_104_was_sent(proxy: Proxy) -> None:
    raw = await proxy.raw(
        opening("POST", "/files", V9, "Upload-Complete: ?1", "Content-Length: 5", "Expect: 100-continue")
    )
    await announced(raw, V9)
    assert (await raw.head())[0] == 100
    await raw.send(b"hello")
    assert (await raw.head())[0] == 201
    await raw.close()


async def test_http_1_0_gets_no_interim_answer(proxy: Proxy) -> None:
    raw = await proxy.raw(
        opening("POST", "/files", V6, "Upload-Complete: ?1", "Content-Length: 5", http="1.0"), b"hello"
    )
    assert (await raw.head())[0] == 201
    await raw.close()


async def test_a_creation_that_is_refused_at_once_gets_no_104(proxy: Proxy) -> None:
    raw = await proxy.raw(opening("POST", "/files", V6, "Upload-Complete: ?1", "Content-Length: 5", "Upload-Length: 6"))
    assert (await raw.head())[0] == 400
    await raw.close()


@pytest.mark.parametrize(
    ("when", "traces", "sent"),
    [
        ("never", [], False),
        ("direct", [], True),
        ("direct", ["X-Forwarded-For: 192.0.2.1"], False),
        ("direct", ["Forwarded: for=192.0.2.1"], False),
        ("direct", ["Via: 1.1 proxy"], False),
        ("always", ["X-Forwarded-For: 192.0.2.1"], True),
    ],
)
async def test_104_is_sent_when_the_settings_say_so(start: Start, when: str, traces: list[str], sent: bool) -> None:
    proxy = await start(files={"interim_responses": when})
    raw = await proxy.raw(opening("POST", "/files", V6, "Upload-Complete: ?1", "Content-Length: 5", *traces), b"hello")
    assert (await raw.head())[0] == (104 if sent else 201)
    await raw.close()


async def test_a_connection_goes_on_after_104(proxy: Proxy) -> None:
    raw = await proxy.raw(opening("POST", "/files", V6, "Upload-Complete: ?1", "Content-Length: 5"), b"hello")
    path = await announced(raw, V6)
    assert (await raw.head())[0] == 201
    await raw.send(opening("HEAD", path, V6).replace("\n", "\r\n").encode() + b"\r\n")
    status, headers = await raw.head()
    assert (status, headers["Upload-Offset"]) == (204, "5")
    await raw.close()
