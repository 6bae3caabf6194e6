"""Whatever happens, every call has one outcome, no committed turn is repeated, and no mail is counted for ever.

Clients ask at random; activations, turns, commits and passivations fail, hang or take their time at random. Scheduling
is deterministic: a seed that fails, fails again.
"""

from __future__ import annotations

import importlib
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tertulia.engine.actor import Actor, Context
from tertulia.engine.directory import Directory, open_directory
from tertulia.engine.errors import ActorFailed, NotFound, Overloaded, StaleWrite, TurnTooLong, Unavailable
from tertulia.engine.mailbox import Envelope, Lane

from .scripted import Recorder, config

LIMITS: dict[str, Any] = {
    "commands": 5,
    "jobs": 5,
    "broadcasts": 2,
    "commands_per_turn": 3,
    "jobs_per_turn": 1,
    "broadcasts_per_turn": 1,
    "idle": 0.2,
    "max_restarts": 8,
    "period": 1.0,
    "min_backoff": 0.01,
    "max_backoff": 0.1,
    "jitter": 0.2,
    "quarantine": 0.5,
    "escalate_keys": 1000,
    "turn_limit": 2.0,
    "activations_at_once": 2,
    "messages_in_flight": 2,
    "queued_messages": 12,
    "drain_grace": 1000.0,
}


def reseed(seed: int) -> None:
    importlib.import_module("trio._core._run")._r.seed(seed)
    random.seed(seed)


@pytest.fixture(autouse=True)
def _deterministic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """trio shuffles what is runnable; with this it shuffles by the test's seed (as its Hypothesis plugin does it)."""
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    reseed(request.node.callspec.params["seed"])


