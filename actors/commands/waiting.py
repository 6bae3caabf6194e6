"""Since when a visitor waits for an answer: from the first message that nobody has answered, to a member's answer.

Most messages change nothing about that: the second one of a visitor, the second one of a member.
"""

from __future__ import annotations

from ..conversation_state import ConversationState
from ..draft import Draft


def start_waiting(state: ConversationState, draft: Draft) -> None:
    if state.waiting_since is None:
        draft.change(waiting_since=draft.now)


def stop_waiting(state: ConversationState, draft: Draft) -> None:
    """Answered, or over: whoever waits again later is worth another reminder."""
    if state.waiting_since is not None:
        draft.change(waiting_since=None)
        if state.reminded_at is not None:
            draft.change(reminded_at=None)
