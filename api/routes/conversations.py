"""Conversations: list, show, open, change, delete; read and typing."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, UnsetType

from ...actors.commands.account import CreateConversation
from ...actors.commands.mark_read import MarkRead, SetTyping
from ...actors.commands.update_conversation import DeleteConversation, UpdateConversation
from ...actors.entities import Visitor
from ...actors.policies.base import authorize
from ...engine.errors import Denied, Invalid, NotFound
from ...engine.mailbox import Lane
from ...storage.contracts import ConversationFilter
from ...storage.records import Conversation
from ..answers import Page
from ..calls import AccountCall, with_auth
from ..cursors import cursor_of, key_of
from ..representations import ConversationData, ReadData, conversation_data
from ..routing import Area
from ..schemas import ConversationQuery, ConversationUpdate, NewConversation, ReadUpTo, Typing
from ..validation import REQUIRED

area = Area("conversations")


def shown(call: AccountCall, conversation: Conversation) -> ConversationData:
    return conversation_data(conversation, for_visitor=call.is_visitor)


def millis(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


@area.get("/conversations", ConversationData, listed=True)
@with_auth
async def list_conversations(call: AccountCall, query: ConversationQuery) -> Page:
    """The conversations that one may see, the latest activity first."""
    before = key_of(query.cursor, 2) if query.cursor is not None else None
    which = filter_of(call, query)
    if which.inbox_ids is not None and not which.inbox_ids:
        return Page([])
    found = await call.world.reads.conversations(
        call.account_id, which, before=(before[0], before[1]) if before else None, limit=query.limit + 1
    )
    page = found[: query.limit]
    cursor = cursor_of(page[-1].last_activity_at, page[-1].id) if len(found) > len(page) else None
    return Page([shown(call, conversation) for conversation in page], cursor)


def filter_of(call: AccountCall, query: ConversationQuery) -> ConversationFilter:
    """What the caller asked for, within what the policy lets it see."""
    principal = call.principal
    visitor = principal if isinstance(principal, Visitor) else None
    inbox_ids = (visitor.inbox_id,) if visitor is not None else call.policy.scope()
    if query.inbox_id is not None:
        inbox_ids = (query.inbox_id,) if inbox_ids is None or query.inbox_id in inbox_ids else ()
    assignee_id = None
    if query.assignee_id == "me":
        assignee_id = call.member.user_id
    elif query.assignee_id is not None and query.assignee_id != "none":
        assignee_id = int(query.assignee_id)
    if visitor is not None and query.labels:
        raise Denied("Visitors do not see labels.")
    return ConversationFilter(
        inbox_ids=inbox_ids,
        contact_id=visitor.contact_id if visitor is not None else None,
        status=query.status,
        assignee_id=assignee_id,
        unassigned=query.assignee_id == "none",
        labels=query.labels,
        updated_since=millis(query.updated_since) if query.updated_since is not None else None,
    )


@area.post("/conversations", ConversationData)
@with_auth
async def create_conversation(call: AccountCall, body: NewConversation) -> ConversationData:
    """Open a conversation."""
    inbox_id, contact_id = parties(call, body)
    command = CreateConversation(
        call.principal, inbox_id, contact_id, body.status, body.assignee_id, tuple(body.labels), body.custom_attributes
    )
    return shown(call, await call.account.ask(command))


def parties(call: AccountCall, body: NewConversation) -> tuple[int, int]:
    """The inbox and the contact of a new conversation.

    Raises:
        NotFound: the inbox or the contact is none of the caller's.
        Denied: the caller may not open conversations there.
    """
    principal = call.principal
    if isinstance(principal, Visitor):
        own = (principal.inbox_id, principal.contact_id)
        if body.inbox_id not in (None, own[0]) or body.contact_id not in (None, own[1]):
            raise NotFound
        if body != NewConversation(inbox_id=body.inbox_id, contact_id=body.contact_id):
            raise Denied("Visitors open conversations as they are, without status, assignee, labels or attributes.")
        authorize(call.policy.can_create(own[0]))
        return own
    missing = {name: REQUIRED for name in ("inbox_id", "contact_id") if getattr(body, name) is None}
    if missing or body.inbox_id is None or body.contact_id is None:
        raise Invalid(fields=missing)
    scope = call.policy.scope()
    visible = body.inbox_id in call.access.inboxes and (scope is None or body.inbox_id in scope)
    authorize(call.policy.can_create(body.inbox_id), visible=visible)
    return body.inbox_id, body.contact_id


@area.get("/conversations/<id:conversation_id>", ConversationData)
@with_auth
async def show_conversation(call: AccountCall, conversation_id: int) -> ConversationData:
    """One conversation."""
    records = await call.world.reads.conversation(call.account_id, conversation_id)
    if records is None or records.conversation.deleted_at is not None:
        raise NotFound
    allowed = call.policy.can_show(records.conversation)
    authorize(allowed, visible=allowed)
    return shown(call, records.conversation)


@area.patch("/conversations/<id:conversation_id>", ConversationData)
@with_auth
async def update_conversation(call: AccountCall, conversation_id: int, body: ConversationUpdate) -> ConversationData:
    """Change status, assignee, priority, labels or attributes. The actor asks the policy, on its own state."""
    snoozed_until: int | UnsetType | None = UNSET
    if body.snoozed_until is None:
        snoozed_until = None
    elif isinstance(body.snoozed_until, datetime):
        snoozed_until = millis(body.snoozed_until)
    command = UpdateConversation(
        call.principal,
        body.status,
        body.assignee_id,
        body.priority,
        body.labels if isinstance(body.labels, UnsetType) else tuple(body.labels),
        body.custom_attributes,
        snoozed_until,
    )
    return shown(call, await call.conversation(conversation_id).ask(command))


@area.delete("/conversations/<id:conversation_id>")
@with_auth
async def delete_conversation(call: AccountCall, conversation_id: int) -> None:
    """Erase a conversation."""
    await call.conversation(conversation_id).ask(DeleteConversation(call.principal))


@area.post("/conversations/<id:conversation_id>/read", ReadData, status=200)
@with_auth
async def mark_read(call: AccountCall, conversation_id: int, body: ReadUpTo) -> ReadData:
    """Say how far one has read; the answer is how far the cursor is now."""
    return ReadData(seq=await call.conversation(conversation_id).ask(MarkRead(call.principal, body.seq)))


@area.post("/conversations/<id:conversation_id>/typing", None)
@with_auth
async def set_typing(call: AccountCall, conversation_id: int, body: Typing) -> None:
    """Say that one types, or has stopped."""
    facts = await call.visible(conversation_id)
    authorize(call.policy.can_send(facts, private=body.private))
    call.conversation(conversation_id).tell(SetTyping(call.principal, body.on, body.private), Lane.BROADCASTS)
