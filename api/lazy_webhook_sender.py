"""The sender of webhooks, made when it is needed first: an engine without webhooks does not load an HTTP client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ..actors.times import now
from ..actors.webhooks.port import Answer
from .webhook_limits import WebhookSenderLimits

if TYPE_CHECKING:
    from .webhook_sender import HttpWebhookSender


class LazyWebhookSender:
    """A `WebhookSender`. Made by `open_lazy_webhook_sender`."""

    def __init__(self, limits: WebhookSenderLimits, wall_clock: Callable[[], int]) -> None:
        self._limits = limits
        self._wall_clock = wall_clock
        self._sender: HttpWebhookSender | None = None

    @property
    def sender(self) -> HttpWebhookSender:
        if self._sender is None:
            from .webhook_sender import new_webhook_sender

            self._sender = new_webhook_sender(self._limits, wall_clock=self._wall_clock)
        return self._sender

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return await self.sender.post(url, headers, body)

    def check(self, url: str) -> None:
        """Raises Invalid: the URL can never be a target."""
        self.sender.check(url)

    async def aclose(self) -> None:
        if self._sender is not None:
            await self._sender.aclose()


@asynccontextmanager
async def open_lazy_webhook_sender(
    limits: WebhookSenderLimits, wall_clock: Callable[[], int] = now
) -> AsyncGenerator[LazyWebhookSender]:
    """A sender for as long as the block lasts.

    Raises:
        WrongSetting: a file of certificate authorities is set, and cannot be read.
    """
    sender = LazyWebhookSender(limits, wall_clock)
    if limits.ca_file:
        _ = sender.sender  # a file that is wrong is told at the start
    try:
        yield sender
    finally:
        await sender.aclose()
