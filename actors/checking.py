"""Values that more than one command takes."""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.errors import Invalid
from .limits import ChatLimits


def named(name: str, limits: ChatLimits) -> str:
    """A name without blanks around it. Raises Invalid."""
    name = name.strip()
    if not 1 <= len(name) <= limits.name:
        raise Invalid(fields={"name": f"Must have 1 to {limits.name} characters."})
    return name


def address(email: str, limits: ChatLimits) -> str:
    """An e-mail address in lower case, by which it is compared. Raises Invalid."""
    email = email.strip().lower()
    local, _, domain = email.rpartition("@")
    if not local or not domain or len(email) > limits.name or any(char.isspace() for char in email):
        raise Invalid(fields={"email": "Must be an e-mail address."})
    return email


def labels_fault(labels: Sequence[str], limits: ChatLimits) -> str | None:
    """What is wrong with these labels, as a sentence; None where nothing is."""
    if len(labels) > limits.labels:
        return f"At most {limits.labels} labels."
    if any(not 1 <= len(label.strip()) <= limits.label for label in labels):
        return f"A label has 1 to {limits.label} characters."
    return None
