"""What a client can do in a conversation. In: the `data` of a `message` command. Out: a command for the
conversation's actor.

Shapes and lengths are checked here; rights and meaning are the actor's to judge. Pure: no clock, no session.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ...actors.attributes import why_not
from ...actors.commands.edit_message import DeleteMessage, EditMessage
from ...actors.commands.mark_read import MarkRead, SetTyping
from ...actors.commands.send_message import SendMessage
from ...actors.commands.update_conversation import UpdateConversation
from ...actors.entities import ContentType, Principal, Priority, Status
from ...actors.limits import ChatLimits
from ...engine.errors import Invalid, Malformed
from ...engine.mailbox import Lane

#: Integers that every store and every client can hold.
Seq: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]
#: The last second that RFC 3339 can write.
LAST_SECOND = 253_402_300_799

_encode = msgspec.json.Encoder().encode


class Action(Struct, tag_field="action", frozen=True, kw_only=True):
    """Base of all actions. `client_id` is the client's own name for the request and comes back with a failure."""

    client_id: str | None = None

    lane: ClassVar[Lane] = Lane.COMMANDS

    def command(self, by: Principal, limits: ChatLimits) -> Any:
        """The actor's command. Raises Invalid."""
        raise NotImplementedError

    def check_client_id(self, limits: ChatLimits) -> None:
        if self.client_id is not None and len(self.client_id) > limits.client_id:
            raise too_long("client_id", limits.client_id)


class SendMessageAction(Action, tag="send_message", frozen=True, kw_only=True):
    content: str
    private: bool = False
    content_type: ContentType = ContentType.TEXT
    content_attributes: dict[str, Any] | None = None

    def command(self, by: Principal, limits: ChatLimits) -> SendMessage:
        if len(self.content) > limits.content:
            raise too_long("content", limits.content)
        if self.client_id is not None and len(self.client_id) > limits.client_id:
            raise too_long("client_id", limits.client_id)
        attributes = None
        if self.content_attributes is not None:
            attributes = _attributes(self.content_attributes, limits)
        kind = _CONTENT_TYPES[self.content_type]
        return SendMessage(by, self.content, self.client_id, self.private, kind, attributes)


class EditMessageAction(Action, tag="edit_message", frozen=True, kw_only=True):
    seq: Seq
    content: str

    def command(self, by: Principal, limits: ChatLimits) -> EditMessage:
        self.check_client_id(limits)
        if len(self.content) > limits.content:
            raise too_long("content", limits.content)
        return EditMessage(by, self.seq, self.content, self.client_id)


class DeleteMessageAction(Action, tag="delete_message", frozen=True, kw_only=True):
    seq: Seq

    def command(self, by: Principal, limits: ChatLimits) -> DeleteMessage:
        self.check_client_id(limits)
        return DeleteMessage(by, self.seq, self.client_id)


class TypingAction(Action, tag="typing", frozen=True, kw_only=True):
    on: bool = True
    private: bool = False

    lane: ClassVar[Lane] = Lane.BROADCASTS

    def command(self, by: Principal, limits: ChatLimits) -> SetTyping:
        return SetTyping(by, self.on, self.private)


class ReadAction(Action, tag="read", frozen=True, kw_only=True):
    seq: Seq

    def command(self, by: Principal, limits: ChatLimits) -> MarkRead:
        return MarkRead(by, self.seq)


class UpdateAction(Action, tag="update", frozen=True, kw_only=True):
    """What is left out stays as it is; null clears. `snoozed_until` is RFC 3339, or seconds since 1970."""

    status: Status | UnsetType = UNSET
    assignee_id: Seq | UnsetType | None = UNSET
    priority: Priority | UnsetType | None = UNSET
    labels: tuple[str, ...] | UnsetType = UNSET
    snoozed_until: int | float | str | UnsetType | None = UNSET

    def command(self, by: Principal, limits: ChatLimits) -> UpdateConversation:
        if self.labels is not UNSET:
            _check_labels(self.labels, limits)
        return UpdateConversation(
            by,
            status=self.status,
            assignee_id=self.assignee_id,
            priority=self.priority,
            labels=self.labels,
            snoozed_until=_instant(self.snoozed_until),
        )


AnyAction: TypeAlias = (
    SendMessageAction | EditMessageAction | DeleteMessageAction | TypingAction | ReadAction | UpdateAction
)

_actions: msgspec.json.Decoder[AnyAction] = msgspec.json.Decoder(AnyAction)


#: As the store keeps them. (`ContentType.value` is a property of Python's, ten times as slow.)
_CONTENT_TYPES = {kind: kind.value for kind in ContentType}


class _Echo(Struct):
    client_id: str | None = None


_echo = msgspec.json.Decoder(_Echo)


def decode_action(data: str) -> AnyAction:
    """Raises Malformed where this is no JSON, and Invalid where it is no action."""
    try:
        return _actions.decode(data)
    except msgspec.ValidationError as error:
        raise Invalid(f"This is not an action: {error}.") from None
    except (msgspec.DecodeError, RecursionError):
        raise Malformed from None


def client_id_in(data: str) -> str | None:
    """The client's own name of a request that cannot be read otherwise."""
    try:
        return _echo.decode(data).client_id
    except (msgspec.MsgspecError, RecursionError):
        return None


def invalid(field: str, reason: str) -> Invalid:
    return Invalid(f"{field}: {reason}", fields={field: reason})


def too_long(field: str, characters: int) -> Invalid:
    return invalid(field, f"Must be at most {characters} characters long.")


def _attributes(attributes: dict[str, Any], limits: ChatLimits) -> str:
    reason = why_not(attributes, limits.content_attributes)
    if reason is not None:
        raise invalid("content_attributes", reason)
    return _encode(attributes).decode()


def _check_labels(labels: tuple[str, ...], limits: ChatLimits) -> None:
    if len(labels) > limits.labels:
        raise invalid("labels", f"Must be at most {limits.labels} labels.")
    if any(len(label) > limits.label for label in labels):
        raise invalid("labels", f"A label must be at most {limits.label} characters long.")


def _instant(value: float | str | UnsetType | None) -> int | UnsetType | None:
    """Milliseconds."""
    if value is UNSET or value is None:
        return value
    if isinstance(value, str):
        try:
            parsed = msgspec.convert(value, datetime)
        except msgspec.ValidationError:
            raise _no_instant() from None
        if parsed.tzinfo is None:
            raise _no_instant()
        value = parsed.timestamp()
    if not 0 <= value <= LAST_SECOND:
        raise _no_instant()
    return round(value * 1000)


def _no_instant() -> Invalid:
    return invalid("snoozed_until", "Must be a time in RFC 3339 with its offset from UTC, or seconds since 1970.")
