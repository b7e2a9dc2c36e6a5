"""`AppliedLimits`: the limits of users and collections, by the access control that this member has applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from collectionstore_node.access.limits import CollectionLimits, UserLimits
from collectionstore_node.service.access import Access

LOOK_S: Final = 0.25
"""How soon other limits are in force."""


class AppliedLimits:
    """Implements `quotas.Limits`. Belongs to one event loop."""

    __slots__ = ("_access", "_clock", "_collections", "_looked", "revision")

    def __init__(self, access: Access, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._access = access
        self._clock = clock
        self._looked = float("-inf")
        self._collections: dict[str, CollectionLimits] = {}
        self.revision = 0
        """The access revision; 0 where access control was never used."""

    def current(self) -> AppliedLimits | None:
        """Return those that are in force now; None where access control was never used, and so no limit was set."""
        now = self._clock()
        # Not for each request: while writes are applied, it takes a read of the state each time.
        if now - self._looked >= LOOK_S:
            self._looked = now
            revision = self._access.revision
            if revision != self.revision:
                self._collections = {one.collection: one for one in self._access.configuration.collection_limits}
                self.revision = revision
        return self if self.revision else None

    def of_user(self, user: str) -> UserLimits:
        """Return the limits of a user: its own, else those of all."""
        found = self._access.user(user)
        own = None if found is None else found.user().limits
        return self._access.configuration.limits if own is None else own

    def of_collection(self, name: str) -> CollectionLimits | None:
        """Return the limits of a collection, None if it has none."""
        return self._collections.get(name)
