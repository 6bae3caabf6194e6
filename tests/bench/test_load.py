"""The load generator against a server that answers in a thread: an echo that can be told to do wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic_ns

import pytest

from bench.load.crowd import crowd
from bench.load.dialect import Client, Dialect, Step, framed
from bench.load.marks import Completeness
from bench.load.orders import Open, Run, Say, Settle, Start, Wake
from bench.load.process import Worker
from bench.load.reactor import Reactor
from bench.load.wire import upgrade
from tertulia.engine.frames import PING, FrameReader, frame

Fault = Callable[[int, bytes], list[bytes] | None]  # None: it hangs up
TIMEOUT = 10.0  # seconds
ROOM = range(1)


@dataclass(frozen=True)
class EchoDialect(Dialect):
    def opening(self, client: Client) -> bytes:
        return upgrade("localhost", 1, "/")

    def greeting(self, client: Client) -> Sequence[Step]:
        return (Step(b"welcome", framed(b"subscribe")), Step(b"confirmed", b""))

    def messages(self, client: Client) -> Sequence[bytes]:
        return (framed(b"%(id)b %(mark)b"),)

    def with_text(self, text: str) -> EchoDialect:
        return self


def faultless(n: int, message: bytes) -> list[bytes]:
    return [message]


def copies_of(faulty: int, copies: int) -> Fault:
    """One message comes back so many times, the others once."""

    def fault(n: int, message: bytes) -> list[bytes]:
        return [message] * (copies if n == faulty else 1)

    return fault


@contextmanager
def echo(fault: Fault = faultless) -> Generator[tuple[str, int]]:
    """One connection: a greeting, then everything comes back as `fault` will have it; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        thread = threading.Thread(target=_echo, args=(listener, fault))
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            thread.join()


def _echo(listener: socket.socket, fault: Fault) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + frame(b"welcome")[:3])
        connection.sendall(frame(b"welcome")[3:])
        reader, n = FrameReader(1 << 16), 0
        while data := connection.recv(65536):
            messages: list[tuple[int, bytes]] = []
            reader.read(data, messages)
            for _, message in messages:
                if message == b"subscribe":
                    connection.sendall(frame(b"confirmed") + frame(b"?", PING))
                elif b"@" in message:
                    n += 1
                    answers = fault(n, message)
                    if answers is None:
                        return
                    connection.sendall(b"".join(map(frame, answers)))


def verdict_on(fault: Fault) -> Completeness:
    """What the generator makes of five messages, all on the way at once."""
    with echo(fault) as address:
        worker = Worker(Reactor(address, EchoDialect(), [Client(0, sender=0, window=8)]))
        assert worker.carry_out(Open(1, TIMEOUT)).unready == 0
        worker.carry_out(Say(ROOM, 5, timeout=0.1))
        done = worker.carry_out(Settle({0: {0: 5}}, timeout=0.1))
        worker.hang_up()
    return done.completeness


def test_an_echo_is_complete_and_timed() -> None:
    with echo() as address, crowd(address, EchoDialect(), [Client(0, sender=0, window=2)], ()) as made:
        made.open(timeout=TIMEOUT)
        tally = made.say(ROOM, 50, timeout=TIMEOUT)
        assert (tally.published, tally.acknowledged, tally.delivered) == (50, 50, 50)
        assert tally.latencies.count == 50
        assert 0 < tally.latencies.percentile(100) < 1000 * TIMEOUT
        assert made.settle() == Completeness(expected=50)
        assert made.complaints == []


def test_a_crowd_goes_on_and_counts_for_as_long_as_another_is_busy() -> None:
    clients = [Client(0, sender=0, paced=True)]
    with (
        echo() as address,
        crowd(address, EchoDialect(), clients, ()) as bystanders,
        crowd(address, EchoDialect(), clients, ()) as others,
    ):
        bystanders.open(timeout=TIMEOUT)
        bystanders.start(200.0)
        with bystanders.running() as counted:
            others.run(0.3)
        (tally,) = counted
        assert 40 <= tally.delivered <= 80
        assert tally.latencies.count == tally.delivered
        assert bystanders.settle().lost == 0


def test_a_rate_is_kept() -> None:
    with echo() as address:
        worker = Worker(Reactor(address, EchoDialect(), [Client(0, sender=0, paced=True)]))
        worker.carry_out(Open(1, TIMEOUT))
        worker.carry_out(Start(200.0))
        tally = worker.carry_out(Run(monotonic_ns() + 300_000_000)).tally
        worker.hang_up()
    assert 40 <= tally.published <= 80
    assert 0 < tally.shares[0] < 1


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (copies_of(3, 0), Completeness(5, lost=1)),
        (copies_of(5, 0), Completeness(5, lost=1)),
        (copies_of(3, 2), Completeness(5, duplicated=1)),
    ],
    ids=["lost in the middle", "lost at the end", "sent twice"],
)
def test_what_the_server_does_wrong_is_found(fault: Fault, found: Completeness) -> None:
    assert verdict_on(fault) == found


def test_a_message_that_overtakes_another_is_found() -> None:
    held: list[bytes] = []

    def overtaken(n: int, message: bytes) -> list[bytes]:
        if n == 2:
            held.append(message)
            return []
        return [message, *held] if n == 3 else [message]

    assert verdict_on(overtaken) == Completeness(5, reordered=1)


def hangs_up(n: int, message: bytes) -> list[bytes] | None:
    return [message] if n < 3 else None


@pytest.mark.parametrize(("fault", "let_go"), [(faultless, 0), (hangs_up, 1)], ids=["is kept", "is let go of"])
def test_whether_somebody_who_never_reads_is_let_go_of_shows_when_it_reads(fault: Fault, let_go: int) -> None:
    with echo(fault) as address:
        worker = Worker(Reactor(address, EchoDialect(), [Client(0, sender=0, window=8, reads=False)]))
        assert worker.carry_out(Open(1, TIMEOUT)).unready == 0
        assert worker.carry_out(Say(ROOM, 5, timeout=0.1)).tally.delivered == 0
        done = worker.carry_out(Wake({0: {0: 5}}, TIMEOUT))
        worker.hang_up()
    assert done.let_go == let_go
    assert done.tally.complaints == []


def test_a_server_that_is_not_there_is_complained_of() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    done = Worker(Reactor(address, EchoDialect(), [Client(0)])).carry_out(Open(1, TIMEOUT))
    assert done.unready == 1
    assert "refused" in done.tally.complaints[0]
