"""One server per database file. The kernel drops the lock when the process dies, however it dies."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO

from ..engine.errors import TertuliaError, Unavailable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


#: For whoever runs the server: a chat is nobody else's business, and this is how other databases keep their files.
PRIVATE = 0o600


class DatabaseInUse(TertuliaError):
    """Another server has this database open; stop it, or name another database."""

    code = "database_in_use"


class FileLock:
    """An advisory lock on a file of its own, with the holder's process id in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self, what: str) -> None:
        """Take the lock for the database named `what`, or fail at once.

        Raises:
            DatabaseInUse: another process holds the lock.
            Unavailable: the lock's file cannot be made beside the database, or the database is a folder.
        """
        if Path(what).is_dir():
            raise Unavailable(f"The database {what} cannot be opened: it is a folder; name a file in it.")
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            file = os.fdopen(os.open(self._path, flags, PRIVATE), "a+", encoding="ascii")
        except FileNotFoundError:
            raise Unavailable(
                f"The database {what} cannot be opened: the folder {self._path.parent} does not exist;"
                " make it, or name another database."
            ) from None
        except OSError as error:
            raise Unavailable(
                f"The database {what} cannot be opened: {self._path} cannot be written ({error.strerror})."
            ) from None
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise DatabaseInUse(
                f"The database {what} is open in another server (process {holder}); stop it, or name another database."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the lock back; its file stays, because removing it would race with the next server."""
        if self._file is not None:
            self._file.close()
            self._file = None


def make_private(path: str) -> None:
    """Make an empty file that only its owner may read; one that is there already keeps the permissions it has."""
    with contextlib.suppress(OSError):  # whoever opens it says better what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
