"""Mail, answers, and the life of an actor."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tertulia.engine.actor import Actor
from tertulia.engine.config import EngineConfig, MailboxLimits
from tertulia.engine.directory import open_directory
from tertulia.engine.mailbox import NEVER, Envelope, Lane, Mailbox

from .bench import MicroBench, Round

ENVELOPES = 2048
TURN = 64  # envelopes that are in the mailbox at once, as many as a turn takes
ASKS = 64
KEYS = 64
TIMEOUT = 60.0  # seconds


class Echo(Actor[int]):
    """Answers with what it is asked."""

    async def receive(self, message: Any) -> Any:
        return message


@asynccontextmanager
async def mailbox() -> AsyncGenerator[Round]:
    box = Mailbox(MailboxLimits())

    async def run() -> None:
        for _ in range(ENVELOPES // TURN):
            for number in range(TURN):
                box.offer(Envelope(number, NEVER), Lane.COMMANDS)
            box.take(0.0)

    yield run


@asynccontextmanager
async def ask() -> AsyncGenerator[Round]:
    async with open_directory(EngineConfig(), {Echo: Echo}) as directory:
        ref = directory.ref(Echo, 1)

        async def run() -> None:
            for number in range(ASKS):
                await ref.ask(number, timeout=TIMEOUT)

        yield run


class Countdown:
    """A caller who waits for many answers."""

    def __init__(self, answers: int) -> None:
        self._missing = answers
        self.done = trio.Event()

    def resolve(self, value: Any) -> None:
        self._missing -= 1
        if not self._missing:
            self.done.set()

    def refuse(self, error: Exception) -> None:
        raise error


@asynccontextmanager
async def life() -> AsyncGenerator[Round]:
    async with open_directory(EngineConfig(), {Echo: Echo}) as directory:

        async def run() -> None:
            answers = Countdown(KEYS)
            for key in range(KEYS):
                directory.call((Echo, key), key, answers, timeout=TIMEOUT)
            await answers.done.wait()
            for cell in list(directory.cells.values()):
                cell.retire()
            while directory.cells:
                await trio.lowlevel.checkpoint()

        yield run


BENCHES = (
    MicroBench("mailbox", "an envelope is offered and taken", ENVELOPES, mailbox),
    MicroBench("ask", "an actor is asked and answers", ASKS, ask),
    MicroBench("life", "an actor is activated, answers once and is passivated", KEYS, life),
)
