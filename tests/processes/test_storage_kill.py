"""`kill -9` of a process that writes: what the store acknowledged is there once, and the file is free again."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tertulia.storage.file_lock import DatabaseInUse
from tertulia.storage.open import open_store

from . import storage_writer

pytestmark = pytest.mark.slow

ACKNOWLEDGED_BEFORE_KILL = 500


@contextmanager
def writer(path: Path) -> Generator[subprocess.Popen[str]]:
    """A writing process that is ready; killed at the end of the block."""
    command = [sys.executable, str(storage_writer.__file__), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("attempt", range(3))
def test_every_acknowledged_row_survives_a_kill_exactly_once(tmp_path: Path, attempt: int) -> None:
    path = tmp_path / "chat.db"
    lines: list[str] = []
    with writer(path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if len(lines) == ACKNOWLEDGED_BEFORE_KILL + attempt * 37:
                process.kill()
    acknowledged: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for line in lines:
        if line.endswith("\n"):  # the kill may have cut the last one
            chat, seq, client_id = line.split()
            acknowledged[int(chat)].append((int(seq), client_id))

    async def stored(conversation_id: int) -> tuple[int, list[tuple[int, str | None]]]:
        async with open_store(f"sqlite:///{path}") as store:
            found = await store.conversation(1, conversation_id)
            assert found is not None
            rows = await store.messages(1, conversation_id, after=0, limit=1_000_000)
            return found.conversation.last_seq, [(row.seq, row.client_id) for row in rows]

    assert sum(map(len, acknowledged.values())) >= ACKNOWLEDGED_BEFORE_KILL
    for conversation_id, heard in acknowledged.items():
        last_seq, rows = trio.run(stored, conversation_id)
        assert rows == [(seq, f"{conversation_id}-{seq}") for seq in range(1, last_seq + 1)]
        assert heard == rows[: len(heard)], "acknowledged in order, and nothing of it is gone"


def test_the_lock_names_its_holder_and_is_free_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"

    async def open_it() -> None:
        async with open_store(f"sqlite:///{path}") as store:
            await store.ping()

    with writer(path) as process:
        with pytest.raises(DatabaseInUse, match=rf"process {process.pid}\)"):
            trio.run(open_it)
        process.kill()
        process.wait()
        trio.run(open_it)
