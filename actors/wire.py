"""Commands for actors of other nodes, and the answers. In: what `actors/forwarding` has. Out: msgpack.

    command     [class, class of its principal, {field: value}]    UNSET is a field that is not there; a job that
                                                                   is to run has no principal, and "" for its class
    answer      [type, value]                                      a row is an array, a record is a map
    error       see `wire_errors`
    events      see `wire_events`

Only the classes listed here are ever built, from values of their fields' types; bytes from elsewhere cannot name
anything else. How long they may be is the caller's business.

Two versions run side by side while a cluster restarts node by node. A field that the reader does not know is skipped,
one that the writer does not know takes its default. So a class here only ever gains fields, each with a default (a
row: at its end), and keeps its name; a new class of command is refused by older nodes with `WireError`, which is
temporary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeAlias, get_type_hints

import msgspec
from msgspec import msgpack

from ..storage.records import (
    Account,
    AccountUser,
    Contact,
    Conversation,
    Inbox,
    MessageRow,
    Record,
    User,
    Webhook,
    WebhookDelivery,
)
from .commands.account import (
    AddAccountUser,
    CreateContact,
    CreateConversation,
    CreateInbox,
    RemoveAccountUser,
    SetInboxMembers,
    UpdateAccount,
    UpdateAccountUser,
    UpdateContact,
    UpdateInbox,
)
from .commands.edit_message import DeleteMessage, EditMessage
from .commands.mark_read import MarkRead, SetTyping
from .commands.send_message import SendMessage, Sent
from .commands.update_conversation import DeleteConversation, UpdateConversation
from .entities import Member, System, Visitor
from .jobs.lane import Ran, RunJob
from .webhooks.commands import (
    CreateWebhook,
    DeleteWebhook,
    PauseWebhook,
    RedeliverWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
)
from .wire_errors import UNREADABLE, UNSPEAKABLE, WireError, decode_error, encode_error
from .wire_events import decode_events, encode_events

__all__ = [
    "ANSWERS", "COMMANDS", "PRINCIPALS", "WireError", "decode_answer", "decode_command", "decode_error",
    "decode_events", "encode_answer", "encode_command", "encode_error", "encode_events", "is_repeatable",
]  # fmt: skip

Reader: TypeAlias = Callable[[msgspec.Raw], Any]

#: Every command that may come from another node, and whether running it twice has the effect of once. An update that
#: came true is true the second time. What creates makes a second thing, or calls the first one a conflict. (A message
#: is the exception: see `is_repeatable`.)
COMMANDS: Mapping[type, bool] = {
    SendMessage: False,
    EditMessage: True,
    DeleteMessage: True,
    MarkRead: True,
    SetTyping: True,
    UpdateConversation: True,
    DeleteConversation: True,
    UpdateAccount: True,
    AddAccountUser: False,
    UpdateAccountUser: True,
    RemoveAccountUser: True,
    CreateInbox: False,
    UpdateInbox: True,
    SetInboxMembers: True,
    CreateContact: False,
    UpdateContact: True,
    CreateConversation: False,
    CreateWebhook: False,
    UpdateWebhook: True,
    DeleteWebhook: True,
    PauseWebhook: True,
    ResumeWebhook: True,
    RotateWebhookSecret: False,
    RedeliverWebhook: False,
    RunJob: False,
}
PRINCIPALS: tuple[type, ...] = (Member, Visitor, System)
NOBODY = ""

_commands = {kind.__name__: kind for kind in COMMANDS}
_principals = {kind.__name__: kind for kind in PRINCIPALS}


class _Command(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    by: str
    fields: msgspec.Raw


class _Answer(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    value: msgspec.Raw


_encode = msgpack.Encoder().encode
_read_command = msgpack.Decoder(_Command).decode
_read_answer = msgpack.Decoder(_Answer).decode


def is_repeatable(command: object) -> bool:
    """Whether the command may be sent again when its first answer was lost, without a second effect.

    The answer may differ: who repeats a deletion can get NotFound, because the first one did it.
    """
    if isinstance(command, SendMessage):
        return command.client_id is not None
    return COMMANDS.get(type(command), False)


def encode_command(command: Any) -> bytes:
    """The command with its principal, to be sent to the node where its actor lives.

    Raises:
        WireError: it cannot travel. It is no command of a conversation or an account, or holds a value that msgpack
            has no word for: an integer beyond 64 bits, text that is not Unicode, attributes nested without end. An
            actor on this node has the right answer to it.
    """
    by = _principal_of(command)
    if type(command) not in COMMANDS or by is None:
        raise WireError(f"A {type(command).__name__} is not a command for actors of other nodes.")
    try:
        return _encode((type(command).__name__, by, command))
    except UNSPEAKABLE as error:
        raise WireError(f"This {type(command).__name__} holds a value that cannot be sent.") from error


def _principal_of(command: Any) -> str | None:
    """The class of whoever acts, None where it cannot act here. A job carries whoever acts inside it."""
    if type(command) is RunJob:
        return NOBODY
    by: object = getattr(command, "by", None)
    return type(by).__name__ if type(by) in PRINCIPALS else None


def decode_command(payload: bytes) -> Any:
    """The command, equal to the one encoded.

    Raises:
        WireError: this is no encoded command, or one that only a newer version has.
    """
    try:
        packet = _read_command(payload)
        return _command_reader(packet.kind, packet.by)(packet.fields)
    except UNREADABLE as error:
        raise WireError from error


@cache
def _command_reader(kind: str, by: str) -> Reader:
    """Made at the first use. msgspec reads no unions of dataclasses, so there is a reader for each pair of classes."""
    command, principal = _commands.get(kind), _principals.get(by)
    if command is None or (by != NOBODY if command is RunJob else principal is None):
        raise ValueError(f"There is no command {kind} by {by}.")  # not cached: names from elsewhere take no memory
    hints = {**get_type_hints(command), "by": principal}
    shape = msgspec.defstruct(kind, _fields_of(command, hints))
    read = msgpack.Decoder(shape).decode
    return lambda raw: command(*msgspec.structs.astuple(read(raw)))


def _fields_of(command: Any, hints: Mapping[str, Any]) -> list[tuple[str, Any] | tuple[str, Any, Any]]:
    if issubclass(command, msgspec.Struct):
        items: Iterable[Any] = msgspec.structs.fields(command)
        missing: object = msgspec.NODEFAULT
    else:
        items, missing = dataclasses.fields(command), dataclasses.MISSING
    return [_field(item.name, hints[item.name], item.default, item.default_factory, missing) for item in items]


def _field(name: str, hint: Any, default: Any, factory: Any, missing: object) -> tuple[str, Any] | tuple[str, Any, Any]:
    if default is not missing:
        return name, hint, default
    if factory is not missing:
        return name, hint, msgspec.field(default_factory=factory)
    return name, hint


# Answers


def encode_answer(value: Any) -> bytes:
    """The answer, to be sent to the node that asks.

    Raises:
        WireError: no actor answers this.
    """
    kind = _PAIR if type(value) is tuple else type(value).__name__
    if kind not in ANSWERS:
        raise WireError(f"{kind} is not an answer of an actor.")
    try:
        return _encode((kind, value))
    except UNSPEAKABLE as error:
        raise WireError(f"This {kind} holds a value that cannot be sent.") from error


def decode_answer(payload: bytes) -> Any:
    """The answer, equal to the one encoded.

    Raises:
        WireError: this is no encoded answer.
    """
    try:
        answer = _read_answer(payload)
        read = ANSWERS.get(answer.kind)
        if read is None:
            raise WireError
        return read(answer.value)
    except UNREADABLE as error:
        raise WireError from error


def _plain(kind: Any) -> Reader:
    return msgpack.Decoder(kind).decode


_RECORDS: tuple[type[Record], ...] = (Account, AccountUser, Contact, Conversation, Inbox, Webhook, WebhookDelivery)
_PAIR = "AccountUser+User"

#: Every answer that an actor gives, by name, and how it is read.
ANSWERS: Mapping[str, Reader] = {
    "NoneType": _plain(None),
    "int": _plain(int),
    "list": _plain(list[int]),
    "MessageRow": _plain(MessageRow),
    "Ran": _plain(Ran),
    "Sent": _plain(Sent),
    **{record.__name__: _plain(record) for record in _RECORDS},
    _PAIR: _plain(tuple[AccountUser, User]),
}
