"""Faults and pauses between the gateway and what it works with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import trio

from tertulia.api.auth import Authenticator
from tertulia.engine.errors import Unavailable
from tertulia.storage.contracts import LogRow, Reads
from tertulia.storage.group_commit import Committer
from tertulia.storage.writes import Unit


def as_reads(seam: object) -> Reads:
    return cast("Reads", seam)


def as_authenticator(seam: object) -> Authenticator:
    return cast("Authenticator", seam)


class Seam:
    """A store's reads, with something between them and their caller."""

    def __init__(self, reads: Any) -> None:
        self._reads = reads

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)


class Holed(Seam):
    """Reads that miss one row."""

    def __init__(self, reads: Any, missing: int) -> None:
        super().__init__(reads)
        self._missing = missing

    async def log(self, account_id: int, conversation_id: int, *, after: int, limit: int) -> list[LogRow]:
        rows = await self._reads.log(account_id, conversation_id, after=after, limit=limit)
        return [row for row in rows if row.seq != self._missing]


class Counted(Seam):
    """Reads that count the rows of logs."""

    rows = 0

    async def log(self, account_id: int, conversation_id: int, *, after: int, limit: int) -> list[LogRow]:
        rows: list[LogRow] = await self._reads.log(account_id, conversation_id, after=after, limit=limit)
        self.rows += len(rows)
        return rows


class Paused(Seam):
    """Reads that wait before and after each look at a log, so that a test can act meanwhile."""

    def __init__(self, reads: Any) -> None:
        super().__init__(reads)
        self.before, self.after = trio.Event(), trio.Event()

    async def log(self, account_id: int, conversation_id: int, *, after: int, limit: int) -> list[LogRow]:
        await self.before.wait()
        rows: list[LogRow] = await self._reads.log(account_id, conversation_id, after=after, limit=limit)
        await self.after.wait()
        return rows


class SlowConversations(Seam):
    """Reads that give a conversation only when they are told to go on."""

    def __init__(self, reads: Any) -> None:
        super().__init__(reads)
        self.go_on = trio.Event()

    async def conversation(self, account_id: int, conversation_id: int) -> Any:
        found = await self._reads.conversation(account_id, conversation_id)
        await self.go_on.wait()
        return found


class Broken(Seam):
    """Reads with a defect."""

    async def conversation(self, account_id: int, conversation_id: int) -> None:
        raise ZeroDivisionError


class Lingering:
    """A store whose commits are durable some time before anybody is told."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self.go_on = trio.Event()

    async def commit(self, units: Sequence[Unit]) -> dict[int, Exception]:
        refused = await self._committer.commit(units)
        await self.go_on.wait()
        return refused


class Away:
    """Reads of a store that cannot be reached."""

    async def conversation(self, account_id: int, conversation_id: int) -> None:
        raise Unavailable("The database cannot be read: gone.")


class Stuck:
    """Reads that never end."""

    async def conversation(self, account_id: int, conversation_id: int) -> None:
        await trio.sleep_forever()


class Forgetful:
    """An authenticator that has to find out each time."""

    def identify_at_once(self, *arguments: Any) -> None:
        return None


class SlowIdentities(Forgetful):
    """An authenticator whose answers arrive only when they are told to."""

    def __init__(self, authenticator: Any) -> None:
        self._authenticator = authenticator
        self.go_on = trio.Event()

    async def identify(self, *arguments: Any, **more: Any) -> Any:
        identity = await self._authenticator.identify(*arguments, **more)
        await self.go_on.wait()
        return identity


class Nobody(Forgetful):
    """An authenticator whose store does not answer."""

    async def identify(self, *arguments: Any, **more: Any) -> None:
        await trio.sleep_forever()
