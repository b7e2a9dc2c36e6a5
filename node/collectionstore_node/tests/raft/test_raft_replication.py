"""Replication and commit, one core at a time (Raft 5.3, 5.4.2; thesis 10.2.1)."""

from __future__ import annotations

import pytest

from collectionstore_node.errors import InvariantViolated, Overloaded
from collectionstore_node.raft.messages import (
    MESSAGE_ENTRIES_MAX,
    AppendEntries,
    AppendReply,
    Configuration,
    EntryKind,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Index,
    NodeId,
    Term,
    VoteReply,
)
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.raft.ready import ProgressState, ProgressStatus
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.memory_log import MemoryLog
from collectionstore_node.tests.raft.solo import Solo, make_entries, voters


def rejection(solo: Solo, peer: int, index: int, hint_index: int, hint_term: int) -> AppendReply:
    return AppendReply(
        NodeId(peer),
        solo.node_id,
        solo.node.term,
        Index(index),
        rejected=True,
        hint_index=Index(hint_index),
        hint_term=Term(hint_term),
    )


def alive(solo: Solo, peer: int, sequence: int = 0) -> HeartbeatReply:
    return HeartbeatReply(NodeId(peer), solo.node_id, solo.node.term, sequence)


def progress_of(solo: Solo, peer: int) -> ProgressStatus:
    return next(p for p in solo.node.status().progress if p.node_id == peer)


def leading(solo: Solo) -> Solo:
    """Make it the leader with all followers in the state REPLICATE."""
    solo.elect()
    solo.acknowledge(2, 3)
    return solo


# Raft 5.3: the follower


@pytest.mark.parametrize(
    ("prev", "accepted", "hint"),
    [
        ((0, 0), True, None),
        ((1, 1), True, None),
        ((2, 2), True, None),
        ((2, 1), False, (1, 1)),
        ((3, 3), False, (2, 2)),
    ],
)
def test_follower_accepts_only_behind_a_matching_entry(
    *, prev: tuple[int, int], accepted: bool, hint: tuple[int, int] | None
) -> None:
    """Raft 5.3."""
    solo = Solo(log=make_entries([1, 2]), term=3)
    message = AppendEntries(NodeId(2), NodeId(1), Term(3), Index(prev[0]), Term(prev[1]), (), Index(0))
    (reply,) = solo.step(message).of(AppendReply)
    assert (reply.rejected, reply.index) == (not accepted, prev[0])
    if hint is not None:
        assert (reply.hint_index, reply.hint_term) == hint


@pytest.mark.parametrize(
    ("prev", "terms", "result"),
    [
        (2, [3], [1, 2, 3]),
        (1, [3, 4], [1, 3, 4]),
        (0, [1], [1, 2]),
        (0, [3], [3]),
        (1, [2], [1, 2]),
        (1, [2, 3], [1, 2, 3]),
    ],
)
def test_follower_deletes_only_what_conflicts(prev: int, terms: list[int], result: list[int]) -> None:
    """Raft 5.3, Figure 2: "if an existing entry conflicts with a new one, delete it and all that follow it"."""
    log = make_entries([1, 2])
    solo = Solo(log=log, term=4)
    new = make_entries(terms, after=log[prev - 1] if prev else None)
    solo.step(solo.append(new, prev=log[prev - 1] if prev else None))
    stored = solo.log.entries(Index(1), Index(len(result) + 1), 1000)
    assert [entry.term for entry in stored] == result
    assert solo.log.last_index() == len(result)


def test_late_shorter_append_truncates_nothing() -> None:
    """S15: without a real conflict nothing is deleted (CCF PR#5991)."""
    log = make_entries([1, 1, 1])
    solo = Solo(term=1)
    solo.step(solo.append(log))
    (reply,) = solo.step(solo.append(log[:1])).of(AppendReply)
    assert (solo.log.last_index(), reply.index) == (3, 1)


