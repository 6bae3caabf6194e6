"""Whether a peer does what its description says. In: a `Peer`, and where it listens. Out: nothing, or what went wrong.

Two clients join a room and a third another one; each way of publishing is tried, and who must hear it does, once.
Blocking, slow and of wsproto on purpose: a client as plain as can be, that shares nothing with the load generator.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, RejectConnection, Request, TextMessage

from . import HttpPost, Peer, Wire

HOST = "127.0.0.1"
PATIENCE = 10.0  # seconds that an answer may take
QUIET = 0.3  # seconds in which a message that should not come would have come
PUBLISHED = 5  # messages by each way
LENGTH = 100  # characters of a message, as in the scenarios


class TrialFailed(Exception):
    """The peer does not do what its description says."""


def try_out(peer: Peer, port: int) -> None:
    """Let clients talk to the peer that listens on this port.

    Raises:
        TrialFailed: what it did instead.
        OSError: it is not reachable.
    """
    wire = peer.wire
    sender, other, stranger = (Client(wire, port, room) for room in (1, 1, 2))
    try:
        texts: list[str] = []
        if wire.publish:
            texts += [_text(number) for number in range(PUBLISHED)]
            for text in texts:
                sender.say(wire.fill(wire.publish, room=1, text=text))
            if wire.accepted is not None:
                sender.hear(wire.accepted, PUBLISHED)
            other.hear("@@", PUBLISHED)  # there is no order between two connections that send
        if wire.post is not None:
            texts += [_text(number) for number in range(len(texts), len(texts) + PUBLISHED)]
            for text in texts[-PUBLISHED:]:
                _post(wire, wire.post, port, text)
        for client in (sender, other):
            client.hear("@@", len(texts))
        for client in (sender, other, stranger):
            client.listen(QUIET)
        _check([text for text in other.heard if "@@" in text], texts, in_order=peer.ordered)
        if stranger.count("@@"):
            raise TrialFailed("a message came to another room.")
    finally:
        for client in (sender, other, stranger):
            client.close()


def _text(number: int) -> str:
    return f"@@{number:02}@".ljust(LENGTH, "x")


def _check(heard: list[str], sent: list[str], *, in_order: bool) -> None:
    if len(heard) != len(sent):
        raise TrialFailed(f"{len(sent)} messages were sent, {len(heard)} came.")
    if not in_order:
        heard = sorted(heard, key=lambda frame: frame.partition("@@")[2])
    for frame, text in zip(heard, sent, strict=True):
        if text not in frame:
            raise TrialFailed(f"{text!r} was to come, {frame!r} came.")


def _post(wire: Wire, post: HttpPost, port: int, text: str) -> None:
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    try:
        headers = dict(_header(line) for line in post.headers)
        path, body = (wire.fill(template, room=1, text=text) for template in (post.path, post.body))
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status // 100 != 2:
            raise TrialFailed(f"a post was answered with {answer.status}: {said[:200]!r}")
    finally:
        connection.close()


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


class Client:
    """One WebSocket that has joined a room."""

    def __init__(self, wire: Wire, port: int, room: int) -> None:
        self._wire = wire
        self._socket = socket.create_connection((HOST, port), timeout=PATIENCE)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._open = False
        self._part = ""
        self.heard: list[str] = []
        request = Request(
            host=f"{HOST}:{port}",
            target=wire.fill(wire.path, room=room),
            subprotocols=[wire.subprotocol] if wire.subprotocol else [],
            extra_headers=[(name.encode(), value.encode()) for name, value in map(_header, wire.headers)],
        )
        self._socket.sendall(self._protocol.send(request))
        self._wait(lambda: self._open, "the handshake")
        if wire.welcome is not None:
            self.hear(wire.welcome, 1)
        for greeting in wire.greetings:
            self.say(wire.fill(greeting, room=room))
        if wire.ready is not None:
            self.hear(wire.ready, 1)

    def say(self, text: str) -> None:
        """Send one text frame."""
        self._socket.sendall(self._protocol.send(TextMessage(text)))

    def hear(self, mark: str, times: int) -> None:
        """Wait for so many messages that hold the mark.

        Raises:
            TrialFailed: they did not come in time, or the server hung up.
        """
        self._wait(lambda: self.count(mark) >= times, f"{mark!r}, {times} times")

    def count(self, mark: str) -> int:
        """How many messages held it."""
        return sum(mark in text for text in self.heard)

    def listen(self, seconds: float) -> None:
        """Take what comes in this time."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass

    def close(self) -> None:
        self._socket.close()

    def _wait(self, until: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not until():
            if not self._read(deadline - time.monotonic()):
                raise TrialFailed(f"no sign of {what}; the last frames were {self.heard[-3:]}.")

    def _read(self, seconds: float) -> bool:
        """Take what is there; False where nothing came in this time."""
        if seconds <= 0:
            return False
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            return False
        if not data:
            raise TrialFailed(f"the server hung up; the last frames were {self.heard[-3:]}.")
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            if isinstance(event, AcceptConnection):
                self._open = True
            elif isinstance(event, RejectConnection):
                raise TrialFailed(f"the handshake was refused with {event.status_code}.")
            elif isinstance(event, CloseConnection):
                raise TrialFailed(f"the server closed with {event.code} {event.reason or ''}.")
            elif isinstance(event, Ping):
                self._socket.sendall(self._protocol.send(event.response()))
            elif isinstance(event, TextMessage):
                self._part += event.data
                if event.message_finished:
                    text, self._part = self._part, ""
                    for part in text.split(self._wire.separator) if self._wire.separator else [text]:
                        self._take(part)
        return True

    def _take(self, text: str) -> None:
        if self._wire.heartbeat is not None and text == self._wire.heartbeat[0]:
            self.say(self._wire.heartbeat[1])
        else:
            self.heard.append(text)
