"""Leases and locks, kept alive while a block runs. Read docs/concepts/locks.md before you rely on a lock."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from collectionstore.asynchronous.context import AsyncContext, body_of
from collectionstore.errors import InvalidOperation, LockHeld, LockNotHeld, NotFound
from collectionstore.models.json_text import encode
from collectionstore.models.queries import text, without_none
from collectionstore.settings.durations import seconds_of, ttl_text
from collectionstore.wire.requests import json_request, segment

TTL_MIN_S = 1.0
TTL_MAX_S = 3_650 * 86_400.0
WAIT_STEP_S = 5.0
"""How long one request waits for a lock."""


class AsyncLease:
    """What is attached to it is gone once it ends. As a context manager it is kept alive, and ends with the block."""

    def __init__(self, context: AsyncContext, ttl: object) -> None:
        self._context = context
        self._ttl_s = seconds_of("ttl", ttl, TTL_MIN_S, TTL_MAX_S)
        self._id: int | None = None
        self._keeper: Any = None

    @property
    def id(self) -> int:
        """The ID to attach records by: `lease=lease.id`. Raises InvalidOperation before it was granted."""
        if self._id is None:
            raise InvalidOperation("the lease was not granted: use it as a context manager, or call grant")
        return self._id

    @property
    def lost(self) -> bool:
        """Whether it may have ended: the store said so, or no renewal came through in time."""
        return self._keeper is not None and bool(self._keeper.lost)

    async def grant(self) -> int:
        """Have it granted and keep it alive; return its ID."""
        if self._id is not None:
            raise InvalidOperation("the lease was granted before")
        body = encode({"ttl": ttl_text(self._ttl_s)})
        self._id = int(body_of(await self._context.send(json_request("POST", "/leases", body, writes=True)))["id"])
        # Without a key: a repeated answer would move nothing.
        renewal = json_request("POST", f"/leases/{self._id}:keepalive", writes=True, repeatable=False)
        self._keeper = await self._context.runtime.keep(renewal, self._ttl_s)
        return self._id

    async def revoke(self) -> None:
        """End it, and what is attached to it. One that has ended is no error."""
        if self._keeper is not None:
            await self._context.runtime.release(self._keeper)
            self._keeper = None
        if self._id is not None:
            lease_id, self._id = self._id, None
            try:
                await self._context.send(json_request("DELETE", f"/leases/{lease_id}", writes=True))
            except NotFound:
                pass  # it has ended

    async def __aenter__(self) -> Self:
        await self.grant()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.revoke()


class AsyncLock:
    """A lock with a fencing token. As a context manager it is acquired, renewed, and released behind the block.

    It tells that it *was* held when the answer left the cluster. Writes that must not be made by a former holder
    compare the token: `guard()` is for `compare` of a transaction.
    """

    def __init__(
        self, context: AsyncContext, name: str, *, ttl: object = 30.0, owner: str = "", wait: object = None
    ) -> None:
        self._context = context
        self.name = text("the name of a lock", name)
        self._ttl_s = seconds_of("ttl", ttl, TTL_MIN_S, TTL_MAX_S)
        self._owner = owner
        self._wait_s = 0.0 if wait is None else seconds_of("wait", wait, 0.0, 86_400.0)
        self._token: int | None = None
        self._keeper: Any = None

    @property
    def token(self) -> int:
        """The fencing token, greater than that of every earlier holder; InvalidOperation while it is not held."""
        if self._token is None:
            raise InvalidOperation("the lock is not held")
        return self._token

    @property
    def held(self) -> bool:
        """Whether it was acquired, not released, and is not known to be lost."""
        return self._token is not None and not self.lost

    @property
    def lost(self) -> bool:
        """Whether it may have expired: the store said so, or no renewal came through in time."""
        return self._keeper is not None and bool(self._keeper.lost)

    def guard(self) -> dict[str, Any]:
        """Return what a transaction compares, so that it does nothing for a former holder."""
        return {"lock": self.name, "field": "revision", "operand": self.token}

    async def acquire(self) -> int:
        """Acquire it, waiting for as long as `wait`; return the token. Raises LockHeld."""
        if self._token is not None:
            raise InvalidOperation("the lock was acquired before: a lock has one holder")
        left_s = self._wait_s
        while True:
            step_s = min(left_s, WAIT_STEP_S)
            wait = f"{round(step_s * 1_000)}ms" if step_s >= 0.001 else None
            body = encode(without_none(owner=self._owner or "client", ttl=ttl_text(self._ttl_s), wait=wait))
            path = f"/locks/{segment(self.name)}:acquire"
            request = json_request("POST", path, body, writes=True, long=True)
            try:
                said = body_of(await self._context.send(request, max(self._context.timeout_s, step_s + 2.0)))
            except LockHeld:
                left_s -= max(step_s, 0.001)
                if left_s <= 0:
                    raise
                continue
            self._token = int(said["token"])
            renewal = encode({"token": self._token, "ttl": ttl_text(self._ttl_s)})
            again = json_request("POST", f"/locks/{segment(self.name)}:renew", renewal, writes=True, repeatable=False)
            self._keeper = await self._context.runtime.keep(again, self._ttl_s)
            return self._token

    async def release(self) -> bool:
        """Release it; return whether it was held until now."""
        if self._keeper is not None:
            await self._context.runtime.release(self._keeper)
            self._keeper = None
        if self._token is None:
            return False
        body, self._token = encode({"token": self._token}), None
        try:
            await self._context.send(json_request("POST", f"/locks/{segment(self.name)}:release", body, writes=True))
        except (LockNotHeld, NotFound):
            return False
        return True

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()
