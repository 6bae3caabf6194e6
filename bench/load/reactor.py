"""The reactor, as a client: one thread, one epoll, thousands of connections. In: bytes of servers. Out: a tally.

It must cost less than the server that it measures. What makes that so: a broadcast brings the same bytes to
everybody, so that what was found in a chunk is looked up by the chunk; marks are found by one regular expression over
whole frames; messages are templates that are filled in. `Reactor.turn` is one pass; who sends what is the business of
`speech`, what to do meanwhile, and until when, that of `process`.
"""

from __future__ import annotations

import random
import select
from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic_ns

from .connection import Connection
from .dialect import Client, Dialect, Step
from .histogram import bucket_of
from .marks import Mark
from .speech import Speech
from .tally import Tally
from .wire import CLOSE, PING, PONG, client_frame, split_frames, split_responses

CHUNK = 16384  # bytes of a read
SHORTEST_DELAY, LONGEST_DELAY = 0.2, 1.0  # seconds before somebody who was turned away tries again
EVENTS = 512  # of one turn
CONNECTS_PER_TURN = 32  # in a storm, too, so that whoever is connected already is read in time
REMEMBERED_CHUNKS = 4096
IN, OUT = select.EPOLLIN, select.EPOLLOUT
UPGRADED = b" 101 "


