"""One cable connection. In: whole messages from `engine/connection`. Next hop: a channel of `channels`.

The session speaks Action Cable and keeps its promises to clients: the first frame is `welcome` or `disconnect`;
commands run strictly in order; every accepted subscribe gets exactly one answer. A command that has to wait (a
subscribe reads the store) makes the later ones wait behind it, and the socket is not read when too many do.

    connecting --authenticated--> open <--subscribed-- waiting        any --closed--> closed
         |                          +------subscribe----->^
         +--refused--> closed

This is the connection's boundary: an error that nobody expected closes this one connection, never the server.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import Protocol

import msgspec
import trio

from ...actors.access import AccountAccess
from ...actors.entities import Member
from ...engine.errors import Malformed, Refusal, TertuliaError
from ...engine.frames import GOING_AWAY, INTERNAL_ERROR, NORMAL_CLOSURE
from ...engine.group import Sink
from ..auth import Identity
from .actions import client_id_in
from .at_once import open_at_once, read_for_all
from .channel import Channel
from .channels import open_channel
from .failures import ErrorWindow, failure, is_temporary
from .pacing import send_paced
from .ports import Surroundings, Transport
from .protocol import CableProtocol, Command, DisconnectReason
from .waiting import WaitingCommands, is_asked_already

logger = logging.getLogger("tertulia.cable")


class Home(Surroundings, Protocol):
    """Where sessions live: the gateway."""

    def forget(self, session: Session, /) -> None:
        """The session is closed."""


class State(Enum):
    CONNECTING = auto()  # who is this? commands wait
    OPEN = auto()
    WAITING = auto()  # a command is under way that reads the store; later ones wait
    CLOSED = auto()


class Session:
    """What one client has subscribed to, and what it may do."""

    __slots__ = (
        "_errors", "_pending", "_under_way", "channels", "gateway", "identity", "protocol", "reconfirms", "sink",
        "state", "transport",
    )  # fmt: skip

    def __init__(self, gateway: Home, transport: Transport, protocol: CableProtocol, *, reconfirms: bool) -> None:
        self.gateway = gateway
        self.transport = transport
        self.sink: Sink = transport.outbox
        self.protocol = protocol
        #: `@rails/actioncable` repeats a subscribe until it is confirmed, `@anycable/core` breaks on a second
        #: confirmation.
        self.reconfirms = reconfirms
        self.state = State.CONNECTING
        self.identity: Identity | None = None
        self.channels: dict[str, Channel] = {}
        self._under_way: Command | None = None
        self._pending: WaitingCommands | None = None
        self._errors: ErrorWindow | None = None

    # The connection's side.

    def received(self, first: int, payload: bytes) -> None:
        try:
            if first != self.protocol.first:
                self._error()
                return
            try:
                command = self.protocol.decode(payload)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self._unreadable(payload)
                return
            if self.state is State.OPEN:
                if command.command == "message":  # nearly all are
                    self._perform(command)
                else:
                    self._run(command)
            elif self.state is not State.CLOSED:
                self._wait(command, len(payload))
        except Exception as error:
            self.crashed(error)

    def farewell(self) -> bytes:
        return self.protocol.disconnect("too_slow", reconnect=True)

    def closed(self) -> None:
        self.state = State.CLOSED
        self._pending = None
        for channel in self.channels.values():
            channel.close()
        self.channels.clear()
        self.gateway.forget(self)

    # The gateway's side.

    def welcome(self, identity: Identity) -> None:
        """The client is known: greet it, then run what it sent meanwhile."""
        self.identity = identity
        if isinstance(identity.principal, Member):
            self.transport.trust()
        self.sink.send(self.protocol.welcome(secrets.token_urlsafe(12)))
        self._go_on()

    def disconnect(self, reason: DisconnectReason, *, reconnect: bool, code: int = NORMAL_CLOSURE) -> None:
        if self.state is not State.CLOSED:
            self.transport.close(code, last=self.protocol.disconnect(reason, reconnect=reconnect))

    def crashed(self, error: Exception) -> None:
        """Close this connection because of a defect of ours. Both real clients come back after a plain close."""
        logger.error("a cable session crashed: %r", error, exc_info=error)
        if self.state is not State.CLOSED:
            self.transport.close(INTERNAL_ERROR, "internal error")

    def recheck(self, access: AccountAccess) -> None:
        """Rights changed: close what is no longer allowed."""
        assert self.identity is not None
        if not access.admits(self.identity.principal):
            self.disconnect("unauthorized", reconnect=False)
            return
        for identifier, channel in list(self.channels.items()):
            if not channel.recheck(access):
                channel.close()
                del self.channels[identifier]
                self.sink.send(self.protocol.about("reject_subscription", identifier))

    # Commands.

    def _run(self, command: Command) -> None:
        match command.command:
            case "message":
                self._perform(command)
            case "subscribe":
                self._subscribe(command)
            case "unsubscribe":
                channel = self.channels.pop(command.identifier, None)
                if channel is not None:
                    channel.close()
            case "ping":
                self.sink.send(self.protocol.message({"type": "pong"}))
            case "pong":
                pass
            case "history" if self.protocol.extended:
                self._replay(command)
            case "whisper" | "join" | "leave":
                self._require(command)
            case "presence":
                self._presence(command)
            case _:
                self._error()

    def _perform(self, command: Command) -> None:
        channel = self.channels.get(command.identifier)
        data = command.data
        if channel is None or not isinstance(data, str):
            self.fail(command.identifier, None, Malformed("Subscribe first, and send data as a JSON string."))
            return
        try:
            channel.perform(data)
        except TertuliaError as error:
            self.fail(command.identifier, client_id_in(data), error)

    def _subscribe(self, command: Command) -> None:
        identifier = command.identifier
        if identifier in self.channels:
            if self.reconfirms:
                self.sink.send(self.protocol.about("confirm_subscription", identifier))
        elif len(self.channels) >= self.gateway.limits.subscriptions:
            self._reject(identifier)
        elif not self._open_at_once(command):
            self._start(self._open_channel, command)

    def _open_at_once(self, command: Command) -> bool:
        opened = open_at_once(self, command)
        if opened is not None:
            channel, frames = opened
            self.channels[channel.format.identifier] = channel
            self.sink.send(frames)
            channel.go_live()
        return opened is not None

    async def _open_channel(self, command: Command) -> None:
        deadline = trio.current_time() + self.gateway.limits.subscribe_timeout
        if await read_for_all(self, command) and (self.state is State.CLOSED or self._open_at_once(command)):
            return
        try:
            with trio.fail_at(deadline):
                channel = await open_channel(self, command.identifier)
        except (TertuliaError, trio.TooSlowError) as error:
            logger.info("subscription to %r refused: %s", command.identifier, error)
            if not is_temporary(error):
                self._reject(command.identifier)
            else:  # clients take a rejection for final, but after this they come back and ask again
                self.disconnect("server_restart", reconnect=True, code=GOING_AWAY)
            return
        if self.state is State.CLOSED:
            channel.close()
            return
        # The format's string is shared by all who see the same bytes.
        identifier = channel.format.identifier
        self.channels[identifier] = channel
        self.sink.send(self.protocol.about("confirm_subscription", identifier))
        if self.protocol.extended and command.history is not None:
            await self._recover(command)
        else:
            channel.go_live()

    def _replay(self, command: Command) -> None:
        """`history` for a channel that is subscribed; a client without a position has nothing to ask for."""
        if self._require(command) is None:
            self.sink.send(self.protocol.about("reject_history", command.identifier))
        elif command.history is None:
            self.sink.send(self.protocol.about("confirm_history", command.identifier))
        else:
            self._start(self._recover, command)

    async def _recover(self, command: Command) -> None:
        """Send what the client missed, say so, and go live; or say that it cannot be done, and go live from now."""
        assert command.history is not None
        identifier = command.identifier
        channel = self.channels.get(identifier)
        if channel is None:
            return
        try:
            with trio.fail_after(self.gateway.limits.history_timeout):
                recovered = await channel.recover(command.history)
        except (TertuliaError, trio.TooSlowError) as error:
            logger.info("history of %r refused: %s", identifier, error)
            if is_temporary(error):
                return self.disconnect("server_restart", reconnect=True, code=GOING_AWAY)
            recovered = None
        # A right that was revoked meanwhile has closed the channel, and the client has its answer.
        if self.channels.get(identifier) is not channel:
            return
        if recovered is None:
            self.sink.send(self.protocol.about("reject_history", identifier))
        elif not await self._send([*recovered, self.protocol.about("confirm_history", identifier)], channel):
            return
        channel.go_live()

    async def _send(self, history: Sequence[bytes], channel: Channel) -> bool:
        """Whether the channel is still there afterwards. A client that takes too long comes back for the rest."""
        limits = self.gateway.limits
        identifier = channel.format.identifier
        with trio.move_on_after(limits.history_timeout):
            return await send_paced(
                self.transport.outbox, history, limits.history_chunk, lambda: self.channels.get(identifier) is channel
            )
        self.disconnect("too_slow", reconnect=True)
        return False

    def _presence(self, command: Command) -> None:
        """Who is present in a chat is told by events; a client that asks waits for an answer, so it gets one."""
        if self._require(command) is not None and self.protocol.extended:
            error = {"type": "presence", "identifier": command.identifier, "message": {"type": "error", "total": 0}}
            self.sink.send(self.protocol.message(error))

    def _require(self, command: Command) -> Channel | None:
        """The channel that a command is for. `whisper`, `join` and `leave` need no more: a chat has no use for them."""
        channel = self.channels.get(command.identifier)
        if channel is None:
            self._error()
        return channel

    # Answers.

    def _reject(self, identifier: str) -> None:
        if self.state is not State.CLOSED:
            self.sink.send(self.protocol.about("reject_subscription", identifier))
            self._count_error()

    def fail(self, identifier: str, client_id: str | None, error: Exception) -> None:
        """Tell the sender, and nobody else, that its command was refused."""
        if self.state is State.CLOSED:
            return
        self.sink.send(self.protocol.data(identifier, failure(client_id, error)))
        # Overload and restarts are no fault of the client.
        if isinstance(error, Refusal):
            self._count_error()

    def _unreadable(self, payload: bytes) -> None:
        outline = self.protocol.outline(payload)
        if outline.command == "subscribe" and outline.identifier:
            self._reject(outline.identifier)
        else:
            self._error()

    def _error(self) -> None:
        """Something that belongs to no subscription: the connection lives, within limits."""
        self.sink.send(self.protocol.message(failure(None, Malformed())))
        self._count_error()

    def _count_error(self) -> None:
        if self._errors is None:
            self._errors = ErrorWindow(self.gateway.limits.errors, self.gateway.limits.errors_period)
        if self._errors.exceeded(trio.current_time()):
            self.disconnect("invalid_request", reconnect=False)

    # Order.

    def _wait(self, command: Command, size: int) -> None:
        if command.command == "subscribe" and is_asked_already(command.identifier, self._pending, self._under_way):
            return  # a client that repeats itself gets one answer
        if self._pending is None:
            self._pending = WaitingCommands(self.gateway.limits)
        if self._pending.add(command, size):
            self.transport.pause_reading()

    def _start(self, work: Callable[[Command], Awaitable[None]], command: Command) -> None:
        self.state = State.WAITING
        self._under_way = command
        self.gateway.start(self._finish, work, command)

    async def _finish(self, work: Callable[[Command], Awaitable[None]], command: Command) -> None:
        try:
            await work(command)
            self._under_way = None
            if self.state is State.WAITING:
                self._go_on()
        except Exception as error:
            self.crashed(error)

    def _go_on(self) -> None:
        self.state = State.OPEN
        while self._pending and self.state is State.OPEN:
            self._run(self._pending.take())
        if self.state is State.OPEN:
            self._pending = None
            self.transport.resume_reading()
