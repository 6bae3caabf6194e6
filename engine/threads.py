"""The event loop's one processor, shared with its threads. In: whoever has work that a thread must do first.

A loop that never blocks keeps the processor to the end of its time slice, four milliseconds, however many threads wait
for it: Linux lets a thread that wakes go first only where it has had less than its part, and the thread that writes
has just run each time. Where the commit that everybody waits for needs twenty microseconds of the processor, that is
what makes it take five milliseconds.
"""

from __future__ import annotations

import os

try:
    _yield = os.sched_yield  # which lets go of the interpreter, too
except AttributeError:  # not POSIX

    def _yield() -> None: ...


def let_threads_run() -> None:
    """Give up the processor and the interpreter, where anybody waits for them."""
    _yield()
