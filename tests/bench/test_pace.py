"""A rate, in virtual nanoseconds: senders take turns at even distances, and who comes late makes up for it."""

from __future__ import annotations

import pytest

from bench.load.connection import Connection
from bench.load.dialect import Client
from bench.load.pace import SENDS_PER_TURN, Pace
from bench.peers import Wire
from bench.wires import WireDialect

SECOND = 1_000_000_000
DIALECT = WireDialect("localhost", 1, Wire(publish="{text}"))


def senders(count: int) -> list[Connection]:
    return [Connection(Client(number, sender=number, paced=True), DIALECT) for number in range(count)]


def numbers(connections: list[Connection]) -> list[int]:
    return [connection.sender for connection in connections]


def test_senders_take_turns_at_even_distances() -> None:
    pace = Pace()
    pace.start(senders(3), per_second=4.0, now=0)
    assert [numbers(pace.turns(quarter * SECOND // 4)) for quarter in range(5)] == [[0], [1], [2], [0], [1]]


def test_nobody_s_turn_comes_before_its_instant() -> None:
    pace = Pace()
    pace.start(senders(3), per_second=4.0, now=0)
    assert numbers(pace.turns(0)) == [0]
    assert pace.turns(SECOND // 4 - 1) == []
    assert pace.wait(SECOND // 8) == pytest.approx(0.125)


def test_a_turn_that_comes_late_makes_up_for_what_was_due_and_keeps_the_rate() -> None:
    pace = Pace()
    pace.start(senders(3), per_second=4.0, now=0)
    assert numbers(pace.turns(SECOND)) == [0, 1, 2, 0, 1]
    assert pace.turns(SECOND) == []
    assert pace.wait(SECOND) == pytest.approx(0.25)


def test_a_generator_that_is_far_behind_still_reads_between_its_messages() -> None:
    pace = Pace()
    pace.start(senders(3), per_second=1000.0, now=0)
    assert len(pace.turns(10 * SECOND)) == SENDS_PER_TURN
    assert pace.wait(10 * SECOND) == 0


def test_nobody_sends_at_a_rate_before_it_starts_and_after_it_stops() -> None:
    pace = Pace()
    assert not pace
    pace.start(senders(1), per_second=1.0, now=0)
    assert pace
    pace.stop()
    assert not pace
