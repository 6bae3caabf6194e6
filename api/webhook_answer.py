"""What a receiver's response means. In: status, headers and the beginning of the body. Out: an `Answer`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from ..actors.webhooks.port import Answer

Headers = Sequence[tuple[bytes, bytes]]

_SECONDS = re.compile(r"[0-9]{1,9}")


def answer_of(status: int, headers: Headers, body: bytes, *, duration: float, now: float, kept: int) -> Answer:
    """The answer that a response is.

    Args:
        status: of the response, and all that decides.
        headers: names in any case, values as they were sent.
        body: as much of it as was read.
        duration: seconds that the attempt took.
        now: seconds since 1970-01-01 UTC.
        kept: characters of the body that the answer keeps.
    """
    # Databases take no NUL.
    text = body.decode("utf-8", "replace").replace("\0", "\ufffd")
    return Answer(status, duration, _reason(status), _retry_after(status, headers, now), text[:kept])


def _reason(status: int) -> str | None:
    """Why a status is no success."""
    if 200 <= status < 300:
        return None
    try:
        named = f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        named = str(status)
    if 300 <= status < 400:
        return f"The receiver answered {named}; redirects are not followed, so enter the final URL."
    return f"The receiver answered {named}."


def _retry_after(status: int, headers: Headers, now: float) -> float | None:
    """Seconds, from either form of the header (RFC 9110, section 10.2.3)."""
    if status not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return None
    value = next((value.decode("latin-1") for name, value in headers if name.lower() == b"retry-after"), "")
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        # Dates of HTTP are in UTC, also in the form that does not say so (RFC 9110, section 5.6.7).
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError):
        return None
