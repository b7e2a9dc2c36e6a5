"""Majorities, simple and joint: which index is committed, and how a vote ended.

Works on sets of node IDs only; terms, logs and roles are up to the caller. A joint decision needs a majority of both
sets (thesis 4.3). An empty set has no veto, so a configuration that is not joint passes `()`.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import Final

from collectionstore_node.raft.messages import Index, NodeId

MAX_INDEX: Final = Index(2**63 - 1)
"""The committed index of an empty set of voters: above every real index, so that the other set decides."""


class VoteResult(enum.Enum):
    """State of a vote."""

    PENDING = "Pending"
    WON = "Won"
    LOST = "Lost"


def committed_index(
    match_index: Mapping[NodeId, Index], voters: Collection[NodeId], outgoing: Collection[NodeId] = ()
) -> Index:
    """Return the highest index that a majority of `voters`, and one of `outgoing`, has stored durably.

    A voter absent from `match_index` counts as 0. No voters at all return MAX_INDEX. The caller checks the entry's
    term. Source: Raft 5.3, 5.4.2; thesis 4.3.
    """
    index = _majority_index(match_index, voters)
    return min(index, _majority_index(match_index, outgoing)) if outgoing else index


def _majority_index(match_index: Mapping[NodeId, Index], voters: Collection[NodeId]) -> Index:
    if not voters:
        return MAX_INDEX
    # Sorting is the whole point: the middle of an unsorted list committed without a quorum
    # (databendlabs/openraft#1802).
    indexes = sorted([match_index.get(voter, Index(0)) for voter in voters])
    # Ascending, so this one and all after it, 2 of 3 or 3 of 4, are a majority that stores at least this index.
    return indexes[(len(indexes) - 1) // 2]


def vote_result(
    votes: Mapping[NodeId, bool], voters: Collection[NodeId], outgoing: Collection[NodeId] = ()
) -> VoteResult:
    """Return the current result of a vote; votes of nodes that are not voters do not count.

    LOST as soon as one of the two sets can no longer reach a majority. WON without any voters.
    """
    results = (_majority_vote(votes, voters), _majority_vote(votes, outgoing))
    if VoteResult.LOST in results:
        return VoteResult.LOST
    if VoteResult.PENDING in results:
        return VoteResult.PENDING
    return VoteResult.WON


def _majority_vote(votes: Mapping[NodeId, bool], voters: Collection[NodeId]) -> VoteResult:
    if not voters:
        return VoteResult.WON
    needed = len(voters) // 2 + 1
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if granted >= needed:
        return VoteResult.WON
    if len(voters) - refused < needed:
        return VoteResult.LOST
    return VoteResult.PENDING
