"""Linearizable reads in the core (Raft 8; thesis 6.4)."""

from __future__ import annotations

from collectionstore_node.raft.messages import (
    AppendReply,
    Change,
    ChangeKind,
    ConfigChange,
    Configuration,
    Heartbeat,
    HeartbeatReply,
    Index,
    Message,
    NodeId,
    ReadIndexReply,
    ReadIndexRequest,
    Term,
    TimeoutNow,
)
from collectionstore_node.raft.ready import ReadState
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.solo import Output, Solo, make_entries, voters


def beat(solo: Solo, peer: int, sequence: int) -> HeartbeatReply:
    return HeartbeatReply(NodeId(peer), solo.node_id, solo.node.term, sequence)


def sequences(output: Output) -> set[int]:
    return {message.read_sequence for message in output.of(Heartbeat)}


def leading(log: int = 0) -> Solo:
    solo = Solo(log=make_entries([1] * log), term=1)
    solo.elect()
    solo.acknowledge(2, 3)
    return solo


def test_read_is_answered_after_a_round_of_heartbeats() -> None:
    """Thesis 6.4."""
    solo = leading()
    solo.node.read_index(7)
    output = solo.take()
    assert output.read_states == []
    assert {message.to for message in output.of(Heartbeat)} == {2, 3}
    (sequence,) = sequences(output)
    assert solo.step(beat(solo, 2, sequence)).read_states == [ReadState(7, Index(1))]


def test_read_waits_for_an_entry_of_the_own_term() -> None:
    """S4, Raft 8 (etcd-io/etcd#7331): before that the leader does not know what was committed."""
    solo = Solo(log=make_entries([1, 1]), term=1)
    solo.elect()
    solo.node.read_index(7)
    assert sequences(solo.take()) == set()
    assert sequences(solo.tick(5)) == {0}
    output = solo.acknowledge(2)
    (sequence,) = sequences(output)
    assert solo.step(beat(solo, 3, sequence)).read_states == [ReadState(7, Index(3))]


def test_old_acknowledgements_confirm_no_newer_read() -> None:
    """S5 (etcd-io/etcd#20418): the caller's id is the same, the round is not."""
    solo = leading()
    solo.node.read_index(7)
    (first,) = sequences(solo.take())
    solo.step(beat(solo, 2, first))
    solo.node.read_index(7)
    (second,) = sequences(solo.take())
    assert second > first
    assert solo.step(beat(solo, 2, first), beat(solo, 3, first)).read_states == []
    assert solo.step(beat(solo, 3, second)).read_states == [ReadState(7, Index(1))]


def test_waiting_reads_share_a_round() -> None:
    """Reads that come while a round is out share the next one."""
    solo = leading()
    for request_id in range(5):
        solo.node.read_index(request_id)
    output = solo.take()
    assert len(output.of(Heartbeat)) == 2
    (first,) = sequences(output)
    for request_id in range(5, 10):
        solo.node.read_index(request_id)
    assert solo.take().of(Heartbeat) == []
    output = solo.step(beat(solo, 2, first))
    assert [state.request_id for state in output.read_states] == [0, 1, 2, 3, 4]
    (second,) = sequences(output)
    output = solo.step(beat(solo, 2, second))
    assert [state.request_id for state in output.read_states] == [5, 6, 7, 8, 9]


def test_lost_round_is_replaced_by_the_next_heartbeat() -> None:
    solo = leading()
    solo.node.read_index(1)
    (lost,) = sequences(solo.take())
    solo.node.read_index(2)
    output = solo.tick(5)
    (sequence,) = sequences(output)
    assert sequence > lost
    assert [state.request_id for state in solo.step(beat(solo, 2, sequence)).read_states] == [1, 2]


def test_read_index_is_the_commit_index_when_its_round_began() -> None:
    solo = leading()
    index, _ = solo.node.propose(b"x")
    solo.take()
    solo.acknowledge(2)
    solo.node.read_index(7)
    (sequence,) = sequences(solo.take())
    assert solo.step(beat(solo, 2, sequence)).read_states == [ReadState(7, index)]


