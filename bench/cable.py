"""How clients talk to Tertulia: Action Cable's extended protocol, or HTTP. In: a client. Out: bytes for `load`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from .load.dialect import Client, Dialect, Step, filled_size, framed
from .load.marks import Mark
from .load.wire import client_frame, upgrade

SUBPROTOCOL = "actioncable-v1-ext-json"
CONFIRMED, CAUGHT_UP = b"confirm_subscription", b"confirm_history"
TEXT = "Good morning! My order has not arrived yet, could you have a look please?"  # besides the mark
POSITION = re.compile(rb'"epoch":"([^"]+)","offset":(\d+)')
#: Placeholders that JSON leaves as they are, and what they become in a template.
ID, MARK = "<id>", "<mark>"


@dataclass(frozen=True)
class CableDialect(Dialect):
    """Everybody in a room is a member of the account, or the room's visitor.

    Attributes:
        conversations: the id of each room's conversation.
        member_token: of an administrator, who may do everything everywhere.
        visitor_tokens: of each room's visitor.
        contacts: the id of each room's visitor.
    """

    host: str
    port: int
    account_id: int
    conversations: Sequence[int]
    member_token: str
    visitor_tokens: Sequence[str]
    contacts: Sequence[int]
    text: str = TEXT

    @property
    def failure(self) -> bytes:
        return b"command.failed"

    def opening(self, client: Client) -> bytes:
        if client.http:
            return b""
        return upgrade(self.host, self.port, f"/cable?token={self._token(client)}", subprotocol=SUBPROTOCOL)

    def greeting(self, client: Client) -> Sequence[Step]:
        subscribe = self._command(client, "subscribe")
        return (Step(b"", client_frame(subscribe)), Step(CONFIRMED, b""))

    def resuming(self, client: Client, last: bytes) -> Sequence[Step]:
        found = POSITION.findall(last)
        if not found:
            return self.greeting(client)
        epoch, offset = found[-1]
        stream = f"conversation:{self.conversations[client.room]}"
        position = {"streams": {stream: {"epoch": epoch.decode(), "offset": int(offset)}}}
        subscribe = self._command(client, "subscribe", history=position)
        return (Step(b"", client_frame(subscribe)), Step(CAUGHT_UP, b""))

    def messages(self, client: Client) -> Sequence[bytes]:
        if client.http:
            return (self._request(client),)
        said = {"action": "send_message", "content": f"{MARK} {self.text}", "client_id": ID}
        return (framed(_template(self._command(client, "message", data=json.dumps(said)))),)

    def with_text(self, text: str) -> CableDialect:
        return replace(self, text=text)

    def typing(self) -> TypingDialect:
        """The same for clients that type instead of sending."""
        return TypingDialect(*astuple(self))

    def _command(self, client: Client, command: str, **more: Any) -> bytes:
        channel = {"channel": "ConversationChannel", "id": self.conversations[client.room]}
        return json.dumps({"command": command, "identifier": json.dumps(channel), **more}).encode()

    def _request(self, client: Client) -> bytes:
        body = _template(json.dumps({"content": f"{MARK} {self.text}", "client_id": ID}).encode())
        path = f"/api/v1/conversations/{self.conversations[client.room]}/messages"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAuthorization: Bearer {self._token(client)}\r\n"
            f"X-Account-Id: {self.account_id}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {filled_size(body)}\r\n\r\n"
        )
        return head.replace("%", "%%").encode() + body

    def _token(self, client: Client) -> str:
        return self.visitor_tokens[client.room] if client.visitor else self.member_token


TYPING = re.compile(rb'"conversation\.typing_(on|off)".{0,400}?"by":\{"type":"\w+","id":(\d+)').findall


@dataclass(frozen=True)
class TypingDialect(CableDialect):
    """Visitors who begin to type and stop, in turn: the sender's number is the id of the visitor's contact."""

    @property
    def alternates(self) -> bool:
        return True

    def messages(self, client: Client) -> Sequence[bytes]:
        said = [json.dumps({"action": "typing", "on": on}) for on in (True, False)]
        return [framed(_template(self._command(client, "message", data=data))) for data in said]

    def marks(self, data: bytes) -> list[Mark]:
        return [(int(contact), int(state == b"on"), 0) for state, contact in TYPING(data)]


def _template(text: bytes) -> bytes:
    escaped = text.replace(b"%", b"%%")
    return escaped.replace(ID.encode(), b"%(id)b").replace(MARK.encode(), b"%(mark)b")


def dialect_of(host: str, port: int, demo: Mapping[str, Any]) -> CableDialect:
    """The dialect for a demo account, as `tertulia demo --json` prints it."""
    contacts = demo["contacts"]
    return CableDialect(
        host,
        port,
        demo["account_id"],
        tuple(contact["conversation_id"] for contact in contacts),
        demo["users"][0]["token"],
        tuple(contact["token"] for contact in contacts),
        tuple(contact["id"] for contact in contacts),
    )
