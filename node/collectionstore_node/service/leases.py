"""`Leases`: granting, keeping, revoking and reading leases."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from itertools import islice

from collectionstore_node.access.rights import Rights
from collectionstore_node.access.verbs import Verb
from collectionstore_node.service.authorization import resource_of
from collectionstore_node.service.door import Door, Propose
from collectionstore_node.service.idempotency import request_text
from collectionstore_node.service.operations import (
    GrantLease,
    KeepLease,
    KeyRef,
    ListLeases,
    ReadConsistency,
    ReadLease,
    Ref,
    RevokeAttached,
    RevokeLease,
)
from collectionstore_node.service.results import LeaseInfo, LeaseResult, ListResult, Outcome
from collectionstore_node.service.turns import Work
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.leases import read_lease, scan_attached, scan_leases
from collectionstore_node.statemachine.reads import STEP_ITEMS
from collectionstore_node.statemachine.view import View

ATTACHED_SHOWN_MAX = 1_000
"""References of one lease that are shown."""


class Leases:
    """The leases of a store: part of `Store`, whose errors they raise."""

    __slots__ = ("_door", "_propose")

    def __init__(self, door: Door, propose: Propose) -> None:
        self._door = door
        self._propose = propose

    def grant(self, ttl_ms: int, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Grant a lease; its ID is the revision of the outcome. Raises `OutcomeUnknown`."""
        return self._propose(GrantLease(ttl_ms), key, timeout_s)

    def keep(self, lease: int, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Keep a lease alive for its whole ttl from now on. Raises `OutcomeUnknown`."""
        return self._propose(KeepLease(lease), key, timeout_s)

    def revoke(self, lease: int, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """End a lease, and with it all that is attached. Raises `OutcomeUnknown`.

        A caller who may not write everything names what it may write of that: the outcome is ACCESS_DOCUMENT if there
        is more.
        """
        self._door.admit(RevokeLease(lease))
        rights = self._door.limited()
        action: RevokeLease | RevokeAttached = RevokeLease(lease)
        if rights is not None:
            action = _of_own(self._door.replica.view, lease, rights)
        return self._propose(action, key, timeout_s, request=request_text(RevokeLease(lease)))

    async def read(self, request: ReadLease, *, consistency: ReadConsistency, timeout_s: float) -> LeaseResult:
        """Return a lease with the first of what is attached, None if it has ended."""
        view = await self._door.view(request, consistency, timeout_s)
        revision, found = self._door.replica.revision, _info(view, request.lease)
        attached: tuple[Ref, ...] = ()
        if found is not None and request.attached:
            rights = self._door.limited()
            refs = (ref for _, ref in scan_attached(view, request.lease))
            seen = (ref for ref in refs if rights is None or rights.allows(Verb.READ, *resource_of(ref)))
            attached = tuple(islice(seen, ATTACHED_SHOWN_MAX))
        return LeaseResult(found, attached, revision)

    async def page(
        self, request: ListLeases, *, consistency: ReadConsistency, timeout_s: float
    ) -> ListResult[LeaseInfo]:
        """Return one page of the leases that have not ended, by ID. `next_after` is a decimal number."""
        await self._door.view(request, consistency, timeout_s)
        return await self._door.turns.run(Work.LIST, self._page(request), timeout_s=timeout_s)

    def _page(self, request: ListLeases) -> Generator[None, None, ListResult[LeaseInfo]]:
        replica = self._door.replica
        view, revision = replica.view, replica.revision
        time_ms, items = read_header(view).time_ms, list[LeaseInfo]()
        for looked, (number, lease) in enumerate(scan_leases(view, request.after), 1):
            if lease.deadline_ms > time_ms:
                if len(items) == request.limit:
                    return ListResult(tuple(items), str(items[-1].id), revision)
                items.append(LeaseInfo(number, lease.ttl_ms, lease.deadline_ms - time_ms, lease.attached))
            if looked % STEP_ITEMS == 0:
                yield
        return ListResult(tuple(items), None, revision)


def _of_own(view: View, lease: int, rights: Rights) -> RevokeAttached:
    """Return the command that ends a lease if nothing is attached but what the caller may write all of."""
    collections: set[str] = set()
    buckets: set[str] = set()
    for _, ref in scan_attached(view, lease):
        if not rights.allows(Verb.WRITE, *resource_of(ref)):
            continue
        if isinstance(ref, KeyRef):
            buckets.add(ref.bucket)
        elif rights.view(ref.collection, Verb.WRITE) is None:
            collections.add(ref.collection)
    return RevokeAttached(lease, tuple(sorted(collections)), tuple(sorted(buckets)))


def _info(view: View, number: int) -> LeaseInfo | None:
    lease = read_lease(view, number)
    left_ms = 0 if lease is None else lease.deadline_ms - read_header(view).time_ms
    if lease is None or left_ms <= 0:
        return None
    return LeaseInfo(number, lease.ttl_ms, left_ms, lease.attached)
