"""What a returning subscriber gets: all of it, once, in order, or the news that something is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tertulia.engine.recovery import Gap, merge


@dataclass(frozen=True)
class Event:
    stream: str
    seq: int | None
    source: str = ""


def events(stream: str, *seqs: int | None, source: str = "") -> list[Event]:
    return [Event(stream, seq, source) for seq in seqs]


def missed(found: Sequence[Event], positions: Mapping[str, int], stream: str) -> set[int]:
    """The model: what of one stream is after the position."""
    return {event.seq for event in found if event.stream == stream and event.seq is not None} - set(
        range(positions.get(stream, 0) + 1)
    )


def holes(found: Sequence[Event], positions: Mapping[str, int], stream: str) -> set[int]:
    """The model: what of one stream should be there, up to its last event, and is not."""
    seqs = missed(found, positions, stream)
    if not seqs:
        return set()
    first = positions[stream] + 1 if stream in positions else min(seqs)
    return set(range(first, max(seqs) + 1)) - seqs


streams = st.sampled_from(["a", "b", "c"])
seqs = st.integers(1, 9)
anything = st.lists(st.builds(Event, streams, st.none() | seqs, st.just("history")), max_size=25)
any_live = st.lists(st.builds(Event, streams, st.none() | seqs, st.just("live")), max_size=25)
any_positions = st.dictionaries(streams, st.integers(0, 9))


@given(history=anything, live=any_live, positions=any_positions)
def test_the_answer_is_the_whole_truth_or_a_gap(
    history: list[Event], live: list[Event], positions: dict[str, int]
) -> None:
    found = history + live
    merged = merge(history, live, positions)
    if isinstance(merged, Gap):
        seqs = missed(found, positions, merged.stream) | {positions.get(merged.stream, 0)}
        between = set(range(merged.after + 1, merged.before))
        assert between
        assert not between & seqs
        assert merged.before in seqs
        return
    for stream in "abc":
        assert not holes(found, positions, stream)
        assert [event.seq for event in merged if event.stream == stream] == sorted(missed(found, positions, stream))
    assert all(event in found for event in merged)


@given(
    lengths=st.dictionaries(streams, st.integers(1, 12)),
    positions=st.dictionaries(streams, st.integers(0, 12)),
    data=st.data(),
)
def test_history_and_live_that_overlap_anyhow_give_every_event_once(
    lengths: dict[str, int], positions: dict[str, int], data: st.DataObject
) -> None:
    """Live events were held back from before the history was read: together they hold everything, some of it twice."""
    history: list[Event] = []
    live: list[Event] = []
    for stream, length in lengths.items():
        read_to = data.draw(st.integers(0, length))
        held_from = data.draw(st.integers(1, read_to + 1))
        history += events(stream, *range(positions.get(stream, 0) + 1, read_to + 1), source="history")
        live += events(stream, None, *range(held_from, length + 1), None, source="live")
    merged = merge(history, live, {stream: positions.get(stream, 0) for stream in lengths})
    expected = {
        (stream, seq) for stream, last in lengths.items() for seq in range(positions.get(stream, 0) + 1, last + 1)
    }
    assert not isinstance(merged, Gap)
    assert sorted(expected) == sorted((event.stream, event.seq or 0) for event in merged)


def test_an_event_that_is_in_both_is_the_one_from_history() -> None:
    assert merge(events("a", 1, source="history"), events("a", 1, 2, source="live"), {"a": 0}) == [
        Event("a", 1, "history"),
        Event("a", 2, "live"),
    ]


def test_what_the_subscriber_has_is_not_repeated() -> None:
    assert merge(events("a", 1, 2, 3), events("a", 3, 4), {"a": 3}) == events("a", 4)
    assert merge(events("a", 1, 2, 3), (), {"a": 3}) == []


def test_a_hole_between_the_position_and_the_first_event_is_a_gap() -> None:
    assert merge((), events("a", 5), {"a": 3}) == Gap("a", 3, 5)


def test_a_hole_between_history_and_live_is_a_gap() -> None:
    assert merge(events("a", 1, 2), events("a", 4), {"a": 0}) == Gap("a", 2, 4)


def test_a_stream_without_a_position_begins_at_its_first_event() -> None:
    assert merge(events("a", 7, 8), events("a", 9), {}) == events("a", 7, 8, 9)
    assert merge(events("a", 7, 8), events("a", 10), {}) == Gap("a", 8, 10)


def test_ephemeral_events_are_stale_by_now() -> None:
    assert merge(events("a", None), events("a", None, 1), {"a": 0}) == events("a", 1)
