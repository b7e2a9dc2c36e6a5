"""Quorum arithmetic for a configuration or for both halves of a joint one.

`in_sync` is the set of voters that count towards a quorum now; `assessment` determines it.
"""

from __future__ import annotations

from collections.abc import Collection, Set

from collectionstore_operator.model.observed import Configuration, NodeId


def majority(voters: int) -> int:
    """Return the majority of a number of voters; 1 for no voters, so that an empty set never has a quorum."""
    return voters // 2 + 1


def halves(configuration: Configuration) -> tuple[tuple[NodeId, ...], ...]:
    """Return the sets of voters that each need a majority: one, or two while joint. Source: Raft thesis 4.3."""
    return tuple(half for half in (configuration.voters, configuration.outgoing) if half)


def has_quorum(configuration: Configuration, in_sync: Set[NodeId]) -> bool:
    """Return whether every half has a majority of in-sync voters. False without voters."""
    # An empty configuration has no halves, and all() of nothing is true: without the first term it would have a quorum.
    sets = halves(configuration)
    return bool(sets) and all(_spare(half, in_sync) >= 0 for half in sets)


def fault_tolerance(configuration: Configuration, in_sync: Set[NodeId]) -> int:
    """Return how many further in-sync voters can fail, whichever they are, without losing the quorum; at least 0."""
    # min, not sum: the half with the fewest spare voters loses its majority first, and both majorities are needed.
    return max(0, min((_spare(half, in_sync) for half in halves(configuration)), default=0))


def full_tolerance(voters: int) -> int:
    """Return the fault tolerance of a number of voters that are all in sync: 1 of 3, 2 of 5."""
    return max(0, voters - majority(voters))


def joint(configuration: Configuration, add: Collection[NodeId], remove: Collection[NodeId]) -> Configuration:
    """Return the joint configuration of a change of voters."""
    voters = tuple(sorted((set(configuration.voters) | set(add)) - set(remove)))
    learners = tuple(sorted(set(configuration.learners) - set(add) - set(remove)))
    return Configuration(
        index=configuration.index, voters=voters, outgoing=configuration.voters, learners=learners, joint=True
    )


def _spare(voters: Collection[NodeId], in_sync: Set[NodeId]) -> int:
    return len(in_sync & set(voters)) - majority(len(voters))
