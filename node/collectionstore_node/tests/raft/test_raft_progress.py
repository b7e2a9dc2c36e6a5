"""A follower as the leader sees it: transitions, windows, and which replies are stale."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.messages import Index, NodeId
from collectionstore_node.raft.ready import ProgressState
from collectionstore_node.raft.tracker.progress import Inflights, Progress


def make_progress(state: ProgressState, *, match: int, next_index: int, pending: int = 0) -> Progress:
    progress = Progress(Index(next_index), Inflights(4, 1000), recent_active=True, tick=0)
    progress.state = state
    progress.match_index = Index(match)
    progress.pending_snapshot = Index(pending)
    return progress


def test_inflights_is_full_by_count_or_by_bytes() -> None:
    window = Inflights(2, 10)
    window.add(Index(1), 1)
    assert not window.full()
    window.add(Index(2), 1)
    assert window.full()
    window.free_to(Index(2))
    window.add(Index(3), 50)
    assert window.full()


def test_inflights_refuses_a_message_when_full() -> None:
    window = Inflights(1, 10)
    window.add(Index(1), 1)
    with pytest.raises(InvariantViolated):
        window.add(Index(2), 1)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=60))
def test_inflights_bytes_are_those_of_its_messages(actions: list[tuple[bool, int]]) -> None:
    """No byte leaks, whatever is acknowledged in whatever order (L11, etcd-io/raft e419ba5)."""
    window = Inflights(1000, 1 << 30)
    model: list[tuple[int, int]] = []
    index = 0
    for is_add, number in actions:
        if is_add:
            index += 1
            window.add(Index(index), number)
            model.append((index, number))
        else:
            window.free_to(Index(number))
            model = [item for item in model if item[0] > number]
        assert len(window) == len(model)
        assert window._bytes == sum(size for _, size in model)


@pytest.mark.parametrize(
    ("state", "match", "next_index", "rejected", "hint", "accepted", "next_after"),
    [
        # Replicate: stale when it rejects what is known to match.
        (ProgressState.REPLICATE, 5, 10, 5, 5, False, 10),
        (ProgressState.REPLICATE, 5, 10, 4, 4, False, 10),
        (ProgressState.REPLICATE, 5, 10, 9, 9, True, 6),
        # Probe: stale unless it answers the probe that is out.
        (ProgressState.PROBE, 0, 0, 10, 2, False, 0),
        (ProgressState.PROBE, 0, 10, 5, 5, False, 10),
        (ProgressState.PROBE, 0, 10, 9, 9, True, 9),
        (ProgressState.PROBE, 0, 10, 9, 2, True, 3),
        (ProgressState.PROBE, 0, 10, 9, 0, True, 1),
        (ProgressState.PROBE, 4, 10, 9, 2, True, 5),
        # Snapshot: nothing was asked.
        (ProgressState.SNAPSHOT, 0, 10, 9, 2, False, 10),
    ],
)
def test_rejection_lowers_next_only_when_genuine(
    *, state: ProgressState, match: int, next_index: int, rejected: int, hint: int, accepted: bool, next_after: int
) -> None:
    """Replies may be late, repeated and out of order (Raft 5.3; etcd-io/raft `MaybeDecrTo`)."""
    progress = make_progress(state, match=match, next_index=next_index)
    assert progress.maybe_decrease(Index(rejected), Index(hint)) is accepted
    assert progress.next_index == next_after


def test_rejection_while_replicating_returns_to_probe() -> None:
    progress = make_progress(ProgressState.REPLICATE, match=5, next_index=9)
    progress.inflights.add(Index(8), 10)
    assert progress.maybe_decrease(Index(7), Index(7))
    assert progress.state is ProgressState.PROBE
    assert len(progress.inflights) == 0


@pytest.mark.parametrize(
    ("match", "next_index", "index", "updated", "match_after", "next_after"),
    [(3, 5, 2, False, 3, 5), (3, 5, 3, False, 3, 5), (3, 5, 4, True, 4, 5), (3, 5, 7, True, 7, 8)],
)
def test_acknowledgement_raises_match_but_never_lowers_it(
    *, match: int, next_index: int, index: int, updated: bool, match_after: int, next_after: int
) -> None:
    progress = make_progress(ProgressState.REPLICATE, match=match, next_index=next_index)
    assert progress.maybe_update(Index(index)) is updated
    assert (progress.match_index, progress.next_index) == (match_after, next_after)


def test_probe_sends_one_message_and_waits() -> None:
    progress = make_progress(ProgressState.PROBE, match=0, next_index=4)
    progress.sent(2, 20, Index(1))
    assert not progress.may_send()
    assert progress.next_index == 4


def test_replicate_moves_next_and_pauses_when_the_window_is_full() -> None:
    progress = make_progress(ProgressState.REPLICATE, match=3, next_index=4)
    for _ in range(3):
        progress.sent(1, 10, Index(1))
        assert progress.may_send()
    progress.sent(1, 10, Index(1))
    assert progress.next_index == 8
    assert not progress.may_send()
    assert not progress.has_room()


def test_full_window_lets_an_empty_message_out_after_a_sign_of_life() -> None:
    """Else a window whose messages were all lost stays full forever (etcd-io/etcd#14633)."""
    progress = make_progress(ProgressState.REPLICATE, match=3, next_index=4)
    for _ in range(4):
        progress.sent(1, 10, Index(1))
    progress.heard(7)
    progress.paused = False
    assert progress.may_send()
    assert not progress.has_room()
    progress.sent(0, 0, Index(1))
    assert not progress.may_send()


@pytest.mark.parametrize(("pending", "next_after"), [(9, 10), (0, 4), (2, 4)])
def test_leaving_snapshot_probes_behind_the_snapshot(pending: int, next_after: int) -> None:
    progress = make_progress(ProgressState.SNAPSHOT, match=3, next_index=10, pending=pending)
    progress.become_probe()
    assert progress.state is ProgressState.PROBE
    assert progress.next_index == next_after
    assert progress.pending_snapshot == 0


def test_snapshot_sends_nothing() -> None:
    progress = make_progress(ProgressState.PROBE, match=0, next_index=4)
    progress.become_snapshot(Index(8))
    progress.paused = False
    assert not progress.may_send()
    assert (progress.pending_snapshot, progress.next_index) == (8, 9)


def test_commit_is_news_until_it_was_sent() -> None:
    progress = make_progress(ProgressState.REPLICATE, match=3, next_index=6)
    assert progress.can_bump_commit(Index(2))
    progress.sent(0, 0, Index(2))
    assert not progress.can_bump_commit(Index(2))
    assert progress.can_bump_commit(Index(4))
    progress.sent(0, 0, Index(5))
    assert not progress.can_bump_commit(Index(9)), "the follower has the commit index of all that it was sent"


def test_probing_again_forgets_the_commit_sent_beyond() -> None:
    progress = make_progress(ProgressState.REPLICATE, match=3, next_index=9)
    progress.sent(0, 0, Index(8))
    progress.become_probe()
    assert progress.sent_commit == 3


def test_status_counts_silence_in_ticks() -> None:
    progress = make_progress(ProgressState.REPLICATE, match=3, next_index=4)
    progress.heard(5)
    status = progress.status(NodeId(2), 9)
    assert status.silent_ticks == 4
    assert status.state is ProgressState.REPLICATE
