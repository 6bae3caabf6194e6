"""The measure that all others are compared with: a loop of what this program is made of, and nothing of this program.

A machine that is twice as fast runs the loop and the benchmarks in half the time; their ratio stays. It allocates
small objects, calls methods, looks up attributes and keys, joins bytes and crosses into the kernel, because a machine
can be better at one of these than at another. It must not change: every figure that is kept is a multiple of it.
"""

from __future__ import annotations

import os

OPERATIONS = 2000


class _Item:
    __slots__ = ("name", "size", "values")

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.values: list[int] = []

    def add(self, value: int) -> bool:
        self.values.append(value)
        return len(self.values) < self.size


def reference() -> int:
    """One round of `OPERATIONS` steps."""
    items: dict[str, _Item] = {}
    names = [f"name {number}" for number in range(40)]
    parts: list[bytes] = []
    total = 0
    for step in range(OPERATIONS):
        name = names[step % 40]
        item = items.get(name)
        if item is None or not item.add(step):
            items[name] = _Item(name, 8)
        key = (name, step)
        total += len(key[0])
        parts.append(b"%d:%b;" % (step, name.encode()))
        if not step % 50:
            data = b"".join(parts)
            total += data.count(b"name 7")
            parts.clear()
            os.getppid()  # into the kernel and back
    return total
