"""Session tokens: what is signed reads back, and nothing else does."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core.errors import ParameterMalformed, TokenRejected
from storage_proxy.wire import tokens
from storage_proxy.wire.tokens import SessionClaims, SessionToken

SECRET = "a secret of at least thirty-two bytes"
CLAIMS = SessionClaims("volume1", "0" * 32, "folder/file.bin", 10_000, "0123456789abcdef" * 2, 2_000.0)
PAYLOAD: dict[str, Any] = {
    "op": "upload",
    "volume": "volume1",
    "vfid": "0" * 32,
    "relpath": "folder/file.bin",
    "size": 10_000,
    "session": "0123456789abcdef" * 2,
    "exp": 2_000,
}


def part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(header: bytes, payload: bytes, digest: str = "sha256") -> str:
    """A JWT made by hand, so that it may hold what PyJWT would not write."""
    text = f"{part(header)}.{part(payload)}"
    return f"{text}.{part(hmac.digest(SECRET.encode(), text.encode(), digest))}"


def with_claims(**changed: Any) -> str:
    payload = {name: value for name, value in (PAYLOAD | changed).items() if value is not Ellipsis}
    return signed(b'{"alg":"HS256","typ":"JWT"}', json.dumps(payload).encode())


def reason(token: str, secret: str = SECRET) -> str:
    with pytest.raises(TokenRejected) as caught:
        tokens.read(token, secret, now=1_000)
    # No reason may help to guess, and none may leak.
    assert secret not in str(caught.value)
    assert len(token) < 5 or token not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.reason


def test_a_minted_token_is_the_jwt_that_the_older_service_issues() -> None:
    token = tokens.mint(CLAIMS, SECRET)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False}) == PAYLOAD


def test_a_token_that_another_issuer_signed_is_read() -> None:
    assert tokens.read(with_claims(), SECRET, now=1_000) == SessionToken(CLAIMS, expired=False)


@pytest.mark.parametrize(("now", "expired"), [(0.0, False), (1_999.9, False), (2_000.0, True), (9_999.0, True)])
def test_an_expired_token_is_read_and_said_to_be_expired(now: float, expired: bool) -> None:
    assert tokens.read(with_claims(), SECRET, now) == SessionToken(CLAIMS, expired)


EXTRA: list[dict[str, Any]] = [
    {"aud": "somebody"},
    {"iss": 5},
    {"iat": 10**12},
    {"nbf": "never"},
    {"sub": ["x"], "jti": 5, "user": {"name": "x"}},
]


@pytest.mark.parametrize("extra", EXTRA)
def test_claims_that_are_not_ours_pass(extra: dict[str, Any]) -> None:
    assert tokens.read(with_claims(**extra), SECRET, now=1_000).claims == CLAIMS


BAD_CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"op": ...}, "uploading"),
    ({"op": "download"}, "uploading"),
    ({"op": ["upload"]}, "uploading"),
    ({"volume": ...}, "volume"),
    ({"volume": 5}, "volume"),
    ({"vfid": None}, "vfid"),
    ({"relpath": ["a"]}, "relpath"),
    ({"relpath": "\ud800"}, "relpath"),
    ({"size": ...}, "size"),
    ({"size": True}, "size"),
    ({"size": "5"}, "size"),
    ({"size": 5.0}, "size"),
    ({"size": -1}, "size"),
    ({"size": 2**63}, "size"),
    ({"session": ...}, "session"),
    ({"session": 5}, "session"),
    ({"session": "0" * 31}, "session"),
    ({"session": "0" * 33}, "session"),
    ({"session": "0" * 32 + "\n"}, "session"),
    ({"session": "g" * 32}, "session"),
    ({"session": "../" + "0" * 29}, "session"),
    ({"exp": ...}, "expiry"),
    ({"exp": True}, "expiry"),
    ({"exp": "2000"}, "expiry"),
    ({"exp": -1}, "expiry"),
    ({"exp": float("nan")}, "expiry"),
    ({"exp": float("inf")}, "expiry"),
    ({"exp": 10**400}, "expiry"),
]


@pytest.mark.parametrize(("changed", "named"), BAD_CLAIMS)
def test_a_claim_that_is_missing_or_wrong_is_named(changed: dict[str, Any], named: str) -> None:
    assert named in reason(with_claims(**changed))


@pytest.mark.parametrize("size", [0, 1, 2**63 - 1])
def test_every_size_that_a_file_can_have_is_read(size: int) -> None:
    assert tokens.read(with_claims(size=size), SECRET, now=0).claims.size == size


def test_a_token_may_expire_between_two_seconds() -> None:
    assert tokens.read(with_claims(exp=2_000.5), SECRET, now=2_000.4) == SessionToken(
        SessionClaims("volume1", "0" * 32, "folder/file.bin", 10_000, CLAIMS.session, 2_000.5), expired=False
    )


BODY = json.dumps(PAYLOAD).encode()
NOT_TOKENS = [
    ("", "missing"),
    (".", "not a JWT"),
    ("a.b", "not a JWT"),
    ("a.b.c", "not a JWT"),
    ("a.b.c.d", "not a JWT"),
    ("é.b.c", "not a JWT"),
    ("\ud800", "not a JWT"),
    (with_claims() + "\n", "not a JWT"),
    (with_claims() + "=", "not a JWT"),
    (" " + with_claims(), "not a JWT"),
    ("Bearer " + with_claims(), "not a JWT"),
    (signed(b"[]", BODY), "not a JWT"),
    (signed(b"{", BODY), "not a JWT"),
    (signed(b"\xff", BODY), "not a JWT"),
    (signed(b"[" * 5000, b"{}"), "not a JWT"),
    (signed(b'{"alg":"HS256"}', b"[]"), "not a JWT"),
    (signed(b'{"alg":"HS256"}', b"5"), "not a JWT"),
    (signed(b'{"alg":"HS256"}', b"\xff"), "not a JWT"),
    (signed(b'{"alg":"HS256"}', b'{"a":' * 1000), "not a JWT"),
    (signed(b'{"alg":"HS256"}', b"[" * 5000), "not a JWT"),
    (signed(b'{"alg":"HS256","b64":false,"crit":["b64"]}', BODY), "not a JWT"),
    (signed(b"{}", BODY), "HS256"),
    (signed(b'{"alg":"none"}', BODY), "HS256"),
    (signed(b'{"alg":"hs256"}', BODY), "HS256"),
    (signed(b'{"alg":"HS512"}', BODY, "sha512"), "HS256"),
    (signed(b'{"alg":"RS256"}', BODY), "HS256"),
    (signed(b'{"alg":["HS256"]}', BODY), ""),
    (signed(b'{"alg":null}', BODY), "HS256"),
    (with_claims(relpath="a" * 8192), "longer"),
]


@pytest.mark.parametrize(("token", "why"), NOT_TOKENS)
def test_what_is_no_token_of_this_kind_is_rejected_with_a_reason(token: str, why: str) -> None:
    assert why in reason(token)


def test_a_token_without_a_signature_is_rejected() -> None:
    header, payload, _ = with_claims().split(".")
    unsigned = part(b'{"alg":"none"}')
    for token in (f"{header}.{payload}.", f"{unsigned}.{payload}.", f"{unsigned}.{payload}.AA"):
        reason(token)


def test_a_token_of_another_secret_is_rejected() -> None:
    assert "signature" in reason(with_claims(), secret=SECRET + "!")


def test_an_empty_secret_neither_signs_nor_accepts() -> None:
    header = part(b'{"alg":"HS256"}') + "." + part(BODY)
    forged = f"{header}.{part(hmac.digest(b'', header.encode(), hashlib.sha256))}"
    with pytest.raises(AssertionError):
        tokens.read(forged, "", now=0)
    with pytest.raises(AssertionError):
        tokens.mint(CLAIMS, "")


@given(st.data())
def test_no_token_survives_a_changed_letter(data: st.DataObject) -> None:
    token = with_claims()
    at = data.draw(st.integers(0, len(token) - 2))  # the last letter has bits that mean nothing
    letter = data.draw(st.sampled_from("ABCxyz019-_.").filter(lambda letter: letter != token[at]))
    reason(token[:at] + letter + token[at + 1 :])


@given(st.text() | st.from_regex(r"\A[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9_-]{1,40}\Z"))
def test_any_text_is_rejected_and_nothing_else_happens(token: str) -> None:
    with pytest.raises(TokenRejected):
        tokens.read(token, SECRET, now=0)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    st.builds(
        SessionClaims,
        TEXT,
        TEXT,
        TEXT,
        st.integers(0, 2**63 - 1),
        st.from_regex(r"\A[0-9a-f]{32}\Z"),
        st.integers(0, 2**53).map(float),
    )
)
def test_a_minted_token_reads_back(claims: SessionClaims) -> None:
    token = tokens.mint(claims, SECRET)
    assert tokens.read(token, SECRET, now=0).claims == claims
    assert token.isascii()
    assert token.isprintable()


def test_a_path_too_long_for_a_token_is_refused_when_it_is_minted() -> None:
    long = SessionClaims("volume1", "0" * 32, "\U0001f600" * 1000, 1, CLAIMS.session, 2_000.0)
    with pytest.raises(ParameterMalformed) as caught:
        tokens.mint(long, SECRET)
    assert caught.value.parameter == "relpath"
