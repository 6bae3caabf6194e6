"""An actor that does what a test tells it to, and writes down what happened to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import trio

from tertulia.engine.actor import Actor, Context
from tertulia.engine.config import EngineConfig, Lifecycle, MailboxLimits, Supervision
from tertulia.engine.directory import Directory, open_directory
from tertulia.engine.mailbox import Envelope, Lane
from tertulia.engine.ref import Ref

Turn: TypeAlias = Callable[["Scripted", list[Any]], Awaitable[Sequence[Any]]]
Entry: TypeAlias = tuple[str, Any, Any, float]  # what, key, messages, when


@dataclass
class Script:
    """What happens at each step; a step that is left out succeeds at once. A turn's default answer is the message."""

    turn: Turn | None = None
    activate: Callable[[Any], Awaitable[None]] | None = None
    passivate: Callable[[Any], Awaitable[None]] | None = None
    log: list[Entry] = field(default_factory=list[Entry])

    def write(self, what: str, key: Any, messages: Any = None) -> None:
        self.log.append((what, key, messages, trio.current_time()))

    def times(self, what: str) -> list[float]:
        return [round(entry[3], 6) for entry in self.log if entry[0] == what]

    def turns(self) -> list[list[Any]]:
        return [entry[2] for entry in self.log if entry[0] == "turn"]

    def messages(self) -> list[Any]:
        return [message for turn in self.turns() for message in turn]


class Scripted(Actor[Any]):
    """Answers a whole batch at once, by its script."""

    def __init__(self, context: Context[Any], script: Script) -> None:
        super().__init__(context)
        self.script = script
        self.turns = 0

    async def activate(self) -> None:
        self.script.write("activate", self.key)
        if self.script.activate is not None:
            await self.script.activate(self.key)

    async def handle(self, batch: list[Envelope]) -> None:
        messages = [envelope.message for envelope in batch]
        self.script.write("turn", self.key, messages)
        self.turns += 1
        answers = messages if self.script.turn is None else await self.script.turn(self, messages)
        for envelope, answer in zip(batch, answers, strict=True):
            envelope.resolve(answer)

    async def passivate(self) -> None:
        self.script.write("passivate", self.key)
        if self.script.passivate is not None:
            await self.script.passivate(self.key)


def config(**limits: Any) -> EngineConfig:
    """An engine's limits, from names of any of its subsystems; without jitter, so that instants are exact."""
    limits.setdefault("jitter", 0.0)
    parts: list[Any] = []
    for part in (MailboxLimits, Supervision, Lifecycle):
        names = {item.name for item in fields(part) if item.init} & limits.keys()
        parts.append(part(**{name: limits.pop(name) for name in names}))
    assert not limits, f"no such limit: {limits}"
    return EngineConfig(*parts)


@asynccontextmanager
async def scripted(script: Script, **limits: Any) -> AsyncGenerator[Directory, None]:
    """A directory of scripted actors. Whatever happened in it, no mail may be counted as waiting when it is over."""
    directory: Directory | None = None
    try:
        async with open_directory(config(**limits), {Scripted: lambda context: Scripted(context, script)}) as directory:
            yield directory
    finally:
        if directory is not None:
            assert (directory.queued, directory.cells, directory.awake, directory.parked) == (0, {}, {}, {})


def opened(kind: type[Actor[Any]], **limits: Any) -> AbstractAsyncContextManager[Directory]:
    """A directory of one kind of actor."""
    return open_directory(config(**limits), {kind: kind})


def at(directory: Directory, key: Any = "k") -> Ref[Scripted]:
    return directory.ref(Scripted, key)


async def outcome_of(ref: Ref[Any], message: Any, timeout: float = 50, lane: Lane = Lane.COMMANDS) -> Any:
    """The answer, or the error."""
    try:
        return await ref.ask(message, timeout=timeout, lane=lane)
    except Exception as error:
        return error


async def outcomes(ref: Ref[Any], *messages: Any, timeout: float = 50) -> dict[Any, Any]:
    """Ask all at the same time; the answer to each, or the name of its error."""
    answers: dict[Any, Any] = {}

    async def one(message: Any) -> None:
        answer = await outcome_of(ref, message, timeout)
        answers[message] = type(answer).__name__ if isinstance(answer, Exception) else answer

    async with trio.open_nursery() as nursery:
        for message in messages:
            nursery.start_soon(one, message)
    return answers


class Recorder:
    """A caller that is an object: keeps what it was answered."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    def resolve(self, value: Any) -> None:
        self.answers.append(value)

    def refuse(self, error: Exception) -> None:
        self.answers.append(error)

    @property
    def answer(self) -> Any:
        (answer,) = self.answers
        return answer
