"""How a no is said: what one may not even see does not exist, and a value that is not acceptable is named."""

from __future__ import annotations

from typing import NoReturn

from ...engine.errors import Denied, Invalid, NotFound
from ..conversation_state import ConversationState
from ..limits import ChatLimits
from ..policies.conversation import ConversationPolicy


def refuse(policy: ConversationPolicy, state: ConversationState) -> NoReturn:
    """Raises NotFound or Denied."""
    if state.deleted_at is not None or not policy.can_show(state):
        raise NotFound
    raise Denied


def check_content(content: str, limits: ChatLimits) -> None:
    """Raises Invalid where this cannot be a message."""
    if not content.strip():
        raise Invalid(fields={"content": "A message must not be empty."})
    if len(content) > limits.content:
        raise Invalid(fields={"content": f"A message has at most {limits.content} characters."})
