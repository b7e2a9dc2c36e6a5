"""How long something is there that is written: a ttl, or as long as a lease."""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_node.errors import InvalidRequest
from collectionstore_node.statemachine.commands import Expiring, Insert, Put, Ref, Touch, Update
from collectionstore_node.statemachine.commands import Precondition as _Precondition
from collectionstore_node.statemachine.costs import LEASE_RECORDS_MAX, LEASES_MAX, TTL_MAX_MS, TTL_MIN_MS
from collectionstore_node.statemachine.ttl import TTL, TTL_ALLOWED, parse_ttl

__all__ = [
    "FOR_EVER",
    "LEASES_MAX",
    "LEASE_RECORDS_MAX",
    "TTL",
    "TTL_ALLOWED",
    "TTL_MAX_MS",
    "TTL_MIN_MS",
    "Life",
    "living",
    "parse_ttl",
]


class Life(msgspec.Struct, frozen=True, gc=False):
    """A ttl in milliseconds, or the ID of a lease; neither for what does not expire."""

    ttl_ms: int = 0
    lease: int = 0

    def of(self, write: Put | Update) -> Expiring:
        """Return a write of something that lives so long."""
        return Expiring(write, self.ttl_ms, self.lease)

    def of_new(self, action: Put | Insert) -> Expiring:
        """Return the same for a new document. Raises `InvalidRequest` for one of a sequence."""
        if isinstance(action, Insert):
            raise InvalidRequest(
                "invalid_ttl", "a document of a sequence takes a ttl from its collection, or by :touch"
            )
        return self.of(action)

    def touch(self, ref: Ref, precondition: _Precondition) -> Touch:
        """Return the command that gives something so long to live."""
        return Touch(ref, self.ttl_ms, self.lease, precondition)


FOR_EVER: Final = Life()


def living(life: Life | None, write: Put | Update) -> Put | Update | Expiring:
    """Return a write of something that lives so long; None where a request does not say it."""
    return write if life is None else life.of(write)
