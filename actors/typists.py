"""Who is typing. Ephemeral: told to subscribers, stored nowhere, ended by a message, by the typist, or by time."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from .conversation_state import ConversationState, Typist
from .draft import Draft
from .entities import Principal
from .events import TYPING_OFF, TYPING_ON


@dataclass(frozen=True, slots=True)
class TypingExpired:
    """Mailed by the actor to itself when a typist may have stopped."""

    key: tuple[str, int | None]


def start_typing(state: ConversationState, by: Principal, draft: Draft, *, private: bool, seconds: float) -> None:
    """Say so once; whoever goes on typing only moves the end."""
    key = (by.type, by.id)
    until = trio.current_time() + seconds
    typist = state.typing.get(key)
    if typist is not None and typist.private is private:
        typist.until = until
        return
    if typist is not None:  # from a note to a message, or back: another audience
        stop_typing(state, by, draft)
    state.typing[key] = Typist(by, private, until)
    draft.add_ephemeral(by, TYPING_ON, {"private": private}, private=private)
    if key not in state.typing_timers:  # the one that runs is early for this typing, and will be set again
        state.typing_timers.add(key)
        draft.call_back(seconds, TypingExpired(key))


def stop_typing(state: ConversationState, by: Principal, draft: Draft) -> None:
    """Say so to those who were told that it began, once."""
    typist = state.typing.pop((by.type, by.id), None)
    if typist is not None:
        draft.add_ephemeral(typist.principal, TYPING_OFF, {"private": typist.private}, private=typist.private)


class TypingExpiredHandler:
    def __call__(self, state: ConversationState, command: TypingExpired, draft: Draft) -> None:
        typist = state.typing.get(command.key)
        if typist is None:
            state.typing_timers.discard(command.key)
            return
        left = typist.until - trio.current_time()
        if left > 0:
            draft.call_back(left, command)
        else:
            state.typing_timers.discard(command.key)
            stop_typing(state, typist.principal, draft)
