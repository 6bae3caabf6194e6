"""How a policy's no is said: what one may not even see does not exist."""

from __future__ import annotations

from typing import NoReturn

from ...engine.errors import Denied, NotFound
from ..conversation_state import ConversationState
from ..policies.conversation import ConversationPolicy


def refuse(policy: ConversationPolicy, state: ConversationState) -> NoReturn:
    """Raises NotFound or Denied."""
    if state.deleted_at is not None or not policy.can_show(state):
        raise NotFound
    raise Denied
