"""`RightsOfNow`: where the door asks what a caller may do, by the state that this member has applied."""

from __future__ import annotations

from typing import Final, Protocol

from collectionstore_node.access.callers import Caller
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.rights import Rights

EVERYTHING: Final = Rights((), mode=Mode.DISABLED, revision=0)
"""The rights of everyone while access control is off."""


class RightsOfNow(Protocol):
    """The access control of a store. Belongs to one event loop."""

    @property
    def enabled(self) -> bool:
        """Whether anything is asked: access control is enforced, or permissive."""

    @property
    def revision(self) -> int:
        """The access revision of the applied state; 0 where access control was never configured."""

    def rights_of(self, caller: Caller | None) -> Rights:
        """Return what a caller may do in the applied state; None has no rights."""


class Unlocked:
    """Implements `RightsOfNow` for a store without access control."""

    enabled = False
    revision = 0

    def rights_of(self, caller: Caller | None) -> Rights:
        """Return everything."""
        return EVERYTHING
