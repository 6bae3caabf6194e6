"""Who is in a scenario: what senders may do, and that nobody is taken for somebody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.peers import peer
from bench.scenarios import ingest
from bench.scenarios.latency import ALONE, IN_PAIRS, Shape
from bench.scenarios.slow_consumers import kept


def test_a_sender_waits_for_each_message_where_the_peer_does_not_keep_their_order() -> None:
    ordered = peer("ws")
    assert ingest.window_of(None) == ingest.window_of(ordered) == ingest.WINDOW
    assert ingest.window_of(replace(ordered, ordered=False)) == 1


@pytest.mark.parametrize("shape", [ALONE, IN_PAIRS], ids=lambda shape: shape.name)
def test_latency_is_measured_with_senders_who_wait_for_nothing(shape: Shape) -> None:
    senders = [client for client in shape.clients(0, 0) if client.sender is not None]
    assert len(senders) == shape.rooms
    assert all(client.paced and client.window == 0 for client in senders)
    assert len({client.room for client in senders}) == shape.rooms


@pytest.mark.parametrize("shape", [ALONE, IN_PAIRS], ids=lambda shape: shape.name)
def test_no_sender_of_one_crowd_has_the_number_of_one_of_the_next(shape: Shape) -> None:
    numbers = [client.sender for crowd in range(3) for client in shape.clients(0, crowd * shape.rooms)]
    named = [number for number in numbers if number is not None]
    assert len(named) == len(set(named)) == 3 * shape.rooms


@pytest.mark.parametrize(
    ("shape", "hearers"), [(ALONE, 1), (IN_PAIRS, 2)], ids=lambda value: getattr(value, "name", "")
)
def test_a_message_goes_to_so_many(shape: Shape, hearers: int) -> None:
    assert len(shape.clients(0, 0)) == hearers * shape.rooms


def test_tertulia_has_to_let_go_of_everybody_who_never_reads() -> None:
    assert kept(None, slow=5, let_go=5) == []
    (complaint,) = kept(None, slow=5, let_go=2)
    assert complaint.startswith("3 of 5")


def test_a_peer_that_lets_go_of_nobody_has_broken_no_promise() -> None:
    assert kept(peer("ws"), slow=5, let_go=0) == []