def test_heartbeat_never_touches_the_log() -> None:
    """S15, L13: it only moves the commit index."""
    solo = Solo(log=make_entries([1, 1, 1]), term=2)
    output = solo.step(solo.heartbeat(commit=2))
    assert (solo.log.last_index(), solo.node.commit_index, output.entries) == (3, 2, [])


@pytest.mark.parametrize(("commit", "count", "expected"), [(1, 2, 1), (9, 2, 2), (0, 1, 0), (9, 0, 0)])
def test_follower_commits_up_to_the_last_entry_it_got(commit: int, count: int, expected: int) -> None:
    """Raft 5.3, Figure 2: min(leaderCommit, index of last new entry)."""
    solo = Solo(term=1)
    solo.step(solo.append(make_entries([1] * count), commit=commit))
    assert solo.node.commit_index == expected


def test_commit_stops_at_the_last_new_entry_even_if_the_log_is_longer() -> None:
    """Entries behind it may be an old leader's and still be replaced."""
    log = make_entries([1, 1, 1])
    solo = Solo(log=log, term=1)
    solo.step(solo.append(log[:1], term=2, commit=3))
    assert solo.node.commit_index == 1


def test_append_behind_the_commit_index_is_answered_with_it() -> None:
    log = make_entries([1, 1, 1])
    solo = Solo(log=log, commit=2)
    (reply,) = solo.step(solo.append(log[:1])).of(AppendReply)
    assert (reply.index, reply.rejected) == (2, False)


def test_follower_acknowledges_only_after_its_own_sync() -> None:
    """S21; Raft 5.3, thesis 3.8."""
    solo = Solo(term=1)
    solo.node.step(solo.append(make_entries([1])))
    ready = solo.node.ready()
    assert ready.write
    assert ready.messages == ()
    solo.log.append(ready.entries)
    solo.node.advance(ready)
    assert not solo.node.has_ready()
    assert [type(message) for message in solo.node.durable(ready.write)] == [AppendReply]


def test_acknowledgement_that_needs_no_write_waits_for_the_one_under_way() -> None:
    """A leader that repeats itself must not be told of entries before they are durable."""
    solo = Solo(term=1)
    append = solo.append(make_entries([1]))
    solo.node.step(append)
    first = solo.node.ready()
    solo.log.append(first.entries)
    solo.node.advance(first)
    solo.node.step(append)
    assert not solo.node.has_ready()
    assert [type(message) for message in solo.node.durable(first.write)] == [AppendReply, AppendReply]
    solo.node.step(append)
    ready = solo.node.ready()
    assert not ready.write
    assert [type(message) for message in ready.messages] == [AppendReply]


def test_writes_are_taken_while_earlier_ones_are_under_way() -> None:
    """Thesis 10.2.1: each acknowledgement leaves with the sync that covers its entries, in order."""
    solo, log = Solo(term=1), make_entries([1, 1])
    writes = []
    for entry, before in ((log[0], None), (log[1], log[0])):
        solo.node.step(solo.append((entry,), prev=before))
        ready = solo.node.ready()
        assert ready.entries == (entry,)
        solo.log.append(ready.entries)
        solo.node.advance(ready)
        writes.append(ready.write)
    sent = [[m.index for m in solo.node.durable(write) if isinstance(m, AppendReply)] for write in writes]
    assert sent == [[1], [2]]


def test_follower_applies_what_is_committed_after_it_is_written() -> None:
    """A majority holds it; its own disk may still work on it."""
    solo = Solo(term=1)
    solo.node.step(solo.append(make_entries([1, 1]), commit=2))
    ready = solo.node.ready()
    assert (len(ready.entries), [entry.index for entry in ready.committed]) == (2, [1, 2])
    assert ready.hard_state == HardState(Term(1), NodeId(0), Index(2))


