"""The digest of a whole file, declared when its upload is created and given back with it.

    Repr-Digest: sha-256=:<base64>:, sha-512=:<base64>:     RFC 9530, a dictionary of byte sequences
    Upload-Metadata: sha256 <base64 of the text>            for clients that can only send metadata; the text is the
                                                            digest in hex digits or in Base64; `sha512` likewise

Rules: an algorithm that is not in the table is ignored, as RFC 9530 (section 3) allows: a digest is an offer, and
`Want-Repr-Digest` says which are taken up. One that is known and cannot be that algorithm's digest is refused: whoever
sends it relies on its being looked at. Nothing is hashed here.
"""

import re
from collections.abc import Iterable

from storage_proxy.core.manifest import SHA_256, SHA_512, Digest
from storage_proxy.wire.fields import Headers, find_list, malformed, parse_base64
from storage_proxy.wire.metadata import UPLOAD_METADATA, Fields, metadata_text, parse_metadata
from storage_proxy.wire.structured import parse_dictionary, render_dictionary

REPR_DIGEST = "Repr-Digest"
WANT_REPR_DIGEST = "Want-Repr-Digest"

DIGESTS = {SHA_256: 32, SHA_512: 64}
"""algorithm -> bytes in a digest"""

METADATA_KEYS = {"sha256": SHA_256, "sha512": SHA_512}

_HEX = re.compile(r"[0-9A-Fa-f]+")


def find_digests(headers: Headers) -> tuple[Digest, ...]:
    """Those of Repr-Digest that are known; sorted, so that two requests that mean the same are the same."""
    text = find_list(headers, REPR_DIGEST)
    if text is None:
        return ()
    expected = "sha-256=:<base64 of the digest>:"
    members = parse_dictionary(REPR_DIGEST, text, expected)
    digests = []
    for algorithm in DIGESTS.keys() & members.keys():
        value = members[algorithm]
        if not isinstance(value, bytes) or len(value) != DIGESTS[algorithm]:
            raise malformed(REPR_DIGEST, text, f"{algorithm}=:<base64 of its {DIGESTS[algorithm]} bytes>:")
        digests.append(Digest(algorithm, value.hex()))
    return _sorted(digests)


def digests_in_metadata(fields: Fields) -> tuple[Digest, ...]:
    digests = []
    for key, algorithm in METADATA_KEYS.items():
        text = metadata_text(fields, key)
        if not text:
            continue
        value = _hex_or_base64(text)
        if value is None or len(value) != DIGESTS[algorithm]:
            raise malformed(UPLOAD_METADATA, f"{key} {text}", f"a {key} in hex digits or Base64, or leave it out")
        digests.append(Digest(algorithm, value.hex()))
    return _sorted(digests)


def _hex_or_base64(text: str) -> bytes | None:
    # No text of the right length is both: Base64 of 32 or 64 bytes has 44 or 88 letters, hex 64 or 128.
    if len(text) in (2 * size for size in DIGESTS.values()) and _HEX.fullmatch(text):
        return bytes.fromhex(text)
    return parse_base64(text)


def agreed(*declared: Iterable[Digest]) -> tuple[Digest, ...]:
    """One for each algorithm; what is declared twice must be the same."""
    found: dict[str, Digest] = {}
    for digest in (digest for digests in declared for digest in digests):
        if found.setdefault(digest.algorithm, digest) != digest:
            both = f"{digest.value} and {found[digest.algorithm].value}"
            raise malformed(REPR_DIGEST, both, f"the same {digest.algorithm} here and in Upload-Metadata")
    return _sorted(found.values())


def declared(headers: Headers, metadata: str) -> tuple[Digest, ...]:
    """By a creation, in whichever way."""
    return agreed(find_digests(headers), digests_in_metadata(parse_metadata(metadata)))


def _sorted(digests: Iterable[Digest]) -> tuple[Digest, ...]:
    return tuple(sorted(digests, key=lambda digest: digest.algorithm))


def render_digests(digests: Iterable[Digest]) -> dict[str, str]:
    members = {digest.algorithm: bytes.fromhex(digest.value) for digest in _sorted(digests)}
    return {REPR_DIGEST: render_dictionary(members)} if members else {}


def render_wanted() -> dict[str, str]:
    """Which digests are verified; sha-256 before others, for it often costs nothing (RFC 9530 4: 10 is the most)."""
    return {WANT_REPR_DIGEST: render_dictionary({SHA_256: 10, SHA_512: 1})}
