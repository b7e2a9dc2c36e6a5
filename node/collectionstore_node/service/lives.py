"""How long something is there that is written: a ttl, or as long as a lease."""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_node.statemachine.commands import Expiring, Put, Ref, Touch, Update
from collectionstore_node.statemachine.commands import Precondition as _Precondition
from collectionstore_node.statemachine.costs import LEASE_RECORDS_MAX, LEASES_MAX, TTL_MAX_MS, TTL_MIN_MS

__all__ = ["FOR_EVER", "LEASES_MAX", "LEASE_RECORDS_MAX", "TTL_MAX_MS", "TTL_MIN_MS", "Life", "living"]


class Life(msgspec.Struct, frozen=True, gc=False):
    """A ttl in milliseconds, or the ID of a lease; neither for what does not expire."""

    ttl_ms: int = 0
    lease: int = 0

    def of(self, write: Put | Update) -> Expiring:
        """Return a write of something that lives so long."""
        return Expiring(write, self.ttl_ms, self.lease)

    def touch(self, ref: Ref, precondition: _Precondition) -> Touch:
        """Return the command that gives something so long to live."""
        return Touch(ref, self.ttl_ms, self.lease, precondition)


FOR_EVER: Final = Life()


def living(life: Life | None, write: Put | Update) -> Put | Update | Expiring:
    """Return a write of something that lives so long; None where a request does not say it."""
    return write if life is None else life.of(write)