def test_acknowledgements_of_an_old_term_are_not_sent_after_the_entries_were_replaced() -> None:
    """They would acknowledge entries that never reach the disk."""
    log = make_entries([1, 1])
    solo = Solo(term=1)
    solo.node.step(solo.append(log))
    solo.node.step(solo.append(make_entries([2]), leader=3, term=2))
    ready = solo.node.ready()
    assert [entry.term for entry in ready.entries] == [2]
    replies = [m for m in solo.node.durable(ready.write) if isinstance(m, AppendReply)]
    assert [(m.term, m.to, m.index) for m in replies] == [(2, 3, 1)]


def test_acknowledgements_under_way_are_dropped_with_their_term() -> None:
    """One sync covers the entries and what replaced them: then the disk ends before what would be acknowledged."""
    solo = Solo(term=1)
    solo.node.step(solo.append(make_entries([1, 1])))
    first = solo.node.ready()
    solo.log.append(first.entries)
    solo.node.advance(first)
    solo.node.step(solo.append(make_entries([2]), leader=3, term=2))
    second = solo.node.ready()
    solo.log.append(second.entries)
    solo.node.advance(second)
    replies = [m for m in solo.node.durable(second.write) if isinstance(m, AppendReply)]
    assert [(m.term, m.to, m.index) for m in replies] == [(2, 3, 1)]


# Raft 5.3: the leader


def test_proposal_is_appended_and_sent_before_the_own_sync() -> None:
    """Thesis 10.2.1: the leader's disk works while the followers' do."""
    solo = leading(Solo(term=1))
    index, term = solo.node.propose(b"x")
    assert (index, term) == (2, 2)
    ready = solo.node.ready()
    assert [(m.to, m.entries) for m in ready.messages if isinstance(m, AppendEntries)] == [
        (2, ready.entries),
        (3, ready.entries),
    ]
    assert ready.write


def test_leader_counts_itself_only_after_its_own_sync() -> None:
    """Thesis 10.2.1: with one acknowledgement of three it needs its own disk."""
    solo = leading(Solo(term=1))
    index, _ = solo.node.propose(b"x")
    ready = solo.node.ready()
    solo.log.append(ready.entries)
    solo.node.step(AppendReply(NodeId(2), NodeId(1), solo.node.term, index))
    solo.node.advance(ready)
    assert solo.node.commit_index == index - 1
    solo.node.durable(ready.write)
    assert solo.node.commit_index == index


def test_leader_commits_and_applies_with_a_majority_of_others_before_its_own_sync() -> None:
    solo = leading(Solo(term=1))
    index, _ = solo.node.propose(b"x")
    ready = solo.node.ready()
    solo.log.append(ready.entries)
    for peer in (2, 3):
        solo.node.step(AppendReply(NodeId(peer), NodeId(1), solo.node.term, index))
    assert solo.node.commit_index == index
    solo.node.advance(ready)
    assert [entry.index for entry in solo.node.ready().committed] == [index]


@pytest.mark.parametrize(
    ("size", "acknowledging", "committed"),
    [(1, [], True), (2, [], False), (2, [2], True), (3, [], False), (3, [2], True), (5, [2], False), (5, [2, 3], True)],
)
def test_entry_commits_once_a_majority_has_it(size: int, acknowledging: list[int], *, committed: bool) -> None:
    """Raft 5.3."""
    solo = Solo(term=1, configuration=voters(*range(1, size + 1)))
    solo.elect()
    solo.acknowledge(*range(2, size + 1))
    index, _ = solo.node.propose(b"x")
    solo.take()
    solo.acknowledge(*acknowledging)
    assert (solo.node.commit_index == index) is committed


def test_learners_do_not_count_for_commit() -> None:
    learner = Configuration(voters=(NodeId(1), NodeId(2)), learners=(NodeId(3), NodeId(4)))
    solo = Solo(term=1, configuration=learner)
    solo.elect()
    solo.acknowledge(3, 4)
    assert solo.node.commit_index == 0
    solo.acknowledge(2)
    assert solo.node.commit_index == 1


