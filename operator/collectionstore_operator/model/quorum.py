"""Majorities, of one configuration or of both halves of a joint one. Arithmetic only.

`in_sync` is the set of voters that can be counted on now; who that is, others decide.
"""

from __future__ import annotations

from collections.abc import Collection, Set

from collectionstore_operator.model.observed import Configuration, NodeId


def majority(voters: int) -> int:
    """Return how many of that many voters must agree; 1 for none, so that an empty set never has a quorum."""
    return voters // 2 + 1


def halves(configuration: Configuration) -> tuple[tuple[NodeId, ...], ...]:
    """Return the sets of voters that each need a majority: one, or two while joint."""
    return tuple(half for half in (configuration.voters, configuration.outgoing) if half)


def has_quorum(configuration: Configuration, in_sync: Set[NodeId]) -> bool:
    """Return whether every half has a majority of working voters. False without any voter."""
    sets = halves(configuration)
    return bool(sets) and all(_spare(half, in_sync) >= 0 for half in sets)


def fault_tolerance(configuration: Configuration, in_sync: Set[NodeId]) -> int:
    """Return how many more working voters may fail, whichever they are, before the quorum is lost; at least 0."""
    return max(0, min((_spare(half, in_sync) for half in halves(configuration)), default=0))


def full_tolerance(voters: int) -> int:
    """Return the fault tolerance of that many voters when all work: 1 of 3, 2 of 5."""
    return max(0, voters - majority(voters))


def joint(configuration: Configuration, add: Collection[NodeId], remove: Collection[NodeId]) -> Configuration:
    """Return the joint configuration that a change of voters passes through."""
    voters = tuple(sorted((set(configuration.voters) | set(add)) - set(remove)))
    learners = tuple(sorted(set(configuration.learners) - set(add) - set(remove)))
    return Configuration(
        index=configuration.index, voters=voters, outgoing=configuration.voters, learners=learners, joint=True
    )


def _spare(voters: Collection[NodeId], in_sync: Set[NodeId]) -> int:
    return len(in_sync & set(voters)) - majority(len(voters))
