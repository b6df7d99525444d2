"""Whose address a request has that a proxy sent: what trusted proxies say in X-Forwarded-For, and nobody else.

Each proxy adds the address that it was asked from to the end of the field, behind whatever a client wrote there. So it
is read from its end: the first address that is no trusted proxy's own is the client's. What stands before it, anybody
may have made up; what is no address ends the reading. A request that no trusted proxy sent has the address of its
connection.

Any thread.
"""

import contextlib
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

HOPS: Final = 32  # of a field that are looked at, from its end
REMEMBERED: Final = 4096  # addresses


class Proxies:
    """Those that are trusted."""

    def __init__(self, networks: Sequence[str]) -> None:
        """Trust addresses and networks, spelled as `gateway.config.read_networks` does."""
        self._networks = [ip_network(network) for network in networks]
        self._known: dict[str, bool] = {}

    def client_of(self, address: str, forwarded: str) -> str:
        """Return the address of a client.

        Args:
            address: of the connection.
            forwarded: what X-Forwarded-For holds, its lines joined by commas; empty: there is none.
        """
        found = address
        for hop in reversed(forwarded.rsplit(",", HOPS)[-HOPS:]) if forwarded else ():
            if not self._trusts(found):
                break
            before = _address(hop.strip())
            if before is None:
                break
            found = str(before)
        return found

    def _trusts(self, address: str) -> bool:
        with contextlib.suppress(KeyError):  # another thread may clear it at any time
            return self._known[address]
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        parsed = _address(address)
        trusted = parsed is not None and any(
            network.version == parsed.version and parsed in network for network in self._networks
        )
        self._known[address] = trusted
        return trusted


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address as proxies write it, some with its port; one of IPv4 that is written as IPv6 is one of IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
