"""What a proxy says of a request that it passes on, and who of them is believed."""

import re
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from storage_proxy.wire.forwarded import client_of, passed_on, prefix_of

# The proxies are those of 10.0.0.0/8, and the one of our own machine.
PEER, CLIENT = "10.0.0.1", "192.0.2.60"


def trusts(address: str) -> bool:
    return address.startswith(("10.", "fd00:")) or address == "127.0.0.1"


def client(*lines: tuple[str, str], peer: str = PEER) -> str:
    return client_of(CIMultiDict(lines), peer, trusts)


# ---- the client ---------------------------------------------------------------------------------------------------

FOUND: list[tuple[str, str]] = [
    ("X-Forwarded-For", CLIENT),
    ("x-forwarded-for", f"  {CLIENT}\t"),
    ("X-Forwarded-For", f"6.6.6.6, {CLIENT}"),
    ("X-Forwarded-For", f"6.6.6.6, {CLIENT}, 10.0.0.2,10.9.9.9"),
    ("X-Forwarded-For", f"{CLIENT}:47011"),
    ("X-Forwarded-For", f"::ffff:{CLIENT}"),
    ("X-Forwarded-For", f'"; unknown, {CLIENT}'),
    ("Forwarded", f"for={CLIENT}"),
    ("Forwarded", f"For={CLIENT};proto=https;by=10.0.0.1"),
    ("Forwarded", f'for="{CLIENT}:47011"'),
    ("Forwarded", f'for="{CLIENT}:_port" ; host="a,b;c"'),
    ("Forwarded", f"for=6.6.6.6, for={CLIENT};proto=http, for=10.0.0.2"),
    ("Forwarded", f"for=unknown, for={CLIENT}"),
    ("Forwarded", f";for={CLIENT};;"),
    ("Forwarded", f'for="\\1{CLIENT[1:]}"'),
]
SIX = "2001:db8::1"
FOUND_SIX: list[tuple[str, str]] = [
    ("X-Forwarded-For", SIX),
    ("X-Forwarded-For", "2001:0DB8:0::1"),
    ("X-Forwarded-For", f"[{SIX}]:443"),
    ("X-Forwarded-For", f"6.6.6.6, {SIX}, fd00::1"),
    ("Forwarded", f'for="[{SIX}]:47011"'),
    ("Forwarded", f"for=[{SIX}]:47011"),
]
NOBODY: list[tuple[str, str]] = [
    ("X-Forwarded-For", ""),
    ("X-Forwarded-For", "unknown"),
    ("X-Forwarded-For", f"{CLIENT}, unknown"),
    ("X-Forwarded-For", f"{CLIENT},"),
    ("X-Forwarded-For", "192.0.2"),
    ("X-Forwarded-For", "192.0.2.999"),
    ("X-Forwarded-For", f"{CLIENT}\r\nX: y"),
    ("X-Forwarded-For", f"{CLIENT}\n"),
    ("X-Forwarded-For", f"{CLIENT} {CLIENT}"),
    ("X-Forwarded-For", "١٩٢.0.2.60"),
    ("X-Forwarded-For", "fe80::1%eth0"),
    ("X-Forwarded-For", "evil.org"),
    ("Forwarded", ""),
    ("Forwarded", f"for={CLIENT};for=6.6.6.6"),
    ("Forwarded", f'for="{CLIENT}'),
    ("Forwarded", f"for={CLIENT}, for"),
    ("Forwarded", f"for={CLIENT}, proto=https"),
    ("Forwarded", f"for={CLIENT}, for=_hidden"),
    ("X-Real-IP", CLIENT),
    ("Via", f"1.1 {CLIENT}"),
]


@pytest.mark.parametrize(("name", "text"), FOUND)
def test_the_last_sender_that_is_no_trusted_proxy_is_the_client(name: str, text: str) -> None:
    assert client((name, text)) == CLIENT


@pytest.mark.parametrize(("name", "text"), FOUND_SIX)
def test_an_ipv6_address_is_written_in_one_way(name: str, text: str) -> None:
    assert client((name, text)) == SIX


@pytest.mark.parametrize(("name", "text"), FOUND + FOUND_SIX)
@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::2", ""])
def test_whoever_is_not_trusted_says_nothing_of_others(name: str, text: str, peer: str) -> None:
    assert client((name, text), peer=peer) == peer


@pytest.mark.parametrize(("name", "text"), NOBODY)
def test_where_no_address_is_told_the_client_is_who_has_sent_it(name: str, text: str) -> None:
    assert client((name, text)) == PEER


