"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a creation that may be sent again.

Rules: the key is a structured string, and long enough that no two clients think of the same one by chance: who sends a
key that is known gets the upload it stands for. Two requests are the same when every header that shapes an upload is,
as it was sent; which these are is its protocol's to know. Neither the key nor the caller's secret is kept: what goes on
is a hash of both.
"""

import hashlib

from storage_proxy.core.manifest import Repeat
from storage_proxy.wire.concatenation import UPLOAD_CONCAT
from storage_proxy.wire.digests import REPR_DIGEST
from storage_proxy.wire.downloads import CONTENT_DISPOSITION
from storage_proxy.wire.fields import Headers, find, find_list, malformed
from storage_proxy.wire.ietf import UPLOAD_COMPLETE, UPLOAD_INCOMPLETE
from storage_proxy.wire.metadata import UPLOAD_METADATA
from storage_proxy.wire.structured import find_string
from storage_proxy.wire.tus import CONTENT_LENGTH, CONTENT_TYPE, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH, UPLOAD_ORDER

IDEMPOTENCY_KEY = "Idempotency-Key"

# A UUID has 36 letters, its bytes in Base64 have 22.
KEY_LETTERS = range(16, 256)

SHAPING = (UPLOAD_LENGTH, UPLOAD_DEFER_LENGTH, UPLOAD_METADATA, UPLOAD_ORDER, REPR_DIGEST)

SHAPING_DRAFT = (
    UPLOAD_COMPLETE,
    UPLOAD_INCOMPLETE,
    UPLOAD_LENGTH,
    # The upload's, where its content is all there is.
    CONTENT_LENGTH,
    UPLOAD_METADATA,
    CONTENT_DISPOSITION,
    CONTENT_TYPE,
    REPR_DIGEST,
)


def find_repeat(headers: Headers, principal: str) -> Repeat | None:
    """Of TUS. `principal`: who is asking; nobody else's keys are found."""
    # The parts of one file are alike but for their bytes, and clients send the same headers with each, and with the
    # upload that joins them.
    if find(headers, UPLOAD_CONCAT) is not None:
        return None
    return _find(headers, principal, SHAPING)


def find_repeat_of_draft(headers: Headers, principal: str) -> Repeat | None:
    return _find(headers, principal, SHAPING_DRAFT)


def _find(headers: Headers, principal: str, shaping: tuple[str, ...]) -> Repeat | None:
    key = find_string(headers, IDEMPOTENCY_KEY)
    if key is None:
        return None
    if len(key) not in KEY_LETTERS:
        expected = f"{KEY_LETTERS.start} to {KEY_LETTERS.stop - 1} random letters in double quotes, such as a UUID"
        raise malformed(IDEMPOTENCY_KEY, key, expected)
    shape = [f"{name}: {text}" for name in shaping if (text := find_list(headers, name)) is not None]
    return Repeat(name=_hash(principal, key), fingerprint=_hash(*shape))


def _hash(*parts: str) -> str:
    # No part holds a line end: they are header text. (Bytes that are no UTF-8 come as half surrogates.)
    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()
