"""Files under names that nobody else can have.

Rules: a token is never drawn twice, so a new name that is taken was taken by this very call: over NFS a request may be
repeated when its first answer was lost, and the repetition says "taken". What it made is left to the sweeper.
"""

from collections.abc import Callable
from typing import TypeVar

from storage_proxy.core.errors import ShareFault
from storage_proxy.ports import Entropy, NameTaken

T = TypeVar("T")

TRIES_MAX = 5


def under_new_name(entropy: Entropy, spell: Callable[[str], str], make: Callable[[str], T]) -> tuple[str, T]:
    """Make a file under a name of its own; the name, and what `make` gave."""
    for _ in range(TRIES_MAX):
        name = spell(entropy.token())
        try:
            return name, make(name)
        except NameTaken:
            continue
    raise ShareFault(operation="create", reason="every new name is said to be taken")
