"""Who may see and change the jobs of an account."""

from __future__ import annotations

from .base import BasePolicy


class JobPolicy(BasePolicy):
    """Administrators, all of their account's: the arguments of a job may hold anything, so nobody else sees one."""

    def can_show(self) -> bool:
        return self.is_administrator

    def can_update(self) -> bool:
        """Retry and cancel."""
        return self.is_administrator
