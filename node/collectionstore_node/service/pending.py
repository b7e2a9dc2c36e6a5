"""`Pending`: a read or write that was begun, of a caller that does not await it: the hot path.

A coroutine for each of the layers that a request passes through costs more than what they do. So the service has each
operation in two halves, `begin_*` and `end_*`, and its caller keeps what belongs to the operation in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from collectionstore_node.access.callers import Caller
from collectionstore_node.replica.observation.command import Waiter, tell
from collectionstore_node.statemachine.commands import Delete, Put, Ref


class Pending(Waiter[Any], Protocol):
    """An operation between its halves. It is told one result at a time, and then calls the second half."""

    target: Put | Delete | Ref
    """What is written, or read."""
    caller: Caller | None
    """Who has begun it: kept only while access control asks."""
    key: str | None
    """The client's idempotency key, of a write."""
    began: float
    """When, by `time.perf_counter`."""
    entered: float
    """When a write was counted in, by the clock of `WriteAdmission`."""
    result: Any
    error: BaseException | None
    again: bool
    """Whether the second half has been called before, and had to wait for more."""
    task: asyncio.Task[Any] | None
    """What it waits for then."""

    def wait_again(self) -> None:
        """Forget the result; another one comes."""


def wait_for(pending: Pending, coroutine: Coroutine[Any, Any, Any]) -> None:
    """Tell `pending` once more, the result of `coroutine`."""
    pending.wait_again()
    pending.task = asyncio.get_running_loop().create_task(coroutine)
    tell(pending, pending.task)
