"""Times on the wire: RFC 3339 in UTC with milliseconds; integers of milliseconds everywhere inside."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

#: The last instant that RFC 3339 can say, in milliseconds.
LATEST = 253_402_300_799_999


def now() -> int:
    """The time of day in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def rfc3339(millis: int) -> str:
    """`1700000000123` as `2023-11-14T22:13:20.123Z`."""
    seconds, rest = divmod(millis, 1000)
    return f"{_whole_second(seconds)}{rest:03d}Z"


@lru_cache(maxsize=4096)
def _whole_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def optional_rfc3339(millis: int | None) -> str | None:
    return None if millis is None else rfc3339(millis)
