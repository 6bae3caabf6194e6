"""The peers' descriptions, and the trial that says whether a peer does what its description says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from bench.peers import INSTALLED, REASON, VERSION, Peer, Wire, peer, peers, read
from bench.peers.trial import TrialFailed, try_out

HOST = "127.0.0.1"
PLAIN = Wire(publish="{text}", path="/{room}")
Deliver = Callable[[list[str]], list[str]]  # what of a room's messages so far has been sent to each


@pytest.fixture(autouse=True)
def _nobody_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.peers.trial.QUIET", 0.05)


class Hall:
    """A server of rooms, by threads, that delivers as it is told."""

    def __init__(self, deliver: Deliver, *, walls: bool) -> None:
        self._deliver = deliver
        self._walls = walls
        self._lock = threading.Lock()
        self._rooms: dict[str, list[tuple[socket.socket, WSConnection]]] = {}
        self._said: dict[str, list[str]] = {}

    def serve(self, listener: socket.socket) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        protocol, room = WSConnection(ConnectionType.SERVER), ""
        with suppress(OSError), connection:  # a client that has seen enough resets its connection
            while data := connection.recv(65536):
                protocol.receive_data(data)
                for event in protocol.events():
                    with self._lock:
                        if isinstance(event, Request):
                            room = event.target if self._walls else "/"
                            self._rooms.setdefault(room, []).append((connection, protocol))
                            connection.sendall(protocol.send(AcceptConnection()))
                        elif isinstance(event, TextMessage):
                            self._publish(room, event.data)

    def _publish(self, room: str, text: str) -> None:
        said = self._said.setdefault(room, [])
        before = len(self._deliver(said))
        said.append(text)
        for fresh in self._deliver(said)[before:]:
            for connection, protocol in self._rooms[room]:
                connection.sendall(protocol.send(TextMessage(fresh)))


@contextmanager
def hall(deliver: Deliver = list, *, walls: bool = True) -> Generator[int]:
    """Its port."""
    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=Hall(deliver, walls=walls).serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def described(*, ordered: bool = True) -> Peer:
    return Peer("hall", "Hall", "1", PLAIN, Path(), ordered=ordered)


def swapped(said: list[str]) -> list[str]:
    """The second and the third of them change places."""
    return [*said[:1], said[2], said[1], *said[3:]] if len(said) > 2 else said[:1]


def test_a_peer_that_delivers_everything_once_and_in_order_passes() -> None:
    with hall() as port:
        try_out(described(), port)


def test_a_message_that_comes_twice_fails_the_trial() -> None:
    with hall(lambda said: [*said[:2], *said[1:]]) as port, pytest.raises(TrialFailed, match="5 messages were sent, 6"):
        try_out(described(), port)


def test_a_lost_message_fails_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.peers.trial.PATIENCE", 0.2)
    with hall(lambda said: said[:1] + said[2:]) as port, pytest.raises(TrialFailed, match="no sign of '@@', 5 times"):
        try_out(described(), port)


def test_two_messages_that_change_places_fail_the_trial_of_a_peer_that_promises_order() -> None:
    with hall(swapped) as port, pytest.raises(TrialFailed, match="was to come"):
        try_out(described(), port)
    with hall(swapped) as port:
        try_out(described(ordered=False), port)


def test_a_message_that_comes_to_another_room_fails_the_trial() -> None:
    with hall(walls=False) as port, pytest.raises(TrialFailed, match="another room"):
        try_out(described(), port)


@pytest.mark.parametrize("one", peers(), ids=lambda one: one.name)
def test_a_peer_can_be_installed_served_and_talked_to(one: Peer) -> None:
    for program in ("install", "serve"):
        assert (one.folder / program).stat().st_mode & 0o111, f"{program} is executable"
    wire = one.wire
    assert wire.publish or wire.post, "there is a way to publish"
    if wire.publish:
        assert "{text}" in wire.publish
        assert any("{room}" in template for template in (wire.path, *wire.greetings))
    if wire.post is not None:
        assert "{text}" in wire.post.body
        assert "{room}" in wire.post.path + wire.post.body


def test_a_durable_peer_has_a_database_to_be_durable_in() -> None:
    assert [one.name for one in peers() if one.durable and "postgres" not in one.needs] == []


def test_a_template_is_filled_and_other_braces_stay() -> None:
    assert PLAIN.fill('{"room":{room},"text":"{text}"}', room=7, text="hello") == '{"room":7,"text":"hello"}'


def test_a_peer_says_why_it_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "peer.toml").write_text('title = "It"\nversion = "2.0"\n[wire]\npublish = "{text}"\n')
    assert "not installed" in (read(tmp_path).missing or "")
    (tmp_path / INSTALLED).mkdir()
    (tmp_path / INSTALLED / VERSION).write_text("1.9\n")
    assert "version 1.9 is installed, 2.0 is asked for" in (read(tmp_path).missing or "")
    (tmp_path / INSTALLED / VERSION).write_text("2.0\n")
    assert read(tmp_path).missing is None
    (tmp_path / INSTALLED / REASON).write_text("there is no ruby here\n")
    assert read(tmp_path).missing == "there is no ruby here"


def test_a_peer_is_not_started_without_the_database_that_it_needs() -> None:
    rails = peer("rails")
    with pytest.raises(ValueError, match="needs redis"):
        rails.environment(4000, postgres_url="postgresql://here")
    given = rails.environment(4000, postgres_url="postgresql://here", redis_url="redis://there")
    assert given == {"PORT": "4000", "DATABASE_URL": "postgresql://here", "REDIS_URL": "redis://there"}


def test_an_unknown_peer_is_answered_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match=r"no peer railz; there are .*rails"):
        peer("railz")
