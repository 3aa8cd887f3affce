"""Whether a page is one for everybody, whatever it shows just now: by axe, in both colours, on a desk and on a phone.

STORAGE_PROXY_PICTURES names a directory for pictures of all that was looked at, for people to look at.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.chromium import Chromium, Tab

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
WHY_NOT = None if AXE.is_file() else "axe-core is not installed; `make test` does it"
PICTURES = Path(os.environ["STORAGE_PROXY_PICTURES"]) if "STORAGE_PROXY_PICTURES" in os.environ else None


@dataclass(frozen=True)
class Way:
    """How somebody looks at it."""

    scheme: str
    width: int

    def __str__(self) -> str:
        return f"{self.scheme}-{self.width}"

    async def open(self, browser: Chromium, url: str) -> Tab:
        tab = await browser.tab("about:blank", self.width)
        await tab.prefer(self.scheme)
        if self.width < 500:
            await tab.has_touch()
        await tab.go(url)
        return tab

    async def check(self, tab: Tab, what: str) -> None:
        if PICTURES is not None:
            await asyncio.to_thread((PICTURES / f"{what}-{self}.png").write_bytes, await tab.picture())
        await tab.evaluate(AXE.read_text())
        found = await tab.evaluate("axe.run().then(({violations}) => violations)")
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], what
        # Nothing sticks out at the side.
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), what


in_every_way = pytest.mark.parametrize(
    "way", [Way("light", 1200), Way("dark", 1200), Way("light", 390), Way("dark", 390)], ids=str
)
