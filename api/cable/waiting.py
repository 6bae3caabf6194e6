"""Commands that have to wait: for their sender to be known, or behind one that reads the store. Kept in order, and
bounded in number and in bytes.
"""

from __future__ import annotations

from collections import deque

import msgspec

from ..cable_limits import CableLimits
from .protocol import Command


class WaitingCommands:
    """What one session has received and not run yet. Made for the first command that waits, gone with the last."""

    __slots__ = ("_bytes", "_commands", "_limits")

    def __init__(self, limits: CableLimits) -> None:
        self._commands: deque[Command] = deque()
        self._limits = limits
        self._bytes = 0  # all that came since the first one: what ran since then counts until nothing waits

    def __bool__(self) -> bool:
        return bool(self._commands)

    def add(self, command: Command, size: int) -> bool:
        """Keep a command that came as a message of `size` bytes. Whether this is all that may wait."""
        if command.data is not None and not isinstance(command.data, str):
            # No command is run with it, and parsed it may be fifty times as large as it came.
            command = msgspec.structs.replace(command, data=None)
        self._commands.append(command)
        self._bytes += size
        return len(self._commands) >= self._limits.waiting_commands or self._bytes > self._limits.waiting_bytes

    def take(self) -> Command:
        """The one that came first."""
        return self._commands.popleft()

    def opens(self, identifier: str) -> bool | None:
        """Whether the last word about a subscription is to open it; None where there is none."""
        for command in reversed(self._commands):
            if command.identifier == identifier and command.command in ("subscribe", "unsubscribe"):
                return command.command == "subscribe"
        return None


def is_asked_already(identifier: str, waiting: WaitingCommands | None, under_way: Command | None) -> bool:
    """Whether the last word about a subscription, of the commands that wait or are under way, is to open it."""
    opens = waiting.opens(identifier) if waiting is not None else None
    if opens is not None:
        return opens
    return under_way is not None and under_way.command == "subscribe" and under_way.identifier == identifier
