"""The digest of a whole file, by header and in the metadata."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from storage_proxy.core.errors import HeaderMalformed
from storage_proxy.core.manifest import SHA_256, SHA_512, Digest
from storage_proxy.wire.digests import DIGESTS, agreed, digests_in_metadata, find_digests, render_digests, render_wanted

SHORT, LONG = hashlib.sha256(b"hello"), hashlib.sha512(b"hello")
SHORT_64, LONG_64 = (base64.b64encode(each.digest()).decode() for each in (SHORT, LONG))


def found(text: str) -> tuple[Digest, ...]:
    return find_digests(CIMultiDict({"Repr-Digest": text}))


def test_a_digest_is_read_by_the_name_that_the_rfc_gives_it() -> None:
    assert found(f"sha-256=:{SHORT_64}:") == (Digest(SHA_256, SHORT.hexdigest()),)
    assert found(f"sha-512=:{LONG_64}:, sha-256=:{SHORT_64}:") == (
        Digest(SHA_256, SHORT.hexdigest()),
        Digest(SHA_512, LONG.hexdigest()),
    )
    assert find_digests({}) == ()


@pytest.mark.parametrize("text", ["md5=:AAAA:", "crc32c=:AAAA:, x=1", "sha=?1", "unixsum=:AA==:;a=b", ""])
def test_digests_that_are_not_known_are_ignored_as_the_rfc_says(text: str) -> None:
    assert found(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "sha-256=:AAAA:",
        f"sha-256={SHORT_64[:-1]}",
        f'sha-256="{SHORT_64}"',
        f"sha-256=(:{SHORT_64}:)",
        "sha-256",
        "sha-256=1",
        f"sha-512=:{SHORT_64}:",
        f"sha-256=:{SHORT_64}",
        "=",
        "sha-256=:AAAA:,",
    ],
)
def test_a_digest_that_cannot_be_one_is_refused(text: str) -> None:
    with pytest.raises(HeaderMalformed) as caught:
        found(text)
    assert caught.value.header == "Repr-Digest"


@pytest.mark.parametrize("text", [SHORT.hexdigest(), SHORT.hexdigest().upper(), SHORT_64])
def test_metadata_may_hold_hex_digits_or_base64(text: str) -> None:
    assert digests_in_metadata((("filename", b"a"), ("sha256", text.encode()))) == (Digest(SHA_256, SHORT.hexdigest()),)


def test_a_longer_digest_in_metadata_has_a_key_of_its_own() -> None:
    for text in (LONG.hexdigest(), LONG_64):
        assert digests_in_metadata((("sha512", text.encode()),)) == (Digest(SHA_512, LONG.hexdigest()),)
    assert digests_in_metadata((("sha256", b""),)) == ()


@pytest.mark.parametrize(
    "text", ["x", "ab", SHORT.hexdigest()[:-1], SHORT.hexdigest() + " ", LONG_64, "ü" * 64, "0" * 63 + "g"]
)
def test_metadata_that_holds_no_digest_is_refused(text: str) -> None:
    with pytest.raises(HeaderMalformed):
        digests_in_metadata((("sha256", text.encode()),))


def test_header_and_metadata_must_agree() -> None:
    one, other = Digest(SHA_256, "aa"), Digest(SHA_256, "bb")
    assert agreed([one], [one]) == (one,)
    assert agreed([Digest(SHA_512, "cc")], [one]) == (one, Digest(SHA_512, "cc"))
    with pytest.raises(HeaderMalformed):
        agreed([one], [other])


DIGEST = st.sampled_from(sorted(DIGESTS)).flatmap(
    lambda name: st.binary(min_size=DIGESTS[name], max_size=DIGESTS[name]).map(lambda value: Digest(name, value.hex()))
)


@given(st.lists(DIGEST, unique_by=lambda digest: digest.algorithm))
def test_digests_read_back(digests: list[Digest]) -> None:
    headers = render_digests(digests)
    assert bool(headers) == bool(digests)
    assert find_digests(headers) == agreed(digests)


@given(st.text(max_size=60))
def test_any_text_is_a_digest_or_refused(text: str) -> None:
    for read in (found, lambda text: digests_in_metadata((("sha256", text.encode(errors="replace")),))):
        try:
            read(text)
        except HeaderMalformed:
            continue


def test_what_is_wanted_is_what_is_known() -> None:
    assert render_wanted() == {"Want-Repr-Digest": "sha-256=10, sha-512=1"}
