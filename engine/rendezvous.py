"""Which node is home to a key. In: a key, and the nodes that live. Out: one of them, the same on every node.

Highest random weight hashing, after Thaler & Ravishankar, "Using name-based mappings to increase hit rates" (1998):
each pair of key and node has a weight that looks random and that everybody computes alike; the node with the highest
weight is home. A node that leaves takes only its own keys with it, and they spread over all that stay; a node that
joins takes an equal share from each. Nobody coordinates anything.

The weights are part of the protocol between nodes: two versions that computed them differently would disagree about
every home for as long as both run.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b

#: How many homes one set of nodes remembers. Each takes about 160 bytes.
REMEMBERED_HOMES = 32_768

_DIGEST_BYTES = 16  # of a node's name: a prefix of fixed length, so that no node and key run into each other
_WEIGHT_BYTES = 8


class Nodes:
    """A set of nodes that share the keys. Immutable: another set is another object."""

    def __init__(self, nodes: Collection[str]) -> None:
        """Raises ValueError where there is no node."""
        if not nodes:
            raise ValueError("Keys need at least one node to live on.")
        self._seeds = [(blake2b(name.encode(), digest_size=_DIGEST_BYTES).digest(), name) for name in set(nodes)]
        #: The home of a key.
        self.home_of = lru_cache(REMEMBERED_HOMES)(self._home_of)

    def _home_of(self, key: str) -> str:
        tail = key.encode()
        # Equal weights are as good as impossible; the names then decide, which is the same everywhere too.
        return max([(blake2b(seed + tail, digest_size=_WEIGHT_BYTES).digest(), name) for seed, name in self._seeds])[1]
