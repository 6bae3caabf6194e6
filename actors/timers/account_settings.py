"""What an account says about its timers, in its settings. Names and bounds are those of Chatwoot where it has them.

auto_resolve_after            minutes without a message after which an open conversation is resolved
auto_resolve_message          what the visitor is told before that
auto_resolve_label            a label that the conversation gets
auto_resolve_ignore_waiting   whether conversations are left alone whose visitor waits for an answer
reminder_after                minutes after which members are reminded of a visitor who waits for an answer
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..checking import labels_fault
from ..limits import ChatLimits

AUTO_RESOLVE_AFTER = "auto_resolve_after"
REMINDER_AFTER = "reminder_after"

#: Minutes.
AUTO_RESOLVE_RANGE = range(10, 1_439_857)
REMINDER_RANGE = range(1, 1_439_857)


@dataclass(frozen=True, slots=True)
class TimerSettings:
    auto_resolve_after: int | None = None
    auto_resolve_message: str | None = None
    auto_resolve_label: str | None = None
    auto_resolve_ignore_waiting: bool = False
    reminder_after: int | None = None


def timer_settings(settings: Mapping[str, Any]) -> TimerSettings:
    """The part about timers. What was written past the check and is not acceptable is as if it were not there."""
    faults = timer_faults(settings, ChatLimits())
    values = {name: settings.get(name) for name in TimerSettings.__slots__ if _path(name) not in faults}
    return TimerSettings(**{name: value for name, value in values.items() if value is not None})


def timer_faults(settings: Mapping[str, Any], limits: ChatLimits) -> dict[str, str]:
    """What is wrong with them, by path, as sentences. Null is as good as absent; others are not looked at."""
    faults: dict[str, str] = {}
    for name, allowed in ((AUTO_RESOLVE_AFTER, AUTO_RESOLVE_RANGE), (REMINDER_AFTER, REMINDER_RANGE)):
        value = settings.get(name)
        if value is not None and (type(value) is not int or value not in allowed):
            faults[_path(name)] = f"Must be a whole number of minutes from {allowed[0]} to {allowed[-1]}."
    message = settings.get("auto_resolve_message")
    if message is not None and not (isinstance(message, str) and message.strip() and len(message) <= limits.content):
        faults[_path("auto_resolve_message")] = f"Must be a text of 1 to {limits.content} characters."
    label = settings.get("auto_resolve_label")
    fault = None if label is None else labels_fault([label], limits) if isinstance(label, str) else "Must be a text."
    if fault is not None:
        faults[_path("auto_resolve_label")] = fault
    if not isinstance(settings.get("auto_resolve_ignore_waiting"), bool | None):
        faults[_path("auto_resolve_ignore_waiting")] = "Must be true or false."
    return faults


def _path(name: str) -> str:
    return f"settings.{name}"
