"""A subscribe that is answered on the spot. In: the command. Out: an open channel, and all that its client missed.

Where a reading of the conversation is at hand, nothing has to be waited for: the policy is asked, the client gets its
confirmation and what it missed in one piece, and is in the hub's group before anything else can happen.
"""

from __future__ import annotations

from functools import partial

import trio

from ...actors.events import conversation_stream
from ...actors.policies.conversation import ConversationPolicy
from ...storage.records import Conversation
from .channels import conversation_in
from .conversation_channel import ConversationChannel
from .ports import Subscriber
from .protocol import Command
from .readings import Asked


def asked_in(session: Subscriber, command: Command) -> Asked | None:
    """What a subscribe asks for; None where that is nothing that a reading could tell."""
    id = conversation_in(command.identifier, session.gateway.limits)
    if id is None or session.identity is None:
        return None
    after: int | None = None
    if session.protocol.extended and command.history is not None:
        position = command.history.streams.get(conversation_stream(id))
        if position is None or position.epoch != session.gateway.epoch:
            return None
        after = position.offset
    return Asked(session.identity.principal.account_id, id, after)


async def read_for_all(session: Subscriber, command: Command) -> bool:
    """Let there be a reading for `open_at_once`, unless that is not worth it or takes too long.

    False where no reading could tell what is asked.
    """
    asked = asked_in(session, command)
    if asked is not None:
        with trio.move_on_after(session.gateway.limits.reading_patience):
            await session.gateway.readings.make(asked, partial(may_see, session))
    return asked is not None


def may_see(session: Subscriber, facts: Conversation) -> bool:
    """What the policy says now. False, too, where the rights in the account are not at hand."""
    assert session.identity is not None
    access = session.gateway.access.known(facts.account_id)
    return access is not None and ConversationPolicy(access, session.identity.principal).can_show(facts)


def open_at_once(session: Subscriber, command: Command) -> tuple[ConversationChannel, bytes] | None:
    """An open channel, not live yet, and the frames that go before. None: wait for the store, which may also say no.

    The channel has to go live before anything is waited for.
    """
    asked, gateway = asked_in(session, command), session.gateway
    reading = gateway.readings.find(asked) if asked is not None else None
    if asked is None or reading is None:
        return None
    facts = reading.facts
    assert facts is not None
    assert session.identity is not None
    if not may_see(session, facts):
        return None
    principal = session.identity.principal
    channel = ConversationChannel(session, command.identifier, principal, asked.conversation_id, facts, asked.after)
    about, identifier = session.protocol.about, channel.format.identifier
    confirmation = about("confirm_subscription", identifier)
    if asked.after is None:
        return channel, confirmation
    missed = gateway.readings.frames(reading, channel.format, asked.after)
    # More than that leaves piece by piece, as fast as the client reads, which takes time.
    if session.transport.outbox.waiting + len(missed) > gateway.limits.history_chunk:
        return None
    return channel, b"".join((confirmation, missed, about("confirm_history", identifier)))
