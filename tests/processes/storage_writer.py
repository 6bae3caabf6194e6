"""A process that writes to a database file and prints each message that the store has acknowledged, until it is killed.

    python storage_writer.py FILE

Prints "ready", then a line "conversation seq client_id" for each.
"""

from __future__ import annotations

import sys
from functools import partial

import trio

from tertulia.storage.group_commit import GroupCommit
from tertulia.storage.open import open_store
from tertulia.storage.records import Account, Contact, Conversation, Inbox, MessageRow
from tertulia.storage.writes import Insert, Unit

CONVERSATIONS = 5
WAITING = 50  # units of a conversation that are not committed yet, at most


async def write(path: str) -> None:
    async with open_store(f"sqlite:///{path}") as store, trio.open_nursery() as nursery:
        journal = GroupCommit(store)
        nursery.start_soon(journal.run)
        await journal.write(everything())
        print("ready", flush=True)
        for conversation_id in range(1, CONVERSATIONS + 1):
            nursery.start_soon(chat, journal, conversation_id)


async def chat(journal: GroupCommit, conversation_id: int) -> None:
    """Submit one unit after the other without waiting, as an actor does."""
    seq = acknowledged = 0

    def committed(row: MessageRow) -> None:
        nonlocal acknowledged
        acknowledged += 1
        sys.stdout.write(f"{conversation_id} {row.seq} {row.client_id}\n")
        sys.stdout.flush()

    while True:
        while seq - acknowledged < WAITING:
            seq += 1
            row = MessageRow(
                conversation_id, seq, 1, 1, "incoming", "text", "x" * 100, None, False, "contact", 1, "Ana",
                f"{conversation_id}-{seq}", seq,
            )  # fmt: skip
            journal.submit(
                Unit(
                    1,
                    committed=partial(committed, row),
                    conversation_id=conversation_id,
                    old_seq=seq - 1,
                    new_seq=seq,
                    messages=[row],
                )
            )
        await trio.lowlevel.checkpoint()
        await journal.published()


def everything() -> Unit:
    unit = Unit(1)
    unit.writes = [
        Insert(Account(id=1, name="Bakery", created_at=0)),
        Insert(Inbox(id=1, account_id=1, name="Website", identifier="website", created_at=0, updated_at=0)),
        Insert(Contact(id=1, account_id=1, name="Ana", created_at=0, updated_at=0)),
    ]
    for id in range(1, CONVERSATIONS + 1):
        conversation = Conversation(
            id=id, account_id=1, inbox_id=1, contact_id=1, display_id=id, last_activity_at=0, created_at=0, updated_at=0
        )
        unit.writes.append(Insert(conversation))
    return unit


if __name__ == "__main__":
    trio.run(write, sys.argv[1])
