"""Upload-Checksum in both directions."""

import base64
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_proxy.core.errors import ChecksumUnknown, HeaderMalformed
from storage_proxy.wire.checksums import CHECKSUMS, Checksum, parse_checksum, render_checksum

SHA1 = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="  # of "hello"

BAD = [
    "sha1",
    "sha1 ",
    "sha1  qvTGHdzF6KLavt4PO0gs2a6pQ00=",
    "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00",
    "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ01=",
    "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=\n",
    "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00= ",
    "sha1 aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",  # hex
    "sha1 QQ==",
    "sha256 qvTGHdzF6KLavt4PO0gs2a6pQ00=",
    "crc32 AAAAAAA=",
]
UNKNOWN = ["", " ", "SHA1 QQ==", "sha-1 QQ==", "sha3 QQ==", "sha1\tQQ==", "\r\n", "\ud800", "x" * 10_000]


def test_a_checksum_is_an_algorithm_and_a_digest() -> None:
    assert parse_checksum(SHA1) == Checksum("sha1", hashlib.sha1(b"hello", usedforsecurity=False).digest())
    assert render_checksum(parse_checksum(SHA1)) == SHA1


@pytest.mark.parametrize("text", BAD)
def test_a_digest_that_cannot_be_one_is_refused(text: str) -> None:
    with pytest.raises(HeaderMalformed) as caught:
        parse_checksum(text)
    assert caught.value.header == "Upload-Checksum"


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_algorithm_that_is_not_known_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(ChecksumUnknown) as caught:
        parse_checksum(text)
    assert caught.value.known == tuple(CHECKSUMS)
    assert len(caught.value.algorithm) <= 100


def test_a_server_may_know_fewer_algorithms() -> None:
    with pytest.raises(ChecksumUnknown) as caught:
        parse_checksum("md5 AAAAAAAAAAAAAAAAAAAAAA==", known=("sha1", "sha256"))
    assert caught.value.known == ("sha1", "sha256")


def test_the_table_says_how_long_each_digest_really_is() -> None:
    lengths = {name: hashlib.new(name, usedforsecurity=False).digest_size for name in CHECKSUMS if name != "crc32"}
    assert {**lengths, "crc32": 4} == CHECKSUMS
    crc32 = base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big")).decode()
    assert parse_checksum(f"crc32 {crc32}").digest.hex() == "3610a686"


CHECKSUM = st.sampled_from(sorted(CHECKSUMS)).flatmap(
    lambda name: st.builds(Checksum, st.just(name), st.binary(min_size=CHECKSUMS[name], max_size=CHECKSUMS[name]))
)


@given(CHECKSUM)
def test_a_checksum_reads_back(checksum: Checksum) -> None:
    text = render_checksum(checksum)
    assert parse_checksum(text) == checksum
    assert all(" " <= letter <= "~" for letter in text)


@given(st.text() | st.text().map("sha1 ".__add__))
def test_any_text_is_a_checksum_or_refused(text: str) -> None:
    try:
        checksum = parse_checksum(text)
    except (ChecksumUnknown, HeaderMalformed):
        return
    assert render_checksum(checksum) == text
