"""One process of the load generator. In: orders from the crowd, over a pipe. Out: what was counted."""

from __future__ import annotations

import gc
import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection as Pipe
from time import monotonic_ns, process_time_ns

from .connection import NOBODY, UNLIMITED, Connection, senders_of
from .dialect import Client, Dialect
from .marks import Completeness
from .orders import Done, Drop, Hush, Open, Order, Resume, Run, Say, Settle, Start, Wake
from .reactor import Reactor

LONGEST_TURN = 0.05  # seconds: how late the end of an order may be noticed
STORM = 1 << 30  # connections at once: all


def main(pipe: Pipe, core: int | None, address: tuple[str, int], dialect: Dialect, clients: Sequence[Client]) -> None:
    """Carry out orders until the crowd hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # control-C ends the crowd, and that ends this
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor for each client
    if core is not None:
        os.sched_setaffinity(0, {core})
    process = Worker(Reactor(address, dialect, clients), pipe.poll)
    gc.freeze()
    gc.disable()  # nothing here goes in circles
    while True:
        try:
            order: Order = pipe.recv()
        except EOFError:
            process.hang_up()
            return
        pipe.send(process.carry_out(order))


class Worker:
    """Orders to a reactor, carried out one after the other; needs no process of its own."""

    def __init__(self, reactor: Reactor, has_orders: Callable[[], bool] = bool) -> None:
        self._reactor = reactor
        self._has_orders = has_orders
        self._dropped: list[Connection] = []
        self._wall, self._cpu = monotonic_ns(), process_time_ns()

    def carry_out(self, order: Order) -> Done:
        reactor, completeness, let_go = self._reactor, Completeness(), 0
        match order:
            case Open():
                reactor.at_once = order.at_once
                reactor.open(connection for connection in reactor.connections if connection.socket is None)
                self._until(lambda: not reactor.connecting, order.timeout)
            case Start():
                if order.rate is None:
                    reactor.speech.allow(senders_of(reactor.connections), UNLIMITED)
                else:
                    reactor.speech.start(order.rate)
            case Hush():
                reactor.speech.stop()
                reactor.speech.allow(senders_of(reactor.connections), 0)
            case Run():
                self._begin()
                until = order.until
                self._until(self._has_orders if until is None else lambda: monotonic_ns() >= until, None)
            case Say():
                self._say(order)
            case Drop():
                self._dropped = [c for c in reactor.connections if c.sender == NOBODY and c.client.room in order.rooms]
                reactor.drop(self._dropped)
            case Resume():
                self._begin()
                reactor.at_once, reactor.returning = STORM, True
                reactor.resume(self._dropped)
                self._until(lambda: not reactor.connecting, order.timeout)
            case Settle():
                completeness = self._settle(order)
            case Wake():
                let_go = self._wake(order)
        return self._done(completeness, let_go)

    def hang_up(self) -> None:
        """Drop all connections."""
        self._reactor.drop(self._reactor.connections)

    def _say(self, order: Say) -> None:
        senders = [c for c in senders_of(self._reactor.connections) if c.client.room in order.rooms]
        self._reactor.speech.allow(senders, order.each)
        self._until(lambda: all(c.sent >= c.allowed and c.in_flight <= 0 for c in senders), order.timeout)

    def _settle(self, order: Settle) -> Completeness:
        hearers = [c for c in self._reactor.connections if c.client.reads and not c.client.http]
        self._hear_all(hearers, order)
        total = Completeness()
        for hearer in hearers:
            total += hearer.ledger.settle(order.totals.get(hearer.client.room, {}))
        return total

    def _wake(self, order: Wake) -> int:
        slow = [c for c in self._reactor.connections if not c.client.reads]
        self._reactor.wake(slow)
        self._hear_all(slow, order)
        return sum(c.socket is None for c in slow)

    def _hear_all(self, waiting: Sequence[Connection], order: Settle | Wake) -> None:
        """Until each of these has everything that was sent, or was closed, or nothing more comes."""

        def everybody_has_everything() -> bool:
            nonlocal waiting
            open_ones = (c for c in waiting if c.socket is not None)
            waiting = [c for c in open_ones if not c.ledger.has_all(order.totals.get(c.client.room, {}))]
            return not waiting

        delivered = -1
        while delivered != self._reactor.tally.delivered and waiting:  # as long as something comes
            delivered = self._reactor.tally.delivered
            self._until(everybody_has_everything, order.timeout)

    def _until(self, reached: Callable[[], bool], timeout: float | None) -> None:
        deadline = None if timeout is None else monotonic_ns() + int(timeout * 1e9)
        while not reached() and (deadline is None or monotonic_ns() < deadline):
            self._reactor.turn(LONGEST_TURN)

    def _begin(self) -> None:
        """What is counted begins here."""
        self._reactor.begin()
        self._wall, self._cpu = monotonic_ns(), process_time_ns()

    def _done(self, completeness: Completeness, let_go: int) -> Done:
        reactor, wall, cpu = self._reactor, monotonic_ns(), process_time_ns()
        tally = reactor.tally
        tally.seconds = (wall - self._wall) / 1e9
        tally.shares = ((cpu - self._cpu) / max(1, wall - self._wall),)
        self._begin()
        unready = sum(not connection.ready for connection in reactor.connections)
        return Done(tally, unready, _totals(reactor.connections), completeness, let_go)


def _totals(connections: Sequence[Connection]) -> Mapping[int, Mapping[int, int]]:
    totals: dict[int, dict[int, int]] = {}
    for connection in connections:
        if connection.sender != NOBODY:
            totals.setdefault(connection.client.room, {})[connection.sender] = connection.sent
    return totals
