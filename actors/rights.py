"""Rights that change on one node hold on all. In: changes of access and revoked tokens. Out: the same, on the others.

The bus tells at once. What it loses is made good by asking the store for the tokens and the accounts in use again,
every `access_refresh` seconds: what was open when its right or its token ended is closed by then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
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
        self._tokens_in_use: list[Callable[[], Collection[int]]] = []
        book.listeners.append(self._changed)

    def share(
        self,
        revocations: list[Callable[[frozenset[int]], Any]],
        revoke: Callable[[list[int]], Any],
        tokens_in_use: Callable[[], Collection[int]],
    ) -> None:
        """Make a server's tokens those of all nodes.

        Args:
            revocations: the listeners to what is revoked here, of which the other nodes are told.
            revoke: called with the ids of tokens that were revoked there.
            tokens_in_use: the ids of tokens that keep something open, which are looked for in the store.
        """
        revocations.append(self._tell_revoked)
        self._revoke.append(revoke)
        self._tokens_in_use.append(tokens_in_use)

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
            self._revoked_elsewhere(news.token_ids)
        if news.account_id is not None:
            self._nursery.start_soon(self._refresh, news.account_id)

    def refresh_soon(self) -> None:
        """News may have been lost."""
        self._asked.set()

    async def run(self) -> None:
        """Read the tokens and the accounts in use again, until cancelled."""
        while True:
            with trio.move_on_after(self._limits.access_refresh):
                await self._asked.wait()
            self._asked = trio.Event()
            await self._check_tokens()  # first: it takes few reads
            for account_id in self._book.in_use():
                await self._refresh(account_id)

    async def _check_tokens(self) -> None:
        token_ids = sorted({token_id for tokens_in_use in self._tokens_in_use for token_id in tokens_in_use()})
        size = self._limits.token_batch
        for start in range(0, len(token_ids), size):
            some = token_ids[start : start + size]
            try:
                gone = set(some).difference(await self._reads.live_tokens(some))
                if gone:
                    self._revoked_elsewhere(sorted(gone))
            except TertuliaError as error:
                logger.warning("the tokens of open sessions cannot be read: %s", error.detail)
            except Exception:  # the next time may be luckier; the engine goes on
                logger.exception("the tokens of open sessions cannot be read")

    def _revoked_elsewhere(self, token_ids: list[int]) -> None:
        self._hear(lambda: [revoke(token_ids) for revoke in self._revoke])

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
