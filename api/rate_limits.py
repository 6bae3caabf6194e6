"""How often one caller may try. In: a key, such as an address. Out: nothing, or `RateLimited`.

With a bus, a key has one bucket for all nodes, in the server behind the bus and in that server's time. While the bus is
away each node counts for itself, so that whoever tries does not wait for it, and is not let in unlimited either.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Address, ip_address, ip_network

from ..actors.flood import TokenBucket
from ..engine.errors import RateLimited, Unavailable
from ..storage.bus import Bus

#: One customer of an IPv6 provider holds at least this much of the address space.
IPV6_PREFIX = 64


#: `flood.TokenBucket` as a script: takes a token, and answers 0 or the seconds until there is one. A bucket that would
#: be full again is forgotten.
TAKE = """
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'since')
local tokens, wait = burst, 0
if bucket[1] then
    tokens = math.min(burst, bucket[1] + math.max(0, now - bucket[2]) * rate)
end
if tokens < 1 then
    wait = (1 - tokens) / rate
else
    tokens = tokens - 1
end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'since', now)
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) / rate * 1000) + 1)
return tostring(wait)
"""


class RateLimit:
    """A token bucket for each key, for a bounded number of keys."""

    def __init__(self, rate: float, burst: float, keys: int, *, name: str = "", bus: Bus | None = None) -> None:
        """Allow each key `rate` tries a second and `burst` at once.

        Args:
            keys: how many of them this node remembers.
            name: what is limited; limits of the same name share their buckets on the bus.
            bus: where buckets are shared with other nodes; None: they are not.
        """
        self._rate = rate
        self._burst = burst
        self._keys = keys
        self._name = name
        self._bus = bus
        self._buckets: dict[str, TokenBucket] = {}  # the least recently used first

    async def admit(self, key: str) -> None:
        """Count one try, on whichever node it is.

        Raises:
            RateLimited: too many; says when to try again.
        """
        if self._rate <= 0:
            return
        if self._bus is None or not self._bus.connected:
            self.take(key)
            return
        try:
            wait = float(
                await self._bus.command("EVAL", TAKE, 1, self._shared(self._bus, key), self._rate, self._burst)
            )
        except Unavailable:
            self.take(key)
        else:
            _refuse_for(wait)

    def take(self, key: str) -> None:
        """Count one try on this node alone.

        Raises:
            RateLimited: too many; says when to try again.
        """
        if self._rate <= 0:
            return
        bucket = self._buckets.pop(key, None) or TokenBucket(self._rate, self._burst)
        self._buckets[key] = bucket
        if len(self._buckets) > self._keys:
            del self._buckets[next(iter(self._buckets))]
        _refuse_for(bucket.take())

    def _shared(self, bus: Bus, key: str) -> str:
        # Callers choose keys, and a key may be somebody's address: its digest is short and names nobody.
        return bus.key(f"rate:{self._name}:{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()}")


def _refuse_for(wait: float) -> None:
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
