"""Who on the machine may read the database: whoever runs the server, unless somebody chose otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tertulia.storage.open import open_store

from .sample import fill

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")


def modes_in(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


async def test_nobody_else_on_the_machine_can_read_what_was_said(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        async with open_store(f"sqlite:///{tmp_path}/chat.db") as store:
            await fill(store)
            modes = modes_in(tmp_path)
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("chat.db", "chat.db-wal", "chat.db-shm", "chat.db-lock"), 0o600)


async def test_permissions_that_somebody_chose_stay(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    path.touch()
    path.chmod(0o640)
    async with open_store(f"sqlite:///{path}"):
        assert modes_in(tmp_path)["chat.db"] == 0o640
