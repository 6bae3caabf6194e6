"""What a query asks for, part by part. In: conditions and values. Out: SQL text and numbered parameters."""

from __future__ import annotations

from typing import Any


class Conditions:
    """Conditions that are all true, and their parameters."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self.parameters: list[Any] = []

    def add(self, text: str, *values: Any) -> None:
        """Each `{}` in the text is one of the values."""
        self._texts.append(text.format(*(self.parameter(value) for value in values)))

    def parameter(self, value: Any) -> str:
        self.parameters.append(value)
        return f"${len(self.parameters)}"

    def __str__(self) -> str:
        return " and ".join(self._texts)
