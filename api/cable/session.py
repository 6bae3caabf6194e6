"""One cable connection. In: whole messages from `engine/connection`. Next hop: a channel of `channels`.

The session speaks Action Cable and keeps its promises to clients: the first frame is `welcome` or `disconnect`; commands run
strictly in order; every accepted subscribe gets exactly one answer. A command that has to wait (a subscribe reads the store)
makes the later ones wait behind it, and the socket is not read meanwhile.

    connecting --authenticated--> open <--subscribed-- waiting        any --closed--> closed
         |                          +------subscribe----->^
         +--refused--> closed
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import trio

from ...actors.access import AccountAccess
from ...engine.errors import Malformed, Refusal, TertuliaError
from ...engine.frames import BINARY, INVALID_DATA, Violation
from ...engine.outbox import Sink
from .protocol import CableProtocol, Command, DisconnectReason

if TYPE_CHECKING:
    from ..auth import Identity
    from .channels import Channel
    from .gateway import Gateway

logger = logging.getLogger("tertulia.cable")


class Transport(Protocol):
    """The connection under a session: a socket on the reactor, or a task where there is no reactor."""

    outbox: Any

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self, code: int = ..., reason: str = ..., last: bytes = ...) -> None: ...


class State(Enum):
    CONNECTING = auto()  # who is this? commands wait
    OPEN = auto()
    WAITING = auto()  # a command is under way that reads the store; later ones wait
    CLOSED = auto()


class Session:
    """What one client has subscribed to, and what it may do."""

    __slots__ = (
        "_errors", "_pending", "channels", "gateway", "identity", "protocol", "reconfirms", "sink", "state", "transport",
    )  # fmt: skip

    def __init__(self, gateway: Gateway, transport: Transport, protocol: CableProtocol, *, reconfirms: bool) -> None:
        self.gateway = gateway
        self.transport = transport
        self.sink: Sink = transport.outbox
        self.protocol = protocol
        #: `@rails/actioncable` repeats a subscribe until it is confirmed, `@anycable/core` breaks on a second confirmation.
        self.reconfirms = reconfirms
        self.state = State.CONNECTING
        self.identity: Identity | None = None
        self.channels: dict[str, Channel] = {}
        self._pending: deque[Command] | None = None
        self._errors: tuple[float, int] = (0.0, 0)

    # The connection's side.

    def received(self, first: int, payload: bytes) -> None:
        if (first == BINARY) is self.protocol.is_text():
            self._error()
            return
        try:
            command = self.protocol.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            if not payload.isascii() and self.protocol.is_text() and not _is_utf8(payload):
                raise Violation(INVALID_DATA, "A text message must be UTF-8.") from None
            self._error()
            return
        if self.state is State.OPEN:
            self._run(command)
        elif self.state is not State.CLOSED:
            self._wait(command)

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
        if self.state is not State.CONNECTING:
            return
        self.identity = identity
        self.sink.send(self.protocol.welcome(secrets.token_urlsafe(12)))
        self._go_on()

    def disconnect(self, reason: DisconnectReason, *, reconnect: bool) -> None:
        if self.state is not State.CLOSED:
            self.transport.close(last=self.protocol.disconnect(reason, reconnect=reconnect))

    def recheck(self, access: AccountAccess) -> None:
        """Rights changed: close what is no longer allowed."""
        for identifier, channel in list(self.channels.items()):
            if not channel.still_allowed(access):
                channel.close()
                del self.channels[identifier]
                self.reject(identifier)

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
            case "whisper" | "join" | "leave" | "presence":
                self._ephemeral(command)
            case _:
                self._error()

    def _perform(self, command: Command) -> None:
        channel = self.channels.get(command.identifier)
        if channel is None or not isinstance(command.data, str):
            self.fail(command.identifier, None, Malformed("Subscribe first, and send data as a JSON string."))
            return
        try:
            channel.perform(command.data)
        except TertuliaError as error:
            self.fail(command.identifier, None, error)

    def _subscribe(self, command: Command) -> None:
        if command.identifier in self.channels:
            if self.reconfirms:
                self.confirm(command.identifier)
            return
        self._start(self._open_channel, command)

    async def _open_channel(self, command: Command) -> None:
        identifier = command.identifier
        try:
            with trio.fail_after(self.gateway.limits.subscribe_timeout):
                channel = await self.gateway.open_channel(self, identifier)
        except (TertuliaError, trio.TooSlowError) as error:
            logger.info("subscription to %s refused: %s", identifier, error)
            if self.state is not State.CLOSED:
                self.reject(identifier)
            return
        if self.state is State.CLOSED:
            return
        self.channels[identifier] = channel
        if self.protocol.extended and command.history is not None:
            self.confirm(identifier)
            await self._recover(channel, command)
        else:
            channel.go_live()
            self.confirm(identifier)

    def _replay(self, command: Command) -> None:
        channel = self.channels.get(command.identifier)
        if channel is None or command.history is None:
            self.sink.send(self.protocol.about("reject_history", command.identifier))
            return
        self._start(self._recover_again, command)

    async def _recover_again(self, command: Command) -> None:
        channel = self.channels.get(command.identifier)
        if channel is not None:
            await self._recover(channel, command)

    async def _recover(self, channel: Channel, command: Command) -> None:
        """Send what the client missed, say so, and go live; or say that it cannot be done, and go live from now."""
        assert command.history is not None
        try:
            recovered = await channel.recover(command.history)
        except TertuliaError as error:
            logger.info("history of %s refused: %s", command.identifier, error)
            recovered = None
        if self.state is State.CLOSED:
            return
        if recovered is None:
            self.sink.send(self.protocol.about("reject_history", command.identifier))
        else:
            self.sink.send(b"".join([*recovered, self.protocol.about("confirm_history", command.identifier)]))
        channel.go_live()

    def _ephemeral(self, command: Command) -> None:
        channel = self.channels.get(command.identifier)
        if channel is None:
            self._error()
            return
        channel.ephemeral(command)

    # Answers.

    def confirm(self, identifier: str) -> None:
        self.sink.send(self.protocol.about("confirm_subscription", identifier))

    def reject(self, identifier: str) -> None:
        self._count_error()
        self.sink.send(self.protocol.about("reject_subscription", identifier))

    def fail(self, identifier: str, client_id: str | None, error: Exception) -> None:
        """Tell the sender, and nobody else, that its command was refused."""
        if self.state is State.CLOSED:
            return
        if isinstance(error, Refusal):
            self._count_error()
        data: dict[str, Any] = {"client_id": client_id}
        if isinstance(error, TertuliaError):
            data |= {"code": error.code, "detail": error.detail, "retryable": error.temporary}
            retry_after = getattr(error, "retry_after", None)
            if retry_after is not None:
                data["retry_after"] = retry_after
        else:
            data |= {"code": "internal", "detail": "Something went wrong inside the server.", "retryable": False}
        self.sink.send(self.protocol.data(identifier, {"type": "command.failed", "data": data}))

    def _error(self) -> None:
        """Something that belongs to no subscription: the connection lives, within limits."""
        self.sink.send(
            self.protocol.message(
                {"type": "command.failed", "data": {"code": "malformed", "detail": Malformed().detail}}
            )
        )
        self._count_error()

    def _count_error(self) -> None:
        now = trio.current_time()
        began, count = self._errors
        limits = self.gateway.limits
        if now - began > limits.errors_period:
            began, count = now, 0
        self._errors = (began, count + 1)
        if count + 1 > limits.errors:
            self.disconnect("invalid_request", reconnect=False)

    # Order.

    def _wait(self, command: Command) -> None:
        if self._pending is None:
            self._pending = deque()
        subscribes = command.command == "subscribe"
        if subscribes and any(other == command for other in self._pending):
            return  # a client that repeats itself gets one answer
        self._pending.append(command)
        if len(self._pending) == self.gateway.limits.waiting_commands:
            self.transport.pause_reading()

    def _start(self, work: Any, command: Command) -> None:
        self.state = State.WAITING
        self.gateway.start(self._finish, work, command)

    async def _finish(self, work: Any, command: Command) -> None:
        await work(command)
        if self.state is State.WAITING:
            self._go_on()

    def _go_on(self) -> None:
        self.state = State.OPEN
        pending = self._pending
        if pending is None:
            return
        while pending and self.state is State.OPEN:
            self._run(pending.popleft())
        if not pending and self._pending is pending:
            self._pending = None
        if self.state is State.OPEN:
            self.transport.resume_reading()


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
