"""How people write sizes, times, addresses and lists, and the plain values these become.

Rules: each parser takes a value that is already plain as it is; what it refuses it refuses by a sentence that begins
with what was expected, so that `loading.py` can put what was found before it.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from storage_proxy.core.errors import TargetNotAllowed
from storage_proxy.core.target import check_path

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

# ---- sizes and times ---------------------------------------------------------------------------------------------

_SIZE = TypeAdapter(ByteSize)
_SIZE_TEXT = re.compile(r"[\d.]+ ?[A-Za-z]*")  # ByteSize itself overlooks what follows the unit
_DURATION_TEXT = re.compile(r"(\d+(?:\.\d+)?) ?([smhd]?)")
_UNITS = {"": 1.0, "s": 1.0, "m": MINUTE, "h": HOUR, "d": DAY}


def read_size(value: object) -> int:
    if isinstance(value, int | str) and not isinstance(value, bool):
        text = str(value).strip()
        if _SIZE_TEXT.fullmatch(text):
            try:
                return int(_SIZE.validate_python(text))
            except ValidationError:
                pass  # an unknown unit: the same sentence as for everything else
    raise ValueError("expected a number of bytes, or a size such as 64MiB, 100GB or 10TiB")


def read_duration(value: object) -> float:
    said = isinstance(value, int | float | str) and not isinstance(value, bool)
    if said and (found := _DURATION_TEXT.fullmatch(str(value).strip())):
        return float(found[1]) * _UNITS[found[2]]
    raise ValueError("expected a number of seconds, or a time such as 90s, 5m, 12h or 7d")


_SIZE_SCHEMA = WithJsonSchema({"type": "string", "examples": ["64MiB", "100GB"]})
Size = Annotated[int, BeforeValidator(read_size), Field(gt=0), _SIZE_SCHEMA]
SizeOrNothing = Annotated[int, BeforeValidator(read_size), Field(ge=0), _SIZE_SCHEMA]
Duration = Annotated[
    float,
    BeforeValidator(read_duration),
    Field(gt=0),
    WithJsonSchema({"type": "string", "examples": ["90s", "5m", "7d"]}),
]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# ---- the network -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; `host` is bare (no brackets)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Only programs on this machine can come here."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


_ADDRESS_TEXT = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]\s/]+)):(?P<port>\d{1,5})")


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    found = _ADDRESS_TEXT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or int(found["port"]) > 65535:
        raise ValueError("expected host:port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080")
    if found["six"]:
        try:
            ip_address(found["six"])
        except ValueError:
            raise ValueError("expected an IPv6 address between the brackets, such as [::1]:8080") from None
    return Address(found["six"] or found["host"], int(found["port"]))


def _network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        if isinstance(value, str):
            return ip_network(value.strip())
    except ValueError:
        pass  # the same sentence, whatever ipaddress dislikes
    raise ValueError("expected a network such as 10.0.0.0/8 (no bits set behind the prefix) or an address")


def _base_path(text: str) -> str:
    text = text.rstrip("/")
    if text and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise ValueError("expected nothing, or a path such as /storage that begins with a slash")
    if {".", ".."} & set(text.split("/")):
        raise ValueError("expected a path without . and .. in it")
    return text


Listen = Annotated[
    Address, PlainValidator(_address), PlainSerializer(str), WithJsonSchema({"type": "string", "format": "host:port"})
]
Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(_network),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": "cidr"}),
]
BasePath = Annotated[str, AfterValidator(_base_path)]

# ---- names, paths, secrets, lists --------------------------------------------------------------------------------

_VOLUME_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def _volume_name(name: str) -> str:
    # No dot: an upload's id is `<volume>.<32 hex digits>`.
    if not _VOLUME_NAME.fullmatch(name):
        raise ValueError("expected a name of 1 to 32 of a-z, 0-9, _ and -, beginning with a letter or digit")
    return name


def _absolute(path: Path) -> Path:
    if path == Path():  # "" and "." alike: nobody means to serve wherever the process happened to start
        raise ValueError("expected the path of a directory")
    return path.expanduser().absolute()


def _subdirectory(text: str) -> str:
    if text:
        try:
            check_path(text)
        except TargetNotAllowed as refused:
            raise ValueError(f"expected nothing, or a relative path below the volume: {refused.reason}") from None
    return text


def _listed(value: object) -> object:
    """An environment variable holds a list as text: `a, b`."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _lowered(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


VolumeName = Annotated[str, AfterValidator(_volume_name)]
Directory = Annotated[Path, AfterValidator(_absolute)]
Subdirectory = Annotated[str, AfterValidator(_subdirectory)]
Secret = Annotated[SecretStr, Field(min_length=1)]
Listed = BeforeValidator(_listed)
Lowered = BeforeValidator(_lowered)
