"""Who may do what: every cell written out, checked against the policies and through the real actors.

y  it is done            d  Denied: visible, and not allowed            n  NotFound: not even visible
i  allowed, and Invalid: the system does not read           .  does not apply
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from tertulia.actors.access import AccountAccess
from tertulia.actors.commands.account import (
    AddAccountUser,
    CreateContact,
    CreateConversation,
    CreateInbox,
    SetInboxMembers,
    UpdateAccount,
    UpdateContact,
    UpdateInbox,
)
from tertulia.actors.commands.edit_message import DeleteMessage, EditMessage
from tertulia.actors.commands.mark_read import MarkRead, SetTyping
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import DeleteConversation, UpdateConversation
from tertulia.actors.entities import Member, Principal, Role, Status, Visitor
from tertulia.actors.policies.account import AccountPolicy
from tertulia.actors.policies.contact import ContactPolicy
from tertulia.actors.policies.conversation import ConversationPolicy
from tertulia.actors.policies.inbox import InboxPolicy
from tertulia.actors.policies.message import MessagePolicy
from tertulia.engine.errors import Denied, Invalid, NotFound
from tertulia.storage.records import AccountUser, Contact, Conversation, InboxMember, MessageRow, User
from tertulia.storage.writes import Unit

from .kit import ADMINISTRATOR, AGENT, BASE, OUTSIDER, STRANGER, SYSTEM, VIEWER, VISITOR, World

#: Who, and the conversation that it is tried on: 1 nobody's, 2 in an open inbox, 4 the blocked contact's, 5 Fay's.
WHO: dict[str, tuple[Principal, int]] = {
    "administrator": (ADMINISTRATOR, 1),
    "agent in the inbox": (AGENT, 1),
    "agent not in the inbox": (OUTSIDER, 1),
    "agent, open inbox": (OUTSIDER, 2),
    "agent, a colleague's": (AGENT, 5),
    "assigned agent": (Member(1, 5, "Fay"), 5),
    "viewer": (VIEWER, 1),
    "visitor, its own": (VISITOR, 1),
    "visitor, another's": (Visitor(1, 2, 1, "Bob"), 1),
    "visitor, other inbox": (Visitor(1, 1, 2, "Ana"), 1),
    "other account's admin": (STRANGER, 1),
    "other account's visitor": (Visitor(2, 1, 1, "Ana"), 1),
    "system": (SYSTEM, 1),
    "removed member": (Member(1, 6, "Gus"), 1),
    "blocked contact": (Visitor(1, 4, 1, "Hal"), 4),
}

TABLE = """
                        | list show send note | edit-own edit-other delete-own delete-other | typing typing-note read | status resolve assign claim labels delete | create | contacts contact-create contact-update | inbox-create inbox-update members users account
