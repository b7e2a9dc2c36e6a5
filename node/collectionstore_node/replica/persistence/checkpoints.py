"""Digests of the applied state at regular log indexes, kept in memory for comparison with other members."""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_node.raft.messages import Index

CHECKPOINT_ENTRIES: Final = 256
"""Every so many entries a digest is noted; the same on all members, or they would have nothing in common."""


CHECKPOINTS_MAX: Final = 256
"""How many are kept: a member may lag 65,536 entries behind another and still be compared with it."""


class Checkpoint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The digest of a state to which exactly the entries up to `index` were applied."""

    index: Index
    digest: bytes


class Checkpoints:
    """What one member remembers of its own digests. Begins anew when the state comes from disk or from a snapshot."""

    def __init__(self) -> None:
        self._kept: dict[Index, bytes] = {}

    def passed(self, index: Index, digest: bytes) -> None:
        """Note the digest at a multiple of CHECKPOINT_ENTRIES."""
        self._kept[index] = digest
        if len(self._kept) > CHECKPOINTS_MAX:
            del self._kept[next(iter(self._kept))]

    def with_head(self, index: Index, digest: bytes) -> tuple[Checkpoint, ...]:
        """Return what is kept, and where the state is now."""
        known = {**self._kept, index: digest}
        return tuple(Checkpoint(at, found) for at, found in known.items())
