"""The SQLite store. In: `contracts.Reads` calls and `group_commit` batches. Next: `sqlite_reads` and `sqlite_writer`.

A database file is opened by one server at a time: a lock file beside it keeps a second one out. `open_memory` is the
same store without a file and without threads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path

import trio

from ..engine.errors import Unavailable
from . import sqlite_jobs, sqlite_webhooks, sqlite_writer
from . import sqlite_reads as reads
from .contracts import AccountRecords, ConversationFilter, ConversationRecords
from .file_lock import FileLock, make_private
from .job_contract import Claim, Claimed, JobFilter, QueueCount
from .migrations.apply import apply_migrations, fresh_epoch
from .records import (
    AccountEventRow,
    AccountUser,
    Contact,
    Conversation,
    Inbox,
    Job,
    JobQueueRow,
    LogRow,
    MessageRow,
    Record,
    Token,
    User,
    Webhook,
    WebhookDelivery,
)
from .sqlite_connections import Connections, connect, patiently
from .writes import AmendMessage, Delete, EraseLog, Unit, Update

READERS = 4
#: More than these are not written in place: it would keep the event loop for longer than a turn may.
ROWS_IN_PLACE = 1024
OF_ANY_SIZE = (Update, Delete, AmendMessage, EraseLog)  # an erased message is looked for in all events of its log


class SqliteStore:
    """One database, opened by one server. Made by `open_sqlite` and `open_memory`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._write = connections.write
        self._read = connections.read
        self._look_up = connections.look_up
        self._next_ids: dict[type[Record], int] = {}
        self._answered: tuple[Unit, dict[int, Exception]] | None = None

    # The writer's side; see `group_commit.Committer`.

    async def commit(self, units: Sequence[Unit]) -> dict[int, Exception]:
        # The same units again: the answer to the first time was lost on the way. A commit of SQLite that fails is
        # rolled back, so remembering the one that did not is enough to never write twice.
        if self._answered is not None and units[0] is self._answered[0]:
            return self._answered[1]
        refused = None
        if _is_soon_done(units):
            begin, finish = sqlite_writer.begin, sqlite_writer.finish
            refused = await self._connections.write_in_halves(begin, finish, units)
        if refused is None:
            refused = await self._connections.write(sqlite_writer.commit, units)
        self._answered = (units[0], refused)
        return refused

    async def new_epoch(self) -> str:
        """Begin another generation; returns its name.

        To be done after a backup was restored (`tertulia migrate --new-epoch`), before the server starts. What happened
        after the backup is gone, and its numbers are given again: a client that still has a position from that time is
        then told to start anew, instead of getting other events under numbers that it knows.

        Raises:
            Unavailable: the database cannot be written.
        """
        epoch = fresh_epoch()
        await self._connections.write(sqlite_writer.set_epoch, epoch)
        return epoch

    # Reads; see `contracts.Reads`.

    async def ping(self) -> None:
        await self._read(reads.epoch)

    async def epoch(self) -> str:
        return await self._look_up(reads.epoch)

    async def meta(self, key: str) -> str | None:
        return await self._look_up(reads.meta, key)

    async def reserve(self, kind: type[Record], count: int = 1) -> range:
        if count < 1:
            raise ValueError(f"{count} ids cannot be reserved; ask for one or more.")
        first = self._next_ids.get(kind)
        if first is None:
            highest = await self._read(reads.highest_id, kind)
            # Somebody else may have read the same in the meantime, and gone on from it.
            first = self._next_ids.get(kind, highest + 1)
        self._next_ids[kind] = first + count
        return range(first, first + count)

    async def account(self, account_id: int) -> AccountRecords | None:
        return await self._read(reads.account, account_id)

    async def user(self, user_id: int) -> User | None:
        return await self._look_up(reads.user, user_id)

    async def user_by_email(self, email: str) -> User | None:
        return await self._look_up(reads.user_by_email, email)

    async def memberships(self, user_id: int) -> Sequence[AccountUser]:
        return await self._look_up(reads.memberships, user_id)

    async def token(self, digest: str) -> Token | None:
        return await self._look_up(reads.token, digest)

    async def tokens_of(self, *, user_id: int | None = None, contact_id: int | None = None) -> Sequence[Token]:
        return await self._read(reads.tokens_of, user_id, contact_id)

    async def live_tokens(self, token_ids: Collection[int]) -> Collection[int]:
        return await self._read(reads.live_tokens, token_ids)

    async def inbox_by_identifier(self, identifier: str) -> Inbox | None:
        return await self._look_up(reads.inbox_by_identifier, identifier)

    async def contact(self, account_id: int, contact_id: int) -> Contact | None:
        return await self._look_up(reads.contact, account_id, contact_id)

    async def contact_by_identifier(self, account_id: int, identifier: str) -> Contact | None:
        return await self._look_up(reads.contact_by_identifier, account_id, identifier)

    async def contacts(
        self, account_id: int, *, query: str | None = None, after: int = 0, limit: int = 25
    ) -> Sequence[Contact]:
        return await self._read(reads.contacts, account_id, query, after, limit)

    async def conversation(self, account_id: int, conversation_id: int) -> ConversationRecords | None:
        return await self._look_up(reads.conversation, account_id, conversation_id)

    async def conversations(
        self, account_id: int, which: ConversationFilter, *, before: tuple[int, int] | None = None, limit: int = 25
    ) -> Sequence[Conversation]:
        return await self._read(reads.conversations, account_id, which, before, limit)

    async def messages(
        self,
        account_id: int,
        conversation_id: int,
        *,
        after: int | None = None,
        before: int | None = None,
        include_private: bool = True,
        limit: int = 50,
    ) -> Sequence[MessageRow]:
        return await self._read(reads.messages, account_id, conversation_id, after, before, include_private, limit)

    async def message(self, account_id: int, conversation_id: int, seq: int) -> MessageRow | None:
        return await self._look_up(reads.message, account_id, conversation_id, seq)

    async def sent(self, account_id: int, conversation_id: int, client_ids: Collection[str]) -> Sequence[MessageRow]:
        return await self._look_up(reads.sent, account_id, conversation_id, client_ids)

    async def log(self, account_id: int, conversation_id: int, *, after: int, limit: int) -> Sequence[LogRow]:
        return await self._read(reads.log, account_id, conversation_id, after, limit)

    async def last_seqs(self, account_id: int, conversation_ids: Collection[int]) -> Mapping[int, int]:
        return await self._read(reads.last_seqs, account_id, conversation_ids)

    async def last_seq_before(self, account_id: int, conversation_id: int, since: int) -> int:
        return await self._look_up(reads.last_seq_before, account_id, conversation_id, since)

    async def changed(
        self, account_id: int, inbox_ids: Collection[int] | None, *, since: int, limit: int
    ) -> Sequence[Conversation]:
        return await self._read(reads.changed, account_id, inbox_ids, since, limit)

    async def account_log(
        self, account_id: int, *, after: int | None = None, since: int | None = None, limit: int = 1000
    ) -> Sequence[AccountEventRow]:
        return await self._read(reads.account_log, account_id, after, since, limit)

    # Jobs; see `job_contract.JobStore`.

    async def claim_jobs(self, claim: Claim) -> Claimed:
        return await self._write(sqlite_jobs.claim_jobs, claim)

    async def renew_leases(self, worker: str, job_ids: Collection[str], lease_until: int) -> Collection[str]:
        return await self._write(sqlite_jobs.renew_leases, worker, job_ids, lease_until)

    async def release_jobs(self, worker: str, job_ids: Collection[str]) -> None:
        await self._write(sqlite_jobs.release_jobs, worker, job_ids)

    async def rescue_jobs(self, now: int, max_losses: int) -> int:
        return await self._write(sqlite_jobs.rescue_jobs, now, max_losses)

    async def prune_jobs(self, *, completed_before: int, discarded_before: int, limit: int) -> int:
        return await self._write(sqlite_jobs.prune_jobs, completed_before, discarded_before, limit)

    async def queue_counts(self) -> Sequence[QueueCount]:
        return await self._read(sqlite_jobs.queue_counts)

    async def queues(self) -> Sequence[JobQueueRow]:
        return await self._look_up(sqlite_jobs.queues)

    async def waiting_queues(self) -> Sequence[str]:
        return await self._look_up(sqlite_jobs.waiting_queues)

    async def jobs(
        self, account_id: int, which: JobFilter, *, before: str | None = None, limit: int = 25
    ) -> Sequence[Job]:
        return await self._read(sqlite_jobs.jobs, account_id, which, before, limit)

    async def job(self, account_id: int, job_id: str) -> Job | None:
        return await self._look_up(sqlite_jobs.job, account_id, job_id)

    def job_wakeups(self, heard: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        return nullcontext()  # there are no other nodes

    # Webhooks.

    async def webhooks(self, account_id: int) -> Sequence[Webhook]:
        return await self._look_up(sqlite_webhooks.webhooks, account_id)

    async def webhook(self, account_id: int, webhook_id: int) -> Webhook | None:
        return await self._look_up(sqlite_webhooks.webhook, account_id, webhook_id)

    async def waiting_deliveries(self, account_id: int, webhook_id: int, *, limit: int) -> Sequence[WebhookDelivery]:
        return await self._read(sqlite_webhooks.waiting_deliveries, account_id, webhook_id, limit)

    async def deliveries(
        self,
        account_id: int,
        webhook_id: int,
        *,
        state: str | None = None,
        before: str | None = None,
        limit: int = 25,
    ) -> Sequence[WebhookDelivery]:
        return await self._read(sqlite_webhooks.deliveries, account_id, webhook_id, state, before, limit)

    async def delivery(self, account_id: int, delivery_id: str) -> WebhookDelivery | None:
        return await self._look_up(sqlite_webhooks.delivery, account_id, delivery_id)

    async def count_waiting_deliveries(self, account_id: int, webhook_id: int, *, limit: int) -> int:
        return await self._read(sqlite_webhooks.count_waiting_deliveries, account_id, webhook_id, limit)

    async def waiting_webhooks(self) -> Sequence[tuple[int, int]]:
        return await self._read(sqlite_webhooks.waiting_webhooks)

    async def prune_deliveries(self, *, finished_before: int, limit: int) -> int:
        return await self._write(sqlite_webhooks.prune_deliveries, finished_before, limit)

    # Timers.

    async def idle_conversations(
        self, account_id: int, *, inactive_since: int, after: tuple[int, int] = (0, 0), limit: int
    ) -> Sequence[tuple[int, int]]:
        return await self._read(sqlite_webhooks.idle_conversations, account_id, inactive_since, after, limit)

    async def waiting_conversations(
        self, account_id: int, *, waiting_since: int, after: tuple[int, int] = (0, 0), limit: int
    ) -> Sequence[tuple[int, int]]:
        return await self._read(sqlite_webhooks.waiting_conversations, account_id, waiting_since, after, limit)

    async def accounts_with_setting(self, name: str) -> Sequence[int]:
        return await self._read(sqlite_webhooks.accounts_with_setting, name)


def _is_soon_done(units: Sequence[Unit]) -> bool:
    """Whether a batch is no more than the event loop has time for; of some writes, nobody knows how much they touch."""
    rows = 0
    for unit in units:
        rows += unit.rows
        if unit.writes and any(isinstance(write, OF_ANY_SIZE) for write in unit.writes):
            return False
    return rows <= ROWS_IN_PLACE


@asynccontextmanager
async def open_sqlite(path: str) -> AsyncGenerator[SqliteStore]:
    """Open a database file, made and migrated where necessary, for this server alone.

    Raises:
        DatabaseInUse: another server has the file open.
        NewerSchema: a newer program wrote the file.
        ForeignDatabase: the file is another program's database.
        Unavailable: the file cannot be opened, or is no database.
    """
    lock = FileLock(Path(f"{path}-lock"))
    lock.acquire(path)
    try:
        connections = await trio.to_thread.run_sync(_connect_all, path)
        try:
            yield SqliteStore(connections)
        finally:
            await connections.aclose()
    finally:
        lock.release()


@asynccontextmanager
async def open_memory() -> AsyncGenerator[SqliteStore]:
    """The same store without a file and without threads: for tests, whose clock must not run ahead of a thread."""
    database = connect(":memory:")
    apply_migrations(database)
    connections = Connections(database, [database], threads=False)
    try:
        yield SqliteStore(connections)
    finally:
        await connections.aclose()


def _connect_all(path: str) -> Connections:
    opened: list[sqlite3.Connection] = []
    make_private(path)  # SQLite gives the files beside it the same permissions
    try:
        opened.append(connect(path, patient=False))
        patiently(apply_migrations, opened[0])
        opened.append(connect(path, read_only=True, patient=False))
        opened.append(connect(path))
        opened.extend(connect(path, read_only=True) for _ in range(READERS))
        return Connections(opened[0], opened[3:], near=opened[1], checkpoints=opened[2])
    except BaseException as error:
        for connection in opened:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise Unavailable(f"The database {path} cannot be opened: {error}.") from error
        raise
