"""Who may see and change an account's webhooks, and what was sent to them."""

from __future__ import annotations

from .base import BasePolicy


class WebhookPolicy(BasePolicy):
    """Administrators: a webhook is sent what everybody in the account writes."""

    def can_manage(self) -> bool:
        """See, create, change and delete webhooks, their secrets and their deliveries."""
        return self.is_administrator
