"""What it costs to ask a policy."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tertulia.actors.access import AccountAccess
from tertulia.actors.entities import Member, Principal, Visitor
from tertulia.actors.policies.conversation import ConversationPolicy
from tertulia.storage.contracts import AccountRecords
from tertulia.storage.records import Account, AccountUser, Conversation, Inbox, InboxMember, User

from .bench import MicroBench, Round

CHECKS = 512
PEOPLE = 20  # half of them see the one inbox, and half the other
T = 1_700_000_000_000  # milliseconds


def access() -> AccountAccess:
    """Of an account whose agents do not all see the same inboxes."""
    people = range(1, PEOPLE + 1)
    inboxes = [Inbox(id=id, account_id=1, name="", identifier=f"i{id}", created_at=T, updated_at=T) for id in (1, 2)]
    return AccountAccess(
        AccountRecords(
            account=Account(id=1, name="Bench", created_at=T),
            users={id: User(id=id, email=f"{id}@example.com", name=f"User {id}", created_at=T) for id in people},
            members=[AccountUser(account_id=1, user_id=id, role="agent", created_at=T) for id in people],
            inboxes=inboxes,
            inbox_members=[InboxMember(account_id=1, inbox_id=id % 2 + 1, user_id=id) for id in people],
        )
    )


@asynccontextmanager
async def check() -> AsyncGenerator[Round]:
    facts = access()
    conversation = Conversation(
        id=1, account_id=1, inbox_id=2, contact_id=1, display_id=1, last_activity_at=T, created_at=T, updated_at=T
    )
    agent, stranger, visitor = Member(1, 1), Member(1, 2), Visitor(1, 1, 2)
    people: list[Principal] = [agent, stranger, visitor, visitor]
    if [ConversationPolicy(facts, who).can_write(conversation) for who in people] != [True, False, True, True]:
        raise AssertionError("The benchmark's people do not have the rights that it is to check.")

    async def run() -> None:
        for _ in range(CHECKS // 4):
            for principal in people:
                ConversationPolicy(facts, principal).can_write(conversation)

    yield run


BENCHES = (MicroBench("policy", "a policy says who may write in a conversation", CHECKS, check),)
