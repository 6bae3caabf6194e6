"""Rights that change on one node hold on all. In: changes of access and revoked tokens. Out: the same, on the others.

The bus tells at once. What it loses is made good by reading the accounts in use again, one after the other, so that no
right outlives its end by more than `access_refresh` seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
import trio

from ..engine.errors import TertuliaError
from ..storage.bus import Bus
from ..storage.contracts import Reads
from .access import AccessBook, AccountAccess
from .cluster_limits import ClusterLimits

logger = logging.getLogger("tertulia.rights")

RIGHTS_CHANNEL = "rights"


class RightsNews(msgspec.Struct):
    """What changed on `origin`."""

    origin: str
    account_id: int | None = None
    token_ids: list[int] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RightsNews).decode


class Rights:
    """Keeps one node's view of who may do what true."""

    def __init__(self, bus: Bus, book: AccessBook, reads: Reads, limits: ClusterLimits, nursery: trio.Nursery) -> None:
        self._bus = bus
        self._book = book
        self._reads = reads
        self._limits = limits
        self._nursery = nursery
        self._hearing = False  # a change that came from the store is not news to the others
        self._asked = trio.Event()
        self._revoke: list[Callable[[list[int]], Any]] = []
        book.listeners.append(self._changed)

    def share(self, revocations: list[Callable[[frozenset[int]], Any]], revoke: Callable[[list[int]], Any]) -> None:
        """Tell the other nodes of tokens that are revoked here (`revocations` are the listeners to that), and call
        `revoke` with those that were revoked there."""
        revocations.append(self._tell_revoked)
        self._revoke.append(revoke)

    def _tell_revoked(self, token_ids: frozenset[int]) -> None:
        if not self._hearing:
            self._bus.publish(RIGHTS_CHANNEL, _encode(RightsNews(self._bus.node, token_ids=list(token_ids))))

    def receive(self, payload: bytes) -> None:
        try:
            news = _decode(payload)
        except msgspec.MsgspecError as error:
            logger.error("news of rights cannot be read: %s", error)
            return
        if news.origin == self._bus.node:
            return
        if news.token_ids:
            self._hear(lambda: [revoke(news.token_ids) for revoke in self._revoke])
        if news.account_id is not None:
            self._nursery.start_soon(self._refresh, news.account_id)

    def refresh_soon(self) -> None:
        """News may have been lost."""
        self._asked.set()

    async def run(self) -> None:
        """Read the accounts in use again, until cancelled."""
        while True:
            with trio.move_on_after(self._limits.access_refresh):
                await self._asked.wait()
            self._asked = trio.Event()
            for account_id in self._book.in_use():
                await self._refresh(account_id)

    async def _refresh(self, account_id: int) -> None:
        try:
            await self._read(account_id)
        except TertuliaError as error:
            logger.warning("the rights of account %d cannot be read: %s", account_id, error.detail)
        except Exception:  # the next time may be luckier; the engine goes on
            logger.exception("the rights of account %d cannot be read", account_id)

    async def _read(self, account_id: int) -> None:
        while (access := self._book.known(account_id)) is not None:
            version = access.version
            records = await self._reads.account(account_id)
            if access.version != version:
                continue  # it changed while the store was asked, which may have seen it before that
            if records is not None and access.load(records):
                self._hear(lambda: self._book.changed(access))
            return

    def _hear(self, act: Callable[[], Any]) -> None:
        """Do what another node did, without telling it back."""
        self._hearing = True
        try:
            act()
        finally:
            self._hearing = False

    def _changed(self, access: AccountAccess) -> None:
        if not self._hearing:
            self._bus.publish(RIGHTS_CHANNEL, _encode(RightsNews(self._bus.node, access.account_id)))
