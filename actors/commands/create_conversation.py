"""Open a conversation: number it, and write the first event of its log."""

from __future__ import annotations

import msgspec

from ...engine.errors import Denied, Invalid, NotFound
from ...storage.contracts import Reads
from ...storage.records import Contact, Conversation, EventRow
from ...storage.writes import Insert
from ..account_state import AccountState
from ..attributes import why_not
from ..checking import labels_fault
from ..entities import Principal, Visitor
from ..events import CONVERSATION_CREATED
from ..limits import ChatLimits
from ..policies.base import authorize
from ..policies.contact import ContactPolicy
from ..policies.conversation import ConversationPolicy
from ..policies.inbox import InboxPolicy
from ..times import optional_rfc3339, rfc3339
from .account import CreateConversation

_encode = msgspec.json.Encoder().encode


class CreateConversationHandler:
    def __init__(self, reads: Reads, limits: ChatLimits) -> None:
        self._reads = reads
        self._limits = limits

    async def __call__(self, account: AccountState, command: CreateConversation) -> Conversation:
        self._authorize(account, command)
        contact = await self._reads.contact(account.id, command.contact_id)
        if contact is None or not ContactPolicy(account.access, command.by).can_show(contact):
            raise NotFound("There is no such contact.")
        self._check(account, command)
        change = account.change(command.by)
        display_id = account.record.last_display_id + 1
        conversation = Conversation(
            id=(await self._reads.reserve(Conversation))[0],
            account_id=account.id,
            inbox_id=command.inbox_id,
            contact_id=contact.id,
            display_id=display_id,
            last_activity_at=change.now,
            created_at=change.now,
            updated_at=change.now,
            status=str(command.status),
            assignee_id=command.assignee_id,
            labels=list(dict.fromkeys(label.strip() for label in command.labels)),
            custom_attributes=command.custom_attributes,
            last_seq=1,
        )
        change.columns = {"last_display_id": display_id}
        change.writes = [Insert(conversation)]
        change.conversation_events = [_created(conversation, contact, command.by)]
        await account.commit(change)
        return conversation

    def _authorize(self, account: AccountState, command: CreateConversation) -> None:
        by = command.by
        visible = InboxPolicy(account.access, by).can_show(command.inbox_id)
        authorize(ConversationPolicy(account.access, by).can_create(command.inbox_id), visible=visible)
        plain = CreateConversation(by, command.inbox_id, command.contact_id)
        if isinstance(by, Visitor) and command != plain:
            raise Denied("A visitor only opens a conversation; everything else about it is for members.")

    def _check(self, account: AccountState, command: CreateConversation) -> None:
        limits, fields = self._limits, dict[str, str]()
        assignee = command.assignee_id
        if assignee is not None and not account.access.may_be_assigned(assignee, command.inbox_id):
            fields["assignee_id"] = "Must be an agent or administrator who can see this inbox."
        fault = labels_fault(command.labels, limits)
        if fault is not None:
            fields["labels"] = fault
        reason = why_not(command.custom_attributes, limits.custom_attributes)
        if reason is not None:
            fields["custom_attributes"] = reason
        if fields:
            raise Invalid(fields=fields)


def _created(conversation: Conversation, contact: Contact, by: Principal) -> EventRow:
    data = {
        "conversation_id": conversation.id,
        "seq": 1,
        "inbox_id": conversation.inbox_id,
        "display_id": conversation.display_id,
        "contact": {"id": contact.id, "name": contact.name},
        "status": conversation.status,
        "priority": conversation.priority,
        "assignee_id": conversation.assignee_id,
        "labels": conversation.labels,
        "custom_attributes": conversation.custom_attributes,
        "snoozed_until": optional_rfc3339(conversation.snoozed_until),
        "created_at": rfc3339(conversation.created_at),
        "by": {"type": by.type, "id": by.id, "name": by.name},
    }
    return EventRow(
        conversation.id, 1, conversation.account_id, conversation.inbox_id, CONVERSATION_CREATED, by.type, by.id,
        by.name, None, False, _encode(data).decode(), conversation.created_at,
    )  # fmt: skip
