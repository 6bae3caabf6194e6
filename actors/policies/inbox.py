"""Who may see and change inboxes and their members."""

from __future__ import annotations

from collections.abc import Collection

from ..entities import Member, Visitor
from .base import BasePolicy


class InboxPolicy(BasePolicy):
    """Who sees an inbox sees its conversations, except that a visitor sees its own. Administrators change them."""

    def can_show(self, inbox_id: int) -> bool:
        return inbox_id in self.scope()

    def can_manage(self) -> bool:
        """Create and rename inboxes, and choose their members."""
        return self.is_administrator

    def scope(self) -> Collection[int]:
        """The inboxes that a list shows."""
        access, role = self.access, self.role
        if self.is_system:
            return list(access.inboxes)
        if isinstance(self.principal, Visitor):
            return [self.principal.inbox_id] if access.admits(self.principal) else ()
        if role is None or not isinstance(self.principal, Member):
            return ()
        user_id = self.principal.user_id
        return [inbox for inbox in access.inboxes if access.may_see_inbox(user_id, role, inbox)]
