"""The domain's limits, with their units and reasons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """What one account, conversation or message may take."""

    content: int = 60_000  # characters; a message must fit the socket's 64 KiB with its envelope
    content_attributes: int = 32_768  # bytes of JSON
    client_id: int = 128  # characters
    labels: int = 50
    label: int = 64  # characters
    custom_attributes: int = 32_768  # bytes of JSON
    name: int = 255  # characters
    visitor_rate: float = 2.0  # messages a second, per conversation
    visitor_burst: float = 20.0
    member_rate: float = 0.0  # 0: no limit for members of the account
    member_burst: float = 100.0
    # Seconds from one turn of a conversation to the next: what is said meanwhile is one commit, and one write to each
    # socket. Who speaks after a longer silence is heard at once. While more keeps coming, up to three times as long.
    # 0: never wait.
    pace: float = 0.005
    remembered_client_ids: int = 128  # per conversation, at most; older ones are looked up in the store
    typing_seconds: float = 30.0  # a typist that says nothing more has stopped
    presence_grace_seconds: float = 10.0  # a reload of the page is not a departure
    history_page: int = 250  # rows of a log read at once: few enough that the longest messages fit into memory
    history_rows: int = 50_000  # rows that one resume may need; beyond it the client is told to start anew
    history_characters: int = 30_000_000  # in these rows: a few long messages are as much as many short ones
