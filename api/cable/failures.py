"""How a client is told that a command failed: the body of `command.failed`."""

from __future__ import annotations

from collections import deque
from typing import Any

import trio

from ...engine.errors import Invalid, TertuliaError

FAILED = "command.failed"
#: Seconds after which a client may try again where the error itself does not know.
RETRY_AFTER = 1.0


def failure(client_id: str | None, error: Exception) -> dict[str, Any]:
    """`code` and `detail` say why; `retryable` and `retry_after` say whether and when the same command may succeed."""
    data: dict[str, Any] = {"client_id": client_id}
    if not isinstance(error, TertuliaError):
        error = TertuliaError("Something went wrong inside the server.")
    data |= {"code": error.code, "detail": error.detail, "retryable": error.temporary}
    if error.temporary:
        data["retry_after"] = getattr(error, "retry_after", RETRY_AFTER)
    if isinstance(error, Invalid) and error.fields:
        data["fields"] = dict(error.fields)
    return {"type": FAILED, "data": data}


def is_temporary(error: Exception) -> bool:
    """Whether the same request may succeed later: the store is away or slow, too much is waiting, the server goes."""
    return error.temporary if isinstance(error, TertuliaError) else isinstance(error, trio.TooSlowError)


class ErrorWindow:
    """Counts a client's errors over a sliding period. It exists from the first error on."""

    __slots__ = ("_instants", "_period")

    def __init__(self, errors: int, period: float) -> None:
        self._instants: deque[float] = deque(maxlen=errors)
        self._period = period

    def exceeded(self, now: float) -> bool:
        """Count one more error. Whether there were more than the bound within the period."""
        instants = self._instants
        full = len(instants) == instants.maxlen and now - instants[0] <= self._period
        instants.append(now)
        return full
