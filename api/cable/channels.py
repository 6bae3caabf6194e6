"""What a client can subscribe to. In: commands from `session`. Next hop: an actor's mailbox, and `engine/hub` for events.

A channel is opened after its policy check, reads history on request, and then goes live: it joins the hub's group of all who
see the same bytes. Between opening and going live it holds live events back (`tap`), so that history and live events become
one sequence without a hole and without a double.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...actors.access import AccountAccess
from ...actors.commands.send_message import SendMessage, Sent
from ...actors.conversation import ConversationActor
from ...actors.entities import Principal, Visitor
from ...actors.events import Event, conversation_stream, event_of, message_event
from ...actors.policies.conversation import ConversationFacts, ConversationPolicy
from ...engine.errors import Invalid, Malformed, NotFound
from ...engine.mailbox import Caller
from ...engine.recovery import Gap, merge
from .protocol import Command, EventFormat, HistoryRequest

if TYPE_CHECKING:
    from .session import Session


class Channel:
    """One subscription of one session."""

    def perform(self, data: str) -> None:
        """Run an action. Raises Malformed or Invalid where it cannot be read."""
        raise NotImplementedError

    async def recover(self, history: HistoryRequest) -> list[bytes] | None:
        """The frames of what was missed, or None where that cannot be said."""
        raise NotImplementedError

    def go_live(self) -> None:
        raise NotImplementedError

    def ephemeral(self, command: Command) -> None:
        """whisper, join, leave, presence: not for every channel."""

    def still_allowed(self, access: AccountAccess) -> bool:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class SendMessageAction(msgspec.Struct, tag_field="action", tag="send_message"):
    content: str
    client_id: str | None = None
    private: bool = False
    content_type: str = "text"
    content_attributes: dict[str, Any] | None = None


_actions: msgspec.json.Decoder[SendMessageAction] = msgspec.json.Decoder(SendMessageAction)


class ConversationChannel(Channel):
    """One conversation: its events, and everything that a participant can do in it."""

    __slots__ = ("_address", "_facts", "_format", "_held", "_live", "_session", "_topic", "principal")

    def __init__(
        self, session: Session, identifier: str, principal: Principal, facts: ConversationFacts, id: int
    ) -> None:
        self._session = session
        self.principal = principal
        self._facts = facts
        self._topic = conversation_stream(id)
        self._address = (ConversationActor, (principal.account_id, id))
        audience = "visitor" if isinstance(principal, Visitor) else "member"
        self._format = session.gateway.format(session.protocol, identifier, audience)
        self._held: list[Event] | None = None
        self._live = False

    def perform(self, data: str) -> None:
        try:
            action = _actions.decode(data)
        except msgspec.ValidationError as error:
            raise Invalid(str(error)) from None
        except msgspec.DecodeError:
            raise Malformed from None
        attributes = action.content_attributes
        command = SendMessage(
            self.principal,
            action.content,
            action.client_id,
            action.private,
            action.content_type,
            None if attributes is None else msgspec.json.encode(attributes).decode(),
        )
        self._session.gateway.call(self._address, command, ChannelCall(self._session, self._format, action.client_id))

    async def recover(self, history: HistoryRequest) -> list[bytes] | None:
        self._hold_back()
        gateway = self._session.gateway
        account_id, conversation_id = self._address[1]
        position = history.streams.get(self._topic)
        if position is not None:
            if position.epoch != gateway.epoch:
                return None
            after = position.offset
        elif history.since is not None:
            after = await gateway.reads.last_seq_before(account_id, conversation_id, int(history.since * 1000))
        else:
            return []
        missed = [event_of(row) for row in await gateway.read_log(account_id, conversation_id, after)]
        await gateway.journal.published()
        merged = merge(missed, self._held or (), {self._topic: after})
        if isinstance(merged, Gap) or (position is not None and self._is_ahead(after, merged)):
            return None
        return [frame for event in merged if (frame := self._format.frame(event)) is not None]

    def _is_ahead(self, offset: int, merged: Sequence[Event]) -> bool:
        return False

    def _hold_back(self) -> None:
        hub = self._session.gateway.hub
        if self._live:
            hub.leave(self._topic, self._format, self._session.sink)
            self._live = False
        self._held = []
        hub.tap(self._topic, self._held.extend)

    def _let_go(self) -> None:
        if self._held is not None:
            self._session.gateway.hub.untap(self._topic, self._held.extend)
            self._held = None

    def go_live(self) -> None:
        self._let_go()
        self._live = True
        self._session.gateway.hub.join(self._topic, self._format, self._session.sink)

    def still_allowed(self, access: AccountAccess) -> bool:
        return ConversationPolicy(access, self.principal).can_show(self._facts)

    def close(self) -> None:
        self._let_go()
        if self._live:
            self._live = False
            self._session.gateway.hub.leave(self._topic, self._format, self._session.sink)


class ChannelCall(Caller):
    """The sender of a command, until its answer. Success is told by the event itself; a repeated command's first result is
    sent to its sender alone."""

    __slots__ = ("_client_id", "_format", "_session")

    def __init__(self, session: Session, format: EventFormat, client_id: str | None) -> None:
        self._session = session
        self._format = format
        self._client_id = client_id

    def resolve(self, value: Any) -> None:
        if isinstance(value, Sent) and value.repeated:
            frame = self._format.frame(message_event(value.message))
            if frame is not None:
                self._session.sink.send(frame)

    def refuse(self, error: Exception) -> None:
        self._session.fail(self._format.identifier, self._client_id, error)


class ConversationParameters(msgspec.Struct):
    channel: str
    id: int


async def open_channel(session: Session, identifier: str) -> Channel:
    """The channel that an identifier names.

    Raises:
        Malformed: the identifier cannot be read.
        NotFound: there is no such channel, or the policy denies it.
    """
    try:
        parameters = msgspec.json.decode(identifier, type=ConversationParameters, strict=False)
    except msgspec.MsgspecError:
        raise Malformed("The identifier must be JSON that names a channel.") from None
    if parameters.channel != "ConversationChannel":
        raise NotFound("There is no such channel.")
    assert session.identity is not None
    principal = session.identity.principal
    gateway = session.gateway
    access = await gateway.access.of(principal.account_id)
    records = await gateway.reads.conversation(principal.account_id, parameters.id)
    if records is None or not ConversationPolicy(access, principal).can_show(records.conversation):
        raise NotFound
    return ConversationChannel(session, identifier, principal, records.conversation, parameters.id)
