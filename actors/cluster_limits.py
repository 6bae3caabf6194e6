"""What nodes that share a store expect of each other, with units and reasons."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class ClusterLimits:
    """How nodes find each other, forward commands and follow topics. Times in seconds, sizes in bytes."""

    heartbeat: float = 1.0  # between two signs of life
    node_ttl: float = (
        3.0  # a node that was silent for this long is gone; less than what a command waits, so that it is sent again
    )
    suspicion: float = 5.0  # a node that did not listen is left out for this long, or until it is heard of
    position_check: float = 5.0  # how late the loss of a quiet conversation's last event is noticed, at most
    forward_bytes: int = 1024 * 1024  # of one forwarded command or its answer
    pending_forwards: int = 10_000  # commands that wait for another node's answer; more is overload
    linger: float = 10.0  # a topic that nobody follows any more stays followed: a reload of the page comes back to it
    clock_skew: float = 10.0  # by how much the clocks of two nodes may differ
    gap_readers: int = 8  # streams that are read from the store at the same time, to fill gaps
    reach_timeout: float = 5.0  # how long a subscriber waits for the store to say what it has missed
    followed_streams: int = 10_000  # conversations of one inbox whose positions are kept; quiet ones are forgotten
    typing_reminder: float = 5.0  # between two signs to other nodes that somebody still types
    typing_silence: float = 15.0  # who types on another node has stopped when there was no sign for this long
    remembered_typists: int = 10_000  # of this node, and of others
    min_backoff: float = 0.05  # before the store is asked again, at first ...
    max_backoff: float = 1.0  # ... and at most
    longest_wait: float = 60.0  # for another node's answer, where the caller names no end
    forward_sweep: float = 0.1  # between two looks at the deadlines of forwarded commands
    access_refresh: float = 10.0  # how late a node that heard nothing of a changed right acts on it, at most
    token_batch: int = 1000  # tokens of open sessions that the store is asked for with one read
    presence_ttl: float = (
        20.0  # how long people of a node that is gone still count as online: time to come back elsewhere
    )
    presence_refresh: float = 5.0  # between two renewals of that
    presence_batch: int = 500  # people renewed with one command

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) <= 0:
                raise ValueError(f"ClusterLimits.{item.name} must be greater than zero.")
        if self.node_ttl <= self.heartbeat:
            raise ValueError("ClusterLimits.node_ttl must be greater than heartbeat, or nodes forget each other.")
        if self.typing_silence <= self.typing_reminder:
            raise ValueError("ClusterLimits.typing_silence must be greater than typing_reminder, or typing flickers.")
        if self.presence_ttl <= self.presence_refresh:
            raise ValueError("ClusterLimits.presence_ttl must be greater than presence_refresh, or people come and go.")
