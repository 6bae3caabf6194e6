"""A bar on the terminal that says what is measured now. Elsewhere, a line for each thing that begins."""

from __future__ import annotations

import shutil
import sys
from typing import TextIO

WIDTH = 24  # of the bar
CLEAR = "\r\033[K"


class Progress:
    """`done` of `total` steps; the total may grow, and a bar that is full is not full before the end."""

    def __init__(self, total: int, output: TextIO = sys.stderr) -> None:
        self.total = total
        self.done = 0
        self._output = output
        self._on_terminal = output.isatty()

    def begin(self, what: str) -> None:
        """Show what begins now."""
        if not self._on_terminal:
            print(what, file=self._output, flush=True)
            return
        filled = WIDTH * self.done // max(1, self.total)
        line = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {self.done}/{self.total} {what}"
        print(CLEAR + line[: shutil.get_terminal_size().columns - 1], end="", file=self._output, flush=True)

    def step(self) -> None:
        self.done = min(self.done + 1, self.total)

    def say(self, line: str) -> None:
        """A line that stays."""
        print((CLEAR if self._on_terminal else "") + line, file=self._output, flush=True)

    def end(self) -> None:
        if self._on_terminal:
            print(CLEAR, end="", file=self._output, flush=True)
