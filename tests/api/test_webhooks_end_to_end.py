"""From a message to the receiver of a webhook, with real sockets and real time."""

from __future__ import annotations

import json
from datetime import datetime

import trio

from tertulia.actors.commands.account import CreateContact, CreateConversation
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.entities import System
from tertulia.actors.webhooks import signing as webhook_signing
from tertulia.actors.webhooks.commands import CreateWebhook
from tertulia.actors.webhooks.limits import WebhookLimits
from tertulia.api.engine import open_engine
from tertulia.api.first_account import make_account
from tertulia.api.settings import Settings
from tertulia.api.webhook_sender import WebhookSenderLimits

from .receiver import accept, answer, hang, receiving

BROKEN = answer("500 Internal Server Error")
#: The receiver is on this machine; who hangs is given up soon, and asked again soon.
QUICK = Settings(
    webhook=WebhookLimits(delays=(0.05,) * 7),
    webhook_sender=WebhookSenderLimits(allowed_networks=("127.0.0.0/8",), timeout=0.3),
)
TEXTS = ["one", "two", "three"]


async def test_a_receiver_that_fails_then_hangs_then_answers_gets_everything_in_order() -> None:
    async with (
        receiving(BROKEN, BROKEN, hang, accept) as receiver,
        open_engine("memory:", QUICK) as engine,
    ):
        world = engine.world
        made, _, inbox = await make_account(
            world.reads, world.journal, world.wall_clock(), name="One", email="ada@example.org", user_name="Ada",
            password="a long password",
        )  # fmt: skip
        account_id = made.id
        by = System(account_id)
        account = engine.account(account_id)
        url = f"http://127.0.0.1:{receiver.port}/hooks"
        webhook = await account.ask(CreateWebhook(by, url, events=("message.created",)))
        contact = await account.ask(CreateContact(by, "Ana"))
        conversation = await account.ask(CreateConversation(by, inbox.id, contact.id))
        for text in TEXTS:
            await engine.conversation(account_id, conversation.id).ask(SendMessage(by, text))
        with trio.fail_after(10):
            while await engine.jobs.store.waiting_deliveries(account_id, webhook.id, limit=1):
                await trio.lowlevel.checkpoint()
    sent = [json.loads(request.body) for request in receiver.requests]
    assert [each["data"]["content"] for each in sent] == ["one", "one", "one", *TEXTS]
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert ids == [each["id"] for each in sent]
    assert len(set(ids)) == len(TEXTS)
    for request in receiver.requests:
        now = datetime.fromisoformat(json.loads(request.body)["timestamp"]).timestamp()
        webhook_signing.verify(request.headers, request.body, [webhook.secret], now)
