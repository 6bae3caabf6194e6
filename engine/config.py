"""The engine's limits: every queue, size and time that it bounds, with its unit and its reason.

One frozen dataclass per subsystem, checked when it is made and passed down explicitly. Reading the environment is the
composition root's work (`api/settings.py`); nothing here looks at it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TypeAlias

Seconds: TypeAlias = float
Bytes: TypeAlias = int

KIB = 1024


def _all_positive(config: object, *, or_zero: tuple[str, ...] = ()) -> None:
    for item in fields(config):  # type: ignore[arg-type]
        value = getattr(config, item.name)
        if item.name in or_zero and value == 0:
            continue
        if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
            raise ValueError(f"{type(config).__name__}.{item.name} is {value}; it must be greater than zero.")


@dataclass(frozen=True, slots=True)
class MailboxLimits:
    """How much mail one actor holds, and how much of each lane one turn takes."""

    commands: int = 1000
    jobs: int = 1000
    broadcasts: int = 100
    # A job waits at most ceil(position / 8) turns, however full the command lane is.
    commands_per_turn: int = 64
    jobs_per_turn: int = 8
    broadcasts_per_turn: int = 8
    bounds: tuple[int, int, int] = field(init=False, repr=False)  # by lane, as the mailbox reads them
    shares: tuple[int, int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bounds", (self.commands, self.jobs, self.broadcasts))
        object.__setattr__(self, "shares", (self.commands_per_turn, self.jobs_per_turn, self.broadcasts_per_turn))
        _all_positive(self)


@dataclass(frozen=True, slots=True)
class Supervision:
    """When a crashed actor is restarted, when its key rests, and when the engine gives up."""

    max_restarts: int = 3  # within `period`, that no message explains; Elixir's default
    period: Seconds = 5.0
    min_backoff: Seconds = 0.1
    max_backoff: Seconds = 10.0
    jitter: float = 0.2  # a delay is multiplied by a number drawn from [1 - jitter, 1]
    poison_attempts: int = 2  # a message that crashes alone this often goes to the dead letters
    dead_letters: int = 1000  # kept for inspection; the oldest go first
    quarantine: Seconds = 30.0
    escalate_keys: int = 10  # more quarantines than this within `period`, and ...
    escalate_share: float = 0.01  # ... than this share of the active keys, are a failure of the engine

    def __post_init__(self) -> None:
        _all_positive(self, or_zero=("max_restarts", "jitter", "escalate_keys", "escalate_share"))
        if not 0 <= self.jitter < 1:
            raise ValueError(f"Supervision.jitter is {self.jitter}; it must be at least 0 and less than 1.")


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """How long actors live, and how long anybody waits for them."""

    idle: Seconds = 120.0
    ask_timeout: Seconds = 5.0
    turn_limit: Seconds = 30.0  # a turn, or an activation, that takes longer is cancelled and its actor restarted
    slow_turn: Seconds = 1.0  # a turn that takes longer is logged; Orleans' turn warning
    turn_quantum: Seconds = 0.01  # a turn begins no message after this: the rest of its batch is the next turn's
    # Turns whose answers wait for a commit, per actor. There is one writer: what comes while it writes could not be
    # written earlier anyway, and is one turn, one fence and one frame if it waits in the mailbox.
    turns_in_flight: int = 1
    # Messages of all actors whose turns have begun and wait for a commit; more begin only where nothing else is to do.
    # Fewer: each commit, which costs as much as some ten messages, is for fewer of them. More: each waits for more.
    messages_in_flight: int = 192
    drain_grace: Seconds = 10.0  # less than hypercorn's shutdown timeout
    activations_at_once: int = 64  # a thundering herd after a restart must not exhaust the store's readers
    queued_messages: int = 200_000  # in all mailboxes together: the memory that overload may take
    sweep_interval: Seconds = 0.1  # deadlines are kept to this precision

    def __post_init__(self) -> None:
        _all_positive(self)


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What one WebSocket connection may hold of the server."""

    message: Bytes = 64 * KIB
    # Of a peer that is trusted: a member's dashboard that comes back names its position in all it has seen.
    trusted_message: Bytes = 1024 * KIB
    outbox: Bytes = 1024 * KIB
    head: Bytes = 16 * KIB  # the request head; the same bound that h11 uses
    head_timeout: Seconds = 10.0
    close_timeout: Seconds = 5.0  # how long a closing socket may take to swallow its last bytes
    # A peer that acknowledges nothing for this long is dead; the heartbeat gives it something to acknowledge.
    peer_timeout: Seconds = 60.0
    connections: int = 100_000
    visits: int = 4096  # connections whose request head is not complete; over this the oldest goes, or ...
    visit_grace: Seconds = 1.0  # ... where it is younger than this, nobody else is accepted yet
    read_chunk: Bytes = 64 * KIB
    slice: int = 64  # sockets handled before other tasks get a turn
    # Sockets that a frame for many goes to in one system call, where Linux's io_uring is to be had; 0: one by one.
    sends_at_once: int = 1024
    # How long sockets that are ready all the time are left alone: a pass over what came meanwhile is one, not ten.
    gather: Seconds = 0.002
    arrivals_share: Seconds = 0.00025  # of one pass in six, for those who have just come; nobody else waits longer

    def __post_init__(self) -> None:
        _all_positive(self, or_zero=("sends_at_once",))
        if self.sends_at_once > 32768:
            raise ValueError(
                f"SocketLimits.sends_at_once is {self.sends_at_once}; Linux takes at most 32768 in one system call."
            )


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """All limits of one engine."""

    mailbox: MailboxLimits = field(default_factory=MailboxLimits)
    supervision: Supervision = field(default_factory=Supervision)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    sockets: SocketLimits = field(default_factory=SocketLimits)