administrator           | y    y    y    y    | y        d          y          y            | y      y           y    | y      y       y      y     y      y      | y      | y        y              y              | y            y            y       y     y
agent in the inbox      | y    y    y    y    | y        d          y          d            | y      y           y    | d      d       d      y     d      d      | y      | y        y              y              | d            d            d       d     d
agent not in the inbox  | n    n    n    n    | n        n          n          n            | n      n           n    | n      n       n      n     n      n      | n      | y        y              y              | d            n            n       d     d
agent, open inbox       | y    y    y    y    | y        d          y          d            | y      y           y    | d      d       d      y     d      d      | y      | y        y              y              | d            d            d       d     d
agent, a colleague's    | y    y    y    y    | y        d          y          d            | y      y           y    | d      d       d      d     d      d      | y      | y        y              y              | d            d            d       d     d
assigned agent          | y    y    y    y    | y        d          y          d            | y      y           y    | y      y       y      y     y      d      | y      | y        y              y              | d            d            d       d     d
viewer                  | y    y    d    d    | d        d          d          d            | d      d           y    | d      d       d      d     d      d      | d      | y        d              d              | d            d            d       d     d
visitor, its own        | n    y    y    d    | y        d          y          d            | y      d           y    | d      y       d      d     d      d      | y      | n        n              d              | n            d            d       n     n
visitor, another's      | n    n    n    n    | n        n          n          n            | n      n           n    | n      n       n      n     n      n      | n      | n        n              n              | n            d            d       n     n
visitor, other inbox    | n    n    n    n    | n        n          n          n            | n      n           n    | n      n       n      n     n      n      | n      | n        n              d              | n            n            n       n     n
other account's admin   | n    n    n    n    | n        n          n          n            | n      n           n    | n      n       n      n     n      n      | n      | n        n              n              | n            n            n       n     n
other account's visitor | n    n    n    n    | n        n          n          n            | n      n           n    | n      n       n      n     n      n      | n      | n        n              n              | n            n            n       n     n
system                  | y    y    y    y    | d        d          y          y            | y      y           i    | y      y       y      .     y      y      | y      | y        y              y              | y            y            y       y     y
removed member          | n    n    n    n    | n        n          n          n            | n      n           n    | n      n       n      n     n      n      | n      | n        n              n              | n            n            n       n     n
blocked contact         | n    n    n    n    | n        n          n          n            | n      n           n    | n      n       n      n     n      n      | n      | n        n              n              | n            n            n       n     n
"""  # noqa: E501


def cells() -> list[tuple[str, str, str]]:
    head, *lines = TABLE.strip("\n").splitlines()
    actions = head.replace("|", " ").split()
    found: list[tuple[str, str, str]] = []
    for line in lines:
        who, _, verdicts = line.partition("|")
        found += [
            (who.strip(), action, verdict)
            for action, verdict in zip(actions, verdicts.replace("|", " ").split(), strict=True)
        ]
    return [cell for cell in found if cell[2] != "."]


READS = ("list", "show", "contacts")  # answered by the policies alone

OWN, OTHERS = 1, 2  # the messages in the conversation


async def furnish(world: World, by: Principal, conversation: int) -> Conversation:
    """The people of the table, and a message of `by` and one of somebody else in the conversation."""
    both: dict[str, Any] = {"created_at": BASE, "updated_at": BASE}
    rows = [
        *(User(id=id, email=f"{id}@example.org", name=name, created_at=BASE) for id, name in ((5, "Fay"), (6, "Gus"))),
        AccountUser(account_id=1, user_id=5, role="agent", created_at=BASE),
        InboxMember(account_id=1, inbox_id=1, user_id=5),
        Contact(id=4, account_id=1, name="Hal", blocked=True, **both),
    ]
    await world.write(*rows)
    for id, contact, assignee in ((4, 4, None), (5, 1, 5)):
        await world.write(
            Conversation(
                id=id, account_id=1, inbox_id=1, contact_id=contact, display_id=id, assignee_id=assignee,
                last_activity_at=BASE, **both,
            )
        )  # fmt: skip
    record = await world.record(conversation)
    senders = [(by.type, by.id), ("user", 77)]
    messages = [
        MessageRow(
            record.id, seq, 1, record.inbox_id, "outgoing", "text", "hello", None, False, type, id, None, None, BASE
        )
        for seq, (type, id) in enumerate(senders, 1)
    ]
    await world.collaborators.journal.write(
        Unit(1, conversation_id=record.id, new_seq=2, messages=messages, changes={"last_message_seq": 2})
    )
    return record


# Through the actors.


def commands_for(by: Principal, conversation: Conversation) -> tuple[dict[str, Any], dict[str, Any]]:
    """The commands to the conversation, and those to the account."""
    inbox, contact, me = conversation.inbox_id, conversation.contact_id, by.id
    colleague = 5 if me == 2 else 2
    in_conversation: dict[str, Any] = {
        "send": SendMessage(by, "hello"),
        "note": SendMessage(by, "hello", private=True),
        "edit-own": EditMessage(by, OWN, "changed"),
        "edit-other": EditMessage(by, OTHERS, "changed"),
        "delete-own": DeleteMessage(by, OWN),
        "delete-other": DeleteMessage(by, OTHERS),
        "typing": SetTyping(by, on=True),
        "typing-note": SetTyping(by, on=True, private=True),
        "read": MarkRead(by, 2),
        "status": UpdateConversation(by, status=Status.PENDING),
        "resolve": UpdateConversation(by, status=Status.RESOLVED),
        "assign": UpdateConversation(by, assignee_id=3 if conversation.id == 2 and me != 3 else colleague),
        "claim": UpdateConversation(by, assignee_id=me),
        "labels": UpdateConversation(by, labels=("vip",)),
        "delete": DeleteConversation(by),
    }
    in_account: dict[str, Any] = {
        "create": CreateConversation(by, inbox, contact),
        "contact-create": CreateContact(by, "Ida"),
        "contact-update": UpdateContact(by, contact, name="Ida"),
        "inbox-create": CreateInbox(by, "Sales"),
        "inbox-update": UpdateInbox(by, inbox, "Sales"),
        "members": SetInboxMembers(by, inbox, (2,)),
        "users": AddAccountUser(by, "ida@example.org", "Ida", Role.AGENT),
        "account": UpdateAccount(by, name="Three"),
    }
    return in_conversation, in_account


@pytest.mark.parametrize(("who", "action", "verdict"), [cell for cell in cells() if cell[1] not in READS])
async def test_the_actors_do_what_the_table_says(world: World, who: str, action: str, verdict: str) -> None:
    by, id = WHO[who]
    conversation = await furnish(world, by, id)
    in_conversation, in_account = commands_for(by, conversation)
    assert verdict == await outcome(
        world.ask(in_conversation[action], id) if action in in_conversation else world.ask_account(in_account[action])
    )


async def outcome(asked: Awaitable[Any]) -> str:
    try:
        await asked
    except Denied:
        return "d"
    except NotFound:
        return "n"
    except Invalid:
        return "i"
    return "y"


# By the policies.


def verdicts_of(access: AccountAccess, by: Principal, conversation: Conversation) -> dict[str, tuple[bool, bool]]:
    """(visible, allowed) of every action."""
    messages = {
        name: MessageRow(0, 1, 1, 1, "outgoing", "text", "", None, False, type, id, None, None, 0)
        for name, type, id in (("own", by.type, by.id), ("other", "user", 77))
    }
    talk, message = ConversationPolicy(access, by), MessagePolicy(access, by)
    contacts, inboxes, account = (
        ContactPolicy(access, by),
        InboxPolicy(access, by),
        AccountPolicy(access, by),
    )
    contact = Contact(id=conversation.contact_id, account_id=1, name="", created_at=0, updated_at=0)
    shown, inbox = talk.can_show(conversation), conversation.inbox_id
    scope = talk.scope()
    listed = scope is None or inbox in scope
    present, inbox_shown, contact_shown = account.can_show(), inboxes.can_show(inbox), contacts.can_show(contact)
    claim = isinstance(by, Member) and talk.can_claim(conversation)
    update = talk.can_update(conversation)
    resolve = talk.can_resolve(conversation)
    return {
        "list": (listed, listed),
        "show": (shown, shown),
        "send": (shown, message.can_send(conversation, private=False)),
        "note": (shown, message.can_send(conversation, private=True)),
        "edit-own": (shown, message.can_edit(conversation, messages["own"])),
        "edit-other": (shown, message.can_edit(conversation, messages["other"])),
        "delete-own": (shown, message.can_delete_message(conversation, messages["own"])),
        "delete-other": (shown, message.can_delete_message(conversation, messages["other"])),
        "typing": (shown, message.can_send(conversation, private=False)),
        "typing-note": (shown, message.can_send(conversation, private=True)),
        "read": (shown, talk.can_read_cursor(conversation)),
        "status": (shown, update),
        "resolve": (shown, resolve),
        "assign": (shown, update),
        "claim": (shown, claim),
        "labels": (shown, update),
        "delete": (shown, talk.can_delete(conversation)),
        "create": (inbox_shown and contact_shown, contact_shown and talk.can_create(inbox)),
        "contacts": (contacts.can_list(), contacts.can_list()),
        "contact-create": (present, contacts.can_create()),
        "contact-update": (contact_shown, contacts.can_update(contact)),
        "inbox-create": (present, inboxes.can_manage()),
        "inbox-update": (inbox_shown, inboxes.can_manage()),
        "members": (inbox_shown, inboxes.can_manage()),
        "users": (present, account.can_manage_users()),
        "account": (present, account.can_update()),
    }


@pytest.mark.parametrize("who", WHO)
async def test_the_policies_say_what_the_table_says(world: World, who: str) -> None:
    by, id = WHO[who]
    conversation = await furnish(world, by, id)
    verdicts = verdicts_of(await world.collaborators.access.of(1), by, conversation)
    said = {action: "y" if allowed else "d" if visible else "n" for action, (visible, allowed) in verdicts.items()}
    written = {action: "y" if verdict == "i" else verdict for name, action, verdict in cells() if name == who}
    assert {action: said[action] for action in written} == written


def test_the_table_names_everybody() -> None:
    assert list(dict.fromkeys(name for name, _, _ in cells())) == list(WHO)
