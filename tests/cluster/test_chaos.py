"""Whatever happens to nodes and to what they tell each other: what was acknowledged is stored once, and told once."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.events import Event, event_of
from tertulia.api.subscription import Lagging
from tertulia.engine.errors import Draining, Refusal, TertuliaError, Unavailable
from tertulia.engine.recovery import Gap, merge

from ..actors.kit import AGENT
from .nodes import Node, Nodes, open_nodes

SETTLED = 30.0  # seconds: longer than every period of the cluster
MESSAGES = 25
ENOUGH = 1500.0  # seconds for all of them
STREAM, INBOX = "conversation:1", "inbox:1"


@dataclass
class Sender:
    """Sends messages one after the other, each until it is acknowledged."""

    name: str
    dice: random.Random
    pick: Callable[[], Node]
    acknowledged: dict[str, int] = field(default_factory=dict[str, int])  # client id -> seq

    async def run(self, count: int) -> None:
        for number in range(count):
            client_id = f"{self.name}-{number}"
            while client_id not in self.acknowledged:
                command = SendMessage(AGENT, client_id, client_id=client_id)
                try:
                    sent = await self.pick().engine.conversation(1, 1).ask(command, timeout=2.0)
                    self.acknowledged[client_id] = sent.message.seq
                except TertuliaError as error:
                    if isinstance(error, Refusal):
                        raise
                    await trio.sleep(0.2)
            await trio.sleep(self.dice.uniform(0, 0.5))


@dataclass
class Subscriber:
    """Subscribes again and again from the last position that it has, on one node after another."""

    dice: random.Random
    pick: Callable[[], Node]
    seqs: list[int] = field(default_factory=list[int])

    async def run(self) -> None:
        while True:
            with trio.move_on_after(self.dice.uniform(0.1, 6.0)):
                with suppress(Unavailable, Draining, Lagging):
                    await self.follow(self.pick())
            await trio.sleep(self.dice.uniform(0, 0.5))

    @property
    def position(self) -> int:
        return self.seqs[-1] if self.seqs else 0

    async def follow(self, node: Node) -> None:
        async with node.engine.follow(AGENT, 1, after=self.position) as feed:
            async for event in feed:
                self.take(event)

    def take(self, event: Event) -> None:
        if event.seq is not None and event.stream == STREAM:
            self.seqs.append(event.seq)


class Dashboard(Subscriber):
    """Subscribes to the conversation's inbox, in the steps of an account's channel."""

    async def follow(self, node: Node) -> None:
        hub, world = node.hub, node.engine.world
        held: list[Event] = []
        send, receive = trio.open_memory_channel[Event](1000)

        def take(events: Sequence[Event]) -> None:
            for event in events:
                send.send_nowait(event)

        hub.tap(INBOX, held.extend)
        try:
            await hub.follow((INBOX,), 1)
            rows = await world.reads.log(1, 1, after=self.position, limit=1000)
            await world.journal.published()
            await hub.catch_up((INBOX,), 1)
            merged = merge([event_of(row) for row in rows], held, {STREAM: self.position})
            assert not isinstance(merged, Gap), merged
            for event in merged:
                self.take(event)
            hub.untap(INBOX, held.extend)
            hub.tap(INBOX, take)
            async for event in receive:
                self.take(event)
        finally:
            hub.untap(INBOX, held.extend)
            hub.untap(INBOX, take)


class Chaos:
    """Does things to the nodes, as the dice say."""

    def __init__(self, nodes: Nodes, dice: random.Random) -> None:
        self.nodes = nodes
        self.dice = dice
        self.loss = 0.0
        self.started = 0
        nodes.exchange.loses = lambda channel, payload, node: dice.random() < self.loss

    def pick(self) -> Node:
        """A node that clients can reach."""
        return self.dice.choice([node for node in self.nodes.running if not node.stopping.is_set()])

    async def start(self) -> None:
        self.started += 1
        node: Node = await self.nodes.start_soon(f"node-{self.started}")
        assert node.name

    async def run(self) -> None:
        deeds = (self.lose, self.lose, self.cut, self.freeze, self.leave, self.disagree)
        while True:
            await self.dice.choice(deeds)()
            await trio.sleep(self.dice.uniform(0, 1.5))

    async def lose(self) -> None:
        self.loss = self.dice.choice((0.0, 0.1, 0.5, 1.0))

    async def cut(self) -> None:
        node = self.pick()
        if node.bus.connected:
            node.bus.cut()
            await trio.sleep(self.dice.uniform(0, 5))
            node.bus.mend()

    async def freeze(self) -> None:
        node = self.pick()
        node.bus.freeze()
        await trio.sleep(self.dice.uniform(0, 5))
        node.bus.thaw()

    async def leave(self) -> None:
        node = self.pick()
        await self.start()
        await node.stop()

    async def disagree(self) -> None:
        self.pick().cluster.homes.suspect(self.pick().name)


@pytest.mark.parametrize("seed", range(12))
async def test_what_is_acknowledged_is_stored_once_and_told_once(autojump_clock: MockClock, seed: int) -> None:
    dice = random.Random(seed)
    async with open_nodes() as nodes:
        chaos = Chaos(nodes, dice)
        for _ in range(3):
            await chaos.start()
        senders = [Sender(f"s{number}", dice, chaos.pick) for number in range(3)]
        subscribers = [Subscriber(dice, chaos.pick) for _ in range(2)] + [Dashboard(dice, chaos.pick) for _ in range(2)]
        async with trio.open_nursery() as around:
            for subscriber in subscribers:
                around.start_soon(subscriber.run)
            async with trio.open_nursery() as doing:
                doing.start_soon(chaos.run)
                with trio.fail_after(ENOUGH):
                    async with trio.open_nursery() as sending:
                        for sender in senders:
                            sending.start_soon(sender.run, MESSAGES)
                doing.cancel_scope.cancel()
            chaos.loss = 0.0
            for node in nodes.running:
                node.bus.thaw()
                if not node.bus.connected:
                    node.bus.mend()
            await trio.sleep(SETTLED)
            around.cancel_scope.cancel()
        rows = await nodes.store.messages(1, 1, limit=1000)
        stored = {row.client_id: row.seq for row in rows}
        acknowledged = {client_id: seq for sender in senders for client_id, seq in sender.acknowledged.items()}
        assert stored == acknowledged
        assert len(rows) == len(stored) == 3 * MESSAGES
        expected = list(range(1, len(rows) + 1))
        assert sorted(stored.values()) == expected
        for subscriber in subscribers:
            assert subscriber.seqs == expected
