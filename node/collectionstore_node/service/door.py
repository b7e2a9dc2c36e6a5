"""`Door`: what every operation passes before it reaches the replica, and the state that it may see behind it.

Rights are those of the caller of what runs (`access.current.CALLER`), by the state that is read: an operation is
refused where it enters, lest it cost anything, and asked again behind what it has waited for, where its state is taken.
Commands carry the access revision by which they were allowed, and are refused with ACCESS_CHANGED if it is another one
when they are applied.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.current import CALLER
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.policy import Policy
from collectionstore_node.access.rights import DocumentView, Rights
from collectionstore_node.errors import Forbidden, NotNow
from collectionstore_node.service.admission import WriteAdmission
from collectionstore_node.service.authorization import authorize
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
from collectionstore_node.service.policies import AppliedPolicy
from collectionstore_node.service.refusals import Refusals
from collectionstore_node.service.results import Code, Outcome, ReadResult
from collectionstore_node.service.seeing import AT_ONCE_BYTES_MAX, Unseen, seen_stored
from collectionstore_node.service.store_replica import StoreReplica
from collectionstore_node.service.turns import Turns
from collectionstore_node.service.viewed_commands import answered, restricted
from collectionstore_node.statemachine.commands import Command
from collectionstore_node.statemachine.reads import get_document, get_key
from collectionstore_node.statemachine.view import View

_OWNED: Final = "user:"
"""Begins the idempotency keys of users, as they are stored."""
AUTHORIZED_MAX: Final = 8
"""How often a command is allowed and proposed whose access revision is another one when it is applied."""


class Propose(Protocol):
    """How a part of a `Store` makes a command: the store admits it, counts it in and waits for its outcome."""

    def __call__(
        self, action: Action, key: str | None, timeout_s: float, *, request: bytes | None = None
    ) -> Awaitable[Outcome]:
        """Return the outcome. `request` stands for the action in the fingerprint. Raises `NotNow`, `OutcomeUnknown`."""


class Door:
    """What the parts of a `Store` share. Belongs to one event loop."""

    __slots__ = ("_check", "_last", "access", "limits", "refusals", "replica", "stream_writes", "turns", "writes")

    def __init__(
        self,
        replica: StoreReplica,
        limits: StoreLimits,
        clock: Callable[[], float],
        check: Callable[[Operation, StoreLimits], None],
        access: AppliedPolicy | None = None,
    ) -> None:
        """`check` raises what refuses an operation; `clock` is monotonic, in seconds.

        `access` knows the rights; without it those are asked for that the state configures.
        """
        self._check = check
        self.access = AppliedPolicy(replica, Mode.DISABLED) if access is None else access
        self._last: tuple[Policy, Caller | None, Rights] | None = None
        self.refusals = Refusals(clock)
        """What was refused for rights."""
        self.replica = replica
        self.limits = limits
        self.turns = Turns()
        self.writes = WriteAdmission(clock, writes_max=limits.inflight_writes_max)
        """The writes in flight, and how many there may be."""
        self.stream_writes = WriteAdmission(clock, writes_max=limits.inflight_stream_writes_max)
        """Those of pipelined streams."""

    # Rights

    def admit(self, operation: Operation) -> None:
        """Reject an operation that is not allowed. Every operation passes here, and a rejected one has no effect.

        That means limits and the rights of its caller. Raises `Forbidden`.
        """
        self._check(operation, self.limits)
        policy = self.access.policy()
        if policy.mode is not Mode.DISABLED:
            self._authorize(operation, policy)

    def _authorize(self, operation: Operation, policy: Policy) -> None:
        caller = CALLER.get()
        rights = self._rights_of(policy, caller)
        if rights.unrestricted:
            return
        try:
            authorize(operation, rights, caller)
        except Forbidden as error:
            enforced = policy.mode is Mode.ENFORCED
            self.refusals.note(error, "" if caller is None else caller.user, permitted=not enforced)
            if enforced:
                raise

    def _rights_of(self, policy: Policy, caller: Caller | None) -> Rights:
        """Return what a caller may do; the last answer is kept, as a connection asks again and again."""
        last = self._last
        if last is not None and last[0] is policy and last[1] is caller:
            return last[2]
        rights = policy.rights(caller)
        self._last = policy, caller, rights
        return rights

    def limited(self) -> Rights | None:
        """Return the rights of the caller in the applied state if they are enforced, and not everything; else None."""
        policy = self.access.policy()
        if policy.mode is not Mode.ENFORCED:
            return None
        rights = self._rights_of(policy, CALLER.get())
        return None if rights.unrestricted else rights

    def asked(self, operation: Any) -> Rights | None:
        """Return the rights of the caller where the state of a read is taken; None for everything.

        Raises `Forbidden` if it is not allowed any more. What would be refused is not noted a second time.
        """
        rights = self.limited()
        if rights is not None:
            authorize(operation, rights, CALLER.get())
        return rights

    def view_of(self, collection: str) -> DocumentView | None:
        """Return what the caller sees of the documents of a collection; None for everything."""
        rights = self.limited()
        return None if rights is None else rights.view(collection)

    def key(self, key: str | None) -> str | None:
        """Return the idempotency key of a client as it is stored: that of one caller is no other's.

        Keys of a store without access control, and of anonymous callers, are stored as they are.
        """
        if key is None or not self.access.enabled:
            return key
        caller = CALLER.get()
        user = "" if caller is None or caller.method is Method.ANONYMOUS else caller.user
        if not user and not key.startswith(_OWNED):
            return key
        # Of a user, or one that looks like it: no anonymous caller names the key of a user.
        return _OWNED + hashlib.sha256(f"{user}\0{key}".encode()).hexdigest()

    @property
    def user(self) -> str:
        """Name of the user whose consumers and tickets are at hand; empty where they are everyone's."""
        caller = CALLER.get() if self.access.enabled else None
        return "" if caller is None or caller.method is Method.ANONYMOUS else caller.user

    def command(self, command: Command) -> Command:
        """Return a command with what it is applied under: the access revision, and the views of its caller."""
        policy = self.access.policy()
        if policy.mode is not Mode.ENFORCED:
            return command
        rights, action = self._rights_of(policy, CALLER.get()), command.action
        if not rights.unrestricted:
            action = restricted(action, rights)
        return Command(action, command.idempotency, policy.revision)

    async def proposed_again(
        self, action: Action, made: Callable[[], Command], refused: Outcome, timeout_s: float
    ) -> Outcome:
        """Propose a command again that was refused because rights have changed, if it is allowed by what they are now.

        `made` makes the command anew. Bounded: raises `NotNow` if they change each time, `Forbidden`, and what
        proposing raises. None of those that were refused has had an effect.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        outcome = refused
        for _ in range(AUTHORIZED_MAX):
            # This member may be behind the one that applied it.
            await self.replica.revision_barrier(outcome.revision, timeout_s=max(0.0, deadline - clock()))
            self.admit(action)
            outcome = await self.replica.propose(made(), timeout_s=max(0.001, deadline - clock()))
            if outcome.code is not Code.ACCESS_CHANGED:
                return outcome
        raise NotNow("users or roles were changed each time that the request was allowed")

    def answered(self, action: Action, outcome: Outcome) -> Outcome:
        """Return an outcome as its caller may see it: documents by its views, and no names of hidden ones."""
        rights = self.limited()
        return outcome if rights is None else answered(action, outcome, rights)

    # State

    async def view(self, operation: Operation, consistency: ReadConsistency, timeout_s: float) -> View:
        """Admit a read and return the state it may see. The caller reads it and the revision without an await."""
        self.admit(operation)
        asked_at = self.access.revision
        await self.confirm(consistency, timeout_s)
        self.admit_again(operation, asked_at)
        return self.replica.view

    def admit_again(self, operation: Operation, asked_at: int) -> None:
        """Ask again behind a pause, by the state that is read, if rights have changed since. Raises `Forbidden`."""
        policy = self.access.policy()
        if policy.revision != asked_at and policy.mode is not Mode.DISABLED:
            self._authorize(operation, policy)

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

    def read_now(self, target: Read) -> ReadResult | Unseen:
        """Read what this node has applied. Raises `InvalidRequest("collection_not_found")` and `Forbidden`.

        A large document that its caller may not see as it is comes back unseen.
        """
        # No await here: rights, value and revision belong to the same state.
        rights = self.asked(target)
        replica = self.replica
        if isinstance(target, DocumentRef):
            stored = get_document(replica.view, target.collection, target.id)
            view = None if rights is None or stored is None else rights.view(target.collection)
            if view is not None and stored is not None:
                if len(stored.value) > AT_ONCE_BYTES_MAX:
                    return Unseen(view, target.id, stored, replica.revision)
                stored = seen_stored(view, target.id, stored)
        else:
            stored = get_key(replica.view, target.bucket, target.key)
        if stored is not None:
            self.turns.read(len(stored.value))
        return ReadResult(stored, replica.revision)
