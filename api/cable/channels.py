"""Which channel an identifier names. In: `subscribe` from `session`. Out: an opened channel, or a refusal.

An identifier is opaque: it is kept, compared and sent back byte for byte, and read here only.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from ...actors.entities import Member
from ...engine.errors import Malformed, NotFound
from ..cable_limits import CableLimits
from .account_channel import open_account_channel
from .channel import Channel
from .conversation_channel import open_conversation_channel
from .ports import Subscriber

#: Integers that every store can hold.
Id: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class ConversationParameters(msgspec.Struct, tag_field="channel", tag="ConversationChannel"):
    id: Id


class AccountParameters(msgspec.Struct, tag_field="channel", tag="AccountChannel"): ...


_parameters: msgspec.json.Decoder[ConversationParameters | AccountParameters] = msgspec.json.Decoder(
    ConversationParameters | AccountParameters, strict=False
)


def conversation_in(identifier: str, limits: CableLimits) -> int | None:
    """The conversation that an identifier names, if that is what it names."""
    if len(identifier) > limits.identifier:
        return None
    try:
        parameters = _parameters.decode(identifier)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return parameters.id if isinstance(parameters, ConversationParameters) else None


async def open_channel(session: Subscriber, identifier: str) -> Channel:
    """The channel that an identifier names, holding back what happens from now on.

    Raises:
        Malformed: the identifier names no channel.
        NotFound: there is no such thing, or the policy denies it.
    """
    if len(identifier) > session.gateway.limits.identifier:
        raise Malformed("The identifier is too long.")
    try:
        parameters = _parameters.decode(identifier)
    except (msgspec.MsgspecError, RecursionError):
        raise Malformed("The identifier must be JSON that names a channel and its parameters.") from None
    assert session.identity is not None
    principal = session.identity.principal
    match parameters:
        case ConversationParameters(id=id):
            return await open_conversation_channel(session, identifier, principal, id)
        case AccountParameters():
            if not isinstance(principal, Member):
                raise NotFound
            return await open_account_channel(session, identifier, principal)
