"""Every node computes the same home for a key, each has its share, and a change of nodes moves only what it must."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tertulia.engine.rendezvous import Nodes

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SETS = st.lists(NAMES, min_size=1, max_size=8, unique=True)
KEYS = [f"conversation:1:{number}" for number in range(2000)]


@given(key=NAMES, nodes=SETS, data=st.data())
@settings(deadline=None)
def test_the_home_is_one_of_the_nodes_whatever_their_order(key: str, nodes: list[str], data: st.DataObject) -> None:
    home = Nodes(nodes).home_of(key)
    assert home in nodes
    shuffled = data.draw(st.permutations([*nodes, *nodes[:2]]))
    assert Nodes(shuffled).home_of(key) == Nodes(frozenset(nodes)).home_of(key) == home


@given(nodes=SETS, comer=NAMES)
@settings(deadline=None, max_examples=30)
def test_a_node_that_joins_takes_keys_to_itself_and_moves_no_other(nodes: list[str], comer: str) -> None:
    assume(comer not in nodes)
    before, after = Nodes(nodes), Nodes([*nodes, comer])
    for key in KEYS[:200]:
        assert after.home_of(key) in (comer, before.home_of(key))


@given(nodes=SETS.filter(lambda nodes: len(nodes) > 1), data=st.data())
@settings(deadline=None, max_examples=30)
def test_a_node_that_leaves_moves_its_own_keys_and_no_other(nodes: list[str], data: st.DataObject) -> None:
    leaver = data.draw(st.sampled_from(nodes))
    before, after = Nodes(nodes), Nodes([node for node in nodes if node != leaver])
    for key in KEYS[:200]:
        home = before.home_of(key)
        assert home == leaver or after.home_of(key) == home


@given(nodes=st.lists(NAMES, min_size=2, max_size=6, unique=True))
@settings(deadline=None, max_examples=25)
def test_every_node_has_its_share_of_the_keys(nodes: list[str]) -> None:
    homes = Counter(map(Nodes(nodes).home_of, KEYS))
    share = len(KEYS) / len(nodes)
    # Seven standard deviations of a fair draw: chance alone does not come here.
    tolerance = 7 * (share * (1 - 1 / len(nodes))) ** 0.5
    assert all(abs(homes[node] - share) < tolerance for node in nodes), homes


@given(nodes=st.lists(NAMES, min_size=3, max_size=6, unique=True))
@settings(deadline=None, max_examples=25)
def test_the_keys_of_a_node_that_leaves_spread_over_all_that_stay(nodes: list[str]) -> None:
    before, after = Nodes(nodes), Nodes(nodes[1:])
    orphans = [key for key in KEYS if before.home_of(key) == nodes[0]]
    homes = Counter(map(after.home_of, orphans))
    share = len(orphans) / len(nodes[1:])
    tolerance = 7 * (share * (1 - 1 / len(nodes[1:]))) ** 0.5
    assert all(abs(homes[node] - share) < tolerance for node in nodes[1:]), homes


VECTORS = {
    "conversation:1:1": "a",
    "conversation:1:2": "a",
    "conversation:1:3": "a",
    "conversation:1:4": "b",
    "account:1": "a",
    "": "ñ",
    "ñandú": "b",
}


def test_homes_are_the_same_in_every_version() -> None:
    assert {key: Nodes(["a", "b", "ñ"]).home_of(key) for key in VECTORS} == VECTORS


def test_homes_are_the_same_in_every_process() -> None:
    program = (
        "from tertulia.engine.rendezvous import Nodes\n"
        "print(*(Nodes({'a', 'b', 'c'}).home_of(f'conversation:1:{number}') for number in range(50)))"
    )
    for seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert result.stdout.split() == [Nodes(["c", "b", "a"]).home_of(key) for key in KEYS[:50]]


def test_without_nodes_there_is_no_home() -> None:
    with pytest.raises(ValueError, match="at least one node"):
        Nodes([])