class World:
    """The chances, and what came of them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.committed: list[Any] = []
        self.trace: list[tuple[float, str, Any]] = []
        self.running: Counter[Any] = Counter()

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    async def pause(self, *seconds: float) -> None:
        await trio.sleep(self.rng.choice(seconds))

    def note(self, what: str, detail: Any) -> None:
        self.trace.append((trio.current_time(), what, detail))


class Chancy(Actor[str]):
    """Answers at once, later, or not at all."""

    def __init__(self, context: Context[str], world: World, nursery: trio.Nursery) -> None:
        super().__init__(context)
        self.world = world
        self.commits: list[tuple[list[Envelope], Callable[[list[Envelope]], None]]] = []
        self.nursery = nursery

    async def activate(self) -> None:
        self.world.running[self.key] += 1
        assert self.world.running[self.key] == 1, "two incarnations of one key"
        try:
            await self.world.pause(0, 0, 0.01, 0.5)
            if self.world.chance(0.02):
                raise NotFound
            if self.world.chance(0.1):
                raise self.world.rng.choice([OSError(), Unavailable()])
            self.context.after(0.3, "tick")
        finally:
            self.world.running[self.key] -= 1

    async def handle(self, batch: list[Envelope]) -> None:
        world = self.world
        world.note("turn", [envelope.message for envelope in batch])
        world.running[self.key] += 1
        assert world.running[self.key] == 1, "two turns of one key"
        try:
            await world.pause(0, 0.001, 0.05, 0.3)
            if world.chance(0.02):
                await trio.sleep(100)
            if world.chance(0.1):
                raise ValueError
            if world.chance(0.05):
                raise Unavailable
            if len(batch) > 1 and world.chance(0.1):
                self.context.leave(batch[1:])
                batch = batch[:1]
            elif world.chance(0.5):
                self.defer(batch)
                if world.chance(0.1):
                    raise ValueError
                return
        finally:
            world.running[self.key] -= 1
        self.answer(batch)

    def answer(self, batch: list[Envelope]) -> None:
        for envelope in batch:
            if envelope.deadline > 0:
                self.world.committed.append(envelope.message)
                envelope.resolve(envelope.message)

    def defer(self, batch: list[Envelope]) -> None:
        self.context.defer(batch)
        outcome = self.world.rng.choices([self.commit, self.stale, self.lost], [8, 1, 1])[0]
        self.commits.append((batch, outcome))
        if len(self.commits) == 1:
            self.nursery.start_soon(self.write)

    async def write(self) -> None:
        while self.commits:
            await self.world.pause(0, 0.02, 0.2)
            batch, outcome = self.commits[0]
            outcome(batch)
            del self.commits[0]
            if outcome != self.commit:
                self.commits = [(later, self.stale) for later, _ in self.commits]

    def commit(self, batch: list[Envelope]) -> None:
        self.answer(batch)
        self.context.settle()

    def stale(self, batch: list[Envelope]) -> None:
        self.context.run_again()
        self.context.fail(StaleWrite())

    def lost(self, batch: list[Envelope]) -> None:
        for envelope in batch:
            envelope.refuse(Unavailable())
        self.context.fail(Unavailable())
        self.context.settle()

    async def passivate(self) -> None:
        await self.world.pause(0, 0.1)
        if self.world.chance(0.1):
            raise ValueError


class Clients:
    """Ask, tell and call at random, and count the outcomes."""

    def __init__(self, directory: Directory, world: World) -> None:
        self.directory = directory
        self.world = world
        self.asked = self.ended = 0
        self.callers: list[Recorder] = []

    async def run(self, client: int) -> None:
        rng = self.world.rng
        for number in range(20):
            await self.world.pause(0, 0, 0.01, 0.25, 0.4)
            key, message, lane = rng.choice("abc"), (client, number), rng.choice(list(Lane))
            timeout = rng.choice([0.05, 1, 50])
            way = rng.randrange(4)
            if way < 2:
                await self.ask(key, message, lane, timeout, patience=rng.choice([0.01, 0.2, 60]))
            elif way == 2:
                self.call(key, message, lane, timeout)
            else:
                self.tell(key, message, lane)

    async def ask(self, key: str, message: Any, lane: Lane, timeout: float, patience: float) -> None:
        self.asked += 1
        began = trio.current_time()
        try:
            with trio.move_on_after(patience):
                assert await self.directory.ref(Chancy, key).ask(message, timeout=timeout, lane=lane) == message
        except (Overloaded, ActorFailed, NotFound, Unavailable, TurnTooLong, ValueError):
            pass
        assert trio.current_time() <= began + min(timeout + 0.2, patience) + 0.001
        self.ended += 1

    def call(self, key: str, message: Any, lane: Lane, timeout: float) -> None:
        caller = Recorder()
        try:
            self.directory.call((Chancy, key), message, caller, timeout=timeout, lane=lane)
        except (Overloaded, ActorFailed):
            pass
        else:
            self.callers.append(caller)

    def tell(self, key: str, message: Any, lane: Lane) -> None:
        with suppress(Overloaded, ActorFailed):
            self.directory.ref(Chancy, key).tell(message, lane)


async def play(seed: int) -> tuple[World, Clients, Directory]:
    world = World(seed)

    def make(context: Context[Any]) -> Chancy:
        return Chancy(context, world, writers)

    async with trio.open_nursery() as writers, open_directory(config(**LIMITS), {Chancy: make}) as directory:
        clients = Clients(directory, world)
        async with trio.open_nursery() as nursery:
            for client in range(8):
                nursery.start_soon(clients.run, client)
    return world, clients, directory


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


@pytest.mark.parametrize("seed", range(150))
async def test_every_call_has_one_outcome_and_nothing_is_left(autojump_clock: MockClock, seed: int) -> None:
    world, clients, directory = await play(seed)
    why = f"seed {seed}"
    assert clients.asked == clients.ended, why
    assert [len(caller.answers) for caller in clients.callers] == [1] * len(clients.callers), why
    sent = [message for message in world.committed if message != "tick"]
    assert len(sent) == len(set(sent)), f"{why}: a committed turn was repeated"
    assert (directory.queued, len(directory.turnstile)) == (0, 0), why
    assert (directory.cells, directory.awake, directory.parked) == ({}, {}, {}), why


@pytest.mark.parametrize("seed", range(3))
def test_a_seed_decides_everything(seed: int) -> None:
    traces: list[Any] = []
    for _ in range(2):
        reseed(seed)
        world, _, _ = trio.run(play, seed, clock=MockClock(autojump_threshold=0))
        traces.append(world.trace)
    assert len(traces[0]) > 20
    assert traces[0] == traces[1], f"seed {seed}"
