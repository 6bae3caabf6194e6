"""`{"channel":"AccountChannel"}`: what an agent's dashboard needs, live. Members only.

It follows the topic of every inbox that the policy lets its member see, and the account's own (contacts, presence).
An event carries the position in its own stream, a conversation or the account, so that a client keeps one position
per stream without knowing it. History is every missed event of those streams and of the conversations that changed
since.

Who is present is told when it goes live, and whenever that changes. Held-back events are kept per topic: an inbox
that is revoked meanwhile takes its events with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import trio

from ...actors.access import AccountAccess
from ...actors.conversation import inbox_topic
from ...actors.entities import Member
from ...actors.events import Event, account_stream
from ...actors.policies.conversation import ConversationPolicy
from ...engine.errors import Invalid, NotFound, TertuliaError
from .account_history import Missed
from .history import HistoryUnknown, merged
from .ports import Subscriber
from .protocol import HistoryRequest

#: Seconds between two tries to follow an inbox on other nodes.
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0


class AccountChannel:
    """One subscription to one account."""

    __slots__ = ("_held", "_member", "_session", "_topics", "format")

    def __init__(self, session: Subscriber, identifier: str, member: Member, access: AccountAccess) -> None:
        self._session = session
        self._member = member
        self.format = session.gateway.format(session.protocol, identifier, "member")
        self._topics: tuple[str, ...] = ()
        #: By topic, until it is live; None from then on.
        self._held: dict[str, list[Event]] | None = {}
        self._follow(_topics(access, member))

    async def follow(self) -> None:
        """Raises Unavailable where the node cannot follow the account's topics now."""
        await self._session.gateway.hub.follow(self._topics, self._member.account_id)

    async def _follow_live(self, topic: str) -> None:
        """An inbox that is new to the member: from other nodes, its events arrive from a moment later on."""
        delay = FIRST_DELAY
        while topic in self._topics:
            try:
                await self._session.gateway.hub.follow((topic,), self._member.account_id)
            except TertuliaError:
                await trio.sleep(delay)
                delay = min(2 * delay, LONGEST_DELAY)
            else:
                return

    def perform(self, data: str) -> None:
        raise Invalid("An account's channel has no actions; subscribe to a conversation and act there.")

    async def recover(self, history: HistoryRequest) -> list[bytes] | None:
        if self._held is None:
            # What a live subscription was sent already is not recorded per stream, so a replay could tell things twice.
            raise HistoryUnknown("Subscribe again to get the history of an account.")
        missed = Missed(self._session.gateway, self._member)
        await missed.read(history)
        # This node may have been told less than the store says, or than the client was told on another node.
        await self._session.gateway.hub.catch_up(self._topics, self._member.account_id)
        # From here on nothing waits: what is denied now is left out, whatever was read meanwhile.
        held = [event for events in self._held.values() for event in events]
        events = merged(missed.events(self._topics), held, missed.positions)
        for waiting in self._held.values():
            waiting.clear()
        return self._frames(events)

    def _frames(self, events: Sequence[Event]) -> list[bytes]:
        return [frame for event in events if (frame := self.format.frame(event)) is not None]

    def go_live(self) -> None:
        held, hub = self._held, self._session.gateway.hub
        if held is None:
            return
        for topic in self._topics:
            hub.untap(topic, held[topic].extend)
            hub.join(topic, self.format, self._session.sink)
        self._held = None
        frames = self._frames([event for events in held.values() for event in events])
        if frames:
            self._session.sink.send(b"".join(frames))
        present = self._frames(self._session.gateway.presence.snapshot(self._member.account_id))
        if present:
            self._session.sink.send_ephemeral(b"".join(present))
        if self._session.gateway.presence.is_shared:
            self._session.gateway.start(self._tell_present_elsewhere)

    async def _tell_present_elsewhere(self) -> None:
        present = self._frames(await self._session.gateway.presence.elsewhere(self._member.account_id))
        if present and self._topics:
            self._session.sink.send_ephemeral(b"".join(present))

    def recheck(self, access: AccountAccess) -> bool:
        """Join the inboxes that are new to the member, leave those that are gone."""
        topics = _topics(access, self._member)
        if topics and topics != self._topics:
            new = set(topics).difference(self._topics)
            self._follow(topics)
            for topic in new:
                self._session.gateway.start(self._follow_live, topic)
        return bool(topics)

    def close(self) -> None:
        self._follow(())
        self._held = None

    def _follow(self, topics: tuple[str, ...]) -> None:
        before, self._topics = self._topics, topics
        hub, held = self._session.gateway.hub, self._held
        for topic in set(before).difference(topics):
            if held is not None:
                hub.untap(topic, held.pop(topic).extend)
            else:
                hub.leave(topic, self.format, self._session.sink)
        for topic in set(topics).difference(before):
            if held is not None:
                hub.tap(topic, held.setdefault(topic, []).extend)
            else:
                hub.join(topic, self.format, self._session.sink)


def _topics(access: AccountAccess, member: Member) -> tuple[str, ...]:
    """The account's own topic and those of all inboxes that the policy shows; none for a stranger."""
    if access.role_of(member) is None:
        return ()
    scope = ConversationPolicy(access, member).scope()
    inboxes = access.inboxes if scope is None else scope
    return (sys.intern(account_stream(access.account_id)), *(sys.intern(inbox_topic(id)) for id in inboxes))


async def open_account_channel(session: Subscriber, identifier: str, member: Member) -> AccountChannel:
    """Raises NotFound where the member does not belong to the account any more."""
    access = await session.gateway.access.of(member.account_id)
    if access.role_of(member) is None:
        raise NotFound
    channel = AccountChannel(session, identifier, member, access)
    try:
        await channel.follow()
        # The session does not know of the channel yet, and could not tell it what changed meanwhile.
        if not channel.recheck(access):
            raise NotFound
    except BaseException:
        channel.close()
        raise
    return channel
