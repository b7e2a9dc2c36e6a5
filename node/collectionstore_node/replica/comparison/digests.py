"""Decides from digests whether members hold the same state. Pure: no clock, no network, no disk.

Every member notes the digest of its state (`statemachine.digest`) at each index that is a multiple of
`CHECKPOINT_ENTRIES`, and at the last index it applied. Two members are compared at indexes that both have; a digest
covers the whole history, so equal there means equal up to there.

Invariants:
- only a majority of the voters, in both halves of a joint configuration, decides which state is right;
- what cannot be compared never counts as equal (etcd-io/etcd#13766): it is inconclusive, and after a while an alert.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from collectionstore_node.raft.messages import Configuration, Index, NodeId
from collectionstore_node.replica.persistence.checkpoints import CHECKPOINTS_MAX, Checkpoint
from collectionstore_node.statemachine.header import DIGEST_BYTES

INCONCLUSIVE_S: Final = 60.0
"""How long an active member may go without a conclusive comparison before that is an alert."""

Digests: TypeAlias = Mapping[Index, bytes]
"""Digests of a member's state by log index."""


def by_index(checkpoints: Collection[Checkpoint]) -> Digests | None:
    """Return a member's checkpoints by index, or None when no correct member would send them."""
    found = {one.index: one.digest for one in checkpoints}
    if len(found) != len(checkpoints) or len(found) > CHECKPOINTS_MAX + 1:
        return None
    well_formed = all(index >= 0 and len(digest) == DIGEST_BYTES for index, digest in found.items())
    return found if well_formed else None


@dataclass(frozen=True, slots=True)
class Split:
    """An index at which members hold different states."""

    index: Index
    sides: tuple[tuple[bytes, tuple[NodeId, ...]], ...]
    """Each digest with its members, most members first."""

    def members(self) -> list[NodeId]:
        """Return all members that have a digest there."""
        return [node_id for _, side in self.sides for node_id in side]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a comparison. A member is in at most one of `agreed`, `diverged` and `disputed`."""

    agreed: Mapping[NodeId, Index]
    """Members whose state equals that of the comparing one, and the highest index at which it does."""
    diverged: Mapping[NodeId, Split]
    """Members that differ from a majority of the voters, and where."""
    disputed: Mapping[NodeId, Split]
    """Members that differ from each other, where no majority decides."""

    def differing(self) -> dict[NodeId, Split]:
        """Return all diverged and disputed members."""
        return {**self.disputed, **self.diverged}


def compare(own: NodeId, digests: Mapping[NodeId, Digests], configuration: Configuration) -> Verdict:
    """Compare the members' digests. `own` is the comparing member and is among `digests`.

    A member that shares no index with `own` is in no part of the verdict.
    """
    diverged: dict[NodeId, Split] = {}
    for split in _splits(digests):
        for _, side in split.sides:
            if _is_majority(side, configuration):
                others = [node_id for node_id in split.members() if node_id not in side]
                diverged.update((node_id, split) for node_id in others if node_id not in diverged)
    honest = {node_id: known for node_id, known in digests.items() if node_id not in diverged}
    disputed: dict[NodeId, Split] = {}
    for split in _splits(honest):
        disputed.update((node_id, split) for node_id in split.members() if node_id not in disputed)
    agreed = {
        node_id: max(common)
        for node_id, known in honest.items()
        if node_id != own
        and node_id not in disputed
        and own in honest
        and (common := known.keys() & honest[own].keys())
    }
    return Verdict(agreed, diverged, disputed)


def _splits(digests: Mapping[NodeId, Digests]) -> list[Split]:
    """Return the indexes at which members differ, the highest first."""
    indexes = {index for known in digests.values() for index in known}
    splits = []
    for index in sorted(indexes, reverse=True):
        sides: dict[bytes, list[NodeId]] = {}
        for node_id in sorted(digests):
            if index in digests[node_id]:
                sides.setdefault(digests[node_id][index], []).append(node_id)
        if len(sides) > 1:
            ordered = sorted(sides.items(), key=lambda side: (-len(side[1]), side[0]))
            splits.append(Split(index, tuple((digest, tuple(nodes)) for digest, nodes in ordered)))
    return splits


def _is_majority(nodes: Iterable[NodeId], configuration: Configuration) -> bool:
    """Whether `nodes` hold a majority of the voters; of both halves while the configuration is joint."""
    holders = set(nodes)
    halves = [set(half) for half in (configuration.voters, configuration.outgoing) if half]
    return bool(halves) and all(2 * len(half & holders) > len(half) for half in halves)


class InconclusiveTracker:
    """How long each active member went without a conclusive comparison. `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._since: dict[NodeId, float] = {}

    def update(self, active: Collection[NodeId], compared: Collection[NodeId], now: float) -> frozenset[NodeId]:
        """Return the active members whose comparison has been inconclusive for too long."""
        waiting = [node_id for node_id in active if node_id not in compared]
        self._since = {node_id: self._since.get(node_id, now) for node_id in waiting}
        return frozenset(node_id for node_id, since in self._since.items() if now - since >= INCONCLUSIVE_S)
