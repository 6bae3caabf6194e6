"""Passwords: argon2id, computed in worker threads, a few at a time.

Whoever asks for an unknown user waits as long as for a known one: there is always a hash to compare with.
"""

from __future__ import annotations

import base64

import argon2
import trio

from ..engine.errors import Overloaded

#: Checks that may wait for a thread; each holds a request open, and more would only time out.
WAITING = 200

_hasher = argon2.PasswordHasher()


def _decoy() -> str:
    """A well-formed hash of nothing, with the parameters of all others."""
    salt = base64.b64encode(bytes(_hasher.salt_len)).rstrip(b"=").decode()
    digest = base64.b64encode(bytes(_hasher.hash_len)).rstrip(b"=").decode()
    cost = f"m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    return f"$argon2id$v=19${cost}${salt}${digest}"


DECOY = _decoy()


async def hash_password(password: str, limiter: trio.CapacityLimiter | None = None) -> str:
    return await trio.to_thread.run_sync(_hasher.hash, password, limiter=limiter)


class Passwords:
    """Hashes and checks passwords, `at_once` in parallel."""

    def __init__(self, at_once: int, limiter: trio.CapacityLimiter | None = None) -> None:
        self._limiter = limiter or trio.CapacityLimiter(at_once)

    async def hash(self, password: str) -> str:
        """What is stored of a password. Raises Overloaded where too many wait."""
        self._refuse_a_crowd()
        return await hash_password(password, self._limiter)

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether this is the password; takes as long where there is none. Raises Overloaded where too many wait."""
        self._refuse_a_crowd()
        return await trio.to_thread.run_sync(_matches, stored, password, limiter=self._limiter)

    def _refuse_a_crowd(self) -> None:
        if self._limiter.statistics().tasks_waiting >= WAITING:
            raise Overloaded("Too many people sign in at this moment; try again soon.")


def _matches(stored: str | None, password: str) -> bool:
    try:
        return _hasher.verify(stored or DECOY, password) and stored is not None
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
