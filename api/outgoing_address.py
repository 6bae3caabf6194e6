"""Where the server may connect to on behalf of a tenant. In: an address. Out: whether it is public, or allowed.

Whoever enters a URL makes the server send a request from inside its own network (server-side request forgery), so only
addresses of the public internet are targets. The ranges follow the IANA registries of special-purpose addresses
(https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry). They are written out where
the releases of Python's `ipaddress` disagree with them or with each other.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: IPv4 that is not for everybody although not every release of Python calls it private.
_SPECIAL_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "100.64.0.0/10",  # behind a provider's own translation (RFC 6598)
        "168.63.129.16/32",  # the host of a machine in Azure
        "192.0.0.0/24",  # protocol assignments (RFC 6890); the host of a machine in Oracle's cloud
        "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
    )
)
#: All of IPv6 that is given out as global unicast. Outside it are loopback, private, link-local and multicast ones.
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments (RFC 2928), among them Teredo's tunnels to any IPv4 address
        "2001:db8::/32",  # for documentation (RFC 3849)
        "2002::/16",  # 6to4's tunnels to any IPv4 address (RFC 7526)
        "3fff::/20",  # for documentation (RFC 9637)
    )
)
#: A translator reaches the IPv4 address in the last 32 bits of these (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")


def literal(host: str) -> Address | None:
    """The address that a host is, instead of a name that has one.

    In every spelling that the resolver takes for an address: `127.1` and `0x7f000001` are 127.0.0.1.
    """
    try:
        found = socket.getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return ip_address(found[0][4][0])
    except (OSError, ValueError):
        return None


def is_public(address: Address) -> bool:
    """Whether it belongs to the public internet."""
    reached = _reached(address)
    if isinstance(reached, IPv6Address):
        return reached in _GLOBAL_IPV6 and not any(reached in network for network in _SPECIAL_IPV6)
    return (
        reached.is_global
        and not reached.is_multicast
        and not reached.is_reserved
        and not any(reached in network for network in _SPECIAL_IPV4)
    )


class OutgoingRule:
    """Public addresses, and the networks that the operator allows besides."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """Raises ValueError: one of `allowed` is no network, as `10.0.0.0/8`."""
        self._allowed: tuple[Network, ...] = tuple(_network(text) for text in allowed)

    def permits(self, address: Address) -> bool:
        reached = _reached(address)
        return is_public(reached) or any(reached in network for network in self._allowed)


def _reached(address: Address) -> Address:
    """The IPv4 address behind an IPv6 one that only stands for it."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no network to allow as a target; write it as 10.0.0.0/8 ({error}).") from None
