"""A worker that behaves as it is told: `scripted_worker.py WHAT FOLDER --parent FD`.

It imports nothing of ours, so that it starts at once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path


def main(what: str, note: str, *_: str) -> None:
    """Write the process id into the folder `note`, then do `what`."""
    parent = int(sys.argv[-1])
    Path(note, str(os.getpid())).touch()
    if what == "hangs":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif what == "refuses":
        os.write(parent, b"There is no database.")
        sys.exit(2)
    elif what == "dies":
        sys.exit(3)
    if what != "says-nothing":
        os.write(parent, b"ready\n")
    if what == "works-briefly":
        sys.exit(4)
    time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
