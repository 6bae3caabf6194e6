"""Messages of a conversation. `seq` is a message's id within it."""

from __future__ import annotations

import msgspec

from ...actors.commands.edit_message import DeleteMessage, EditMessage
from ...actors.commands.send_message import SendMessage, Sent
from ...actors.events import MessageData, message_data
from ...engine.errors import Invalid
from ..answers import Answer, Page
from ..calls import AccountCall, with_auth
from ..cursors import cursor_of, key_of
from ..routing import Area
from ..schemas import MessageEdit, MessageQuery, NewMessage

area = Area("messages")

BACKWARD, FORWARD = 0, 1
#: On the answer to a message that had been stored already, by an earlier request with this client_id.
REPLAYED = {"Idempotent-Replay": "true"}


@area.get("/conversations/<id:conversation_id>/messages", MessageData, listed=True)
@with_auth
async def list_messages(call: AccountCall, conversation_id: int, query: MessageQuery) -> Page:
    """What was said. A visitor does not see private notes and activity."""
    facts = await call.visible(conversation_id)
    after, before = bounds_of(query)
    rows = await call.world.reads.messages(
        call.account_id,
        conversation_id,
        after=after,
        before=before,
        include_private=not call.is_visitor,
        limit=query.limit + 1,
    )
    more = len(rows) > query.limit
    if after is not None:
        rows = rows[: query.limit]
        cursor = cursor_of(FORWARD, rows[-1].seq) if more else None
    else:
        rows = rows[-query.limit :]
        cursor = cursor_of(BACKWARD, rows[0].seq) if more else None
    policy = call.policy
    return Page([message_data(row) for row in rows if policy.can_show_message(facts, row)], cursor)


def bounds_of(query: MessageQuery) -> tuple[int | None, int | None]:
    """`after` and `before`; a cursor goes on in the direction of the page that gave it."""
    if query.cursor is None:
        return query.after, query.before
    direction, seq = key_of(query.cursor, 2)
    if direction == FORWARD:
        return seq, query.before
    if query.after is not None:
        raise Invalid(fields={"after": "This cursor goes backward; it has no `after`."})
    return None, seq


@area.post("/conversations/<id:conversation_id>/messages", MessageData)
@with_auth
async def send_message(call: AccountCall, conversation_id: int, body: NewMessage) -> Answer:
    """Say something. Repeating a `client_id` gives the first message again, with `Idempotent-Replay: true`."""
    attributes = body.content_attributes
    command = SendMessage(
        call.principal,
        body.content,
        body.client_id,
        body.private,
        body.content_type,
        msgspec.json.encode(attributes).decode() if attributes is not None else None,
    )
    sent: Sent = await call.conversation(conversation_id).ask(command)
    return Answer(message_data(sent.message), headers=REPLAYED if sent.repeated else {})


@area.patch("/conversations/<id:conversation_id>/messages/<id:seq>", MessageData)
@with_auth
async def edit_message(call: AccountCall, conversation_id: int, seq: int, body: MessageEdit) -> MessageData:
    """Change what one said."""
    return message_data(await call.conversation(conversation_id).ask(EditMessage(call.principal, seq, body.content)))


@area.delete("/conversations/<id:conversation_id>/messages/<id:seq>")
@with_auth
async def delete_message(call: AccountCall, conversation_id: int, seq: int) -> None:
    """Erase what was said; its place stays."""
    await call.conversation(conversation_id).ask(DeleteMessage(call.principal, seq))
