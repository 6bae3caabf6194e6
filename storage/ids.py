"""Ids that a process gives without asking the store, so that a turn can name what it is about to write."""

from __future__ import annotations

import secrets


class TimeOrderedIds:
    """Ids in the order in which this process gave them; those of several processes in the order of their clocks.

    28 hexadecimal digits, after the idea of UUIDv7 (RFC 9562, section 5.7) with its counter (section 6.2): 12 of
    milliseconds, 4 that count within one, 12 at random. Rows with such keys are written side by side.
    """

    def __init__(self) -> None:
        self._last = 0

    def new(self, now: int) -> str:
        """`now` is in milliseconds; a clock that goes back, or an 65,537th id within one, borrows from the future."""
        self._last = max(now << 16, self._last + 1)
        return f"{self._last:016x}{secrets.token_hex(6)}"


new_id = TimeOrderedIds().new