def test_the_way_back_ends_where_a_sender_is_hidden() -> None:
    assert client(("X-Forwarded-For", "6.6.6.6, unknown, 10.0.0.7, 10.0.0.8")) == "10.0.0.7"


def test_where_all_are_trusted_the_first_is_the_client() -> None:
    assert client(("X-Forwarded-For", "10.0.0.9, 10.0.0.8")) == "10.0.0.9"


def test_several_lines_are_one_list_whose_end_counts() -> None:
    assert client(("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", CLIENT)) == CLIENT
    assert client(("Forwarded", "for=6.6.6.6"), ("Forwarded", f"for={CLIENT}")) == CLIENT


@pytest.mark.parametrize(
    "claimed", ["for=6.6.6.6", 'for="', "for=6.6.6.6;for=6.6.6.6", "for=unknown", 'for=6.6.6.6;by="']
)
def test_what_a_client_writes_into_the_list_that_the_proxy_does_not_use_does_not_help_him(claimed: str) -> None:
    assert client(("Forwarded", claimed), ("X-Forwarded-For", CLIENT)) == PEER
    # Nor into the one that it uses, before its own word.
    for own in (f"for={CLIENT}", f'for="{CLIENT}:80";by="10.0.0.1"'):
        assert client(("Forwarded", f"{claimed}, {own}"), ("X-Forwarded-For", "6.6.6.6")) == PEER
        assert client(("Forwarded", f"{claimed}, {own}")) in (CLIENT, PEER)


def test_two_lists_that_agree_are_believed_and_so_is_the_one_that_names_somebody() -> None:
    both = (("Forwarded", f"for={CLIENT}"), ("X-Forwarded-For", f"6.6.6.6, {CLIENT}"))
    assert client(*both) == CLIENT
    assert client(("Forwarded", "proto=https;host=h"), ("X-Forwarded-For", CLIENT)) == CLIENT


HOSTILE = st.text(max_size=30) | st.lists(
    st.sampled_from(
        ["for=", "by=", "6.6.6.6", "10.0.0.2", "[::1]", "/", "\r\n", " ", ",", ";", '"', "\\", ":", "=", "unknown"]
    )
).map("".join)


@given(st.sampled_from(["Forwarded", "X-Forwarded-For"]), HOSTILE)
def test_whatever_is_forwarded_the_client_is_an_address(name: str, text: str) -> None:
    assert str(ip_address(client((name, text))))


@given(HOSTILE)
def test_whatever_a_client_sends_he_is_never_taken_for_another(text: str) -> None:
    assert client(("X-Forwarded-For", f"{text}, {CLIENT}")) == CLIENT
    assert client(("Forwarded", f'{text}, for="{CLIENT}:80"')) in (CLIENT, PEER)
    assert client(("Forwarded", f"{text}, for={CLIENT}")) in (CLIENT, PEER)


# ---- the prefix ---------------------------------------------------------------------------------------------------

PREFIXES: list[tuple[str, str]] = [
    ("/tus", "/tus"),
    ("/tus/", "/tus"),
    ("/", ""),
    ("/outer, /inner/", "/outer/inner"),
    ("", ""),
    ("tus", ""),
    ("//evil.org", ""),
    ("/a//b", ""),
    ("/../admin", ""),
    ("/a/./b", ""),
    ("/a, /..", ""),
    ("/a?b", ""),
    ("/a b", ""),
    ("/a\r\nX: y", ""),
    ("/%0d%0a", ""),
    ("/\\evil.org", ""),
]


@pytest.mark.parametrize(("text", "prefix"), PREFIXES)
def test_a_prefix_is_a_plain_path_or_as_if_it_had_not_been_sent(text: str, prefix: str) -> None:
    assert prefix_of(CIMultiDict({"X-Forwarded-Prefix": text})) == prefix


@given(HOSTILE | st.lists(st.sampled_from(["/", "a", "..", ".", ",", " ", "//"])).map("".join))
def test_whatever_is_sent_as_a_prefix_leads_nowhere_else(text: str) -> None:
    prefix = prefix_of(CIMultiDict({"X-Forwarded-Prefix": text}))
    assert re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", prefix)
    assert not {".", ".."} & set(prefix.split("/"))


# ---- traces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Via", "via"])
def test_a_proxy_leaves_traces(name: str) -> None:
    assert passed_on(CIMultiDict([(name, "x"), (name, "y")]))
    assert not passed_on(CIMultiDict({"Host": "x"}))
