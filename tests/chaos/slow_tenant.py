"""Two tenants with webhooks: when the receiver of one is slow, how much longer does the other one wait?

Both write the same number of messages all the time. In turns, the first tenant's receiver answers at once or takes its
time; measured is the way of the second tenant's events from their commit to its receiver.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from statistics import median
from typing import Any

import trio

from tertulia.actors.commands.account import CreateContact, CreateConversation
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.entities import System
from tertulia.actors.webhooks.commands import CreateWebhook, DeleteWebhook
from tertulia.api.engine import Engine, open_engine
from tertulia.api.first_account import make_account
from tertulia.api.settings import Settings
from tertulia.api.webhook_sender import WebhookSenderLimits

from ..api.receiver import Received, Receiver, accept, receiving

HERE = Settings(webhook_sender=WebhookSenderLimits(allowed_networks=("127.0.0.0/8",)))
CONVERSATIONS = 5
QUIET = 2.0  # seconds between two turns


@dataclass(slots=True)
class Tenant:
    by: System
    conversations: list[int]
    #: Seconds from the commit of an event to its arrival.
    delays: list[float] = field(default_factory=list[float])


@dataclass(frozen=True, slots=True)
class Turn:
    slow: bool
    deliveries: int
    p50: float  # seconds
    p99: float


async def measure(database: str, *, turns: int, seconds: float, rate: float, webhooks: int, sleep: float) -> list[Turn]:
    """Alternate fast and slow turns.

    Args:
        turns: of each kind.
        rate: messages a second of each tenant.
        webhooks: of the first tenant; its receiver takes `sleep` seconds for each request in a slow turn.
    """
    measured: list[Turn] = []
    async with open_engine(database, HERE) as engine, receiving() as there, receiving() as here:
        first, second = [await _tenant(engine, f"{name}@example.org") for name in ("first", "second")]
        here.behaviours = [partial(_note, engine.world.wall_clock, second)]
        await _subscribe(engine, second, here, 1)
        for number in range(2 * turns):
            slow = number % 2 == 1
            there.behaviours = [partial(_sleep, sleep)] if slow else [accept]
            ids = await _subscribe(engine, first, there, webhooks)
            second.delays = []
            async with trio.open_nursery() as nursery:
                for tenant in (first, second):
                    nursery.start_soon(_talk, engine, tenant, seconds, rate)
            await trio.sleep(QUIET)
            ordered = sorted(second.delays)
            measured.append(Turn(slow, len(ordered), median(ordered), ordered[int(len(ordered) * 0.99)]))
            for webhook_id in ids:
                await engine.account(first.by.account_id).ask(DeleteWebhook(first.by, webhook_id))
            await trio.sleep(sleep if slow else 0)
    return measured


def line_of(turn: Turn) -> str:
    kind = "slow" if turn.slow else "fast"
    return (
        f"first tenant {kind}: {turn.deliveries} deliveries, p50 {turn.p50 * 1e3:.1f} ms, p99 {turn.p99 * 1e3:.1f} ms"
    )


async def _tenant(engine: Engine, email: str) -> Tenant:
    world = engine.world
    account, _, inbox = await make_account(
        world.reads, world.journal, world.wall_clock(), name=email, email=email, user_name=email, password="long enough"
    )
    by = System(account.id)
    actor = engine.account(account.id)
    contact = await actor.ask(CreateContact(by, "Ann"))
    new = [await actor.ask(CreateConversation(by, inbox.id, contact.id)) for _ in range(CONVERSATIONS)]
    return Tenant(by, [conversation.id for conversation in new])


async def _subscribe(engine: Engine, tenant: Tenant, receiver: Receiver, count: int) -> list[int]:
    actor = engine.account(tenant.by.account_id)
    url = f"http://127.0.0.1:{receiver.port}/"
    return [(await actor.ask(CreateWebhook(tenant.by, url))).id for _ in range(count)]


async def _talk(engine: Engine, tenant: Tenant, seconds: float, rate: float) -> None:
    began = trio.current_time()
    for number in range(int(seconds * rate)):
        await trio.sleep_until(began + number / rate)
        conversation_id = tenant.conversations[number % CONVERSATIONS]
        conversation = engine.conversation(tenant.by.account_id, conversation_id)
        await conversation.ask(SendMessage(tenant.by, f"message {number}"))


async def _note(now: Callable[[], int], tenant: Tenant, stream: trio.abc.Stream, request: Received) -> None:
    payload: dict[str, Any] = json.loads(request.body)
    await accept(stream, request)
    tenant.delays.append(now() / 1000 - _instant(payload["timestamp"]))


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def _sleep(seconds: float, stream: trio.abc.Stream, request: Received) -> None:
    await trio.sleep(seconds)
    await accept(stream, request)
