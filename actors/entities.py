"""The words of the domain, and who acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

#: Gives the time of day in milliseconds since 1970-01-01 UTC. Injected, so that tests choose the time.
WallClock: TypeAlias = Callable[[], int]


class Role(StrEnum):
    ADMINISTRATOR = "administrator"
    AGENT = "agent"
    VIEWER = "viewer"


class Status(StrEnum):
    OPEN = "open"
    PENDING = "pending"
    RESOLVED = "resolved"
    SNOOZED = "snoozed"


class Priority(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    URGENT = "urgent"


class MessageType(StrEnum):
    INCOMING = "incoming"  # from the visitor
    OUTGOING = "outgoing"  # from a member of the account
    ACTIVITY = "activity"  # written by the engine: what happened to the conversation


class ContentType(StrEnum):
    TEXT = "text"
    MARKDOWN = "markdown"
    INPUT_TEXT = "input_text"
    INPUT_EMAIL = "input_email"
    INPUT_SELECT = "input_select"
    CARDS = "cards"
    FORM = "form"
    ARTICLE = "article"


@dataclass(frozen=True, slots=True)
class Member:
    """A user acting in an account that the user belongs to."""

    account_id: int
    user_id: int
    name: str = ""

    type = "user"

    @property
    def id(self) -> int:
        return self.user_id


@dataclass(frozen=True, slots=True)
class Visitor:
    """A contact, acting in its own conversations of one inbox."""

    account_id: int
    contact_id: int
    inbox_id: int
    name: str = ""

    type = "contact"

    @property
    def id(self) -> int:
        return self.contact_id


@dataclass(frozen=True, slots=True)
class System:
    """The engine itself: timers, rules, the embedding program. Policy allows it everything in its account."""

    account_id: int
    name: str = "system"

    type = "system"

    @property
    def id(self) -> None:
        return None


Principal: TypeAlias = Member | Visitor | System