def test_single_voter_answers_at_once_but_not_before_its_own_term() -> None:
    solo = Solo(log=make_entries([1, 1]), term=1, configuration=voters(1))
    solo.node.campaign()
    while not solo.node.is_leader:
        ready = solo.node.ready()
        solo.node.advance(ready)
        solo.node.durable(ready.write)
    solo.node.read_index(7)
    ready = solo.node.ready()
    assert ready.read_states == ()
    solo.log.append(ready.entries)
    solo.node.advance(ready)
    solo.node.durable(ready.write)
    assert solo.take().read_states == [ReadState(7, Index(3))]
    solo.node.read_index(8)
    assert solo.take().read_states == [ReadState(8, Index(3))]


def test_single_voter_answers_a_read_that_meets_a_heartbeat() -> None:
    """N2: the round begins with the heartbeat then, and no other node will ever reply."""
    solo = Solo(term=1, configuration=voters(1))
    solo.elect()
    solo.node.read_index(7)
    assert [state.request_id for state in solo.tick(5).read_states] == [7]


def test_round_counts_against_the_joint_configuration() -> None:
    joint = Configuration(voters=(NodeId(1), NodeId(4)), outgoing=(NodeId(1), NodeId(2), NodeId(3)), auto_leave=True)
    solo = Solo(term=1, configuration=joint)
    solo.elect()
    solo.acknowledge(2, 4)
    solo.node.read_index(7)
    (sequence,) = sequences(solo.take())
    assert solo.step(beat(solo, 2, sequence), beat(solo, 3, sequence)).read_states == []
    assert len(solo.step(beat(solo, 4, sequence)).read_states) == 1


def test_configuration_change_may_confirm_a_round() -> None:
    """The vote that was missing is not needed any more."""
    cluster = Cluster.of(1, 2, 3, 4)
    leader = cluster.elect(1)
    cluster.isolate(3)
    leader.core.propose_change(
        ConfigChange((Change(ChangeKind.REMOVE, NodeId(3)), Change(ChangeKind.REMOVE, NodeId(4))))
    )
    leader.read(7)
    cluster.settle()
    assert cluster.observer.answered_reads == 1


def test_leader_without_a_quorum_answers_nothing_and_gives_up() -> None:
    """S6: no stale read from a minority, and no read that waits forever."""
    solo = leading()
    solo.node.read_index(7)
    output = solo.tick(20)
    assert output.read_states == []
    assert output.failed_reads == [7]


def test_deposed_leader_gives_up_its_reads() -> None:
    solo = leading()
    solo.node.read_index(7)
    solo.take()
    solo.node.read_index(8)
    output = solo.step(solo.heartbeat(term=9))
    assert sorted(output.failed_reads) == [7, 8]


def test_read_during_a_transfer_needs_its_round_too() -> None:
    """S6 (databendlabs/openraft#1747)."""
    solo = leading()
    solo.node.transfer_leadership(NodeId(2))
    solo.node.read_index(7)
    assert solo.take().read_states == []


# Followers


def forwarded(solo: Solo, *request_ids: int) -> list[ReadIndexRequest]:
    for request_id in request_ids:
        solo.node.read_index(request_id)
    return solo.take().of(ReadIndexRequest)


def reply(request: ReadIndexRequest, index: int) -> Message:
    return ReadIndexReply(request.to, request.sender, request.term, request.request_id, Index(index))


def test_follower_asks_the_leader() -> None:
    follower = Solo(term=1)
    follower.step(follower.heartbeat())
    (request,) = forwarded(follower, 7)
    assert request.to == 2
    assert follower.step(reply(request, 3)).read_states == [ReadState(7, Index(3))]
    assert follower.step(reply(request, 3)).read_states == [], "a repeated reply"


def test_leader_answers_followers_and_learners() -> None:
    solo = leading()
    output = solo.step(ReadIndexRequest(NodeId(3), NodeId(1), solo.node.term, 77))
    (sequence,) = sequences(output)
    (answer,) = solo.step(beat(solo, 2, sequence)).of(ReadIndexReply)
    assert (answer.to, answer.request_id, answer.index) == (3, 77, 1)


