"""Session tokens: a JWT, signed with HS256, that lets its bearer fill one upload.

Rules: HS256 and nothing else, whatever a token says of itself. No clock is asked: whether a token has expired is an
answer, not an error, because an upload may outlive its token by policy. Claims besides ours pass unseen, the registered
ones too. No reason ever repeats the token, a claim or the secret.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import jwt

from storage_proxy.core.errors import ParameterMalformed, TokenRejected
from storage_proxy.wire.fields import INTEGER_MAX

ALGORITHM = "HS256"
OPERATION = "upload"
TOKEN_BYTES_MAX = 8 * 1024

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SESSION = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class SessionClaims:
    volume: str
    vfid: str
    relpath: str
    size: int
    session: str
    """32 hex digits"""
    expires_at: float
    """minted as whole seconds, rounded down"""


@dataclass(frozen=True, slots=True)
class SessionToken:
    """A token that this service has signed, and whether its time is over."""

    claims: SessionClaims
    expired: bool


def mint(claims: SessionClaims, secret: str) -> str:
    assert secret, "an empty secret signs nothing"
    payload = {
        "op": OPERATION,
        "volume": claims.volume,
        "vfid": claims.vfid,
        "relpath": claims.relpath,
        "size": claims.size,
        "session": claims.session,
        "exp": int(claims.expires_at),
    }
    token = jwt.encode(payload, secret, algorithm=ALGORITHM)
    # A path may be long, and JSON makes it up to three times longer; better no token than one that is not read.
    if len(token) > TOKEN_BYTES_MAX:
        raise ParameterMalformed(parameter="relpath", expected="a shorter path")
    return token


def read(token: str, secret: str, now: float) -> SessionToken:
    claims = _claims(_payload(token, secret))
    # RFC 7519 4.1.4: not "on or after" that time.
    return SessionToken(claims, expired=now >= claims.expires_at)


def _payload(token: str, secret: str) -> Mapping[str, object]:
    assert secret, "an empty secret would accept anybody's token"
    if not token:
        raise TokenRejected("it is missing")
    if len(token) > TOKEN_BYTES_MAX:
        raise TokenRejected(f"it is longer than {TOKEN_BYTES_MAX} bytes")
    if not _TOKEN.fullmatch(token):
        raise TokenRejected("it is not a JWT")
    try:
        payload: dict[str, object] = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            # What PyJWT would check by its own clock, and the registered claims, which are not ours.
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
                "verify_iss": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except jwt.InvalidAlgorithmError:
        raise TokenRejected(f"it is not signed with {ALGORITHM}") from None
    except jwt.InvalidSignatureError:
        raise TokenRejected("its signature is not this service's") from None
    # ValueError and RecursionError: not every release of PyJWT catches what hostile JSON does to its parser.
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise TokenRejected("it is not a JWT") from None
    return payload


def _claims(payload: Mapping[str, object]) -> SessionClaims:
    if payload.get("op") != OPERATION:
        raise TokenRejected("it is not for uploading")
    size, session, expires_at = payload.get("size"), payload.get("session"), payload.get("exp")
    # `bool` is an `int` to Python: `true` would be a file of one byte.
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= INTEGER_MAX:
        raise TokenRejected("its size is not a number of bytes")
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        raise TokenRejected("its session is not 32 hex digits")
    # The comparison also refuses JSON's NaN and Infinity, and integers that no float holds.
    if not isinstance(expires_at, int | float) or isinstance(expires_at, bool) or not 0 <= expires_at <= INTEGER_MAX:
        raise TokenRejected("its time of expiry is not a number of seconds")
    return SessionClaims(
        volume=_text(payload, "volume"),
        vfid=_text(payload, "vfid"),
        relpath=_text(payload, "relpath"),
        size=size,
        session=session,
        expires_at=float(expires_at),
    )


def _text(payload: Mapping[str, object], claim: str) -> str:
    value = payload.get(claim)
    if not isinstance(value, str):
        raise TokenRejected(f"its {claim} is not a text")
    try:
        # JSON can spell half of a surrogate pair, which no file name and no log line can hold.
        value.encode()
    except UnicodeEncodeError:
        raise TokenRejected(f"its {claim} is not valid Unicode") from None
    return value
