"""What became of a poison message. Made by `directory`, which keeps the last ones for inspection and replays them."""

from __future__ import annotations

from dataclasses import dataclass

from .mailbox import Envelope
from .ref import Address


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that crashed its actor whenever it ran alone."""

    address: Address
    envelope: Envelope
    error: Exception
