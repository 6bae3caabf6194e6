"""Times on the wire: RFC 3339 in UTC with milliseconds; integers of milliseconds everywhere inside."""

from __future__ import annotations

import time
from datetime import UTC, datetime

#: The last instant that RFC 3339 can say, in milliseconds.
LATEST = 253_402_300_799_999


def now() -> int:
    """The time of day in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def rfc3339(millis: int) -> str:
    """`1700000000123` as `2023-11-14T22:13:20.123Z`."""
    global _last
    if _last[0] != millis:  # what one turn says has one time
        seconds, rest = divmod(millis, 1000)
        _last = millis, f"{_whole_second(seconds)}{rest:03d}Z"
    return _last[1]


def _whole_second(seconds: int) -> str:
    """The text up to the point. One busy second is asked for thousands of times: the last one is kept.

    Only that: a cache of more leaves one small string a second behind, each in another page, and none of those pages
    can be given back when a busy hour is over.
    """
    global _last_second
    if _last_second[0] != seconds:
        _last_second = seconds, datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
    return _last_second[1]


_last = (0, "1970-01-01T00:00:00.000Z")
_last_second = (0, "1970-01-01T00:00:00.")


def optional_rfc3339(millis: int | None) -> str | None:
    return None if millis is None else rfc3339(millis)
