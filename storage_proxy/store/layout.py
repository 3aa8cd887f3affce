"""The only speller of file names in the service's own directory.

    .uploads/                           mode 0700, on the same file system as the targets
    ├── janitor.lock                    whose holder goes round
    ├── probe.lock                      asks whether the share grants locks
    ├── clock.<token>                   made for a moment to read the share's clock
    ├── notes/<name>.json               what replicas tell each other of themselves; no truth about any upload
    ├── repeats/9c/9c41…                a creation's Idempotency-Key, hashed; a hard link to its upload's first manifest
    └── 3f/                             the first two digits of the key: no directory grows too large
        └── 3f2a…/                      one upload
            ├── info.json               the manifest; only ever replaced by rename
            ├── info.<revision>.json    the fence of one revision; exists only while that revision is committed
            ├── info.<token>.staged     a manifest on its way
            ├── lock                    what fcntl locks; never replaced
            ├── chunk_<offset>.<token>.dat
            ├── assembly.<token>.dat    only where no chunk could become the assembly file as it was
            └── part.<token>.dat        a final upload's own link to the file of a part

Rules: every part of a name that comes from outside (a key, an offset, a token) was checked against a pattern before it
gets here, and `kind_of` knows each name that this file can spell.
"""

import re
from enum import Enum

from storage_proxy.core.target import STAGING

VOLUME_ROOT = ""
ROOT = STAGING
JANITOR_LOCK = f"{ROOT}/janitor.lock"
PROBE_LOCK = f"{ROOT}/probe.lock"
NOTES = f"{ROOT}/notes"

_NOTE = re.compile(r"(?P<name>[a-z]+(?:\.[A-Za-z0-9_-]{1,100})?)\.json")
_NOTE_STAGED = re.compile(r"[0-9a-f]{32}\.staged")
REPEATS = f"{ROOT}/repeats"

_SHARD = re.compile(r"[0-9a-f]{2}")
_KEY = re.compile(r"[0-9a-f]{32}")
_REPEAT = re.compile(r"[0-9a-f]{64}")


class Kind(Enum):
    MANIFEST = re.compile(r"info\.json")
    FENCE = re.compile(r"info\.[0-9]{1,20}\.json")
    STAGED_MANIFEST = re.compile(r"info\.[0-9a-f]{32}\.staged")
    LOCK = re.compile(r"lock")
    CHUNK = re.compile(r"chunk_[0-9]{1,20}\.[0-9a-f]{32}\.dat")
    ASSEMBLY = re.compile(r"assembly\.[0-9a-f]{32}\.dat")
    PART = re.compile(r"part\.[0-9a-f]{32}\.dat")
    CLOCK = re.compile(r"clock\.[0-9a-f]{32}")
    """made for a moment to read the share's clock"""


DATA = (Kind.CHUNK, Kind.ASSEMBLY, Kind.PART)
"""files that hold an upload's bytes"""

_ANY = re.compile("|".join(f"(?P<{kind.name}>{kind.value.pattern})" for kind in Kind))


def kind_of(name: str) -> Kind | None:
    """None: not ours; never touched."""
    found = _ANY.fullmatch(name)
    return None if found is None or found.lastgroup is None else Kind[found.lastgroup]


def shard(key: str) -> str:
    return f"{ROOT}/{key[:2]}"


def directory(key: str) -> str:
    assert _KEY.fullmatch(key), "a key is checked where it enters"
    return f"{ROOT}/{key[:2]}/{key}"


def is_shard(name: str) -> bool:
    return _SHARD.fullmatch(name) is not None


def is_key(name: str) -> bool:
    return _KEY.fullmatch(name) is not None


def is_repeat(name: str) -> bool:
    return _REPEAT.fullmatch(name) is not None


def repeat_shard(name: str) -> str:
    assert _REPEAT.fullmatch(name), "a name is a hash of ours"
    return f"{REPEATS}/{name[:2]}"


def repeat(name: str) -> str:
    return f"{repeat_shard(name)}/{name}"


def manifest(key: str) -> str:
    return f"{directory(key)}/info.json"


def fence(key: str, revision: int) -> str:
    return f"{directory(key)}/info.{revision}.json"


def lock(key: str) -> str:
    return f"{directory(key)}/lock"


def within(key: str, name: str) -> str:
    """The path of a file that a manifest names."""
    assert kind_of(name) is not None, "a manifest names only files spelled here"
    return f"{directory(key)}/{name}"


def staged_name(token: str) -> str:
    return f"info.{token}.staged"


def chunk_offset(name: str) -> int:
    return int(name.removeprefix("chunk_").partition(".")[0])


def note(name: str) -> str:
    assert _NOTE.fullmatch(f"{name}.json"), "a note's name is made here"
    return f"{NOTES}/{name}.json"


def note_staged(token: str) -> str:
    return f"{NOTES}/{token}.staged"


def note_of(name: str) -> str | None:
    """None: not a note, or one on its way."""
    found = _NOTE.fullmatch(name)
    return found["name"] if found is not None else None


def is_note_staged(name: str) -> bool:
    return _NOTE_STAGED.fullmatch(name) is not None


def chunk_name(offset: int, token: str) -> str:
    return f"chunk_{offset}.{token}.dat"


def assembly_name(token: str) -> str:
    return f"assembly.{token}.dat"


def part_name(token: str) -> str:
    return f"part.{token}.dat"
