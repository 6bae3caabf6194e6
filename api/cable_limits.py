"""What one cable connection may do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CableLimits:
    """What one cable connection may do. Times in seconds, sizes in bytes."""

    ping_interval: float = 3.0  # both real clients expect a sign of life within 6 s
    subscribe_timeout: float = 4.0  # `@anycable/core` tries again after 5 s and gives up after 10
    authentication_timeout: float = 5.0
    command_timeout: float = 5.0
    history_timeout: float = 15.0  # for reading a history and for the client to swallow it
    history_chunk: int = 262_144  # of a history on its way to one socket; below the outbox's bound
    waiting_commands: int = 100  # behind one that reads the store; then the socket is not read
    waiting_bytes: int = 262_144  # the same bound on the size of what waits: a command may be much larger than most
    errors: int = 20  # more than this within the period closes the connection
    errors_period: float = 10.0
    subscriptions: int = 1000
    identifier: int = 1024  # characters; it is kept as long as the subscription
    readings: int = 128  # conversations that are read once for all who ask at the same time
    reading_seconds: float = 1.0  # for which such a reading is kept, where nothing happens in the conversation
    reading_bytes: int = 33_554_432  # of all readings together
    reading_patience: float = 1.0  # seconds that a client waits for one, before it reads for itself
