"""The examples of docs/hooks.md: a receiver that does what is written there, and a plug-in that is really installed."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.end_to_end.clients import TUS, Client
from tests.end_to_end.replicas import ROOT, Replica, Replicas, until
from tests.end_to_end.test_documentation import examples

TEXT = "any text of 16 characters and more"
OCTETS = bytes(range(24))
STANDARD = f"whsec_{base64.b64encode(OCTETS).decode()}"


@dataclass
class Receiver:
    url: str = ""
    reply: str = "{}"
    got: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append((request.headers.copy(), await request.read()))
        return web.Response(text=self.reply, content_type="application/json")

    def told(self, kind: str) -> Any:
        """The last document of that kind; None before there is one."""
        found = [document for _, body in self.got if (document := json.loads(body))["Type"] == kind]
        return found[-1] if found else None


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/uploads", receiver.handle)
    server = TestServer(app)
    await server.start_server()
    receiver.url = str(server.make_url("/uploads"))
    yield receiver
    await server.close()


async def start(replicas: Replicas, receiver: Receiver, secret: str = TEXT) -> Replica:
    """With the settings of the page, but for the address and the secret."""
    table, _ = examples("hooks.md", "toml")
    for name, own in (("https://hooks.example.org/uploads", receiver.url), ("whsec_...", secret)):
        assert name in table
        table = table.replace(name, own)
    [replica] = await replicas.start(1, more=table)
    return replica


async def finished(replica: Replica, receiver: Receiver, client: Client) -> Any:
    path = await client.create(replica.url, 5, filename="note.txt")
    assert (await client.patch(replica.url, path, 0, b"hello")).status == 204

    async def told() -> Any:
        return receiver.told("post-finish")

    return await until("post-finish is told", told)


async def test_what_is_sent_is_what_the_page_shows(replicas: Replicas, receiver: Receiver, client: Client) -> None:
    shown = json.loads(examples("hooks.md", "json")[0])
    sent = await finished(await start(replicas, receiver), receiver, client)
    upload = sent["Event"]["Upload"]
    assert sent["Id"] == f"{upload['ID']}.{sent['Number']}"
    for key in ("Id", "At", "Number"):  # what differs from one to the next
        assert type(sent[key]) is type(shown[key])
        shown[key] = sent[key]
    shown["Event"]["Upload"]["ID"] = upload["ID"]
    assert sent == shown


@pytest.mark.parametrize(("secret", "key"), [(TEXT, TEXT.encode()), (STANDARD, OCTETS)], ids=["text", "whsec"])
async def test_the_lines_that_check_a_signature_accept_what_is_sent_and_nothing_else(
    replicas: Replicas, receiver: Receiver, client: Client, secret: str, key: bytes
) -> None:
    await finished(await start(replicas, receiver, secret), receiver, client)
    (lines,) = re.findall(r"In Python:\n\n```python\n(.*?)```", (ROOT / "docs" / "hooks.md").read_text(), re.DOTALL)
    for headers, body in receiver.got:
        assert accepted(lines, key, headers, body)
        assert not accepted(lines, key, headers, body + b" ")
        assert not accepted(lines, b"another", headers, body)


def accepted(lines: str, key: bytes, headers: Mapping[str, str], body: bytes) -> bool:
    *before, last = lines.splitlines()
    said = [f"{name} = {headers[f'webhook-{name}']!r}" for name in ("id", "timestamp", "signature")]
    program = ["import base64, hashlib, hmac", f"key, body = {key!r}, {body!r}", *said, *before, f"print({last})"]
    done = subprocess.run([sys.executable, "-c", "\n".join(program)], capture_output=True, text=True, check=True)
    return done.stdout == "True\n"


async def test_a_reply_that_refuses_reaches_the_client(replicas: Replicas, receiver: Receiver, client: Client) -> None:
    replica = await start(replicas, receiver)
    receiver.reply = examples("hooks.md", "json")[1]
    headers = {**TUS, "Upload-Length": "5", "X-User": "seven"}
    answer = await client.ask("POST", f"{replica.url}/files", headers)
    assert (answer.status, answer.json["detail"]) == (403, "Only files of up to 1 GiB here.")
    assert receiver.told("pre-create")["Event"]["HTTPRequest"]["Header"] == {"X-User": ["seven"]}


async def test_a_reply_that_says_where_the_file_is_to_appear_is_heeded(
    replicas: Replicas, receiver: Receiver, client: Client
) -> None:
    (receiver.reply,) = re.findall(r"`(\{\"ChangeFileInfo\".*\})`", (ROOT / "docs" / "hooks.md").read_text())
    await finished(await start(replicas, receiver), receiver, client)
    assert (replicas.data / "user-7" / "note.txt").read_bytes() == b"hello"


# ---- in Python ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package made of the page's two examples, installed by pip into a directory of its own; nothing is loaded."""
    home = tmp_path_factory.mktemp("plugin")
    project, site = home / "project", home / "site"
    (project / "our_package").mkdir(parents=True)
    build = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    _, entry_point = examples("hooks.md", "toml")
    (project / "pyproject.toml").write_text(f'{build}[project]\nname = "our-package"\nversion = "1"\n{entry_point}')
    (project / "our_package" / "__init__.py").touch()
    (project / "our_package" / "hooks.py").write_text(examples("hooks.md", "python", "In Python")[0])
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    words = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(site), str(project)]
    done = subprocess.run([*pip, *words], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return site


def turned_on() -> str:
    (line,) = re.findall(r"`\[hooks\] (plugins = \[.*?\])`", (ROOT / "docs" / "hooks.md").read_text())
    return f"[hooks]\n{line}"


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_plug_in_that_is_installed_is_asked_and_told(
    replicas: Replicas, client: Client, installed: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # what it prints is looked for while it runs
    [replica] = await replicas.start(1, more=turned_on(), workers=workers)
    refused = await client.try_to_create(replica.url, (1 << 30) + 1, filename="big.bin")
    assert (refused.status, refused.json["detail"]) == (403, "Only files of up to 1 GiB here.")
    path = await client.create(replica.url, 5, filename="note.txt")
    assert (await client.patch(replica.url, path, 0, b"hello")).status == 204

    async def printed() -> bool:
        return "note.txt" in replica.log.read_text().splitlines()

    await until("post_finish has printed where the file is", printed)
    assert (replicas.data / "note.txt").read_bytes() == b"hello"


async def test_a_plug_in_that_is_not_installed_stops_the_start_with_a_sentence(replicas: Replicas) -> None:
    replica = Replica("careless", replicas.data, replicas.home, more=turned_on())
    replicas.all.append(replica)
    replica.launch()
    assert await replica.ended(20) != 0
    assert "no installed package has an entry point 'ours'" in replica.last_lines()
