"""The scene of the cable tests: one account with its people, inboxes and conversations, and a stranger's account.

account 1   Ana administrator (1), Bo and Cy agents (2, 3), Vi viewer (4)
    inbox 1, open to every agent: conversations 1 (contact 1) and 3 (contact 3)
    inbox 2, Bo's alone: conversation 2 (contact 2)
account 2   Zoe administrator (5); inbox 3, conversation 4 (contact 4)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tertulia.actors.entities import Member, Visitor
from tertulia.api.auth import digest_of
from tertulia.api.cable_limits import CableLimits
from tertulia.api.engine import Engine, open_engine
from tertulia.api.job_testing import jobs_by_hand
from tertulia.api.settings import Settings
from tertulia.api.testing import EPOCH, Cable, open_cable, virtual_wall_clock
from tertulia.storage.records import (
    Account,
    AccountUser,
    Contact,
    Conversation,
    Inbox,
    InboxMember,
    Record,
    Token,
    User,
)
from tertulia.storage.writes import Insert, Unit

ANA, BO, CY, VI = (Member(1, id, name) for id, name in enumerate(("Ana", "Bo", "Cy", "Vi"), 1))
VISITOR = Visitor(1, 1, 1, "Contact 1")

ROLES = {1: "administrator", 2: "agent", 3: "agent", 4: "viewer", 5: "administrator"}
#: conversation: (account, inbox, contact)
CONVERSATIONS = {1: (1, 1, 1), 2: (1, 2, 2), 3: (1, 1, 3), 4: (2, 3, 4)}


def records() -> list[Record]:
    t = EPOCH
    found: list[Record] = [Account(id=id, name=f"Account {id}", created_at=t, last_display_id=9) for id in (1, 2)]
    for id, name in enumerate(("Ana", "Bo", "Cy", "Vi", "Zoe"), 1):
        account_id = 2 if name == "Zoe" else 1
        found += [
            User(id=id, email=f"{name.lower()}@example.org", name=name, created_at=t),
            AccountUser(account_id=account_id, user_id=id, role=ROLES[id], created_at=t),
            Token(id=id, hash=digest_of(name.lower()), kind="user", user_id=id, created_at=t),
        ]
    for id, account_id in ((1, 1), (2, 1), (3, 2)):
        found.append(
            Inbox(
                id=id, account_id=account_id, name=f"Inbox {id}", identifier=f"inbox-{id}", created_at=t, updated_at=t
            )
        )
    found.append(InboxMember(account_id=1, inbox_id=2, user_id=2))
    for id, (account_id, inbox_id, contact_id) in CONVERSATIONS.items():
        found += [
            Contact(id=contact_id, account_id=account_id, name=f"Contact {contact_id}", created_at=t, updated_at=t),
            Conversation(
                id=id,
                account_id=account_id,
                inbox_id=inbox_id,
                contact_id=contact_id,
                display_id=id,
                last_activity_at=t,
                created_at=t,
                updated_at=t,
            ),
            Token(
                id=100 + contact_id,
                hash=digest_of(f"visitor {contact_id}"),
                kind="contact",
                account_id=account_id,
                contact_id=contact_id,
                inbox_id=inbox_id,
                created_at=t,
            ),
        ]
    return found


async def fill(engine: Engine) -> None:
    writes = [Insert(record) for record in records()]
    await engine.world.journal.write(Unit(1, lambda: None, lambda _: None, writes=list(writes)))


@asynccontextmanager
async def open_stage(
    limits: CableLimits | None = None, settings: Settings | None = None
) -> AsyncGenerator[tuple[Engine, Cable], None]:
    """No jobs run there: nothing happens but what the test does."""
    async with open_engine("memory:", jobs_by_hand(settings), wall_clock=virtual_wall_clock) as engine:
        await fill(engine)
        async with open_cable(engine, limits) as cable:
            yield engine, cable
