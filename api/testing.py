"""A test kit for programs that embed Tertulia: cable clients without sockets, on trio's virtual clock.

    async def test_a_visitor_hears_the_answer(autojump_clock):
        async with open_engine("memory:", wall_clock=virtual_wall_clock) as engine:
            ...  # fill in an account
            async with open_cable(engine) as cable:
                visitor = await cable.connect(visitor_token)
                agent = await cable.connect(agent_token)
                hers = await visitor.subscribe("ConversationChannel", id=1)
                his = await agent.subscribe("ConversationChannel", id=1)
                his.perform("send_message", content="Hello!")
                await hers.assert_push("message.created", content="Hello!")
                his.perform("send_message", content="She lies.", private=True)
                await hers.refute_push("message.created")

Everything above the socket is the real thing: protocol, session, policy, actors, store. The `memory:` store runs
without threads, so that the virtual clock never runs ahead of it; `refute_push` relies on that.

The part for jobs (`drain_jobs` and others) is explained in `job_testing`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import trio
from trio.testing import wait_all_tasks_blocked

from ..engine.frames import NORMAL_CLOSURE, TEXT, payloads
from ..engine.group import PlainSink
from ..engine.handshake import UpgradeRequest
from .auth import Authenticator
from .cable.gateway import Gateway
from .cable.protocol import UNSUPPORTED, CableProtocol, choose
from .cable.session import Session
from .cable_limits import CableLimits
from .engine import Engine
from .job_testing import assert_enqueued as assert_enqueued
from .job_testing import drain_jobs as drain_jobs
from .job_testing import jobs_by_hand as jobs_by_hand
from .job_testing import jobs_inline as jobs_inline
from .job_testing import refute_enqueued as refute_enqueued

#: What `@rails/actioncable` offers.
RAILS = ("actioncable-v1-json", UNSUPPORTED)
#: What `@anycable/core` offers where history is wanted.
ANYCABLE = ("actioncable-v1-ext-json",)
ANYCABLE_MSGPACK = ("actioncable-v1-ext-msgpack",)

WITHIN = 10.0  # seconds of trio's clock that an assertion waits
EPOCH = 1_700_000_000_000  # where the virtual time of day begins, in milliseconds

Message = dict[str, Any]


def virtual_wall_clock() -> int:
    """A time of day, in milliseconds, that goes with trio's clock: for `open_engine(wall_clock=...)`."""
    return EPOCH + int(trio.current_time() * 1000)


@dataclass(frozen=True, slots=True)
class Push:
    """An event as a subscriber got it. Position and epoch are None where its subprotocol has none."""

    type: str
    data: Mapping[str, Any]
    stream_id: str | None = None
    epoch: str | None = None
    offset: int | None = None


class Rejected(Exception):
    """The server rejected the subscription."""


