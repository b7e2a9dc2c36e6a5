"""Whether members hold the same state: what each remembers of its digest, and what follows from laying them together.

Every member notes the digest of its state (`statemachine.digest`) at each index that is a multiple of
`CHECKPOINT_ENTRIES`, and at the last index it applied. Two members are compared where both have one; since a digest
covers the whole past, equal there means equal up to there. Pure: no clock, no network, no disk.

Invariants:
- a majority of the voters, in both halves of a joint configuration, decides who is right; nothing less does;
- what could not be compared never counts as equal (etcd-io/etcd#13766): it is inconclusive, and after a while an alarm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from collectionstore_node.raft.messages import Configuration, Index, NodeId
from collectionstore_node.replica.persistence.checkpoints import CHECKPOINTS_MAX, Checkpoint
from collectionstore_node.statemachine.header import DIGEST_BYTES

INCONCLUSIVE_S: Final = 60.0
"""For how long a member that is heard may stay without a comparison before that is an alarm."""

Digests: TypeAlias = Mapping[Index, bytes]
"""What a member's state was, by index."""


def by_index(checkpoints: Collection[Checkpoint]) -> Digests | None:
    """Return a member's checkpoints by index, or None when no correct member says such a thing."""
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
    """Digest and who has it, most members first."""

    def members(self) -> list[NodeId]:
        """Return everybody who has a digest there."""
        return [node_id for _, side in self.sides for node_id in side]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison shows. A member is in at most one of `agreed`, `diverged` and `disputed`."""

    agreed: Mapping[NodeId, Index]
    """Members found equal to the one that compares, and the highest index at which they are."""
    diverged: Mapping[NodeId, Split]
    """Members that differ from a majority of the voters, and where."""
    disputed: Mapping[NodeId, Split]
    """Members that differ from each other without a majority to say who is right."""

    def differing(self) -> dict[NodeId, Split]:
        """Return everybody who is not simply in agreement or unknown."""
        return {**self.disputed, **self.diverged}


def compare(own: NodeId, digests: Mapping[NodeId, Digests], configuration: Configuration) -> Verdict:
    """Lay the members' digests side by side. `own` is who compares and is among `digests`.

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


class Patience:
    """For how long each member was heard and not compared. `now` is any monotonic time in seconds."""

    def __init__(self) -> None:
        self._since: dict[NodeId, float] = {}

    def look(self, heard: Collection[NodeId], compared: Collection[NodeId], now: float) -> frozenset[NodeId]:
        """Return the members whose comparison has been inconclusive for too long."""
        waiting = [node_id for node_id in heard if node_id not in compared]
        self._since = {node_id: self._since.get(node_id, now) for node_id in waiting}
        return frozenset(node_id for node_id, since in self._since.items() if now - since >= INCONCLUSIVE_S)
