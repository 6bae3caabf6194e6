"""The judge of a run is itself judged: what is wrong, it finds."""

from __future__ import annotations

import pytest
import trio

from .nodes import Node
from .participant import Participant, Person
from .sender import Sender
from .tally import Tally
from .verdict import Entry, Log, judge

LOG: Log = [Entry(1, None), Entry(2, "x-1"), Entry(3, "y-1"), Entry(4, "x-2")]
MEMBER, VISITOR = Person("token", "agent"), Person("token", "visitor")


def nobody() -> Node:
    raise AssertionError


@pytest.fixture
async def tally() -> Tally:
    return Tally(trio.current_time())


def sender(tally: Tally, *acknowledged: str) -> Sender:
    made = Sender("x", 7, MEMBER, nobody, tally, interval=1.0)
    made.acknowledged.extend(acknowledged)
    made.participant.log_of(7).extend((entry.seq, entry.client_id) for entry in LOG)
    return made


def subscriber(tally: Tally, log: Log, person: Person = MEMBER) -> Participant:
    made = Participant("s", 7, person, nobody, tally)
    made.log_of(7).extend((entry.seq, entry.client_id) for entry in log)
    return made


async def test_nothing_is_wrong_where_everybody_saw_what_is_stored(tally: Tally) -> None:
    verdict = judge({7: LOG}, [sender(tally, "x-1", "x-2")], [subscriber(tally, LOG)])
    assert verdict.good
    assert (verdict.acknowledged, verdict.stored, verdict.subscribers) == (2, 3, 1)


async def test_a_message_that_was_acknowledged_and_is_not_stored_is_lost(tally: Tally) -> None:
    verdict = judge({7: LOG}, [sender(tally, "x-1", "x-2", "x-3")], [])
    assert verdict.lost == 1
    assert "x-3" in verdict.complaints[0]


async def test_a_message_that_is_stored_before_an_earlier_one_of_its_sender_is_found(tally: Tally) -> None:
    assert judge({7: LOG}, [sender(tally, "x-2", "x-1")], []).stored_out_of_order == 1


async def test_a_message_that_is_stored_twice_is_found(tally: Tally) -> None:
    assert judge({7: [*LOG, Entry(5, "x-2")]}, [], []).stored_twice == 1


async def test_a_hole_in_a_log_is_found(tally: Tally) -> None:
    assert judge({7: [LOG[0], *LOG[2:]]}, [], []).holes_in_logs == 1


@pytest.mark.parametrize("missing", range(len(LOG)))
async def test_a_subscriber_that_misses_one_event_is_found(tally: Tally, missing: int) -> None:
    assert judge({7: LOG}, [], [subscriber(tally, [*LOG[:missing], *LOG[missing + 1 :]])]).incomplete == 1


async def test_a_subscriber_that_saw_what_is_not_stored_is_found(tally: Tally) -> None:
    assert judge({7: LOG}, [], [subscriber(tally, [*LOG, Entry(5, "z-1")])]).different == 1


@pytest.mark.parametrize("saw", [[*LOG, LOG[-1]], [LOG[1], LOG[0], *LOG[2:]]], ids=["twice", "in another order"])
async def test_a_subscriber_that_saw_something_twice_or_in_another_order_is_found(tally: Tally, saw: Log) -> None:
    assert judge({7: LOG}, [], [subscriber(tally, saw)]).different == 1


async def test_a_visitor_misses_nothing_where_it_did_not_see_what_is_private(tally: Tally) -> None:
    log = [*LOG, Entry(5, None, private=True), Entry(6, "y-2")]
    seen = [entry for entry in log if not entry.private]
    assert judge({7: log}, [], [subscriber(tally, seen, VISITOR)]).good
    assert judge({7: log}, [], [subscriber(tally, log, VISITOR)]).different == 1
    assert judge({7: log}, [], [subscriber(tally, seen)]).incomplete == 1