class MemoryTransport(PlainSink):
    """The connection under a session, in memory. It is its own outbox."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.arrived: list[tuple[int, bytes]] = []
        self.listener: Callable[[], None] = lambda: None
        self.paused = False
        self.close_code: int | None = None
        self.waiting = 0

    @property
    def outbox(self) -> MemoryTransport:
        return self

    def send(self, frames: bytes) -> None:
        if self.close_code is None:
            self.arrived.extend(payloads(frames))
            self.listener()

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def trust(self) -> None:
        """Nothing is framed here, so nothing is too long."""

    def close(self, code: int = NORMAL_CLOSURE, reason: str = "", last: bytes = b"") -> None:
        if self.close_code is None:
            self.send(last)
            self.close_code = code
            self.listener()
            if self.session is not None:
                self.session.closed()


class CableClient:
    """One connected client: everything it got, decoded, and what its test has not looked at yet."""

    def __init__(self, transport: MemoryTransport, protocol: CableProtocol) -> None:
        self.transport = transport
        self.protocol = protocol
        self.messages: list[Message] = []
        self.pings: list[int] = []
        self.unread: list[Message] = []
        self._news = trio.Event()
        transport.listener = self._on_news
        self._on_news()

    @property
    def session(self) -> Session:
        assert self.transport.session is not None
        return self.transport.session

    @property
    def closed(self) -> bool:
        return self.transport.close_code is not None

    @property
    def close_code(self) -> int | None:
        return self.transport.close_code

    def drop(self) -> None:
        """Lose the connection, as by a cut cable: nothing more arrives on either side."""
        if not self.closed:
            self.transport.close_code = 1006
            self.session.closed()

    def send(self, command: str, identifier: str = "", **more: Any) -> None:
        """Send a command as it is."""
        message = {"command": command, **({"identifier": identifier} if identifier else {}), **more}
        self.send_raw(msgspec.json.encode(message) if self.protocol.first == TEXT else msgspec.msgpack.encode(message))

    def send_raw(self, payload: bytes, first: int | None = None) -> None:
        """Send any bytes as one message, by default of the kind that the subprotocol wants."""
        if not self.closed:
            self.session.received(first or self.protocol.first, payload)

    async def subscribe(
        self, channel: str, *, history: Mapping[str, Any] | None = None, **parameters: Any
    ) -> Subscription:
        """Subscribe and wait for the confirmation. Raises Rejected."""
        identifier = identifier_of(channel, **parameters)
        self.send("subscribe", identifier, **({} if history is None else {"history": history}))
        answer = await self.expect("confirm_subscription", "reject_subscription", identifier=identifier)
        if answer["type"] == "reject_subscription":
            raise Rejected(identifier)
        return Subscription(self, identifier)

    async def expect(self, *types: str, within: float = WITHIN, **fields: Any) -> Message:
        """Wait for a protocol message of one of these types."""
        return await self.take(lambda message: message.get("type") in types and matches(message, fields), within, types)

    async def take(self, wanted: Callable[[Message], bool], within: float, description: object) -> Message:
        """Wait for the first unread message that is wanted, and take it out."""
        with trio.move_on_after(within):
            while True:
                for index, message in enumerate(self.unread):
                    if wanted(message):
                        return self.unread.pop(index)
                await self._news.wait()
        raise AssertionError(f"No {description} came in {within} s. Unread: {self.unread}. Closed: {self.close_code}.")

    async def wait_closed(self, within: float = WITHIN) -> int:
        """Wait until the server has closed the connection; the close code."""
        with trio.move_on_after(within):
            while self.transport.close_code is None:
                await self._news.wait()
            return self.transport.close_code
        raise AssertionError(f"The connection was not closed in {within} s.")

    def _on_news(self) -> None:
        arrived, self.transport.arrived = self.transport.arrived, []
        for first, payload in arrived:
            assert first == self.protocol.first, "a frame of the wrong kind for its subprotocol"
            message = msgspec.json.decode(payload) if first == TEXT else msgspec.msgpack.decode(payload)
            if message.get("type") == "ping":
                self.pings.append(message["message"])
            else:
                self.messages.append(message)
                self.unread.append(message)
        news, self._news = self._news, trio.Event()
        news.set()


class Subscription:
    """One subscription of one client."""

    def __init__(self, client: CableClient, identifier: str) -> None:
        self.client = client
        self.identifier = identifier

    def perform(self, action: str, **data: Any) -> None:
        self.client.send("message", self.identifier, data=json.dumps({"action": action, **data}))

    def unsubscribe(self) -> None:
        self.client.send("unsubscribe", self.identifier)

    async def assert_push(self, type: str, *, within: float = WITHIN, **fields: Any) -> Push:
        """Wait for an event of this type whose data has these fields, whatever came before it, and take it out."""
        message = await self.client.take(lambda message: self._is(message, type, fields), within, f"{type} {fields}")
        return push_of(message)

    async def refute_push(self, type: str | None = None, **fields: Any) -> None:
        """Everything that is under way has come to rest, and no such event is among what has not been looked at."""
        await wait_all_tasks_blocked()
        unwanted = [message for message in self.client.unread if self._is(message, type, fields)]
        if unwanted:
            raise AssertionError(f"This should not have come: {unwanted}")

    def pushes(self) -> list[Push]:
        """All events of this subscription so far, whether looked at or not."""
        return [push_of(message) for message in self.client.messages if self._is(message, None, {})]

    def _is(self, message: Message, type: str | None, fields: Mapping[str, Any]) -> bool:
        if message.get("identifier") != self.identifier or "type" in message:
            return False
        content: Message = message["message"]
        return (type is None or content["type"] == type) and matches(content["data"], fields)


class Cable:
    """The cable of one engine, in memory. Made by `open_cable`."""

    def __init__(self, gateway: Gateway, authenticator: Authenticator) -> None:
        self.gateway = gateway
        self.authenticator = authenticator

    def dial(self, token: str | None, offers: tuple[str, ...] = RAILS[:1], **query: str) -> CableClient:
        """Connect, without waiting for the welcome."""
        protocol, _ = choose(offers)
        assert protocol is not None, f"no subprotocol in {offers} is supported"
        given = {"token": token, **query} if token is not None else query
        transport = MemoryTransport()
        request = UpgradeRequest("/cable", given, {}, offers, "memory")
        session = self.gateway.connect(request, transport, protocol)
        transport.session = session
        return CableClient(transport, protocol)

    async def connect(self, token: str | None, offers: tuple[str, ...] = RAILS[:1], **query: str) -> CableClient:
        """Connect, and wait for the welcome. Raises AssertionError where there is none."""
        client = self.dial(token, offers, **query)
        await client.expect("welcome")
        return client


@asynccontextmanager
async def open_cable(engine: Engine, limits: CableLimits | None = None) -> AsyncGenerator[Cable, None]:
    """Serve cable clients in memory for as long as the block runs."""
    authenticator = Authenticator(engine.world.reads, engine.world.access, engine.world.wall_clock)
    async with trio.open_nursery() as nursery:
        gateway = Gateway(engine, authenticator, limits or CableLimits(), nursery)
        nursery.start_soon(gateway.beat)
        yield Cable(gateway, authenticator)
        nursery.cancel_scope.cancel()


def identifier_of(channel: str, **parameters: Any) -> str:
    """An identifier as `@rails/actioncable` writes it."""
    return json.dumps({"channel": channel, **parameters}, separators=(",", ":"))


def push_of(message: Message) -> Push:
    content = message["message"]
    position = {name: message.get(name) for name in ("stream_id", "epoch", "offset")}
    return Push(content["type"], content["data"], **position)


def matches(message: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    return all(message.get(name, ...) == value for name, value in fields.items())
