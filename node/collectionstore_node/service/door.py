"""`Door`: what every operation passes before it reaches the replica, and the state that it may see behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from collectionstore_node.service.admission import WriteAdmission
from collectionstore_node.service.limits import StoreLimits
from collectionstore_node.service.operations import (
    Action,
    BoundedStaleness,
    Consistency,
    DocumentRef,
    Operation,
    Read,
    ReadConsistency,
    ReadPoint,
)
from collectionstore_node.service.results import Outcome, ReadResult
from collectionstore_node.service.store_replica import StoreReplica
from collectionstore_node.service.turns import Turns
from collectionstore_node.statemachine.reads import get_document, get_key
from collectionstore_node.statemachine.view import View


class Propose(Protocol):
    """How a part of a `Store` makes a command: the store admits it, counts it in and waits for its outcome."""

    def __call__(
        self, action: Action, key: str | None, timeout_s: float, *, request: bytes | None = None
    ) -> Awaitable[Outcome]:
        """Return the outcome. `request` stands for the action in the fingerprint. Raises `NotNow`, `OutcomeUnknown`."""


class Door:
    """What the parts of a `Store` share. Belongs to one event loop."""

    __slots__ = ("_check", "limits", "replica", "stream_writes", "turns", "writes")

    def __init__(
        self,
        replica: StoreReplica,
        limits: StoreLimits,
        clock: Callable[[], float],
        check: Callable[[Operation, StoreLimits], None],
    ) -> None:
        """`check` raises what refuses an operation; `clock` is monotonic, in seconds."""
        self._check = check
        self.replica = replica
        self.limits = limits
        self.turns = Turns()
        self.writes = WriteAdmission(clock, writes_max=limits.inflight_writes_max)
        """The writes in flight, and how many there may be."""
        self.stream_writes = WriteAdmission(clock, writes_max=limits.inflight_stream_writes_max)
        """Those of pipelined streams."""

    def admit(self, operation: Operation) -> None:
        """Reject an operation that is not allowed. Every operation passes here, and a rejected one has no effect.

        Today that means limits. Authentication, authorization, audit and quotas are applied here when they come: here
        the operation and its target are known, and neither consensus nor state has been touched.
        """
        self._check(operation, self.limits)

    async def view(self, operation: Operation, consistency: ReadConsistency, timeout_s: float) -> View:
        """Admit a read and return the state it may see. The caller reads it and the revision without an await."""
        self.admit(operation)
        await self.confirm(consistency, timeout_s)
        return self.replica.view

    async def confirm(self, consistency: ReadConsistency, timeout_s: float) -> None:
        """Return when reads that began before the call are as current; one confirmation serves any number of them.

        Of a pinned revision, once it is applied here: it is the same on every member.
        """
        if isinstance(consistency, ReadPoint):
            clock = asyncio.get_running_loop().time
            deadline = clock() + timeout_s
            if consistency.at_revision is None:
                await self.confirm(consistency.consistency, timeout_s)
            revision = consistency.min_revision if consistency.at_revision is None else consistency.at_revision
            await self.replica.revision_barrier(revision, timeout_s=max(0.0, deadline - clock()))
        elif consistency is Consistency.LINEARIZABLE:
            await self.replica.read_barrier(timeout_s=timeout_s)
        else:
            bound_s = consistency.max_s if isinstance(consistency, BoundedStaleness) else None
            await self.replica.stale_barrier(bound_s, timeout_s=timeout_s)

    def read_now(self, target: Read) -> ReadResult:
        """Read what this node has applied. Raises `InvalidRequest("collection_not_found")`."""
        # No await here: value and revision belong to the same state.
        replica = self.replica
        if isinstance(target, DocumentRef):
            stored = get_document(replica.view, target.collection, target.id)
        else:
            stored = get_key(replica.view, target.bucket, target.key)
        if stored is not None:
            self.turns.read(len(stored.value))
        return ReadResult(stored, replica.revision)
