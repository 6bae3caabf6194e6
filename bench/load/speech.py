"""Who says what, and when. In: leave to send, a rate, the time. Out: messages, for the connection that sends them.

A sender with a window sends as fast as what comes back lets it; the paced send when it is their turn, whether or not
anything came back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import monotonic_ns

from .connection import Connection
from .marks import mark, message_id
from .pace import Pace
from .tally import Tally


class Speech:
    """Of the connections of one reactor, which sends the bytes.

    Attributes:
        tally: where messages are counted; the reactor's.
        sent_at: by sender, when it sent last: for events that carry no time.
    """

    def __init__(self, connections: Sequence[Connection], send: Callable[[Connection, bytes], None]) -> None:
        self.tally = Tally()
        self.sent_at: dict[int, int] = {}
        self._paced = [connection for connection in connections if connection.client.paced]
        self._send = send
        self._pace = Pace()

    @property
    def paced(self) -> bool:
        """Whether anybody sends at a rate now."""
        return bool(self._pace)

    def start(self, per_second: float) -> None:
        """Let the paced senders send in turn, so many messages a second together."""
        if self._paced:
            self._pace.start(self._paced, per_second, monotonic_ns())

    def stop(self) -> None:
        """The paced send nothing more."""
        self._pace.stop()

    def allow(self, senders: Iterable[Connection], more: int) -> None:
        """Let senders with a window send so many more messages, each as fast as the window lets it."""
        now = monotonic_ns()
        for connection in senders:
            connection.allowed = connection.sent + more
            self.fill(connection, now)

    def say_due(self) -> float:
        """Send what the rate asks for by now; returns the seconds until more is due."""
        now = monotonic_ns()
        for connection in self._pace.turns(now):
            window = connection.client.window  # one that is full lets its turn pass: the server cannot keep up
            if connection.ready and (not window or connection.in_flight < window):
                self._say(connection, now)
        return self._pace.wait(monotonic_ns())

    def fill(self, connection: Connection, now: int) -> None:
        """Send what the window has room for."""
        window = connection.client.window
        while connection.in_flight < window and connection.sent < connection.allowed and connection.ready:
            self._say(connection, now)

    def _say(self, connection: Connection, now: int) -> None:
        connection.sent = n = connection.sent + 1
        connection.in_flight += 1
        connection.sent_at = self.sent_at[connection.sender] = now
        template = connection.templates[(n - 1) % len(connection.templates)]
        sender = connection.sender
        self._send(connection, template % {b"id": message_id(sender, n), b"mark": mark(sender, n, now)})
        self.tally.published += 1
