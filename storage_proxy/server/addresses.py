"""Where a client finds what it created, and from where it asks, whatever stands in between.

Location is always a path from the root of the host ("/files/main.3f2a…"), never a whole URL. RFC 9110 10.2.2 lets
clients resolve it against the URL they asked, and tus-js-client, tuspy, tus-java-client, TUSKit and browsers do; scheme
and host are then right by themselves behind any TLS terminator, trusted or not, whatever it says or forgets to say of
itself. A wrong `http://` in an absolute Location is the trouble most often met with this protocol behind proxies.

The one thing a client's own URL cannot mend is a prefix that a proxy strips from the path. It is told by the settings,
or by a *trusted* proxy's X-Forwarded-Prefix, which goes first. Who the client is only a trusted proxy can say, too; for
everybody else it is who opened the connection.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from storage_proxy.wire.fields import Headers
from storage_proxy.wire.forwarded import client_of, prefix_of


class Addresses:
    def __init__(self, base_path: str = "", trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self.base_path = base_path
        self._trusted = tuple(trusted_proxies)

    def location(self, headers: Headers, peer: str | None, path: str) -> str:
        """`path` as this service knows it, without any prefix."""
        return self._prefix(headers, peer) + path

    def spellings(self, headers: Headers, peer: str | None, path: str) -> frozenset[str]:
        """Every path under which a client of this request may know `path`."""
        return frozenset((path, self.base_path + path, self._prefix(headers, peer) + path))

    def client(self, headers: Headers, peer: str | None) -> str:
        """Empty for a UNIX socket."""
        return client_of(headers, peer or "", self._trusts)

    def _prefix(self, headers: Headers, peer: str | None) -> str:
        return (prefix_of(headers) if self._trusts(peer or "") else "") or self.base_path

    def _trusts(self, peer: str) -> bool:
        if not self._trusted:
            return False
        try:
            address = ip_address(peer)
        except ValueError:
            return False  # a UNIX socket
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._trusted)
