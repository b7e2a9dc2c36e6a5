"""Majorities against brute force and against worked examples (etcd-io/raft `quorum/testdata`)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.raft.messages import Index, NodeId
from collectionstore_node.raft.tracker.quorum import MAX_INDEX, VoteResult, committed_index, vote_result

NODES = [NodeId(n) for n in range(1, 8)]
voter_sets = st.sets(st.sampled_from(NODES), max_size=7).map(sorted)
match_indexes = st.dictionaries(st.sampled_from(NODES), st.integers(0, 9).map(Index))
vote_maps = st.dictionaries(st.sampled_from(NODES), st.booleans())


def brute_committed(match: dict[NodeId, Index], voters: list[NodeId]) -> int:
    """Try every index: the highest that more than half of the voters have reached."""
    if not voters:
        return MAX_INDEX
    return max(i for i in range(10) if 2 * sum(match.get(v, 0) >= i for v in voters) > len(voters))


def brute_vote(votes: dict[NodeId, bool], voters: list[NodeId]) -> VoteResult:
    """Complete the missing votes in the best and in the worst way."""
    wins = [2 * sum(votes.get(v, missing) for v in voters) > len(voters) or not voters for missing in (False, True)]
    return {(True, True): VoteResult.WON, (False, True): VoteResult.PENDING, (False, False): VoteResult.LOST}[
        (wins[0], wins[1])
    ]


@settings(max_examples=300)
@given(match_indexes, voter_sets)
def test_committed_index_is_what_a_majority_holds(match: dict[NodeId, Index], voters: list[NodeId]) -> None:
    """Raft 5.3; S14: a scan over unsorted indexes committed without a quorum (databendlabs/openraft#1802)."""
    assert committed_index(match, voters) == brute_committed(match, voters)


@settings(max_examples=300)
@given(match_indexes, voter_sets, voter_sets)
def test_joint_committed_index_needs_both_majorities(
    match: dict[NodeId, Index], voters: list[NodeId], outgoing: list[NodeId]
) -> None:
    """Thesis 4.3."""
    expected = min(brute_committed(match, voters), brute_committed(match, outgoing))
    assert committed_index(match, voters, outgoing) == expected


@settings(max_examples=300)
@given(vote_maps, voter_sets, voter_sets)
def test_joint_vote_needs_both_majorities(
    votes: dict[NodeId, bool], voters: list[NodeId], outgoing: list[NodeId]
) -> None:
    """Thesis 4.3: lost as soon as one half cannot be won, won only when both are."""
    halves = {brute_vote(votes, voters), brute_vote(votes, outgoing)}
    for result in (VoteResult.LOST, VoteResult.PENDING, VoteResult.WON):
        if result in halves:
            assert vote_result(votes, voters, outgoing) is result
            return


@settings(max_examples=100)
@given(match_indexes, voter_sets)
def test_committed_index_ignores_strangers(match: dict[NodeId, Index], voters: list[NodeId]) -> None:
    own = {node: index for node, index in match.items() if node in voters}
    assert committed_index(match, voters) == committed_index(own, voters)


@pytest.mark.parametrize(
    ("match", "voters", "outgoing", "expected"),
    [
        ({}, [], [], MAX_INDEX),
        ({}, [1], [], 0),
        ({1: 12}, [1], [], 12),
        ({1: 5, 2: 12}, [1, 2], [], 5),
        ({1: 5, 2: 6}, [1, 2, 3], [], 5),
        ({1: 100, 2: 101, 3: 103, 4: 104}, [1, 2, 3, 4], [], 101),
        ({1: 100, 2: 101, 3: 103, 4: 103, 5: 104}, [1, 2, 3, 4, 5], [], 103),
        ({1: 12, 2: 5, 3: 6}, [1, 2], [1, 3], 5),
        ({1: 12, 2: 12}, [1, 2], [3, 4], 0),
        ({1: 12, 2: 12, 3: 9}, [1], [2, 3], 9),
    ],
)
def test_committed_index_examples(
    match: dict[NodeId, Index], voters: list[NodeId], outgoing: list[NodeId], expected: int
) -> None:
    assert committed_index(match, voters, outgoing) == expected


@pytest.mark.parametrize(
    ("votes", "voters", "outgoing", "expected"),
    [
        ({}, [], [], VoteResult.WON),
        ({}, [1], [], VoteResult.PENDING),
        ({1: False}, [1], [], VoteResult.LOST),
        ({1: True}, [1, 2, 3], [], VoteResult.PENDING),
        ({1: True, 3: True}, [1, 2, 3], [], VoteResult.WON),
        ({1: False, 2: False}, [1, 2, 3, 4], [], VoteResult.LOST),
        ({1: True, 2: True}, [1, 2, 3, 4], [], VoteResult.PENDING),
        ({1: True, 2: True, 3: False}, [1, 2], [3], VoteResult.LOST),
        ({1: True, 2: True}, [1, 2], [1, 3], VoteResult.PENDING),
    ],
)
def test_vote_result_examples(
    votes: dict[NodeId, bool], voters: list[NodeId], outgoing: list[NodeId], expected: VoteResult
) -> None:
    assert vote_result(votes, voters, outgoing) is expected
