"""Digests of the applied state at regular log indexes, kept in memory for comparison with other members."""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_node.raft.messages import Index
from collectionstore_node.statemachine.levels import FIRST

CHECKPOINT_ENTRIES: Final = 256
"""Interval of checkpoints in entries; the same on all members, or they would have no index in common."""


CHECKPOINTS_MAX: Final = 256
"""Checkpoints kept: a member may lag 65,536 entries behind another and still be compared with it."""


class Checkpoint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The digest of a state to which exactly the entries up to `index` were applied."""

    index: Index
    digest: bytes
    supports: int = FIRST
    """The highest feature level that the member supports; versions without feature levels do not send it."""


class Checkpoints:
    """The checkpoints of one member. Empty at the start and after a snapshot was installed."""

    def __init__(self) -> None:
        self._kept: dict[Index, bytes] = {}

    def passed(self, index: Index, digest: bytes) -> None:
        """Record the digest at a multiple of CHECKPOINT_ENTRIES."""
        self._kept[index] = digest
        if len(self._kept) > CHECKPOINTS_MAX:
            del self._kept[next(iter(self._kept))]

    def with_head(self, index: Index, digest: bytes) -> tuple[Checkpoint, ...]:
        """Return the checkpoints, with the current digest at `index`."""
        known = {**self._kept, index: digest}
        return tuple(Checkpoint(at, found) for at, found in known.items())
