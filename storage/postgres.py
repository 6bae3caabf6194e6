"""The PostgreSQL store. In: `contracts.Reads` calls and `group_commit` batches. Next: `postgres_reads` and
`postgres_writer`, by way of `postgres_connections`.

Any number of nodes may have the same database open.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import asyncpg

from . import postgres_claims, postgres_jobs, postgres_webhooks
from . import postgres_reads as reads
from .bridge import Bridge, open_bridge
from .contracts import AccountRecords, ConversationFilter, ConversationRecords
from .job_contract import Claim, Claimed, JobFilter, QueueCount
from .migrations.apply import fresh_epoch
from .migrations.apply_postgres import apply_migrations
from .postgres_connections import Connections
from .postgres_limits import PostgresLimits
from .postgres_wakeups import wake_ups
from .postgres_writer import Writer
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
from .writes import Unit


class PostgresStore:
    """One database, opened by this node and perhaps by others. Made by `open_postgres`."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self._read = connections.read
        self._work = connections.work
        self._writer = Writer()

    # The writer's side; see `group_commit.Committer`.

    async def commit(self, units: Sequence[Unit]) -> dict[int, Exception]:
        return await self.connections.write(self._writer.commit, units)

    async def new_epoch(self) -> str:
        epoch = fresh_epoch()
        await self.connections.write(_set_epoch, epoch)
        return epoch

    # Reads; see `contracts.Reads`.

    async def ping(self) -> None:
        await self._read(reads.epoch)

    async def epoch(self) -> str:
        return await self._read(reads.epoch)

    async def meta(self, key: str) -> str | None:
        return await self._read(reads.meta, key)

    async def reserve(self, kind: type[Record], count: int = 1) -> range:
        if count < 1:
            raise ValueError(f"{count} ids cannot be reserved; ask for one or more.")
        first = await self._read(reads.reserve, kind, count)
        return range(first, first + count)

    async def account(self, account_id: int) -> AccountRecords | None:
        return await self._read(reads.account, account_id)

    async def user(self, user_id: int) -> User | None:
        return await self._read(reads.user, user_id)

    async def user_by_email(self, email: str) -> User | None:
        return await self._read(reads.user_by_email, email)

    async def memberships(self, user_id: int) -> Sequence[AccountUser]:
        return await self._read(reads.memberships, user_id)

    async def token(self, digest: str) -> Token | None:
        return await self._read(reads.token, digest)

    async def tokens_of(self, *, user_id: int | None = None, contact_id: int | None = None) -> Sequence[Token]:
        return await self._read(reads.tokens_of, user_id, contact_id)

    async def live_tokens(self, token_ids: Collection[int]) -> Collection[int]:
        return await self._read(reads.live_tokens, token_ids)

    async def inbox_by_identifier(self, identifier: str) -> Inbox | None:
        return await self._read(reads.inbox_by_identifier, identifier)

    async def contact(self, account_id: int, contact_id: int) -> Contact | None:
        return await self._read(reads.contact, account_id, contact_id)

    async def contact_by_identifier(self, account_id: int, identifier: str) -> Contact | None:
        return await self._read(reads.contact_by_identifier, account_id, identifier)

    async def contacts(
        self, account_id: int, *, query: str | None = None, after: int = 0, limit: int = 25
    ) -> Sequence[Contact]:
        return await self._read(reads.contacts, account_id, query, after, limit)

    async def conversation(self, account_id: int, conversation_id: int) -> ConversationRecords | None:
        return await self._read(reads.conversation, account_id, conversation_id)

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
        return await self._read(reads.message, account_id, conversation_id, seq)

    async def sent(self, account_id: int, conversation_id: int, client_ids: Collection[str]) -> Sequence[MessageRow]:
        return await self._read(reads.sent, account_id, conversation_id, client_ids)

    async def log(self, account_id: int, conversation_id: int, *, after: int, limit: int) -> Sequence[LogRow]:
        return await self._read(reads.log, account_id, conversation_id, after, limit)

    async def last_seqs(self, account_id: int, conversation_ids: Collection[int]) -> Mapping[int, int]:
        return await self._read(reads.last_seqs, account_id, conversation_ids)

    async def last_seq_before(self, account_id: int, conversation_id: int, since: int) -> int:
        return await self._read(reads.last_seq_before, account_id, conversation_id, since)

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
        return await self._work(postgres_claims.claim_jobs, claim)

    async def renew_leases(self, worker: str, job_ids: Collection[str], lease_until: int) -> Collection[str]:
        return await self._work(postgres_jobs.renew_leases, worker, job_ids, lease_until)

    async def release_jobs(self, worker: str, job_ids: Collection[str]) -> None:
        await self._work(postgres_jobs.release_jobs, worker, job_ids)

    async def rescue_jobs(self, now: int, max_losses: int) -> int:
        return await self._work(postgres_jobs.rescue_jobs, now, max_losses)

    async def prune_jobs(self, *, completed_before: int, discarded_before: int, limit: int) -> int:
        return await self._work(postgres_jobs.prune_jobs, completed_before, discarded_before, limit)

    async def queue_counts(self) -> Sequence[QueueCount]:
        return await self._read(postgres_jobs.queue_counts)

    async def queues(self) -> Sequence[JobQueueRow]:
        return await self._read(postgres_jobs.queues)

    async def waiting_queues(self) -> Sequence[str]:
        return await self._read(postgres_jobs.waiting_queues)

    async def jobs(
        self, account_id: int, which: JobFilter, *, before: str | None = None, limit: int = 25
    ) -> Sequence[Job]:
        return await self._read(postgres_jobs.jobs, account_id, which, before, limit)

    async def job(self, account_id: int, job_id: str) -> Job | None:
        return await self._read(postgres_jobs.job, account_id, job_id)

    def job_wakeups(self, heard: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        return wake_ups(self.connections, self._writer.id, heard)

    # Webhooks.

    async def webhooks(self, account_id: int) -> Sequence[Webhook]:
        return await self._read(postgres_webhooks.webhooks, account_id)

    async def webhook(self, account_id: int, webhook_id: int) -> Webhook | None:
        return await self._read(postgres_webhooks.webhook, account_id, webhook_id)

    async def waiting_deliveries(self, account_id: int, webhook_id: int, *, limit: int) -> Sequence[WebhookDelivery]:
        return await self._read(postgres_webhooks.waiting_deliveries, account_id, webhook_id, limit)

    async def deliveries(
        self,
        account_id: int,
        webhook_id: int,
        *,
        state: str | None = None,
        before: str | None = None,
        limit: int = 25,
    ) -> Sequence[WebhookDelivery]:
        return await self._read(postgres_webhooks.deliveries, account_id, webhook_id, state, before, limit)

    async def delivery(self, account_id: int, delivery_id: str) -> WebhookDelivery | None:
        return await self._read(postgres_webhooks.delivery, account_id, delivery_id)

    async def count_waiting_deliveries(self, account_id: int, webhook_id: int, *, limit: int) -> int:
        return await self._read(postgres_webhooks.count_waiting_deliveries, account_id, webhook_id, limit)

    async def waiting_webhooks(self) -> Sequence[tuple[int, int]]:
        return await self._read(postgres_webhooks.waiting_webhooks)

    async def prune_deliveries(self, *, finished_before: int, limit: int) -> int:
        return await self._work(postgres_webhooks.prune_deliveries, finished_before, limit)

    # Timers.

    async def idle_conversations(
        self, account_id: int, *, inactive_since: int, after: tuple[int, int] = (0, 0), limit: int
    ) -> Sequence[tuple[int, int]]:
        return await self._read(postgres_webhooks.idle_conversations, account_id, inactive_since, after, limit)

    async def waiting_conversations(
        self, account_id: int, *, waiting_since: int, after: tuple[int, int] = (0, 0), limit: int
    ) -> Sequence[tuple[int, int]]:
        return await self._read(postgres_webhooks.waiting_conversations, account_id, waiting_since, after, limit)

    async def accounts_with_setting(self, name: str) -> Sequence[int]:
        return await self._read(postgres_webhooks.accounts_with_setting, name)


@asynccontextmanager
async def open_postgres(
    url: str, limits: PostgresLimits | None = None, bridge: Bridge | None = None
) -> AsyncGenerator[PostgresStore]:
    """Open a database, migrated where necessary. It has a bridge of its own, unless one is given.

    Args:
        url: `postgresql://user:password@host:5432/database`; options such as `?sslmode=verify-full` are libpq's.

    Raises:
        BadDatabaseUrl: the URL is none, or the server refuses it: the password, the database.
        NewerSchema: a newer program migrated the database.
        ForeignDatabase: the database has another program's tables.
        Unavailable: the server cannot be reached.
    """
    limits = limits or PostgresLimits()
    async with AsyncExitStack() as stack:
        if bridge is None:
            bridge = await stack.enter_async_context(open_bridge())
        connections = Connections(bridge, url, limits)
        stack.push_async_callback(connections.aclose)

        async def migrate(connection: asyncpg.Connection) -> None:
            await apply_migrations(connection, timeout=limits.migration_timeout)

        await connections.open(migrate)
        yield PostgresStore(connections)


async def _set_epoch(connection: asyncpg.Connection, epoch: str) -> None:
    await connection.execute("update meta set value = $1 where key = 'epoch'", epoch)
