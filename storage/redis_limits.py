"""What the bus may take, and how long it waits. In: settings. Next: `redis_bus` and its parts."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class BusLimits:
    """Times are in seconds, sizes in bytes."""

    prefix: str = "tertulia:"  # of every key and channel, so that installations can share a server
    connect_timeout: float = 5.0
    answer_timeout: float = 2.0  # a server that is silent for this long is away
    ping_interval: float = (
        1.0  # of a quiet connection; with `answer_timeout`, the time to notice that the server is away
    )
    min_backoff: float = 0.05  # between two tries to connect; a random part of it is left out
    max_backoff: float = 2.0
    outgoing_bytes: int = 16 * 1024 * 1024  # waiting to be sent; what is more is dropped
    commands_per_batch: int = 1000  # in one round trip
    channels_per_command: int = 1000
    incoming: int = 50_000  # messages waiting for trio's thread; with more, the server has to keep them
    incoming_pause: float = 0.005  # before it is looked again whether there is room for more
    received_per_turn: int = 1000  # messages handed over before other tasks get a turn
    closing_timeout: float = 1.0  # to send what was published before the bus was closed

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name != "prefix" and getattr(self, item.name) <= 0:
                raise ValueError(f"BusLimits.{item.name} must be greater than zero.")
        if self.min_backoff > self.max_backoff:
            raise ValueError("BusLimits.min_backoff must not be greater than max_backoff.")
        if any(character.isspace() for character in self.prefix):
            raise ValueError("BusLimits.prefix must not contain spaces.")
