"""What callers may attach to things: a small JSON object.

It comes back in every encoding that the engine speaks, so it holds only what each of them can say: msgpack has no
integer of more than 64 bits, and every encoder has a limit of nesting.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

MAX_DEPTH = 16
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1

_encode = msgspec.json.Encoder().encode


def why_not(attributes: dict[str, Any], limit: int) -> str | None:
    """What is wrong with these attributes, as a sentence; None where nothing is. `limit` is in bytes of JSON."""
    reason = _why_not(attributes, 1)
    if reason is None and len(_encode(attributes)) > limit:
        reason = f"Must be at most {limit} bytes of JSON."
    return reason


def _why_not(value: object, depth: int) -> str | None:
    if isinstance(value, int):
        return None if MIN_INTEGER <= value <= MAX_INTEGER else "Integers must fit into 64 bits."
    inner = _inside(value)
    if inner is None:
        return None
    if depth > MAX_DEPTH:
        return f"Must be nested at most {MAX_DEPTH} deep."
    return next((reason for item in inner if (reason := _why_not(item, depth + 1))), None)


def _inside(value: object) -> Iterable[object] | None:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else None
