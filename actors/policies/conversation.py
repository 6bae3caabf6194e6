"""Who may see and change conversations."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ..entities import Member, Role, Visitor
from .base import BasePolicy


class ConversationFacts(Protocol):
    """What the policy needs to know of a conversation: a row or an actor's state."""

    @property
    def account_id(self) -> int: ...
    @property
    def inbox_id(self) -> int: ...
    @property
    def contact_id(self) -> int: ...
    @property
    def assignee_id(self) -> int | None: ...


class ConversationPolicy(BasePolicy):
    """Show: every member who may see the inbox; visitors, their own. Update: administrators and the assigned agent; any
    agent may claim a conversation that nobody has. Delete: administrators. Viewers read, blocked contacts nothing."""

    def can_show(self, conversation: ConversationFacts) -> bool:
        if conversation.account_id != self.access.account_id:
            return False
        if isinstance(self.principal, Visitor):
            return self._owns(self.principal, conversation)
        return self.is_system or self._sees(conversation)

    def can_write(self, conversation: ConversationFacts) -> bool:
        """Send messages, show typing, mark as read."""
        if isinstance(self.principal, Member):
            role = self.role
            return role is not Role.VIEWER and self._sees_as(self.principal, role, conversation)
        return self.can_show(conversation)

    def can_read_cursor(self, conversation: ConversationFacts) -> bool:
        """Viewers read, and may say how far."""
        return self.can_show(conversation)

    def can_update(self, conversation: ConversationFacts) -> bool:
        if self.is_administrator:
            return self.can_show(conversation)
        return (
            isinstance(self.principal, Member)
            and self.role is Role.AGENT
            and conversation.assignee_id == self.principal.user_id
            and self._sees(conversation)
        )

    def can_claim(self, conversation: ConversationFacts) -> bool:
        """Assign it to oneself."""
        if self.can_update(conversation):
            return True
        return self.role is Role.AGENT and conversation.assignee_id is None and self._sees(conversation)

    def can_resolve(self, conversation: ConversationFacts) -> bool:
        """Visitors may end their own conversation; that is all they may change of it."""
        if isinstance(self.principal, Visitor):
            return self.can_show(conversation)
        return self.can_update(conversation)

    def can_delete(self, conversation: ConversationFacts) -> bool:
        return self.is_administrator and self.can_show(conversation)

    def can_create(self, inbox_id: int) -> bool:
        if isinstance(self.principal, Visitor):
            return self.access.admits(self.principal) and self.principal.inbox_id == inbox_id
        if self.is_system:
            return inbox_id in self.access.inboxes
        role = self.role
        if role is None or not isinstance(self.principal, Member):
            return False
        return role is not Role.VIEWER and self.access.may_see_inbox(self.principal.user_id, role, inbox_id)

    def scope(self) -> Collection[int] | None:
        """The inboxes whose conversations a list shows; None means all of the account's."""
        role = self.role
        if self.is_system:
            return None
        if role is None or not isinstance(self.principal, Member):
            return ()
        user_id = self.principal.user_id
        return [inbox for inbox in self.access.inboxes if self.access.may_see_inbox(user_id, role, inbox)]

    def _owns(self, visitor: Visitor, conversation: ConversationFacts) -> bool:
        return (
            self.access.admits(visitor)
            and visitor.contact_id == conversation.contact_id
            and visitor.inbox_id == conversation.inbox_id
        )

    def _sees(self, conversation: ConversationFacts) -> bool:
        return isinstance(self.principal, Member) and self._sees_as(self.principal, self.role, conversation)

    def _sees_as(self, member: Member, role: Role | None, conversation: ConversationFacts) -> bool:
        return (
            role is not None
            and conversation.account_id == self.access.account_id
            and self.access.may_see_inbox(member.user_id, role, conversation.inbox_id)
        )
