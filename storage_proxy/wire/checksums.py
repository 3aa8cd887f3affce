"""Upload-Checksum (TUS 1.0, checksum): the name of an algorithm, and the Base64 of a digest.

Rules: nothing is hashed here; the table says which names there are, and how long their digests are.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from storage_proxy.core.errors import ChecksumUnknown
from storage_proxy.wire.fields import malformed, parse_base64, render_base64, shown

UPLOAD_CHECKSUM = "Upload-Checksum"

CHECKSUMS = {"sha1": 20, "sha256": 32, "sha512": 64, "md5": 16, "crc32": 4}
"""algorithm -> bytes in a digest; crc32 is most significant byte first. M: sha1 is among them."""


@dataclass(frozen=True, slots=True)
class Checksum:
    algorithm: str
    digest: bytes


def parse_checksum(text: str, known: Iterable[str] = CHECKSUMS) -> Checksum:
    # M: algorithm, one space, Base64 of the digest; M: 400 for an algorithm the server does not know.
    algorithm, _, encoded = text.partition(" ")
    known = tuple(known)
    if algorithm not in known:
        raise ChecksumUnknown(algorithm=shown(algorithm), known=known)
    digest = parse_base64(encoded)
    if digest is None or len(digest) != CHECKSUMS[algorithm]:
        raise malformed(UPLOAD_CHECKSUM, text, f"{algorithm} and the Base64 of its {CHECKSUMS[algorithm]} bytes")
    return Checksum(algorithm, digest)


def render_checksum(checksum: Checksum) -> str:
    assert len(checksum.digest) == CHECKSUMS[checksum.algorithm], f"not a {checksum.algorithm} digest"
    return f"{checksum.algorithm} {render_base64(checksum.digest)}"