@pytest.mark.parametrize(("index", "committed"), [(1, 0), (2, 0), (3, 3)])
def test_only_an_entry_of_the_own_term_commits_by_counting(index: int, committed: int) -> None:
    """S1, Raft 5.4.2 and Figure 8 (logcabin#44, PySyncObj#169)."""
    solo = Solo(log=make_entries([1, 2]), term=2)
    solo.elect()
    assert solo.node.last_index == 3
    solo.acknowledge(2, 3, index=index)
    assert solo.node.commit_index == committed


def test_committing_commits_everything_before() -> None:
    """Raft 5.3: also entries of earlier leaders."""
    solo = Solo(log=make_entries([1, 2, 2]), term=2)
    solo.elect()
    output = solo.acknowledge(2)
    assert [entry.index for entry in output.committed] == [1, 2, 3, 4]


def test_commit_is_sent_to_the_followers_at_once() -> None:
    solo = leading(Solo(term=1))
    index, _ = solo.node.propose(b"x")
    solo.take()
    output = solo.acknowledge(2)
    assert {(m.to, m.leader_commit) for m in output.of(AppendEntries)} == {(2, index), (3, index)}


def test_proposals_between_two_ready_share_a_message() -> None:
    solo = leading(Solo(term=1))
    for _ in range(5):
        solo.node.propose(b"x")
    assert [len(m.entries) for m in solo.take().of(AppendEntries)] == [5, 5]


def test_heartbeats_go_out_at_their_interval() -> None:
    """Raft 5.2."""
    solo = leading(Solo(term=1, settings=RaftSettings(heartbeat_ticks=3)))
    assert solo.tick(2).of(Heartbeat) == []
    assert {m.to for m in solo.tick(1).of(Heartbeat)} == {2, 3}


def test_heartbeat_commit_never_passes_what_the_follower_holds() -> None:
    solo = leading(Solo(term=1))
    solo.node.propose(b"x")
    solo.take()
    solo.acknowledge(2)
    assert {(m.to, m.leader_commit) for m in solo.tick(5).of(Heartbeat)} == {(2, 2), (3, 1)}


# Backtracking


def test_leader_probes_once_per_term() -> None:
    """Raft 5.3, end: the leader's half of fast backtracking (example of etcd-io/raft)."""
    solo = Solo(log=make_entries([1, 3, 3, 3, 5, 5, 5, 5, 5]), term=5)
    solo.elect()
    (probe, *_) = solo.step(rejection(solo, 2, 9, 6, 2)).of(AppendEntries)
    assert (probe.prev_log_index, probe.prev_log_term) == (1, 1)


def test_follower_skips_its_entries_of_higher_terms() -> None:
    """Raft 5.3, end: the follower's half (example of etcd-io/raft)."""
    leader_log = make_entries([1, 3, 3, 3, 3, 3, 3, 3, 7])
    follower = Solo(log=make_entries([1, 3, 3, 4, 4, 5, 5, 5, 6]), term=7)
    (reply,) = follower.step(follower.append((), prev=leader_log[7])).of(AppendReply)
    assert (reply.rejected, reply.index, reply.hint_index, reply.hint_term) == (True, 8, 3, 3)


@pytest.mark.parametrize(
    ("leader_terms", "follower_terms"),
    [
        ([1, 1, 1, 4, 4, 5, 5, 6, 6, 6], [1, 1, 1, 4, 4, 5, 5, 6, 6]),
        ([1, 1, 1, 4, 4, 5, 5, 6, 6, 6], [1, 1, 1, 4]),
        ([1, 1, 1, 4, 4, 5, 5, 6, 6, 6], [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]),
        ([1, 1, 1, 4, 4, 5, 5, 6, 6, 6], [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]),
        ([1, 1, 1, 4, 4, 5, 5, 6, 6, 6], [1, 1, 1, 4, 4, 4, 4]),
        ([1, 1, 1, 4, 4, 5, 5, 6, 6, 6], [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]),
        ([1, 1, 1], []),
    ],
    ids=["a", "b", "c", "d", "e", "f", "empty"],
)
def test_leader_brings_the_logs_of_figure_7_into_line(leader_terms: list[int], follower_terms: list[int]) -> None:
    """Raft 5.3, Figure 7."""
    leader = Solo(log=make_entries(leader_terms), term=8)
    follower = Solo(node_id=2, log=make_entries(follower_terms), term=8)
    messages = leader.elect().messages
    rounds = 0
    while messages:
        rounds += 1
        assert rounds < 12
        replies = follower.step(*[m for m in messages if m.to == 2]).messages
        messages = leader.step(*[m for m in replies if m.to == 1]).messages
    last = leader.node.last_index
    assert follower.log.entries(Index(1), Index(last + 1), 10**6) == leader.log.entries(
        Index(1), Index(last + 1), 10**6
    )
    assert follower.log.last_index() == last
    assert follower.node.commit_index == last


