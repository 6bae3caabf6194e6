"""What all channels are: one subscription of one session. In: commands from `session`. Next hop: mailbox and hub.

A channel is born holding live events back. It is asked for history (`recover`), and goes live: what was held back
follows the history, so that both are one sequence without a hole and without a double.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from ...actors.access import AccountAccess
from ...actors.commands.send_message import Sent
from ...actors.events import message_event
from .ports import Subscriber
from .protocol import EventFormat, HistoryRequest


class Channel(Protocol):
    """One subscription of one session. None of these waits, except to read history."""

    format: EventFormat

    def perform(self, data: str) -> None:
        """Run an action.

        Raises:
            TertuliaError: it was refused on the spot; the session tells its sender.
        """

    async def recover(self, history: HistoryRequest) -> list[bytes] | None:
        """The frames of what was missed, or None where that cannot be said: never a part of it."""
        ...

    def go_live(self) -> None:
        """Send what was held back, and every event from now on."""

    def recheck(self, access: AccountAccess) -> bool:
        """Rights changed: let go of what is denied now. False where nothing is left."""
        ...

    def close(self) -> None:
        """Get nothing any more; closing twice is harmless."""


class ChannelCall(msgspec.Struct, eq=False, gc=False):
    """The sender of a command, until its answer. Success is told by the event itself; the first result of a repeated
    command is sent to its sender alone."""

    _session: Subscriber
    _format: EventFormat
    _client_id: str | None

    def resolve(self, value: Any) -> None:
        if isinstance(value, Sent) and value.repeated:
            # Without its position: a client that saw later events must not be set back by it.
            frame = self._format.frame_without_position(message_event(value.message))
            if frame is not None:
                self._session.sink.send(frame)

    def refuse(self, error: Exception) -> None:
        self._session.fail(self._format.identifier, self._client_id, error)
