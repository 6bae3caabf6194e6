"""How often one caller may try. In: a key, such as an address. Out: nothing, or `RateLimited`."""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address, ip_network

from ..actors.flood import TokenBucket
from ..engine.errors import RateLimited

#: One customer of an IPv6 provider holds at least this much of the address space.
IPV6_PREFIX = 64


class RateLimit:
    """A token bucket for each key, for a bounded number of keys."""

    def __init__(self, rate: float, burst: float, keys: int) -> None:
        self._rate = rate
        self._burst = burst
        self._keys = keys
        self._buckets: dict[Hashable, TokenBucket] = {}  # the least recently used first

    def take(self, key: Hashable) -> None:
        """Count one try.

        Raises:
            RateLimited: too many; says when to try again.
        """
        if self._rate <= 0:
            return
        bucket = self._buckets.pop(key, None) or TokenBucket(self._rate, self._burst)
        self._buckets[key] = bucket
        if len(self._buckets) > self._keys:
            del self._buckets[next(iter(self._buckets))]
        wait = bucket.take()
        if wait:
            raise RateLimited("Too many tries; wait a moment.", retry_after=wait)


def network_of(address: str) -> str:
    """What counts as one caller: an IPv4 address, or the network of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, IPV6_PREFIX), strict=False))
    return str(parsed)


def client_address(peer: str, forwarded_for: str | None, trusted_proxies: int) -> str:
    """The caller's address, as the outermost trusted proxy saw it. Anybody can have written what stands before it."""
    entries = [entry.strip() for entry in (forwarded_for or "").split(",") if entry.strip()]
    if trusted_proxies <= 0 or not entries:
        return peer
    return entries[-min(trusted_proxies, len(entries))]
