"""The flood limit: a token bucket (Turner, 1986) on trio's clock."""

from __future__ import annotations

import trio


class TokenBucket:
    """Allows `rate` a second on average and `burst` at once."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._since = trio.current_time()

    def take(self) -> float:
        """Take one token. Returns 0, or the seconds until there is one (and takes nothing)."""
        now = trio.current_time()
        self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
        self._since = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0
