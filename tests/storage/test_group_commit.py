"""The one writer: batches, order, and what everybody learns when the store fails. Time is virtual."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.engine.errors import Conflict, Draining, Overloaded, StaleWrite, Unavailable
from tertulia.storage.contracts import Store
from tertulia.storage.group_commit import Committer, GroupCommit, GroupCommitLimits
from tertulia.storage.writes import Unit

from .faulty import FaultyStore, away
from .sample import OURS, contact, contents, inserting, log_unit, message, seqs


@asynccontextmanager
async def writing(store: Committer, limits: GroupCommitLimits | None = None) -> AsyncGenerator[GroupCommit]:
    journal = GroupCommit(store, limits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        yield journal
        journal.close()


async def a_second() -> None:
    await trio.sleep(1)


class Answers:
    """Units that note which of their callbacks was called, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def of(self, name: str, unit: Unit) -> Unit:
        unit.committed = self._note(name, "committed")
        unit.failed = lambda error: self.heard.append((name, type(error).__name__))
        return unit

    def _note(self, name: str, what: str) -> Callable[[], None]:
        return lambda: self.heard.append((name, what))


# Batches


async def test_what_was_written_is_durable_when_write_returns(memory_store: Store, autojump_clock: MockClock) -> None:
    async with writing(memory_store) as journal:
        await journal.write(log_unit(0, message(1)))
        assert await contents(memory_store) == ["hello"]


async def test_write_raises_why_a_unit_was_refused(memory_store: Store, autojump_clock: MockClock) -> None:
    async with writing(memory_store) as journal:
        with pytest.raises(StaleWrite):
            await journal.write(log_unit(7, message(8)))
        with pytest.raises(Conflict, match="email"):
            await journal.write(inserting(contact(9, email="c1@example.com")))


async def test_a_batch_collects_while_another_commits(memory_store: Store, autojump_clock: MockClock) -> None:
    store = FaultyStore(memory_store, pause=a_second)
    answers = Answers()
    async with writing(store) as journal:
        await wait_all_tasks_blocked()
        journal.submit(answers.of("0", log_unit(0, message(1))))
        await trio.sleep(0.5)
        for n in range(1, 6):
            journal.submit(answers.of(str(n), log_unit(n, message(n + 1))))
        await trio.sleep(0.6)
        assert answers.heard == [("0", "committed")]
        journal.submit(answers.of("6", log_unit(6, message(7))))
        await trio.sleep(3)
    assert store.batches == [1, 5, 1]
    assert answers.heard == [(str(n), "committed") for n in range(7)]


