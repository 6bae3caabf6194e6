"""Webhooks, their deliveries, and what timers ask, on SQLite. In: calls of `job_contract.JobStore`. Out: records.

The functions take the connection first; all but `prune_deliveries`, which runs on the writer, are reads.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from .records import Webhook, WebhookDelivery
from .sqlite_jobs import remove
from .sqlite_reads import select, select_one


def webhooks(database: sqlite3.Connection, account_id: int) -> list[Webhook]:
    return select(database, Webhook, "account_id = ? order by id", (account_id,))


def webhook(database: sqlite3.Connection, account_id: int, webhook_id: int) -> Webhook | None:
    return select_one(database, Webhook, "id = ? and account_id = ?", (webhook_id, account_id))


def waiting_deliveries(
    database: sqlite3.Connection, account_id: int, webhook_id: int, limit: int
) -> list[WebhookDelivery]:
    # The account is no search term: the index on what waits for the webhook finds the rows.
    condition = "state = 'waiting' and webhook_id = ? and +account_id = ? order by id limit ?"
    return select(database, WebhookDelivery, condition, (webhook_id, account_id, limit))


def count_waiting_deliveries(database: sqlite3.Connection, account_id: int, webhook_id: int, limit: int) -> int:
    waiting = "select 1 from webhook_deliveries where state = 'waiting' and webhook_id = ? and +account_id = ? limit ?"
    return int(database.execute(f"select count(*) from ({waiting})", (webhook_id, account_id, limit)).fetchone()[0])


_WAITING_WEBHOOKS = """
select account_id, id from webhooks
 where paused_at is null and exists (
     select 1 from webhook_deliveries as d where d.webhook_id = webhooks.id and d.state = 'waiting')
 order by id
"""


def waiting_webhooks(database: sqlite3.Connection) -> list[tuple[int, int]]:
    return [(account_id, id) for account_id, id in database.execute(_WAITING_WEBHOOKS)]


def deliveries(
    database: sqlite3.Connection, account_id: int, webhook_id: int, state: str | None, before: str | None, limit: int
) -> list[WebhookDelivery]:
    condition = "account_id = ? and webhook_id = ?"
    parameters: list[Any] = [account_id, webhook_id]
    if state is not None:
        condition += " and +state = ?"  # not by the index on what waits: the page is in the order of the ids
        parameters.append(state)
    if before is not None:
        condition += " and id < ?"
        parameters.append(before)
    return select(database, WebhookDelivery, f"{condition} order by id desc limit ?", [*parameters, limit])


def delivery(database: sqlite3.Connection, account_id: int, delivery_id: str) -> WebhookDelivery | None:
    return select_one(database, WebhookDelivery, "id = ? and account_id = ?", (delivery_id, account_id))


def prune_deliveries(database: sqlite3.Connection, finished_before: int, limit: int) -> int:
    """Raises Unavailable."""
    ended = "select id from webhook_deliveries where finished_at < ? order by finished_at limit ?"
    return remove(database, "webhook_deliveries", ended, (finished_before, limit))


# Timers.


def idle_conversations(
    database: sqlite3.Connection, account_id: int, inactive_since: int, after: tuple[int, int], limit: int
) -> list[tuple[int, int]]:
    rows = database.execute(
        "select last_activity_at, id from conversations where account_id = ? and last_activity_at <= ?"
        " and (last_activity_at, id) > (?, ?) and status = 'open' and deleted_at is null"
        " order by last_activity_at, id limit ?",
        (account_id, inactive_since, *after, limit),
    )
    return [(row[0], row[1]) for row in rows]


def waiting_conversations(
    database: sqlite3.Connection, account_id: int, waiting_since: int, after: tuple[int, int], limit: int
) -> list[tuple[int, int]]:
    rows = database.execute(
        "select waiting_since, id from conversations where account_id = ? and waiting_since <= ?"
        " and (waiting_since, id) > (?, ?) and reminded_at is null and status = 'open' and deleted_at is null"
        " order by waiting_since, id limit ?",
        (account_id, waiting_since, *after, limit),
    )
    return [(row[0], row[1]) for row in rows]


def accounts_with_setting(database: sqlite3.Connection, name: str) -> list[int]:
    rows = database.execute(
        "select id from accounts where status = 'active'"
        " and exists (select 1 from json_each(settings) as setting where setting.key = ? and setting.type <> 'null')"
        " order by id",
        (name,),
    )
    return [row[0] for row in rows]
