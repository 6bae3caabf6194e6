"""The flood limit on what people write into one conversation."""

from __future__ import annotations

from ...engine.errors import RateLimited
from ..conversation_state import ConversationState
from ..entities import Principal, System, Visitor
from ..flood import TokenBucket
from ..limits import ChatLimits


class Brake:
    """One bucket for the visitor of a conversation, and one for its members where they are limited at all."""

    def __init__(self, limits: ChatLimits, purpose: str = "") -> None:
        """Brakes of another purpose have buckets of their own."""
        self._purpose = purpose
        self._visitor = (limits.visitor_rate, limits.visitor_burst)
        self._member = (limits.member_rate, limits.member_burst)

    def __call__(self, state: ConversationState, by: Principal) -> None:
        """Raises RateLimited."""
        rate, burst = self._visitor if isinstance(by, Visitor) else self._member
        if rate <= 0 or isinstance(by, System):
            return
        key = by.type + self._purpose
        bucket = state.buckets.get(key)
        if bucket is None:
            bucket = state.buckets[key] = TokenBucket(rate, burst)
        wait = bucket.take()
        if wait:
            raise RateLimited("You send faster than this conversation allows; slow down.", retry_after=wait)
