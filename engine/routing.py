"""Mail for actors that live on another node. In: `directory.post`. Next hop: whoever carries it there."""

from __future__ import annotations

from typing import Protocol

from .mailbox import Envelope, Lane
from .ref import Address


class Router(Protocol):
    """Decides where an actor lives, and carries its mail."""

    def takes(self, address: Address, envelope: Envelope, lane: Lane) -> bool:
        """Whether the mail is on its way to another node; False where the actor lives here.

        Raises:
            Overloaded: too much is on its way; nothing was accepted.
        """
        ...
