"""The limits of webhooks, with their units and reasons. Those of one request are `api/webhook_limits`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class WebhookLimits:
    """How many webhooks there may be, how often a delivery is tried, and how long it is remembered."""

    per_account: int = 20
    url: int = 2_048  # characters
    #: Seconds between the attempts of one delivery, with a tenth of jitter: 8 attempts in 23 hours and a half.
    delays: tuple[float, ...] = (5.0, 30.0, 120.0, 900.0, 3_600.0, 14_400.0, 64_800.0)
    longest_retry_after: float = 14_400.0  # seconds; a receiver that asks for more is asked again all the same
    waiting: int = 100_000  # deliveries of one webhook; with more than this it is paused
    run: float = 20.0  # seconds after which a job that delivers lets others run
    page: int = 20  # deliveries that are read at once
    look: float = 600.0  # seconds at most between two looks at how many wait behind a delivery that fails
    kept_attempts: int = 50  # attempts of a delivery that are remembered
    reason: int = 500  # characters of why a webhook was paused
    old_secret: float = 86_400.0  # seconds for which the secret before the last rotation signs as well
    keep_deliveries: float = 7 * 86_400.0  # seconds that the log of what ended is kept

    def __post_init__(self) -> None:
        for item in fields(self):
            value: Any = getattr(self, item.name)
            if min(self.delays, default=1.0) <= 0 if item.name == "delays" else value <= 0:
                raise ValueError(f"WebhookLimits.{item.name} must be greater than zero.")
