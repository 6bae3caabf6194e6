"""The handlers of an account's commands about webhooks, with their collaborators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..account_state import AccountState
from ..collaborators import Collaborators
from ..webhooks.commands import (
    CreateWebhook,
    DeleteWebhook,
    PauseWebhook,
    RedeliverWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
)
from .webhook_changes import (
    CreateWebhookHandler,
    DeleteWebhookHandler,
    PauseWebhookHandler,
    RedeliverWebhookHandler,
    ResumeWebhookHandler,
    RotateWebhookSecretHandler,
    UpdateWebhookHandler,
)


def webhook_command_handlers(world: Collaborators) -> Mapping[type, Callable[[AccountState, Any], Awaitable[Any]]]:
    """One handler per use case."""
    store, sender, limits = world.jobs.store, world.sender, world.webhook_limits
    return {
        CreateWebhook: CreateWebhookHandler(world.reads, store, sender, limits),
        UpdateWebhook: UpdateWebhookHandler(store, sender, limits),
        DeleteWebhook: DeleteWebhookHandler(store),
        PauseWebhook: PauseWebhookHandler(store, limits),
        ResumeWebhook: ResumeWebhookHandler(store),
        RotateWebhookSecret: RotateWebhookSecretHandler(store, limits),
        RedeliverWebhook: RedeliverWebhookHandler(store),
    }