# Flow control


def test_probe_waits_for_its_reply_or_a_sign_of_life() -> None:
    solo = Solo(term=1)
    solo.elect()
    assert progress_of(solo, 2).state is ProgressState.PROBE
    solo.node.propose(b"x")
    assert solo.take().of(AppendEntries) == []
    (again,) = solo.step(alive(solo, 2)).of(AppendEntries)
    assert (again.to, again.prev_log_index, len(again.entries)) == (2, 0, 2)
    assert solo.take().of(AppendEntries) == []


def test_acknowledged_probe_starts_the_stream() -> None:
    solo = Solo(term=1, settings=RaftSettings(message_bytes_max=2))
    solo.elect()
    for _ in range(4):
        solo.node.propose(b"xx")
    solo.take()
    output = solo.acknowledge(2, index=1)
    assert progress_of(solo, 2).state is ProgressState.REPLICATE
    assert [len(m.entries) for m in output.of(AppendEntries) if m.to == 2 and m.entries] == [1, 1, 1, 1]


def test_messages_are_bounded_by_bytes_and_a_larger_entry_travels_alone() -> None:
    solo = leading(Solo(term=1, settings=RaftSettings(message_bytes_max=10)))
    for data in (b"1234", b"1234", b"1234", b"123456789012345", b"1"):
        solo.node.propose(data)
    sizes = [[len(entry.data) for entry in m.entries] for m in solo.take().of(AppendEntries) if m.to == 2]
    assert sizes == [[4, 4], [4], [15], [1]]


def test_messages_are_bounded_by_their_number_of_entries() -> None:
    """Entries without data cost nothing by bytes, but a frame has a limit."""
    solo = leading(Solo(term=1))
    for _ in range(MESSAGE_ENTRIES_MAX + 5):
        solo.node.propose(b"")
    assert [len(m.entries) for m in solo.take().of(AppendEntries) if m.to == 2] == [MESSAGE_ENTRIES_MAX, 5]


@pytest.mark.parametrize(
    "settings",
    [
        RaftSettings(inflight_messages_max=2, message_bytes_max=1),
        RaftSettings(inflight_bytes_max=8, message_bytes_max=1),
    ],
    ids=["count", "bytes"],
)
def test_window_bounds_what_is_in_flight_and_lost_messages_are_noticed(settings: RaftSettings) -> None:
    """L9, etcd-io/etcd#14633: a full window whose messages were all lost must not stall forever."""
    solo = leading(Solo(term=1, settings=settings))
    for _ in range(6):
        solo.node.propose(b"1234")
    assert len([m for m in solo.take().of(AppendEntries) if m.to == 2]) == 2
    # Everything was lost. A heartbeat reply lets an empty append out, which the follower must reject.
    (empty,) = solo.step(alive(solo, 2)).of(AppendEntries)
    assert (empty.entries, empty.prev_log_index) == ((), 3)
    (probe,) = [m for m in solo.step(rejection(solo, 2, 3, 1, 2)).of(AppendEntries) if m.to == 2]
    assert (probe.prev_log_index, len(probe.entries)) == (1, 1)
    assert progress_of(solo, 2).state is ProgressState.PROBE
    # The next acknowledgement goes on.
    assert len([m for m in solo.acknowledge(2, index=2).of(AppendEntries) if m.entries]) == 2


