"""What deliveries need of the network. In: a URL, headers and a body. Out: an `Answer`. The edge implements it.

The domain knows nothing of HTTP: it hands over bytes and learns whether they arrived, how long it took, and why not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ...engine.errors import Invalid


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt."""

    status: int | None  # of the HTTP response; None when there was none
    duration: float  # seconds
    reason: str | None  # why the attempt failed, as a sentence; None when the status is 2xx
    retry_after: float | None = None  # seconds that a 429 or a 503 asks for, as sent: the caller bounds them
    body: str = ""  # how the response began, for the delivery log

    @property
    def ok(self) -> bool:
        """Whether the receiver took the delivery: a status from 200 to 299, and nothing else."""
        return self.status is not None and 200 <= self.status < 300


class WebhookSender(Protocol):
    """Makes single attempts. What is tried again, and when, is the caller's to decide."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request and wait for its answer, no longer than the sender's limits say.

        Raises nothing for what networks and receivers do: that is in the answer. An attempt may wait for others to the
        same host before it begins; `Answer.duration` counts from when it began.
        """
        ...

    def check(self, url: str) -> None:
        """Look at a URL before it is stored. Names are not resolved here: the address is checked at every attempt.

        Raises:
            Invalid: it can never be a target: too long, not http or https, without a host, with credentials in it, or
                with a private address in place of a name.
        """
        ...


class NoSender:
    """The `WebhookSender` of an engine that was given none."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return Answer(None, 0.0, _NO_SENDER)

    def check(self, url: str) -> None:
        """Raises Invalid."""
        raise Invalid(_NO_SENDER, fields={"url": _NO_SENDER})


_NO_SENDER = "This engine was opened without a sender of webhooks."
