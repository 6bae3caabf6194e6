"""How the room of a pool is shared among queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from tertulia.actors.jobs.limits import JobLimits
from tertulia.actors.jobs.queue import new_job
from tertulia.actors.jobs.shares import Shares
from tertulia.storage.records import Job

from .kit import Script


def shares(*queues: str, **limits: int) -> Shares:
    made = Shares(JobLimits(**limits))  # type: ignore[arg-type]
    made.know(queues, (), {})
    return made


def answer(given: Mapping[str, int]) -> Sequence[Job]:
    return [new_job(Script, "it", now=0, queue=queue) for queue, count in given.items() for _ in range(count)]


def test_at_first_all_queues_get_the_same() -> None:
    assert dict(shares("a", "b", "c", "d").of(100)) == dict.fromkeys("abcd", 25)


def test_a_queue_that_gave_all_it_was_asked_for_gets_what_the_others_leave() -> None:
    made = shares("a", "b", "c", "d")
    asked = made.of(100)
    assert made.gave(answer({"a": asked["a"], "b": 3}))
    assert dict(made.of(100)) == {"a": 97, "b": 1, "c": 1, "d": 1}


def test_no_queue_gets_more_than_a_batch() -> None:
    made = shares("a", batch=20)
    assert dict(made.of(100)) == {"a": 20}


def test_where_no_queue_gave_all_there_is_no_more() -> None:
    made = shares("a", "b")
    made.of(100)
    assert not made.gave(answer({"a": 3}))


def test_with_less_room_than_queues_each_is_asked_in_its_turn_and_then_there_is_no_more() -> None:
    made = shares("a", "b", "c", "d", "e")
    asked: list[str] = []
    more = True
    while more:
        asked += made.of(2)
        more = made.gave([])
    assert set(asked) == {"a", "b", "c", "d", "e"}
    assert len(asked) == 6


def test_a_worker_of_some_queues_hears_of_no_others() -> None:
    made = Shares(JobLimits(queues=("mail",)))
    made.know(["a"], ["b"], {"b": 5.0})
    made.add(["c"])
    assert (dict(made.of(10)), made.pace) == ({"mail": 10}, float("inf"))


def test_a_queue_with_a_rate_is_looked_at_as_often_as_it_may_give_a_job() -> None:
    made = Shares(JobLimits(pace=0.05))
    made.know(["a"], ["a"], {"a": 4.0})
    assert made.pace == 0.25
    made.know(["a"], ["a"], {"a": 4.0, "b": 1000.0})
    assert made.pace == 0.25, "b has no jobs"
    made.know(["a"], ["a", "b"], {"a": 4.0, "b": 1000.0})
    assert made.pace == 0.05


@given(
    st.integers(0, 12),
    st.lists(st.tuples(st.integers(0, 200), st.sets(st.integers(0, 11))), max_size=30),
)
def test_all_the_room_is_asked_for_and_no_more(queues: int, rounds: list[tuple[int, set[int]]]) -> None:
    made = shares(*(f"{number}" for number in range(queues)))
    for room, hungry in rounds:
        asked = made.of(room)
        assert sum(asked.values()) == (min(room, 200 * queues) if queues else 0)
        assert all(share > 0 for share in asked.values())
        made.gave(answer({queue: share for queue, share in asked.items() if int(queue) in hungry}))