def test_acknowledgements_free_the_window() -> None:
    solo = leading(Solo(term=1, settings=RaftSettings(inflight_messages_max=2, message_bytes_max=1)))
    for _ in range(4):
        solo.node.propose(b"1234")
    solo.take()
    output = solo.acknowledge(2, index=3)
    assert [m.prev_log_index for m in output.of(AppendEntries) if m.to == 2 and m.entries] == [3, 4]


def test_unreachable_follower_is_probed() -> None:
    solo = leading(Solo(term=1))
    solo.node.propose(b"x")
    solo.take()
    assert progress_of(solo, 2).next_index == 3
    solo.node.report_unreachable(NodeId(2))
    status = progress_of(solo, 2)
    assert (status.state, status.next_index, status.inflight) == (ProgressState.PROBE, 2, 0)


def test_caught_up_follower_in_probe_is_woken_by_a_heartbeat_reply() -> None:
    """etcd-io/raft `heartbeat_resp_recovers_from_probing`."""
    solo = leading(Solo(term=1))
    solo.node.report_unreachable(NodeId(2))
    (empty,) = solo.step(alive(solo, 2)).of(AppendEntries)
    assert empty.entries == ()
    solo.acknowledge(2)
    assert progress_of(solo, 2).state is ProgressState.REPLICATE


def test_stale_and_repeated_replies_change_nothing() -> None:
    """S13: an acknowledgement never lowers what is known, and a late rejection lowers nothing."""
    solo = leading(Solo(term=1))
    for _ in range(3):
        solo.node.propose(b"x")
    solo.take()
    solo.acknowledge(2, 3)
    before = progress_of(solo, 2)
    solo.acknowledge(2, index=2)
    solo.step(rejection(solo, 2, 3, 2, 2))
    solo.step(rejection(solo, 2, 4, 4, 2))
    assert progress_of(solo, 2) == before


def test_uncommitted_bytes_are_bounded_and_never_leak() -> None:
    """L12 (etcd-io/raft a370b6f)."""
    solo = leading(Solo(term=1, settings=RaftSettings(uncommitted_bytes_max=10)))
    for _ in range(50):
        solo.node.propose(b"12345")
        solo.node.propose(b"12345")
        with pytest.raises(Overloaded):
            solo.node.propose(b"1")
        solo.node.propose(b"")
        solo.take()
        solo.acknowledge(2)


def test_one_proposal_larger_than_the_limit_is_taken_when_nothing_waits() -> None:
    solo = leading(Solo(term=1, settings=RaftSettings(uncommitted_bytes_max=10)))
    solo.node.propose(b"x" * 100)
    with pytest.raises(Overloaded):
        solo.node.propose(b"x")


def test_uncommitted_bytes_start_anew_with_every_term() -> None:
    solo = leading(Solo(term=1, settings=RaftSettings(uncommitted_bytes_max=10)))
    solo.node.propose(b"x" * 10)
    solo.take()
    solo.step(solo.heartbeat(term=9))
    solo.elect()
    solo.node.propose(b"x" * 10)


# Single voter


def test_single_voter_never_hands_out_what_is_still_to_be_written() -> None:
    """S17 (etcd-io/etcd#14370)."""
    solo = Solo(term=1, configuration=voters(1))
    solo.elect()
    solo.node.propose(b"x")
    ready = solo.node.ready()
    assert (len(ready.entries), ready.committed) == (1, ())
    solo.log.append(ready.entries)
    solo.node.advance(ready)
    assert solo.node.commit_index == 1
    solo.node.durable(ready.write)
    assert solo.node.commit_index == 2
    assert [entry.index for entry in solo.node.ready().committed] == [2]


# The order of Ready


