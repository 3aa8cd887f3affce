"""A receiver that is reached by HTTP: POST, JSON, signed.

Rules: signed as Standard Webhooks (https://www.standardwebhooks.com) have it: `webhook-id`, `webhook-timestamp` and
`webhook-signature` over both and the body; a receiver checks it with any of their libraries. 2xx is an answer,
everything else is none: a receiver that refuses says so in its reply. No redirect is followed, nothing of the answer
but its reply is used, and of that a bounded part is read.
"""

import base64
import hashlib
import hmac
import json

import aiohttp

from storage_proxy.core.errors import HookFailed
from storage_proxy.hooks.documents import Document
from storage_proxy.ports import Clock

REPLY_BYTES_MAX = 64 << 10

STANDARD_SECRET = "whsec_"  # noqa: S105 # how the Standard Webhooks spell a secret in base64, and no secret


class Webhook:
    def __init__(self, url: str, secret: str, wanted: frozenset[str], seconds: float, clock: Clock) -> None:
        self._url = url
        self._key = _key(secret)
        self._wanted = wanted
        self._timeout = aiohttp.ClientTimeout(seconds)
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    def wants(self, kind: str) -> bool:
        return kind in self._wanted

    async def send(self, document: Document) -> object:
        body = json.dumps(document).encode()
        try:
            return await self._post(document["Type"], body, self._signed(document["Id"], body))
        except TimeoutError:
            raise HookFailed(hook=document["Type"], reason=f"did not answer in {self._timeout.total:g} s") from None
        except aiohttp.ClientError as error:
            # Not the text of the error: it names addresses that are nobody's business.
            raise HookFailed(hook=document["Type"], reason=f"cannot be reached ({type(error).__name__})") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, hook: str, body: bytes, headers: dict[str, str]) -> object:
        if self._session is None:
            # Here, because a session belongs to the event loop that it is made in. No environment: a proxy or a
            # .netrc meant for others would be used.
            self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=False)
        async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
            if not 200 <= answer.status < 300:
                raise HookFailed(hook=hook, reason=f"answered {answer.status}")
            text = await answer.content.read(REPLY_BYTES_MAX + 1)
            while len(text) <= REPLY_BYTES_MAX and (more := await answer.content.read(REPLY_BYTES_MAX)):
                text += more
        if len(text) > REPLY_BYTES_MAX:
            raise HookFailed(hook=hook, reason=f"gave a reply of more than {REPLY_BYTES_MAX} bytes")
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            raise HookFailed(hook=hook, reason="gave a reply that is no JSON") from None

    def _signed(self, identity: str, body: bytes) -> dict[str, str]:
        timestamp = int(self._clock.now())
        return {
            "Content-Type": "application/json",
            "User-Agent": "storage-proxy",
            "webhook-id": identity,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._key, identity, timestamp, body),
        }


def signature(key: bytes, identity: str, timestamp: int, body: bytes) -> str:
    digest = hmac.new(key, f"{identity}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    if not secret.startswith(STANDARD_SECRET):
        return secret.encode()
    return base64.b64decode(secret.removeprefix(STANDARD_SECRET))
