"""Who has sent a request, as hooks are told."""

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from storage_proxy.server.addresses import Addresses
from storage_proxy.server.askers import asker_of

PROXIES = Addresses(trusted_proxies=[ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
TOLD = CIMultiDict(
    [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.60"), ("X-User", "a"), ("x-user", "b")]
)


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("10.0.0.1", "192.0.2.60"),
        ("::ffff:10.0.0.1", "192.0.2.60"),
        ("fd00::1", "192.0.2.60"),
        ("11.0.0.1", "11.0.0.1"),
        ("", ""),
    ],
)
def test_the_address_is_the_clients_where_the_proxy_is_trusted(peer: str, client: str) -> None:
    request = make_mocked_request("POST", "/files?token=secret", headers=TOLD).clone(remote=peer)
    asker = asker_of(request, PROXIES, ())
    assert (asker.method, asker.uri, asker.remote, asker.headers) == ("POST", "/files", client, {})


def test_all_lines_of_a_header_are_shown_so_that_nobody_hides_one_behind_his_own() -> None:
    request = make_mocked_request("POST", "/files", headers=TOLD).clone(remote="192.0.2.1")
    assert asker_of(request, PROXIES, ("X-User", "X-Other")).headers == {"X-User": "a, b"}