async def test_who_writes_again_as_soon_as_it_is_answered_is_in_the_next_batch(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    store = FaultyStore(memory_store, pause=a_second)

    async def write_twice(journal: GroupCommit) -> None:
        await journal.write(log_unit(0, message(1)))
        await journal.write(log_unit(1, message(2)))

    async with writing(store) as journal, trio.open_nursery() as nursery:
        nursery.start_soon(write_twice, journal)
        await trio.sleep(0.5)
        await journal.write(inserting(contact(9)))
    assert store.batches == [1, 2]


async def test_a_batch_is_bounded_in_rows_and_no_unit_is_divided(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    store = FaultyStore(memory_store)
    async with writing(store, GroupCommitLimits(rows_per_commit=4)) as journal:
        for n in range(5):
            journal.submit(log_unit(n * 3, *(message(n * 3 + i) for i in (1, 2, 3))))
        await wait_all_tasks_blocked()
    assert store.batches == [2, 2, 1]
    assert await seqs(memory_store) == list(range(1, 16))


async def test_a_unit_without_rows_still_counts(memory_store: Store, autojump_clock: MockClock) -> None:
    async with writing(FaultyStore(memory_store, pause=a_second), GroupCommitLimits(waiting_rows=3)) as journal:
        for _ in range(3):
            journal.submit(log_unit(0, status="open"))
        with pytest.raises(Overloaded):
            journal.submit(log_unit(0, status="open"))


async def test_too_much_in_wait_is_overload_until_it_is_written(memory_store: Store, autojump_clock: MockClock) -> None:
    async with writing(FaultyStore(memory_store, pause=a_second), GroupCommitLimits(waiting_rows=10)) as journal:
        for n in range(10):
            journal.submit(log_unit(n, message(n + 1)))
        with pytest.raises(Overloaded):
            journal.submit(inserting(contact(9)))
        await trio.sleep(0.5)
        journal.submit(inserting(contact(9)))
        assert journal.statistics().waiting == 1


async def test_refusals_are_told_in_the_order_of_submission(memory_store: Store, autojump_clock: MockClock) -> None:
    answers = Answers()
    async with writing(memory_store) as journal:
        journal.submit(answers.of("a", log_unit(0, message(1))))
        journal.submit(answers.of("b", log_unit(0, message(1))))
        journal.submit(answers.of("c", log_unit(1, message(2))))
        await wait_all_tasks_blocked()
    assert answers.heard == [("a", "committed"), ("b", "StaleWrite"), ("c", "committed")]


async def test_published_waits_for_the_callbacks_of_what_is_being_committed(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    answers = Answers()
    async with writing(FaultyStore(memory_store, pause=a_second)) as journal:
        await journal.published()  # nothing to wait for
        journal.submit(answers.of("a", log_unit(0, message(1))))
        await trio.sleep(0.5)
        await journal.published()
        assert answers.heard == [("a", "committed")]


async def test_a_caller_that_is_cancelled_takes_nothing_back(memory_store: Store, autojump_clock: MockClock) -> None:
    async with writing(FaultyStore(memory_store, pause=a_second)) as journal:
        with trio.move_on_after(0.5):
            await journal.write(log_unit(0, message(1)))
        await trio.sleep(1)
        assert await seqs(memory_store) == [1]


async def test_statistics_count_what_happened(memory_store: Store, autojump_clock: MockClock) -> None:
    async with writing(FaultyStore(memory_store, away(1))) as journal:
        await journal.write(log_unit(0, message(1), message(2)))
        with pytest.raises(StaleWrite):
            await journal.write(log_unit(0, message(1)))
        found = journal.statistics()
        assert (found.commits, found.units, found.rows, found.waiting, found.failures) == (2, 1, 3, 0, 1)


@pytest.mark.parametrize("limits", [{"rows_per_commit": 0}, {"patience": -1.0}])
def test_a_limit_that_is_not_positive_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="greater than zero"):
        GroupCommitLimits(**limits)


# The store fails


async def test_a_failing_store_is_tried_again_until_it_succeeds(memory_store: Store, autojump_clock: MockClock) -> None:
    store = FaultyStore(memory_store, away(4))
    async with writing(store) as journal:
        began = trio.current_time()
        await journal.write(log_unit(0, message(1)))
        assert trio.current_time() - began == pytest.approx(0.05 + 0.1 + 0.2 + 0.4)
        assert journal.statistics().failing_since is None
    assert len(store.batches) == 5
    assert await seqs(memory_store) == [1]


async def test_a_store_that_fails_for_good_fails_everything_that_waits_and_nothing_was_written(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    store = FaultyStore(memory_store)
    store.broken = Unavailable("The disk is full.")
    answers = Answers()
    async with writing(store, GroupCommitLimits(rows_per_commit=1, patience=3.0)) as journal:
        for n in range(3):
            journal.submit(answers.of(str(n), log_unit(n, message(n + 1))))
        await trio.sleep(2)
        assert answers.heard == []
        assert journal.statistics().failing_since is not None
        await trio.sleep(2)
        assert answers.heard == [(str(n), "Unavailable") for n in range(3)]
        assert journal.statistics().waiting == 0
        assert await seqs(memory_store) == []

        store.broken = None
        await journal.write(log_unit(0, message(1)))
        assert await seqs(memory_store) == [1]


async def test_a_store_that_works_again_is_noticed_although_nobody_writes(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    """A server that is not ready gets no requests, so waiting for one would keep it that way."""
    store = FaultyStore(memory_store)
    store.broken = Unavailable("The disk is full.")
    async with writing(store, GroupCommitLimits(patience=1.0)) as journal:
        with pytest.raises(Unavailable):
            await journal.write(log_unit(0, message(1)))
        await trio.sleep(30)
        assert journal.statistics().failing_since is not None
        store.broken = None
        await trio.sleep(2)
        assert journal.statistics().failing_since is None
        assert journal.statistics().units == 0

        attempts = len(store.batches)
        await trio.sleep(30)
        assert len(store.batches) == attempts, "a store that works is left alone"


async def test_a_unit_that_comes_while_the_store_is_watched_is_tried_at_once(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    store = FaultyStore(memory_store, away(2))
    async with writing(store, GroupCommitLimits(patience=0.01, min_backoff=0.05, max_backoff=100.0)) as journal:
        with pytest.raises(Unavailable):
            await journal.write(log_unit(0, message(1)))
        began = trio.current_time()
        await trio.sleep(1)
        store.errors.clear()
        await journal.write(log_unit(0, message(1)))
        assert trio.current_time() - began == 1


async def test_published_does_not_wait_for_a_store_that_fails(memory_store: Store, autojump_clock: MockClock) -> None:
    """Who reads would otherwise wait for a disk that is full."""
    store = FaultyStore(memory_store, pause=a_second)
    store.broken = Unavailable("The disk is full.")
    async with writing(store, GroupCommitLimits(patience=60.0, min_backoff=5.0, max_backoff=5.0)) as journal:
        journal.submit(log_unit(0, message(1)))
        await wait_all_tasks_blocked()
        await journal.published()
        assert trio.current_time() == 1, "the attempt that was under way, and no more"
        await journal.published()
        assert trio.current_time() == 1


async def test_published_waits_while_nobody_can_say_what_was_written(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    """Who read the rows that were written and went live would hear of them a second time."""
    store = FaultyStore(memory_store, away(2), lose_answers=True)
    answers = Answers()
    async with writing(store, GroupCommitLimits(patience=60.0, min_backoff=5.0, max_backoff=5.0)) as journal:
        journal.submit(answers.of("log", log_unit(0, message(1))))
        await wait_all_tasks_blocked()
        assert await seqs(memory_store) == [1]
        await journal.published()
        assert answers.heard == [("log", "committed")]


async def test_a_lost_answer_is_given_again_and_nothing_is_written_twice(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    """The second unit has no fence that would notice, and the third was refused the first time."""
    store = FaultyStore(memory_store, away(2), lose_answers=True)
    answers = Answers()
    async with writing(store) as journal:
        journal.submit(answers.of("log", log_unit(0, message(1))))
        journal.submit(answers.of("record", inserting(contact(9))))
        journal.submit(answers.of("stale", log_unit(0, message(1))))
        await trio.sleep(5)
    assert answers.heard == [("log", "committed"), ("record", "committed"), ("stale", "StaleWrite")]
    assert store.batches == [3, 3, 3]
    assert await seqs(memory_store) == [1]


async def test_an_answer_that_is_lost_for_good_is_unavailable_and_a_repeated_send_is_recognized(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    store = FaultyStore(memory_store, away(99), lose_answers=True)
    async with writing(store, GroupCommitLimits(patience=1.0)) as journal:
        with pytest.raises(Unavailable):
            await journal.write(log_unit(0, message(1, client_id="a")))
        store.errors = []
        # Its actor has restarted from the store, and its sender repeats the same client_id.
        with pytest.raises(StaleWrite):
            await journal.write(log_unit(1, message(2, client_id="a")))
        assert [row.seq for row in await memory_store.sent(OURS, 1, ["a"])] == [1]


async def test_an_error_that_no_store_should_raise_fails_its_batch_and_the_next_is_written(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    async with writing(FaultyStore(memory_store, [KeyError("oops")])) as journal:
        with pytest.raises(Unavailable):
            await journal.write(log_unit(0, message(1)))
        await journal.write(log_unit(0, message(1)))
        assert await seqs(memory_store) == [1]


async def test_such_errors_too_often_end_the_writer_and_nobody_is_left_waiting(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    store = FaultyStore(memory_store)
    store.broken = KeyError("oops")
    failures: list[str] = []

    async def write(journal: GroupCommit, n: int) -> None:
        try:
            await journal.write(log_unit(n, message(n + 1)))
        except (Unavailable, Draining) as error:
            failures.append(type(error).__name__)

    async def write_all(journal: GroupCommit) -> None:
        with trio.CancelScope(shield=True):  # the writer's end cancels its neighbours
            async with trio.open_nursery() as senders:
                for n in range(6):
                    senders.start_soon(write, journal, n)

    with pytest.RaisesGroup(KeyError):
        async with writing(store, GroupCommitLimits(rows_per_commit=1, max_errors=3)) as journal:
            await write_all(journal)
    assert sorted(failures) == ["Draining"] * 2 + ["Unavailable"] * 4


async def test_errors_that_are_far_apart_do_not_end_the_writer(memory_store: Store, autojump_clock: MockClock) -> None:
    store = FaultyStore(memory_store)
    async with writing(store, GroupCommitLimits(max_errors=1, error_period=5.0)) as journal:
        for _ in range(4):
            store.errors.append(KeyError("oops"))
            with pytest.raises(Unavailable):
                await journal.write(inserting(contact(9)))
            await trio.sleep(10)
        await journal.write(inserting(contact(9)))


async def test_a_callback_that_raises_costs_nobody_else_anything(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    def raises(*_: object) -> None:
        raise RuntimeError("a bug in an actor")

    answers = Answers()
    async with writing(memory_store) as journal:
        bad, bad_and_stale = log_unit(0, message(1)), log_unit(9, message(10))
        bad.committed = bad_and_stale.failed = raises
        journal.submit(answers.of("before", inserting(contact(8))))
        journal.submit(bad)
        journal.submit(bad_and_stale)
        journal.submit(answers.of("after", inserting(contact(9))))
        await wait_all_tasks_blocked()
        assert answers.heard == [("before", "committed"), ("after", "committed")]
        assert journal.statistics().callback_errors == 2
        await journal.write(log_unit(1, message(2)))
    assert await seqs(memory_store) == [1, 2]


# The end


async def test_close_takes_no_more_and_fails_what_was_not_given_to_the_store(
    memory_store: Store, autojump_clock: MockClock
) -> None:
    answers = Answers()
    async with writing(FaultyStore(memory_store, pause=a_second)) as journal:
        journal.submit(answers.of("committing", log_unit(0, message(1))))
        await trio.sleep(0.5)
        journal.submit(answers.of("waiting", log_unit(1, message(2))))
        journal.close()
        assert answers.heard == [("waiting", "Draining")]
        with pytest.raises(Draining):
            journal.submit(log_unit(1, message(2)))
    # The nursery has ended: so did `run`, after the commit that was under way.
    assert answers.heard == [("waiting", "Draining"), ("committing", "committed")]
    assert await seqs(memory_store) == [1]
    assert journal.statistics().waiting == 0


async def test_drain_writes_what_was_taken_and_takes_no_more(memory_store: Store, autojump_clock: MockClock) -> None:
    answers = Answers()
    async with writing(FaultyStore(memory_store, pause=a_second), GroupCommitLimits(rows_per_commit=1)) as journal:
        for n in range(3):
            journal.submit(answers.of(str(n), log_unit(n, message(n + 1))))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.drain)
            await wait_all_tasks_blocked()
            with pytest.raises(Draining):
                journal.submit(log_unit(3, message(4)))
        assert answers.heard == [(str(n), "committed") for n in range(3)]


async def test_drain_of_an_idle_writer_returns_at_once(memory_store: Store, autojump_clock: MockClock) -> None:
    async with writing(memory_store) as journal:
        await wait_all_tasks_blocked()
        await journal.drain()


@pytest.mark.parametrize("errors", [[], away(9)], ids=["committing", "backing off"])
async def test_a_writer_that_is_cancelled_leaves_nobody_waiting(
    memory_store: Store, autojump_clock: MockClock, errors: list[Exception | None]
) -> None:
    answers = Answers()
    journal = GroupCommit(
        FaultyStore(memory_store, errors, pause=partial(trio.sleep, 0.2)), GroupCommitLimits(rows_per_commit=1)
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        journal.submit(answers.of("taken", log_unit(0, message(1))))
        journal.submit(answers.of("waiting", log_unit(1, message(2))))
        await trio.sleep(0.1 if not errors else 0.22)
        nursery.start_soon(journal.published)
        nursery.cancel_scope.cancel()
    assert answers.heard == [("taken", "Draining"), ("waiting", "Draining")]
    with pytest.raises(Draining):
        journal.submit(log_unit(0, message(1)))
