"""Webhooks, their deliveries, and what timers ask, on PostgreSQL. In: calls of `job_contract.JobStore`. Out: records.

The functions take the connection first; all but `prune_deliveries` are reads.
"""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec

from .postgres_conditions import Conditions
from .postgres_reads import select, select_one
from .records import Webhook, WebhookDelivery

_WAITING = "state = 'waiting' and webhook_id = $1 and account_id = $2"
_PRUNE = """
delete from webhook_deliveries where id in (
    select id from webhook_deliveries where finished_at < $1 order by finished_at limit $2 for update skip locked
)
"""
_OF_OPEN = "account_id = $1 and status = 'open' and deleted_at is null"
_IDLE = f"""
select last_activity_at, id from conversations
 where {_OF_OPEN} and last_activity_at <= $2 and (last_activity_at, id) > ($3, $4)
 order by last_activity_at, id limit $5
"""
_UNANSWERED = f"""
select waiting_since, id from conversations
 where {_OF_OPEN} and waiting_since <= $2 and reminded_at is null and (waiting_since, id) > ($3, $4)
 order by waiting_since, id limit $5
"""
#: Not by PostgreSQL's own JSON, which refuses a text with NUL.
_MENTIONING = "select id, settings from accounts where status = 'active' and strpos(settings, $1) > 0 order by id"


async def webhooks(db: asyncpg.Connection, account_id: int) -> list[Webhook]:
    return await select(db, Webhook, "account_id = $1 order by id", account_id)


async def webhook(db: asyncpg.Connection, account_id: int, webhook_id: int) -> Webhook | None:
    return await select_one(db, Webhook, "id = $1 and account_id = $2", webhook_id, account_id)


async def waiting_deliveries(
    db: asyncpg.Connection, account_id: int, webhook_id: int, limit: int
) -> list[WebhookDelivery]:
    return await select(db, WebhookDelivery, f"{_WAITING} order by id limit $3", webhook_id, account_id, limit)


async def count_waiting_deliveries(db: asyncpg.Connection, account_id: int, webhook_id: int, limit: int) -> int:
    waiting = f"select from webhook_deliveries where {_WAITING} limit $3"
    return int(await db.fetchval(f"select count(*) from ({waiting}) as w", webhook_id, account_id, limit))


_WAITING_WEBHOOKS = """
select account_id, id from webhooks
 where paused_at is null and exists (
     select 1 from webhook_deliveries as d where d.webhook_id = webhooks.id and d.state = 'waiting')
 order by id
"""


async def waiting_webhooks(db: asyncpg.Connection) -> list[tuple[int, int]]:
    return [(row["account_id"], row["id"]) for row in await db.fetch(_WAITING_WEBHOOKS)]


async def deliveries(
    db: asyncpg.Connection, account_id: int, webhook_id: int, state: str | None, before: str | None, limit: int
) -> list[WebhookDelivery]:
    where = Conditions()
    where.add("account_id = {} and webhook_id = {}", account_id, webhook_id)
    if state is not None:
        where.add("state = {}", state)
    if before is not None:
        where.add("id < {}", before)
    page = f"{where} order by id desc limit {where.parameter(limit)}"
    return await select(db, WebhookDelivery, page, *where.parameters)


async def delivery(db: asyncpg.Connection, account_id: int, delivery_id: str) -> WebhookDelivery | None:
    return await select_one(db, WebhookDelivery, "id = $1 and account_id = $2", delivery_id, account_id)


async def prune_deliveries(db: asyncpg.Connection, finished_before: int, limit: int) -> int:
    status = await db.execute(_PRUNE, finished_before, limit)
    return int(status.removeprefix("DELETE "))


# Timers.


async def idle_conversations(
    db: asyncpg.Connection, account_id: int, inactive_since: int, after: tuple[int, int], limit: int
) -> list[tuple[int, int]]:
    return [(row[0], row[1]) for row in await db.fetch(_IDLE, account_id, inactive_since, *after, limit)]


async def waiting_conversations(
    db: asyncpg.Connection, account_id: int, waiting_since: int, after: tuple[int, int], limit: int
) -> list[tuple[int, int]]:
    return [(row[0], row[1]) for row in await db.fetch(_UNANSWERED, account_id, waiting_since, *after, limit)]


async def accounts_with_setting(db: asyncpg.Connection, name: str) -> list[int]:
    rows = await db.fetch(_MENTIONING, msgspec.json.encode(name).decode())
    return [row["id"] for row in rows if _settings(row["settings"]).get(name) is not None]


def _settings(text: str) -> dict[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any])