class Reactor:
    """The connections of one process."""

    def __init__(self, address: tuple[str, int], dialect: Dialect, clients: Iterable[Client]) -> None:
        self.connections = [Connection(client, dialect) for client in clients]
        self.to_open: deque[tuple[Connection, Sequence[Step]]] = deque()
        self.opening = 0  # connections that are under way to their greeting's end
        self.at_once = 1
        #: Whether those that are turned away come back, after a random delay, as the clients of people do.
        self.returning = False
        self._later: list[tuple[int, Connection]] = []
        self._address = address
        self._dialect = dialect
        self._accepted = dialect.accepted
        self._answers = dialect.answers
        self._epoll = select.epoll()
        self._by_fd: dict[int, Connection] = {}
        self._known: dict[bytes, list[Mark]] = {}  # chunks of whole frames, and the marks in them
        self.speech = Speech(self.connections, self._send)
        self.begin()

    # What to do

    def begin(self) -> None:
        """What is counted begins here."""
        self.tally = self.speech.tally = Tally()

    def resume(self, connections: Iterable[Connection]) -> None:
        """Open again what was dropped, from where each was."""
        self.to_open.extend((c, self._dialect.resuming(c.client, c.last)) for c in connections)

    @property
    def connecting(self) -> bool:
        """Whether anybody is on the way to the end of its greeting."""
        return bool(self.to_open or self.opening or self._later)

    def open(self, connections: Iterable[Connection]) -> None:
        self.to_open.extend((c, self._dialect.greeting(c.client)) for c in connections)

    def drop(self, connections: Iterable[Connection]) -> None:
        """Close without a word, as a network does that goes away."""
        for connection in connections:
            self._by_fd.pop(connection.fd, None)
            connection.close()
            connection.in_flight = 0

    def wake(self, connections: Iterable[Connection]) -> None:
        """Begin to read what waits for those who never read."""
        for connection in connections:
            if connection.socket is not None:
                self._epoll.register(connection.fd, IN)

    # One turn

    def turn(self, timeout: float) -> None:
        """Wait at most so many seconds, and take everything that came; send what is due."""
        if self._later:
            self._open_again()
        for _ in range(CONNECTS_PER_TURN):
            if not self.to_open or self.opening >= self.at_once:
                break
            timeout = 0.0  # there may be more of them
            self._connect(*self.to_open.popleft())
        if self.speech.paced:
            timeout = min(timeout, self.speech.say_due())
            if timeout:  # epoll waits for whole milliseconds, and an instant to send is closer than that
                select.select((self._epoll,), (), (), timeout)
                timeout = 0
        by_fd, known, now = self._by_fd, self._known, monotonic_ns
        for fd, event in self._epoll.poll(timeout, EVENTS):
            connection = by_fd.get(fd)
            if connection is None:
                continue
            if event & OUT:
                self._writable(connection)
            if not event & ~OUT or connection.socket is None:
                continue
            try:
                data = connection.socket.recv(CHUNK)
            except BlockingIOError:
                continue
            except OSError as error:
                self._ended(connection, str(error))
                continue
            if not data:
                self._ended(connection, "the server closed the connection")
                continue
            marks = known.get(data) if connection.ready and not connection.rest else None
            if marks is None:
                marks = self._read(connection, data)
            elif marks:
                connection.last = data
            if marks:
                self._note(connection, marks, now())

    def _note(self, connection: Connection, marks: list[Mark], now: int) -> None:
        following, tally = connection.ledger.next, self.tally
        counts, watched = tally.latencies.counts, connection.client.watched
        for sender, n, sent in marks:
            if following.get(sender, 1) == n:
                following[sender] = n + 1
            else:
                connection.ledger.note(sender, n)
            if watched:
                bucket = bucket_of(now - (sent or self.speech.sent_at.get(sender, now)))
                counts[bucket] = counts.get(bucket, 0) + 1
            if sender == connection.sender and not self._accepted:
                connection.in_flight -= 1
                tally.acknowledged += 1
        tally.delivered += len(marks)
        if connection.sent < connection.allowed:
            self.speech.fill(connection, now)

    def _open_again(self) -> None:
        now = monotonic_ns()
        self.resume(connection for at, connection in self._later if at <= now)
        self._later = [(at, connection) for at, connection in self._later if at > now]

    # Sending

    def _send(self, connection: Connection, data: bytes) -> None:
        if connection.socket is None:
            return
        if connection.pending:
            connection.pending += data
            return
        try:
            done = connection.socket.send(data)
        except BlockingIOError:
            done = 0
        except OSError as error:
            self._ended(connection, str(error))
            return
        if done < len(data):
            connection.pending = data[done:]
            self._epoll.modify(connection.fd, IN | OUT)

    def _writable(self, connection: Connection) -> None:
        data, connection.pending = connection.pending, b""
        self._send(connection, data)
        if not connection.pending and connection.socket is not None:
            self._epoll.modify(connection.fd, IN)
            if connection.client.http and not connection.ready:
                connection.upgraded = True
                self._become_ready(connection)

    # Connecting

    def _connect(self, connection: Connection, steps: Sequence[Step]) -> None:
        opening = self._dialect.opening(connection.client)
        fd = connection.open(self._address, opening, steps, monotonic_ns())
        self._by_fd[fd] = connection
        self._epoll.register(fd, IN | OUT)
        self.opening += 1

    def _become_ready(self, connection: Connection) -> None:
        connection.ready = True
        self.opening -= 1
        self.tally.greetings.record(monotonic_ns() - connection.began)
        connection.began = 0
        if not connection.client.reads:
            self._epoll.unregister(connection.fd)

    def _ended(self, connection: Connection, why: str) -> None:
        if connection.socket is None:
            return
        was_ready = connection.ready
        self._by_fd.pop(connection.fd, None)
        connection.close()
        if not was_ready:
            self.opening -= 1
            if self.returning:
                self.tally.retries += 1
                delay = random.uniform(SHORTEST_DELAY, LONGEST_DELAY)
                self._later.append((monotonic_ns() + int(delay * 1e9), connection))
                return
        if connection.client.reads or not was_ready:  # to end whoever never reads is right
            self.tally.complain(f"room {connection.client.room}: {why}")

    # Reading what is not known yet

    def _read(self, connection: Connection, data: bytes) -> list[Mark]:
        """Take bytes of any kind; returns the marks in the frames that they complete."""
        whole = not connection.rest and connection.ready
        data = connection.rest + data
        if not connection.upgraded:
            head, found, body = data.partition(b"\r\n\r\n")
            if not found:
                connection.rest = data
                return []
            status = head.partition(b"\r\n")[0]
            if UPGRADED not in status:
                self._ended(connection, f"refused: {status.decode(errors='replace')}")
                return []
            connection.upgraded, data = True, body
            self._greet(connection, b"")
        if connection.client.http:
            return self._read_answers(connection, data)
        frames, end = split_frames(data)
        connection.rest = data[end:]
        plain = whole and end == len(data)
        for first, payload in frames:
            plain = self._take(connection, first, payload) and plain
        marks = self._dialect.marks(data[:end])
        if marks:
            connection.last = data[:end]
        if plain:
            if len(self._known) >= REMEMBERED_CHUNKS:
                self._known.clear()
            self._known[data] = marks
        return marks

    def _take(self, connection: Connection, first: int, payload: bytes) -> bool:
        """Act on one frame; returns whether there was nothing to do, nor will be when the same comes again."""
        if first == PING:
            self._send(connection, client_frame(payload, PONG))
            return False
        if first == CLOSE:
            self._ended(connection, f"closed: {payload[2:].decode(errors='replace') or payload.hex()}")
            return False
        if not connection.ready:
            self._greet(connection, payload)
        if self._answers and self._answer(connection, payload):
            return False
        if self._accepted and self._accepted in payload and connection.ready:
            connection.in_flight -= 1
            self.tally.acknowledged += 1
            self.speech.fill(connection, monotonic_ns())
            return False
        failure = self._dialect.failure
        if failure and failure in payload:
            self.tally.complain(payload[:300].decode(errors="replace"))
            return False
        return True

    def _answer(self, connection: Connection, payload: bytes) -> bool:
        """Send the answers that this frame asks for; returns whether it asks for any."""
        separator = self._dialect.separator
        answers = [self._answers.get(part) for part in (payload.split(separator) if separator else [payload])]
        for answer in filter(None, answers):
            self._send(connection, answer)
        return any(answers)

    def _greet(self, connection: Connection, payload: bytes) -> None:
        """Go on in the greeting as far as this frame allows."""
        while connection.steps and connection.steps[0].expects in payload:
            sends = connection.steps.pop(0).sends
            if sends:
                self._send(connection, sends)
        if not connection.steps and not connection.ready and connection.socket is not None:
            self._become_ready(connection)

    def _read_answers(self, connection: Connection, data: bytes) -> list[Mark]:
        statuses, end = split_responses(data)
        connection.rest = data[end:]
        now = monotonic_ns()
        for status in statuses:
            connection.in_flight -= 1
            if 200 <= status < 300:
                self.tally.acknowledged += 1
                self.tally.answers.record(now - connection.sent_at)
            else:
                self.tally.complain(f"HTTP {status}: {data[:300].decode(errors='replace')}")
        if connection.sent < connection.allowed:
            self.speech.fill(connection, now)
        return []