def test_leader_is_silent_to_strangers() -> None:
    solo = leading()
    assert solo.step(ReadIndexRequest(NodeId(9), NodeId(1), solo.node.term, 77)).messages == []


def test_read_without_a_leader_fails_at_once() -> None:
    solo = Solo(term=1)
    solo.node.read_index(7)
    assert solo.take().failed_reads == [7]


def test_lost_request_or_reply_is_given_up_after_an_election_timeout() -> None:
    follower = Solo(term=1)
    follower.step(follower.heartbeat())
    forwarded(follower, 7)
    failed: list[int] = []
    for _ in range(3):
        failed += follower.tick(4).failed_reads
        follower.step(follower.heartbeat())
    assert failed == [7]


def test_change_of_leader_gives_up_the_reads_it_was_asked() -> None:
    follower = Solo(term=1)
    follower.step(follower.heartbeat())
    (request,) = forwarded(follower, 7)
    assert follower.step(follower.heartbeat(leader=3, term=2)).failed_reads == [7]
    assert follower.step(reply(request, 3)).read_states == []


def test_same_leader_in_a_new_term_gives_up_the_reads_of_the_old_one() -> None:
    follower = Solo(term=1)
    follower.step(follower.heartbeat())
    forwarded(follower, 7)
    assert follower.step(follower.heartbeat(term=2)).failed_reads == [7]


def test_reply_to_an_earlier_life_confirms_nothing() -> None:
    """The ids on the wire start anywhere, so a restarted process does not meet its own old ids."""
    lives = [Solo(term=1, random_ticks=lambda lo, hi: lo), Solo(term=1, random_ticks=lambda lo, hi: hi - 1)]
    for life in lives:
        life.step(life.heartbeat())
    (old,) = forwarded(lives[0], 1)
    forwarded(lives[1], 1)
    assert lives[1].step(reply(old, 0)).read_states == []


def test_reply_of_an_old_term_is_ignored() -> None:
    follower = Solo(term=1)
    follower.step(follower.heartbeat(term=5))
    (request,) = forwarded(follower, 7)
    late = ReadIndexReply(NodeId(2), NodeId(1), Term(4), request.request_id, Index(0))
    assert follower.step(late).read_states == []


def test_new_leader_never_answers_for_the_old_term() -> None:
    """S4 in a cluster: the commit of the old leader's last entry reached no other node."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.propose(b"x")
    leader.run_io()
    cluster.deliver_all()
    for node_id in (2, 3):
        cluster[node_id].run_io()
    cluster.deliver_all()
    assert leader.core.commit_index > cluster[2].core.commit_index
    cluster.wire.clear()
    cluster.isolate(1)
    successor = cluster[2]
    successor.step(TimeoutNow(NodeId(1), NodeId(2), successor.core.term))
    while not successor.core.is_leader:
        for node_id in (2, 3):
            cluster[node_id].run_io()
        cluster.deliver_all()
    assert successor.core.commit_index < leader.core.commit_index
    successor.read(1)
    cluster.settle()
    assert cluster.observer.answered_reads == 1, "the observer compares its index with what was committed"


def test_partitioned_leader_answers_no_read_while_another_leads() -> None:
    """S6 in a cluster: the old leader still believes in itself."""
    cluster = Cluster.of(1, 2, 3)
    old = cluster.elect(1)
    cluster.isolate(1)
    # Time passes for the others only.
    for _ in range(15):
        for node_id in (2, 3):
            cluster[node_id].tick()
        cluster.settle()
    assert cluster[2].core.is_leader
    assert old.core.is_leader
    cluster.propose(b"new")
    old.read(1)
    cluster.settle()
    assert cluster.observer.answered_reads == 0
    cluster.heal()
    old.tick()
    cluster.tick(5)
    assert cluster.observer.answered_reads == 0
    cluster[3].read(2)
    cluster.settle()
    assert cluster.observer.answered_reads == 1


def test_acknowledgement_of_appends_confirms_no_read() -> None:
    solo = leading()
    solo.node.read_index(7)
    solo.take()
    assert solo.step(AppendReply(NodeId(2), NodeId(1), solo.node.term, Index(1))).read_states == []
