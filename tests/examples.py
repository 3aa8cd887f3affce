"""The blocks of code on a page, between fences or indented: what tests of documents walk through."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Four spaces after a blank line; in a list they would be a paragraph of an item, and no page of ours has such.
INDENTED = re.compile(r"(?<=\n\n)((?:    .*\n)+)")


@dataclass(frozen=True)
class Block:
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, by which it is named."""
        return self.text.partition("\n")[0].strip()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCED.finditer(text):
        yield Block(found[1], found[2])
    for found in INDENTED.finditer(FENCED.sub("", text)):
        yield Block("", textwrap.dedent(found[1]))


def block(page: Path, first: str) -> Block:
    """The one that begins so."""
    [found] = [block for block in blocks(page) if block.first.startswith(first)]
    return found
