"""How clients talk to a peer, from the description in its `peer.toml`. In: a client. Out: bytes for `load`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .cable import TEXT
from .load.dialect import Client, Dialect, Step, filled_size, framed
from .load.wire import client_frame, upgrade
from .peers import Wire

#: Where the text goes: no template holds it.
HOLE = "\0"


@dataclass(frozen=True)
class WireDialect(Dialect):
    """The text of a message is the same as with Tertulia, without what JSON would have to escape."""

    host: str
    port: int
    wire: Wire
    text: str = TEXT

    @property
    def accepted(self) -> bytes:
        return (self.wire.accepted or "").encode()

    @property
    def answers(self) -> Mapping[bytes, bytes]:
        if self.wire.heartbeat is None:
            return {}
        asks, answer = self.wire.heartbeat
        return {asks.encode(): client_frame(answer.encode())}

    @property
    def separator(self) -> bytes:
        return (self.wire.separator or "").encode()

    def opening(self, client: Client) -> bytes:
        if client.http:
            return b""
        wire = self.wire
        headers = [(name.strip(), value.strip()) for name, _, value in (each.partition(":") for each in wire.headers)]
        path = wire.fill(wire.path, room=client.room)
        return upgrade(self.host, self.port, path, subprotocol=wire.subprotocol, headers=headers)

    def greeting(self, client: Client) -> Sequence[Step]:
        filled = (self.wire.fill(greeting, room=client.room) for greeting in self.wire.greetings)
        first = Step((self.wire.welcome or "").encode(), b"".join(client_frame(text.encode()) for text in filled))
        return (first, *([Step(self.wire.ready.encode(), b"")] if self.wire.ready else []))

    def messages(self, client: Client) -> Sequence[bytes]:
        if client.http:
            return (self._request(client),)
        if not self.wire.publish:
            raise ValueError("This peer takes messages by HTTP only.")
        return (framed(self._template(client, self.wire.publish)),)

    def with_text(self, text: str) -> WireDialect:
        return replace(self, text=text)

    def _template(self, client: Client, text: str) -> bytes:
        filled = self.wire.fill(text, room=client.room, text=HOLE).replace("%", "%%")
        return filled.replace(HOLE, f"%(mark)b {_plain(self.text)}").encode()

    def _request(self, client: Client) -> bytes:
        """Raises ValueError where the peer takes none."""
        post = self.wire.post
        if post is None:
            raise ValueError("This peer takes no messages by HTTP.")
        body = self._template(client, post.body)
        lines = [
            f"POST {self.wire.fill(post.path, room=client.room)} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            *post.headers,
            f"Content-Length: {filled_size(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").replace("%", "%%").encode() + body


def _plain(text: str) -> str:
    """What a peer's description allows: letters, digits, and a little more."""
    return "".join(letter if letter.isalnum() or letter in "@:;,._- " else "." for letter in text)
