"""`Passwords`: argon2id (RFC 9106) beside the event loop, by few threads and with a bounded queue.

A check takes 19 MiB and some 20 ms by design: the parameters are those that OWASP's Password Storage Cheat Sheet
recommends. So few run at once, and more than `waiting_max` in the queue are refused before they begin. A check for a
user who does not exist, or has no password, is one against a hash that no password matches: it takes as long.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError

from collectionstore_node.errors import Overloaded
from collectionstore_node.statemachine.access_checks import (
    PASSWORD_LANES_MAX,
    PASSWORD_MEMORY_KIB_MAX,
    PASSWORD_TIME_MAX,
)

THREADS: Final = 2
WAITING_MAX: Final = 32
_MEMORY_KIB: Final = 19 << 10
_PASSES: Final = 2
_HASHER: Final = PasswordHasher(
    time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=1, hash_len=32, salt_len=16, type=Type.ID
)
_RETRY_AFTER_S: Final = 1.0

T = TypeVar("T")


class Passwords:
    """Makes and checks hashes. Belongs to one event loop; close it."""

    def __init__(self, *, threads: int = THREADS, waiting_max: int = WAITING_MAX) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._threads = threads
        self._waiting_max = waiting_max
        self._dummy: str | None = None
        self.waiting = 0
        """Checks that are running or wait for a thread."""

    async def hash(self, password: str) -> str:
        """Return the hash of a password, with a new salt. Raises `Overloaded`."""
        return await self._run(_hash, password)

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Return whether `password` has this hash; None is that of nobody. Raises `Overloaded`."""
        if self._dummy is None:
            # BEFORE both kinds of checks: made during the first one for an unknown user, it would tell it apart.
            self._dummy = await self._run(_hash, os.urandom(16).hex())
        usable = hashed is not None and is_usable(hashed)
        same = await self._run(_verify, self._dummy if hashed is None or not usable else hashed, password)
        return same and usable

    def close(self) -> None:
        """End the threads, behind what they are at."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[..., T], *given: str) -> T:
        if self.waiting >= self._waiting_max:
            raise Overloaded("too many passwords are being checked", retry_after_s=_RETRY_AFTER_S)
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="passwords")
        self.waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self._executor, work, *given)
        running.add_done_callback(self._done)
        # A thread does not stop for a client that leaves, and so its place stays taken.
        return await asyncio.shield(running)

    def _done(self, _running: asyncio.Future[Any]) -> None:
        self.waiting -= 1


def is_usable(hashed: str) -> bool:
    """Return whether a stored hash is argon2id, and within what apply accepts: another one could occupy a thread."""
    try:
        found = extract_parameters(hashed)
    except (InvalidHashError, ValueError):
        return False
    return (
        found.type is Type.ID
        and found.memory_cost <= PASSWORD_MEMORY_KIB_MAX
        and found.time_cost <= PASSWORD_TIME_MAX
        and found.parallelism <= PASSWORD_LANES_MAX
    )


def _hash(password: str) -> str:
    return _HASHER.hash(password)


def _verify(hashed: str, password: str) -> bool:
    try:
        return _HASHER.verify(hashed, password)
    except (Argon2Error, InvalidHashError):
        return False
