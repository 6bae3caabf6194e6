"""An engine in virtual time that runs jobs, with a network at its seam that answers as the test says."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio
from trio.testing import MockClock

from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.entities import Member, Principal
from tertulia.actors.jobs.dispatcher import Dispatcher, Workplace
from tertulia.actors.jobs.limits import JobLimits
from tertulia.actors.own_jobs import add_own_jobs
from tertulia.actors.webhooks.commands import CreateWebhook
from tertulia.actors.webhooks.limits import WebhookLimits
from tertulia.actors.webhooks.port import Answer
from tertulia.api.engine import address_of
from tertulia.engine.config import EngineConfig, Lifecycle
from tertulia.engine.errors import Invalid
from tertulia.storage.job_contract import JobFilter
from tertulia.storage.open import open_store
from tertulia.storage.records import Job, Webhook, WebhookDelivery

from ..kit import ADMINISTRATOR, AGENT, World, run_engine, seed, wall_clock

URL = "https://example.org/hooks"
OK = Answer(200, 0.1, None, body="thanks")
ERROR = Answer(500, 0.2, "The receiver answered 500 (Internal Server Error).", body="oh")
SILENCE = Answer(None, 5.0, "The attempt was given up after 5 s: no answer.")

#: Nobody else enqueues jobs here, so that looking around every second would only cost time.
SLEEPY = EngineConfig(lifecycle=Lifecycle(sweep_interval=10.0))
LIMITS = JobLimits(poll=3_600.0, lease=7_200.0, heartbeat=3_600.0, rescue=3_600.0, count_every=3_600.0)


@dataclass(frozen=True, slots=True)
class Post:
    """One request."""

    at: int  # milliseconds
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def payload(self) -> dict[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def content(self) -> str:
        content: str = self.payload["data"]["content"]
        return content


@dataclass
class Network:
    """A `WebhookSender`. Answers are used up one request at a time; without any, every request is taken."""

    answers: list[Answer] = field(default_factory=list[Answer])
    posts: list[Post] = field(default_factory=list[Post])
    gate: trio.Event | None = None  # requests wait for it

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.posts.append(Post(wall_clock(), url, headers, body))
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else OK
        await trio.sleep(answer.duration)
        return answer

    def check(self, url: str) -> None:
        if not url.startswith("https://"):
            raise Invalid("The URL of a webhook begins with https://.", fields={"url": "Begins with https://."})

    @property
    def contents(self) -> list[str]:
        """The texts of the messages, as they were sent."""
        return [post.content for post in self.posts]


@dataclass
class Town(World):
    """An engine with jobs."""

    network: Network = field(default_factory=Network)

    async def webhook(self, webhook_id: int, account: int = 1) -> Webhook:
        webhook = await self.collaborators.jobs.store.webhook(account, webhook_id)
        assert webhook is not None
        return webhook

    async def subscribe(self, url: str = URL, *, by: Member = ADMINISTRATOR, **wishes: Any) -> Webhook:
        webhook: Webhook = await self.ask_account(CreateWebhook(by, url, **wishes), by.account_id)
        return webhook

    async def say(self, *texts: str, by: Principal = AGENT, conversation: int = 1, private: bool = False) -> None:
        for text in texts:
            await self.ask(SendMessage(by, text, private=private), conversation, by.account_id)

    async def deliveries(self, webhook: Webhook, state: str | None = None) -> list[WebhookDelivery]:
        """In the order of events."""
        store = self.collaborators.jobs.store
        found = await store.deliveries(webhook.account_id, webhook.id, state=state, limit=1000)
        return list(reversed(found))

    async def jobs_of(self, kind: str, account: int = 1) -> list[Job]:
        store = self.collaborators.jobs.store
        return list(await store.jobs(account, JobFilter(kind=kind), limit=1000))

    async def settle(self, seconds: float = 1.0) -> None:
        """Let so much virtual time pass; what is due by then has happened."""
        await trio.sleep(seconds)


@asynccontextmanager
async def open_town(
    autojump_clock: MockClock, *, webhook_limits: WebhookLimits | None = None, **settings: Any
) -> AsyncGenerator[Town]:
    """Takes the clock to show that the time is virtual."""
    assert autojump_clock.autojump_threshold == 0
    network = Network()
    async with (
        open_store("memory:") as store,
        run_engine(store, sender=network, webhook_limits=webhook_limits, config=SLEEPY, **settings) as world,
        trio.open_nursery() as nursery,
    ):
        await world.write(*seed())
        collaborators = world.collaborators
        add_own_jobs(collaborators.registry, collaborators)
        collaborators.registry.crons.clear()  # tests that need the clock enqueue its jobs
        place = Workplace(
            store, collaborators.journal, collaborators.jobs, collaborators.registry, world.directory, address_of,
            wall_clock, LIMITS,
        )  # fmt: skip
        dispatcher = Dispatcher("worker-1", place)
        nursery.start_soon(dispatcher.run)
        yield Town(world.directory, collaborators, world.committer, world.handlers, world.limits, network)
        await dispatcher.drain(1.0)
        nursery.cancel_scope.cancel()
