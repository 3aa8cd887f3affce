"""What a person does on the upload page, and what a person sees there, as expressions and steps for tests.

Rules: a row is known by the name it shows and a button by its label; what is hidden is not there.
"""

import json
import random
from pathlib import Path
from typing import Any

from storage_proxy.adapters.page_files import read_page
from tests.end_to_end import chromium
from tests.end_to_end.balancer import Balancer
from tests.end_to_end.chromium import Tab
from tests.end_to_end.replicas import Replicas, until

WHY_NOT = chromium.missing() or (None if read_page() else "the upload page is not built; `make page` does it")

# What the page keeps for a later visit.
REMEMBERED = """\
indexedDB.databases().then(([{name}]) => new Promise((resolve) => {
  indexedDB.open(name).onsuccess = ({target: {result: database}}) => {
    database.transaction('uploads').objectStore('uploads').getAll().onsuccess = ({target}) => {
      database.close()
      resolve(target.result.map(({url, path, paused}) => ({url: new URL(url).pathname, path, paused})))
    }
  }
}))"""


def random_file(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def row(name: str) -> str:
    """An expression for the row of this file."""
    return f"[...document.querySelectorAll('.row')].find(r => r.querySelector('.name').innerText === {name!r})"


def button(name: str, label: str) -> str:
    return f"[...{row(name)}.querySelectorAll('button')].find(b => !b.hidden && b.textContent === {label!r})"


async def state(tab: Tab, name: str, wanted: str, seconds: float = 40.0) -> None:
    try:
        await tab.until(f"{row(name)}?.dataset.state === {wanted!r}", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; there is: {await tab.text('main')}") from None


async def sent(tab: Tab, name: str, part: int) -> None:
    """So much of it has left the page, and more is to come. (What had left for a replica that died counts until the
    next attempt has asked: then its row says that it tries again.)"""
    passing = ["waiting", "again"]
    found = await tab.until(
        f"{row(name)}?.querySelector('progress').value >= {part}"
        f" && !{json.dumps(passing)}.includes({row(name)}.dataset.state) && {row(name)}.dataset.state"
    )
    assert found == "sending", f"it was over too early: {found}"


async def the_upload(tab: Tab) -> str:
    """Where the one that is on its way lies on the service."""
    [known] = await tab.until(f"{REMEMBERED}.then(found => found.length === 1 && found)")
    return str(known["url"])


async def receiving(balancer: Balancer) -> Any:
    async def look() -> Any:
        return balancer.receiving

    return await until("a replica is receiving", look)


def creations(replicas: Replicas) -> int:
    logs = "".join(replica.log.read_text() for replica in replicas.all)
    return sum('"method": "POST"' in line and '"status": 201' in line for line in logs.splitlines())
