"""Who may see and change an account and the people in it."""

from __future__ import annotations

from .base import BasePolicy


class AccountPolicy(BasePolicy):
    """Members see their account and each other; administrators change it."""

    def can_show(self) -> bool:
        return self.is_system or self.role is not None

    def can_update(self) -> bool:
        return self.is_administrator

    def can_see_users(self) -> bool:
        return self.can_show()

    def can_manage_users(self) -> bool:
        """Add and remove people, and give them roles."""
        return self.is_administrator
