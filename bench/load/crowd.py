"""The crowd: all clients of a scenario, spread over processes. In: what they should do. Out: tallies, added up."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from time import monotonic_ns

from .dialect import Client, Dialect
from .marks import Completeness
from .orders import Done, Drop, Hush, Open, Order, Resume, Run, Say, Settle, Start, Wake
from .process import main
from .tally import COMPLAINTS_KEPT, Tally, merged

#: Above this share of a core a process of the generator is taken for the bottleneck, and its figures are refused.
SATURATED = 0.9
LEAVING = 5.0  # seconds that a process gets to end
ENDED = "A process of the load generator ended; what it said is above."
LEAD = 0.02  # seconds from an order to the common moment that it names


class CrowdFailed(Exception):
    """The clients could not do what the scenario asked; says what went wrong."""


@dataclass(slots=True)
class Crowd:
    """Made by `crowd`. Every method gives its order to all processes, and blocks until the last one is done.

    Attributes:
        complaints: what went wrong anywhere so far, the first of it: refusals, connections that ended.
    """

    pipes: Sequence[Pipe]
    complaints: list[str]

    def open(self, at_once: int = 200, timeout: float = 60.0) -> Tally:
        """Connect everybody.

        Raises:
            CrowdFailed: some could not connect, or were not greeted.
        """
        done = self._order(Open(max(1, at_once // len(self.pipes)), timeout))
        unready = sum(answer.unready for answer in done)
        tally = merged([answer.tally for answer in done])
        if unready:
            raise CrowdFailed(f"{unready} clients were not greeted within {timeout:.0f} s. {self._why()}")
        return tally

    def start(self, rate: float | None = None) -> None:
        """Let senders send until `hush`: those with a window as fast as it lets them, or the paced, at this rate."""
        self._order(Start(None if rate is None else rate / len(self.pipes)))

    def hush(self) -> None:
        self._order(Hush())

    def run(self, seconds: float) -> Tally:
        """Go on for a while, and count."""
        return merged([answer.tally for answer in self._order(Run(monotonic_ns() + int((seconds + LEAD) * 1e9)))])

    @contextmanager
    def running(self) -> Generator[list[Tally]]:
        """Go on while the block, which is another crowd's, lasts, and count; the list has the tally after it."""
        counted = list[Tally]()
        self._send(Run(None))
        try:
            yield counted
        finally:
            self._send(Hush())
            counted.append(merged([answer.tally for answer in self._answers()]))
            self._answers()

    def say(self, rooms: range, each: int, timeout: float = 60.0) -> Tally:
        return merged([answer.tally for answer in self._order(Say(rooms, each, timeout))])

    def drop(self, rooms: range) -> None:
        self._order(Drop(rooms))

    def resume(self, timeout: float = 60.0) -> Tally:
        """Let all that were dropped come back at once.

        Raises:
            CrowdFailed: some did not catch up.
        """
        done = self._order(Resume(timeout))
        if unready := sum(answer.unready for answer in done):
            raise CrowdFailed(f"{unready} clients had not caught up after {timeout:.0f} s. {self._why()}")
        return merged([answer.tally for answer in done])

    def settle(self, timeout: float = 5.0) -> Completeness:
        """Wait until everybody has everything, and look whether that is so."""
        totals, total = self._totals(), Completeness()
        for answer in self._order(Settle(totals, timeout)):
            total += answer.completeness
        return total

    def let_go(self, timeout: float = 1.0) -> int:
        """Let those who never read begin to: how many of them the server has closed, or closes.

        Its last words wait behind all that it has sent them, so its socket is open long after it let go of them.
        """
        return sum(answer.let_go for answer in self._order(Wake(self._totals(), timeout)))

    def _totals(self) -> dict[int, dict[int, int]]:
        """How many messages were sent, by room, then by sender; nobody sends any more."""
        self.hush()
        totals: dict[int, dict[int, int]] = {}
        for answer in self._order(Hush()):
            for room, by_sender in answer.totals.items():
                totals.setdefault(room, {}).update(by_sender)
        return totals

    def _order(self, order: Order) -> list[Done]:
        self._send(order)
        return self._answers()

    def _send(self, order: Order) -> None:
        try:
            for pipe in self.pipes:
                pipe.send(order)
        except (EOFError, ConnectionError):
            raise CrowdFailed(ENDED) from None

    def _answers(self) -> list[Done]:
        try:
            done: list[Done] = [pipe.recv() for pipe in self.pipes]
        except (EOFError, ConnectionError):
            raise CrowdFailed(ENDED) from None
        for answer in done:
            self.complaints += answer.tally.complaints[: COMPLAINTS_KEPT - len(self.complaints)]
        return done

    def _why(self) -> str:
        return self.complaints[0] if self.complaints else "The server did not answer them."


@contextmanager
def crowd(
    address: tuple[str, int], dialect: Dialect, clients: Sequence[Client], cores: Sequence[int]
) -> Generator[Crowd]:
    """Processes for the clients, one on each of the cores; without cores one, wherever the system likes.

    Clients of a room share a process where there are rooms enough.
    """
    context = multiprocessing.get_context("spawn")
    count = max(1, len(cores))
    parts: list[list[Client]] = [[] for _ in range(count)]
    by_room = len({client.room for client in clients}) >= count
    for index, client in enumerate(clients):
        parts[(client.room if by_room else index) % count].append(client)
    pipes, processes = list[Pipe](), list[BaseProcess]()
    try:
        for index, part in enumerate(parts):
            ours, theirs = context.Pipe()
            core = cores[index] if cores else None
            arguments = (theirs, core, address, dialect, part)
            process: BaseProcess = context.Process(target=main, args=arguments, daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        yield Crowd(pipes, [])
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(LEAVING)
            if process.is_alive():
                process.kill()
                process.join()
