"""Who may see, edit and delete messages."""

from __future__ import annotations

from typing import Protocol

from ..entities import Member, Visitor
from .conversation import ConversationFacts, ConversationPolicy


class MessageFacts(Protocol):
    @property
    def private(self) -> bool: ...
    @property
    def sender_type(self) -> str: ...
    @property
    def sender_id(self) -> int | None: ...
    @property
    def message_type(self) -> str: ...


class MessagePolicy(ConversationPolicy):
    """Private notes are for members. A message is edited by its sender, deleted by its sender or an administrator."""

    def can_show_message(self, conversation: ConversationFacts, message: MessageFacts) -> bool:
        return self.can_show(conversation) and not (message.private and isinstance(self.principal, Visitor))

    def can_send(self, conversation: ConversationFacts, *, private: bool) -> bool:
        return self.can_write(conversation) and not (private and isinstance(self.principal, Visitor))

    def can_edit(self, conversation: ConversationFacts, message: MessageFacts) -> bool:
        return self.can_write(conversation) and self._sent(message)

    def can_delete_message(self, conversation: ConversationFacts, message: MessageFacts) -> bool:
        if message.message_type == "activity":
            return False
        return self.can_edit(conversation, message) or (self.is_administrator and self.can_show(conversation))

    def _sent(self, message: MessageFacts) -> bool:
        principal = self.principal
        return (
            isinstance(principal, Member | Visitor)
            and message.message_type != "activity"
            and message.sender_type == principal.type
            and message.sender_id == principal.id
        )
