"""Keys and secrets in headers.

Rules: compared in constant time, and with every key there is, so that the time tells nothing about which was close;
no error and no log line ever repeats one.
"""

import hmac

from storage_proxy.core.errors import KeyMissing, KeyRejected
from storage_proxy.wire.fields import Headers, find

AUTHORIZATION = "Authorization"


class AccessKeys:
    """Who may use plain TUS; without any key everybody may (the settings see to it that this is meant)."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = keys

    def principal(self, headers: Headers) -> str:
        """Who is asking, once `check` has passed: nobody in particular where there are no keys."""
        return (find(headers, AUTHORIZATION) or "").partition(" ")[2].strip(" ") if self._keys else ""

    def check(self, headers: Headers) -> None:
        if not self._keys:
            return
        told = find(headers, AUTHORIZATION)
        if not told:
            raise KeyMissing()
        scheme, _, key = told.partition(" ")
        # RFC 9110 11.1: the scheme's name is compared without regard to case.
        known = [same_secret(key.strip(" "), each) for each in self._keys]
        if scheme.lower() != "bearer" or not any(known):
            raise KeyRejected(header=AUTHORIZATION)


def same_secret(told: str, known: str) -> bool:
    # aiohttp hands out bytes that are no UTF-8 as surrogates.
    return hmac.compare_digest(told.encode(errors="surrogateescape"), known.encode())
