"""What a trusted proxy says about where the client believes to be."""

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from storage_proxy.core.errors import HeaderMalformed
from storage_proxy.wire.forwarded import external_base

OWN = "http://inner:8080"

GOOD: list[tuple[dict[str, str], str]] = [
    ({}, OWN),
    ({"X-Forwarded-Proto": "https"}, "https://inner:8080"),
    ({"x-forwarded-proto": "HTTPS"}, "https://inner:8080"),
    ({"X-Forwarded-Proto": "https, http"}, "https://inner:8080"),
    ({"X-Forwarded-Host": "up.example.org"}, "http://up.example.org"),
    ({"X-Forwarded-Host": "up.example.org:8443, inner2"}, "http://up.example.org:8443"),
    ({"X-Forwarded-Host": "[2001:db8::1]:8443"}, "http://[2001:db8::1]:8443"),
    ({"X-Forwarded-Prefix": "/tus"}, OWN + "/tus"),
    ({"X-Forwarded-Prefix": "/tus/"}, OWN + "/tus"),
    ({"X-Forwarded-Prefix": "/"}, OWN),
    ({"X-Forwarded-Prefix": "/outer, /inner/"}, OWN + "/outer/inner"),
    ({"Forwarded": "proto=https;host=up.example.org"}, "https://up.example.org"),
    ({"Forwarded": 'for=192.0.2.60; Proto=HTTPS ; Host="up.example.org:8443"'}, "https://up.example.org:8443"),
    ({"Forwarded": 'for="[2001:db8::1]:47011";host="[::1]:80"'}, "http://[::1]:80"),
    ({"Forwarded": "host=up.example.org:8443"}, "http://up.example.org:8443"),
    ({"Forwarded": ";proto=https;;"}, "https://inner:8080"),
    ({"Forwarded": "proto=https, proto=http;host=inner2"}, "https://inner:8080"),
    ({"Forwarded": 'for="a,b;c\\"";proto=https'}, "https://inner:8080"),
    ({"Forwarded": "proto=https", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "x"}, "https://x"),
]
IGNORED: list[tuple[str, str]] = [
    ("X-Forwarded-Proto", ""),
    ("X-Forwarded-Proto", "javascript"),
    ("X-Forwarded-Proto", "https\r\nX: y"),
    ("X-Forwarded-Proto", "https://evil"),
    ("X-Forwarded-Host", ""),
    ("X-Forwarded-Host", "evil.org/path"),
    ("X-Forwarded-Host", "user@evil.org"),
    ("X-Forwarded-Host", "evil.org\r\nSet-Cookie: x"),
    ("X-Forwarded-Host", "evil.org\n"),
    ("X-Forwarded-Host", "evil org"),
    ("X-Forwarded-Host", "evil.org\\@x"),
    ("X-Forwarded-Host", "evil.org?x"),
    ("X-Forwarded-Host", "evil.org#x"),
    ("X-Forwarded-Host", "evil.org:"),
    ("X-Forwarded-Host", "evil.org:99999"),
    ("X-Forwarded-Host", "evil.org:٣"),
    ("X-Forwarded-Host", ".evil.org"),
    ("X-Forwarded-Host", "[::1"),
    ("X-Forwarded-Host", "évil.org"),
    ("X-Forwarded-Host", "a" * 256),
    ("X-Forwarded-Prefix", "tus"),
    ("X-Forwarded-Prefix", "//evil.org"),
    ("X-Forwarded-Prefix", "/a//b"),
    ("X-Forwarded-Prefix", "/../admin"),
    ("X-Forwarded-Prefix", "/a/./b"),
    ("X-Forwarded-Prefix", "/a, /.."),
    ("X-Forwarded-Prefix", "/a?b"),
    ("X-Forwarded-Prefix", "/a b"),
    ("X-Forwarded-Prefix", "/a\r\nX: y"),
    ("X-Forwarded-Prefix", "/%0d%0a"),
    ("X-Forwarded-Prefix", "/\\evil.org"),
    ("Forwarded", ""),
    ("Forwarded", "proto"),
    ("Forwarded", "proto=http;proto=https"),
    ("Forwarded", "proto=https;host"),
    ("Forwarded", 'proto=https;host="evil.org'),
    ("Forwarded", 'host="evil.org/path"'),
    ("Forwarded", 'host="evil.org\\/path"'),
    ("Forwarded", 'host="evil.org\r\nX: y"'),
    ("Forwarded", "host=evil.org\n"),
    ("Forwarded", "host=evil.org/path"),
    ("Forwarded", "proto=ftp"),
    ("Forwarded", "for=192.0.2.60"),
]


@pytest.mark.parametrize(("headers", "base"), GOOD)
def test_a_proxy_tells_scheme_host_and_prefix(headers: dict[str, str], base: str) -> None:
    assert external_base(CIMultiDict(headers), "http", "inner:8080") == base


@pytest.mark.parametrize(("name", "text"), IGNORED)
def test_a_value_that_could_lead_elsewhere_is_as_if_it_had_not_been_sent(name: str, text: str) -> None:
    assert external_base(CIMultiDict({name: text}), "http", "inner:8080") == OWN


def test_a_bad_value_of_the_standard_leaves_the_older_header_its_say() -> None:
    headers = CIMultiDict({"Forwarded": "proto=ftp;host=a/b", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "up"})
    assert external_base(headers, "http", "inner:8080") == "https://up"


@pytest.mark.parametrize("host", ["", "evil.org/x", "a b", "a\r\nX: y", "user@host", "a:99999"])
def test_a_request_without_a_usable_host_is_refused_unless_the_proxy_names_one(host: str) -> None:
    with pytest.raises(HeaderMalformed) as caught:
        external_base(CIMultiDict[str](), "http", host)
    assert caught.value.header == "Host"
    assert external_base(CIMultiDict({"X-Forwarded-Host": "up"}), "http", host) == "http://up"


HOSTILE = st.text(max_size=20) | st.lists(
    st.sampled_from(
        ["proto=", "host=", "https", "evil.org", "/", "//", "\r\n", " ", ",", ";", '"', "\\", ":", "@", ".."]
    )
).map("".join)
NAMES = st.sampled_from(["Forwarded", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Prefix"])


@given(st.dictionaries(NAMES, HOSTILE))
def test_whatever_is_forwarded_the_base_is_a_plain_url(headers: dict[str, str]) -> None:
    base = external_base(CIMultiDict(headers), "http", "inner:8080")
    assert re.fullmatch(r"https?://[][A-Za-z0-9._:-]+(/[A-Za-z0-9._~-]+)*", base)
    parts = urlsplit(base)
    assert parts.hostname
    assert parts.username is None
    assert not {".", ".."} & set(parts.path.split("/"))
