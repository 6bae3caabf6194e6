"""`{"channel":"ConversationChannel","id":42}`: one conversation's events, and everything that a participant can do in
it.

opening: the hub's tap holds events back, from before the conversation is read
confirmed, history asked: missed events and held ones are merged, sent, confirmed
live: in the hub's group of all who see the same bytes
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from ...actors.access import AccountAccess
from ...actors.conversation import ConversationActor
from ...actors.entities import Principal, Visitor
from ...actors.events import Audience, Event, conversation_stream, event_of
from ...actors.policies.conversation import ConversationPolicy
from ...engine.errors import NotFound, TertuliaError
from ...storage.records import Conversation
from .actions import decode_action
from .channel import ChannelCall
from .history import HistoryReader, merged, position_in, start_of
from .ports import Subscriber
from .protocol import HistoryRequest


class Facts(NamedTuple):
    """What the policy needs to know of a conversation, and nothing more: thousands of channels are open and idle."""

    account_id: int
    inbox_id: int
    contact_id: int
    assignee_id: int | None


class ConversationChannel:
    """One subscription to one conversation. Made by `open_conversation_channel`."""

    __slots__ = (
        "_address",
        "_complete_after",
        "_facts",
        "_held",
        "_live",
        "_principal",
        "_session",
        "_topic",
        "format",
    )

    def __init__(
        self,
        session: Subscriber,
        identifier: str,
        principal: Principal,
        id: int,
        row: Conversation | None = None,
        after: int | None = None,
    ) -> None:
        """With `row`, the conversation as it is now: nothing has to be held back, because nothing is waited for.

        The events after `after` are then on their way to the client.
        """
        self._session = session
        self._principal = principal
        self._topic = sys.intern(conversation_stream(id))
        self._address = (ConversationActor, (principal.account_id, id))
        audience: Audience = "visitor" if isinstance(principal, Visitor) else "member"
        self.format = session.gateway.format(session.protocol, identifier, audience)
        self._facts: Facts | None = None
        #: Every event after this seq has been sent or will be; earlier ones were not asked for.
        self._complete_after = 0
        self._live = False
        self._held: list[Event] | None = []
        if row is None:
            session.gateway.hub.tap(self._topic, self._held.extend)
        else:
            self._facts = Facts(row.account_id, row.inbox_id, row.contact_id, row.assignee_id)
            self._complete_after = row.last_seq if after is None else after

    def perform(self, data: str) -> None:
        action = decode_action(data)
        session = self._session
        gateway = session.gateway
        try:
            command = action.command(self._principal, gateway.chat_limits)
            caller = ChannelCall(session, self.format, action.client_id)
            gateway.call(self._address, command, caller, action.lane)
        except TertuliaError as error:
            session.fail(self.format.identifier, action.client_id, error)

    async def read(self) -> None:
        """Find out whether the principal may see this, and where it is now.

        Raises:
            NotFound: there is no such conversation, or the policy denies it.
        """
        gateway = self._session.gateway
        account_id, id = self._address[1]
        await gateway.hub.follow((self._topic,), account_id)
        records = await gateway.reads.conversation(account_id, id)
        row = records.conversation if records is not None else None
        # What is durable but not yet told would otherwise arrive as news although it is older than what was just read.
        await gateway.journal.published()
        if row is not None:
            await gateway.hub.reach(self._topic, self._topic, row.last_seq)
        access = await gateway.access.of(account_id)
        if row is None or row.deleted_at is not None or not ConversationPolicy(access, self._principal).can_show(row):
            raise NotFound
        self._facts = Facts(row.account_id, row.inbox_id, row.contact_id, row.assignee_id)
        self._complete_after = told = gateway.told((account_id, id), row.last_seq)
        if self._held:
            self._held[:] = [event for event in self._held if event.seq is None or event.seq > told]

    async def recover(self, history: HistoryRequest) -> list[bytes] | None:
        gateway = self._session.gateway
        account_id, id = self._address[1]
        reader = HistoryReader(gateway.reads, account_id, gateway.chat_limits)
        offset = position_in(history, self._topic, gateway.epoch)
        if offset is not None:
            after, rows = offset, await reader.after_position(id, offset)
        elif history.since_millis is not None:
            after, rows = await reader.since(id, history.since_millis)
        else:
            return []
        await gateway.journal.published()
        if rows:
            await gateway.hub.reach(self._topic, self._topic, rows[-1].seq)
        told = gateway.told((account_id, id), rows[-1].seq) if rows else after
        missed = [event_of(row) for row in rows if after < row.seq <= told]
        after = start_of(rows, after)
        if self._live:
            return self._replay(missed, after)
        events = merged(missed, self._held or (), {self._topic: after})
        self._complete_after = after
        if self._held is not None:
            self._held.clear()
        return self._frames(events)

    def _replay(self, missed: list[Event], after: int) -> list[bytes]:
        """History for a subscription that is live: only what it was not sent already, or is about to be."""
        events = merged(missed, (), {self._topic: after})
        known, self._complete_after = self._complete_after, min(self._complete_after, after)
        return self._frames([event for event in events if event.seq is not None and event.seq <= known])

    def _frames(self, events: list[Event]) -> list[bytes]:
        return [frame for event in events if (frame := self.format.frame(event)) is not None]

    def go_live(self) -> None:
        held = self._let_go()
        if held is None:
            return
        if held:
            self._session.sink.send(b"".join(self._frames(held)))
        self._live = True
        self._session.gateway.hub.join(self._topic, self.format, self._session.sink)

    def recheck(self, access: AccountAccess) -> bool:
        # While it is still being opened, `read` asks the policy itself, after everything that waits.
        return self._facts is None or ConversationPolicy(access, self._principal).can_show(self._facts)

    def close(self) -> None:
        self._let_go()
        if self._live:
            self._live = False
            self._session.gateway.hub.leave(self._topic, self.format, self._session.sink)

    def _let_go(self) -> list[Event] | None:
        """Stop holding back; what was held, or None where nothing was."""
        held, self._held = self._held, None
        if held is not None:
            self._session.gateway.hub.untap(self._topic, held.extend)
        return held


async def open_conversation_channel(
    session: Subscriber, identifier: str, principal: Principal, id: int
) -> ConversationChannel:
    """Raises NotFound where there is no such conversation, or the policy denies it."""
    channel = ConversationChannel(session, identifier, principal, id)
    try:
        await channel.read()
    except BaseException:
        channel.close()
        raise
    return channel
