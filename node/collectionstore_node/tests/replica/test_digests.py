"""What laying digests together shows: tables of who holds what, and properties over random holdings."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.raft.messages import Configuration, Index, NodeId
from collectionstore_node.replica.comparison.digests import (
    INCONCLUSIVE_S,
    InconclusiveTracker,
    Verdict,
    by_index,
    compare,
)
from collectionstore_node.replica.persistence.checkpoints import (
    CHECKPOINT_ENTRIES,
    CHECKPOINTS_MAX,
    Checkpoint,
    Checkpoints,
)

GOOD, BAD, WORSE = b"g" * 32, b"b" * 32, b"w" * 32
THREE = Configuration(voters=(NodeId(1), NodeId(2), NodeId(3)))
FIVE = Configuration(voters=tuple(NodeId(voter) for voter in range(1, 6)))
WITH_LEARNERS = Configuration(voters=(NodeId(1),), learners=(NodeId(2), NodeId(3), NodeId(4)))
JOINT = Configuration(
    voters=(NodeId(1), NodeId(2), NodeId(3)), outgoing=(NodeId(3), NodeId(4), NodeId(5)), auto_leave=True
)

Holdings = Mapping[int, Mapping[int, bytes]]


def verdict_of(holdings: Holdings, configuration: Configuration = THREE, own: int = 1) -> Verdict:
    digests = {
        NodeId(node_id): {Index(index): digest for index, digest in known.items()}
        for node_id, known in holdings.items()
    }
    return compare(NodeId(own), digests, configuration)


def summary(verdict: Verdict) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
    """Return who agreed, diverged and is disputed, each with the index."""
    return (
        {int(node_id): int(index) for node_id, index in verdict.agreed.items()},
        {int(node_id): int(split.index) for node_id, split in verdict.diverged.items()},
        {int(node_id): int(split.index) for node_id, split in verdict.disputed.items()},
    )


CASES: list[tuple[str, Configuration, Holdings, tuple[dict[int, int], dict[int, int], dict[int, int]]]] = [
    ("all equal", THREE, {1: {5: GOOD}, 2: {5: GOOD}, 3: {5: GOOD}}, ({2: 5, 3: 5}, {}, {})),
    ("equal at different indexes", THREE, {1: {4: GOOD, 5: BAD}, 2: {4: GOOD}, 3: {5: BAD}}, ({2: 4, 3: 5}, {}, {})),
    ("highest common index", THREE, {1: {1: BAD, 4: GOOD}, 2: {1: BAD, 4: GOOD, 9: BAD}}, ({2: 4}, {}, {})),
    ("follower differs", THREE, {1: {5: GOOD}, 2: {5: BAD}, 3: {5: GOOD}}, ({3: 5}, {2: 5}, {})),
    ("leader differs", THREE, {1: {5: BAD}, 2: {5: GOOD}, 3: {5: GOOD}}, ({}, {1: 5}, {})),
    ("one against one", THREE, {1: {5: GOOD}, 2: {5: BAD}}, ({}, {}, {1: 5, 2: 5})),
    ("three ways", THREE, {1: {5: GOOD}, 2: {5: BAD}, 3: {5: WORSE}}, ({}, {}, {1: 5, 2: 5, 3: 5})),
    ("nothing common", THREE, {1: {5: GOOD}, 2: {4: GOOD}, 3: {6: GOOD}}, ({}, {}, {})),
    ("nothing at all", THREE, {1: {5: GOOD}, 2: {}, 3: {}}, ({}, {}, {})),
    ("no response", THREE, {1: {5: GOOD}}, ({}, {}, {})),
    ("own state unknown", THREE, {1: {}, 2: {5: GOOD}, 3: {5: GOOD}}, ({}, {}, {})),
    (
        "decided at a lower index that more members share",
        THREE,
        {1: {4: GOOD, 9: GOOD}, 2: {4: BAD, 9: BAD}, 3: {4: GOOD}},
        ({3: 4}, {2: 4}, {}),
    ),
    (
        "others differ",
        FIVE,
        {1: {5: GOOD}, 2: {5: GOOD}, 3: {5: GOOD}, 4: {7: BAD}, 5: {7: GOOD}},
        ({2: 5, 3: 5}, {}, {4: 7, 5: 7}),
    ),
    ("two of five against one", FIVE, {1: {5: GOOD}, 2: {5: GOOD}, 3: {5: BAD}}, ({}, {}, {1: 5, 2: 5, 3: 5})),
    (
        "three of five against two kinds",
        FIVE,
        {1: {5: GOOD}, 2: {5: GOOD}, 3: {5: BAD}, 4: {5: WORSE}, 5: {5: GOOD}},
        ({2: 5, 5: 5}, {3: 5, 4: 5}, {}),
    ),
    ("learner differs", WITH_LEARNERS, {1: {5: GOOD}, 2: {5: BAD}}, ({}, {2: 5}, {})),
    (
        "learners decide nothing, however many",
        WITH_LEARNERS,
        {1: {5: GOOD}, 2: {5: BAD}, 3: {5: BAD}, 4: {5: BAD}},
        ({}, {2: 5, 3: 5, 4: 5}, {}),
    ),
    ("majority of one half only", JOINT, {1: {5: GOOD}, 2: {5: GOOD}, 4: {5: BAD}}, ({}, {}, {1: 5, 2: 5, 4: 5})),
    (
        "majority of both halves",
        JOINT,
        {1: {5: GOOD}, 2: {5: BAD}, 3: {5: GOOD}, 4: {5: GOOD}},
        ({3: 5, 4: 5}, {2: 5}, {}),
    ),
    ("no voters known", Configuration(), {1: {5: GOOD}, 2: {5: BAD}}, ({}, {}, {1: 5, 2: 5})),
]


@pytest.mark.parametrize(
    ("configuration", "holdings", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_verdict(
    configuration: Configuration,
    holdings: Holdings,
    expected: tuple[dict[int, int], dict[int, int], dict[int, int]],
) -> None:
    assert summary(verdict_of(holdings, configuration)) == expected


def test_what_cannot_be_compared_is_in_no_part_of_the_verdict() -> None:
    """S22 (etcd-io/etcd#13766): a member that shares no index with this one has passed nothing."""
    verdict = verdict_of({1: {5: GOOD}, 2: {4: BAD}, 3: {5: GOOD}})
    assert NodeId(2) not in {*verdict.agreed, *verdict.diverged, *verdict.disputed}


honest_indexes = st.frozensets(st.integers(1, 8), max_size=5)


def digest_at(index: int) -> bytes:
    return bytes([index]) * 32


@settings(max_examples=200)
@given(st.lists(honest_indexes, min_size=5, max_size=5), st.integers(1, 5))
def test_members_with_one_history_are_never_blamed(held: list[frozenset[int]], own: int) -> None:
    """For all sets of remembered digests and all comparers; members without a common index never agree."""
    holdings = {number: {index: digest_at(index) for index in indexes} for number, indexes in enumerate(held, 1)}
    agreed, diverged, disputed = summary(verdict_of(holdings, FIVE, own))
    assert (diverged, disputed) == ({}, {})
    for number, indexes in enumerate(held, 1):
        common = indexes & held[own - 1]
        assert agreed.get(number) == (max(common) if common and number != own else None)


@settings(max_examples=200)
@given(
    st.lists(honest_indexes, min_size=5, max_size=5), st.integers(1, 5), st.frozensets(st.integers(1, 5), max_size=2)
)
def test_minority_of_liars_gets_no_honest_member_stopped(
    held: list[frozenset[int]], own: int, liars: frozenset[int]
) -> None:
    """Two of five may say what they like, together: at most it is disputed who is right."""
    holdings = {
        number: {index: BAD if number in liars else digest_at(index) for index in indexes}
        for number, indexes in enumerate(held, 1)
    }
    assert set(summary(verdict_of(holdings, FIVE, own))[1]) <= liars


@settings(max_examples=100)
@given(st.lists(honest_indexes, min_size=3, max_size=3), st.integers(1, 8), st.integers(1, 3))
def test_two_voters_that_share_an_index_convict_the_third(held: list[frozenset[int]], index: int, wrong: int) -> None:
    holdings = {
        number: {at: BAD if number == wrong else digest_at(at) for at in {*indexes, index}}
        for number, indexes in enumerate(held, 1)
    }
    assert set(summary(verdict_of(holdings))[1]) == {wrong}


def test_member_that_is_heard_but_not_compared_is_an_alarm_after_a_minute() -> None:
    tracker, two = InconclusiveTracker(), NodeId(2)
    assert tracker.update([two], [], 100.0) == frozenset()
    assert tracker.update([two], [], 100.0 + INCONCLUSIVE_S - 1) == frozenset()
    assert tracker.update([two], [], 100.0 + INCONCLUSIVE_S) == {two}
    assert tracker.update([two], [two], 200.0) == frozenset()
    assert tracker.update([two], [], 201.0) == frozenset()


def test_member_that_is_not_heard_is_another_alarms_business() -> None:
    tracker, two = InconclusiveTracker(), NodeId(2)
    tracker.update([two], [], 0.0)
    assert tracker.update([], [], INCONCLUSIVE_S) == frozenset()
    assert tracker.update([two], [], INCONCLUSIVE_S + 1) == frozenset()


def test_checkpoints_are_bounded_and_end_with_the_head() -> None:
    checkpoints = Checkpoints()
    for number in range(1, CHECKPOINTS_MAX + 11):
        checkpoints.passed(Index(number * CHECKPOINT_ENTRIES), GOOD)
    reported = checkpoints.with_head(Index(10**6), BAD)
    assert len(reported) == CHECKPOINTS_MAX + 1
    assert reported[0].index == 11 * CHECKPOINT_ENTRIES
    assert reported[-1] == Checkpoint(Index(10**6), BAD)
    assert by_index(reported) is not None


def test_head_at_a_checkpoint_is_told_once() -> None:
    checkpoints = Checkpoints()
    checkpoints.passed(Index(CHECKPOINT_ENTRIES), GOOD)
    assert checkpoints.with_head(Index(CHECKPOINT_ENTRIES), GOOD) == (Checkpoint(Index(CHECKPOINT_ENTRIES), GOOD),)


@pytest.mark.parametrize(
    "reported",
    [
        [Checkpoint(Index(5), GOOD), Checkpoint(Index(5), BAD)],
        [Checkpoint(Index(5), b"short")],
        [Checkpoint(Index(-1), GOOD)],
        [Checkpoint(Index(index), GOOD) for index in range(CHECKPOINTS_MAX + 2)],
    ],
    ids=["two digests at one index", "no digest", "negative index", "too many"],
)
def test_what_no_member_says_is_no_answer(reported: list[Checkpoint]) -> None:
    assert by_index(reported) is None