def test_commit_alone_is_not_written_and_goes_with_the_next_write() -> None:
    """Losing it costs nothing (etcd-io/raft 0675f3d); a change of members must not be stored without it."""
    log = make_entries([1, 1, 1])
    solo = Solo(log=log[:2], term=1)
    solo.step(solo.heartbeat())
    solo.node.step(solo.heartbeat(commit=2))
    ready = solo.node.ready()
    assert (ready.hard_state, ready.write) == (None, 0)
    assert [entry.index for entry in ready.committed] == [1, 2]
    solo.node.advance(ready)
    solo.node.step(solo.append(log[2:], prev=log[1]))
    ready = solo.node.ready()
    assert ready.hard_state == HardState(Term(1), NodeId(0), Index(2))


def test_ready_is_refused_while_one_is_outstanding() -> None:
    """L14: a driver does one after the other; the writes that are not durable yet are apart from that."""
    solo = Solo(term=1)
    solo.node.step(solo.append(make_entries([1])))
    ready = solo.node.ready()
    assert not solo.node.has_ready()
    with pytest.raises(InvariantViolated):
        solo.node.ready()
    solo.log.append(ready.entries)
    solo.node.advance(ready)
    with pytest.raises(InvariantViolated):
        solo.node.advance(ready)


def test_quiet_node_has_nothing_ready() -> None:
    solo = leading(Solo(term=1))
    solo.take()
    assert not solo.node.has_ready()


def test_pages_of_committed_entries_never_move_the_hard_state_back() -> None:
    """S20 (etcd-io/raft 8ecce32), S16: commit in HardState only grows, and every entry comes once."""
    log = make_entries([1] * 10)
    solo = Solo(log=log[:9], term=1, settings=RaftSettings(apply_bytes_max=1))
    solo.node.step(solo.append(log[9:], prev=log[8], commit=9))
    commits, applied = [], []
    while solo.node.has_ready():
        ready = solo.node.ready()
        if ready.hard_state is not None:
            commits.append(ready.hard_state.commit)
        assert len(ready.committed) <= 1
        applied += [entry.index for entry in ready.committed]
        solo.node.advance(ready)
    assert commits == [9]
    assert applied == list(range(1, 10))


def test_soft_state_is_reported_once_per_change() -> None:
    solo = Solo(term=1)
    solo.node.step(solo.heartbeat())
    ready = solo.node.ready()
    assert ready.soft_state is not None
    assert ready.soft_state.leader == 2
    solo.node.advance(ready)
    solo.node.step(solo.heartbeat())
    assert solo.node.ready().soft_state is None


# Restart


def test_restart_goes_on_where_it_was() -> None:
    """S2: the vote survives, a second one in the term is refused."""
    solo = Solo(log=make_entries([1, 1, 2]), term=4, vote=3, commit=2, applied=1)
    status = solo.node.status()
    assert (status.term, status.vote, status.commit_index, status.applied_index, status.last_index) == (4, 3, 2, 1, 3)
    assert [entry.index for entry in solo.take().committed] == [2]


def test_log_of_a_later_term_than_the_stored_one_is_refused() -> None:
    """S2: the hard state was lost; starting would allow a second vote."""
    with pytest.raises(InvariantViolated, match="stored term"):
        RaftNode(
            NodeId(1),
            RaftSettings(),
            MemoryLog(make_entries([3])),
            hard_state=HardState(Term(2)),
            configuration=voters(1),
            applied=Index(0),
            random_ticks=lambda lo, hi: lo,
        )


def test_entry_kinds_reach_the_driver_unchanged() -> None:
    solo = leading(Solo(term=1))
    solo.node.propose(b"")
    solo.node.propose(b"x")
    solo.take()
    output = solo.acknowledge(2)
    assert [(entry.kind, entry.data) for entry in output.committed] == [
        (EntryKind.COMMANDS, b""),
        (EntryKind.COMMANDS, b"x"),
    ]


def test_vote_reply_at_a_leader_changes_nothing() -> None:
    solo = leading(Solo(term=1))
    solo.step(VoteReply(NodeId(3), NodeId(1), solo.node.term, granted=False))
    assert solo.node.is_leader
