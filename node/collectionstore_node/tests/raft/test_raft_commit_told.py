"""When followers are told a commit index, and when they answer: half of all messages could be these."""

from __future__ import annotations

import pytest

from collectionstore_node.errors import MessageRejected
from collectionstore_node.raft.messages import (
    AppendEntries,
    AppendReply,
    Change,
    ChangeKind,
    ConfigChange,
    Configuration,
    Heartbeat,
    HeartbeatReply,
    Index,
    NodeId,
    ReadIndexReply,
    ReadIndexRequest,
    Term,
)
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.solo import Solo, make_entries, voters

DEFERRED = RaftSettings(defer_commit=True)


def leading(settings: RaftSettings = DEFERRED, configuration: Configuration | None = None) -> Solo:
    """Return a leader whose first entry is committed and known to be by followers 2 and 3."""
    solo = Solo(settings=settings, configuration=configuration)
    solo.elect()
    solo.acknowledge(2, 3)
    return solo


def propose(solo: Solo, data: bytes = b"x") -> list[AppendEntries]:
    solo.node.propose(data)
    return solo.take().of(AppendEntries)


def test_commit_index_is_told_with_the_next_entry() -> None:
    """One message per write and follower, and none for the commit alone."""
    solo = leading()
    propose(solo)
    output = solo.acknowledge(2, 3)
    assert [entry.index for entry in output.committed] == [2]
    assert output.messages == []
    assert solo.node.untold_commit == 2
    appends = propose(solo)
    assert [(one.to, len(one.entries), one.leader_commit) for one in appends] == [(2, 1, 2), (3, 1, 2)]
    assert solo.node.untold_commit == 0


def test_commit_index_is_told_alone_when_the_driver_says_so() -> None:
    """And once: whoever asks again asks for nothing."""
    solo = leading()
    propose(solo)
    solo.acknowledge(2, 3)
    solo.node.tell_commit()
    appends = solo.take().of(AppendEntries)
    assert [(one.to, one.entries, one.leader_commit, one.silent) for one in appends] == [
        (2, (), 2, True),
        (3, (), 2, True),
    ]
    assert solo.node.untold_commit == 0
    solo.node.tell_commit()
    assert not solo.node.has_ready()


def test_commit_index_is_told_at_once_unless_deferred() -> None:
    """The setting decides; without it the message leaves with the commit."""
    solo = leading(RaftSettings())
    propose(solo)
    appends = solo.acknowledge(2, 3).of(AppendEntries)
    assert [(one.to, one.entries, one.leader_commit) for one in appends] == [(2, (), 2), (3, (), 2)]


def test_order_to_tell_does_not_outlive_the_entry_that_told() -> None:
    """An order that an entry overtook is void: the commit of that entry waits for its own."""
    solo = leading()
    propose(solo)
    solo.acknowledge(2, 3)
    solo.node.tell_commit()
    propose(solo)
    assert solo.acknowledge(2, 3).messages == []
    assert solo.node.untold_commit == 3


def test_heartbeat_tells_what_was_kept() -> None:
    """A driver that never tells costs followers a heartbeat interval, no more."""
    solo = leading()
    propose(solo)
    solo.acknowledge(2, 3)
    beats = solo.tick(DEFERRED.heartbeat_ticks).of(Heartbeat)
    assert [(beat.to, beat.leader_commit) for beat in beats] == [(2, 2), (3, 2)]


def test_first_entry_of_a_term_and_a_change_are_told_at_once() -> None:
    """Changes of members wait for what followers know; the first of a term waits for the term's first entry."""
    solo = Solo(settings=DEFERRED)
    solo.elect()
    appends = solo.acknowledge(2, 3).of(AppendEntries)
    assert {(one.to, one.leader_commit) for one in appends} == {(2, 1), (3, 1)}
    propose(solo)
    solo.acknowledge(2, 3)
    solo.node.propose_change(ConfigChange((Change(ChangeKind.ADD_LEARNER, NodeId(4)),)))
    solo.take()
    appends = solo.acknowledge(2, 3).of(AppendEntries)
    assert {(one.to, one.leader_commit) for one in appends if one.to != 4} == {(2, 3), (3, 3)}


def test_joint_configuration_and_transfer_are_told_at_once() -> None:
    """What comes next waits for the followers."""
    joint = Configuration(voters=(NodeId(1), NodeId(2)), outgoing=(NodeId(1), NodeId(2), NodeId(3)))
    solo = leading(configuration=joint)
    propose(solo)
    appends = solo.acknowledge(2, 3).of(AppendEntries)
    assert {(one.to, one.leader_commit) for one in appends} == {(2, 2), (3, 2)}
    solo = leading()
    propose(solo)
    solo.node.transfer_leadership(NodeId(2))
    solo.take()
    appends = solo.acknowledge(2, 3).of(AppendEntries)
    assert {(one.to, one.leader_commit) for one in appends} >= {(2, 2)}


@pytest.mark.parametrize("learner", [False, True])
def test_read_of_a_follower_is_told_the_commit_index_that_it_waits_for(learner: bool) -> None:  # noqa: FBT001
    """A follower's read does not wait for the next entry: also a learner's, which no heartbeat of a read round tells.

    The voter's own acknowledgement has not arrived when the round begins, so that the heartbeat may not tell it.
    """
    reader = NodeId(4 if learner else 3)
    members = Configuration(voters=(NodeId(1), NodeId(2), NodeId(3)), learners=(NodeId(4),))
    solo = leading(configuration=members)
    solo.acknowledge(4)
    propose(solo)
    solo.acknowledge(2)
    assert solo.node.untold_commit == 2
    asked = ReadIndexRequest(reader, solo.node_id, solo.node.term, 77)
    beats = solo.step(asked).of(Heartbeat)
    assert [beat.leader_commit for beat in beats if beat.to == reader] == ([] if learner else [1])
    reply = HeartbeatReply(NodeId(2), solo.node_id, solo.node.term, solo.node._state.leadership.reads.sequence)  # type: ignore[union-attr]
    output = solo.step(reply)
    assert [answer.index for answer in output.of(ReadIndexReply)] == [2]
    assert [(one.to, one.leader_commit) for one in output.of(AppendEntries)] == [(reader, 2)]


def test_probe_and_outstanding_entries_are_answered() -> None:
    """Only a message to which a reply could say nothing new is silent."""
    solo = Solo(settings=RaftSettings())
    assert not any(one.silent for one in solo.elect().of(AppendEntries))
    solo.acknowledge(2)
    propose(solo)
    # 3 has acknowledged nothing: it is being probed. 2 has everything.
    appends = solo.acknowledge(2).of(AppendEntries)
    assert {(one.to, one.silent) for one in appends} == {(2, True)}
    solo.acknowledge(3, index=1)
    solo.node.propose(b"y")
    solo.take()
    # An acknowledgement of 3 is outstanding when it is told the commit index.
    solo.acknowledge(3, index=2)
    appends = solo.acknowledge(2).of(AppendEntries)
    assert {(one.to, one.silent) for one in appends} == {(2, True), (3, False)}


def test_follower_does_not_answer_a_silent_message_that_it_accepts() -> None:
    """It learns the commit index, and applies; one that does not match is rejected, silent or not."""
    one, two = make_entries([1, 1])
    solo = Solo(node_id=1, log=[one, two], term=1)
    silent = AppendEntries(NodeId(2), NodeId(1), Term(1), two.index, two.term, (), Index(2), silent=True)
    output = solo.step(silent)
    assert output.messages == []
    assert [entry.index for entry in output.committed] == [1, 2]
    assert solo.step(silent).messages == [], "nor a delayed one"
    beyond = AppendEntries(NodeId(2), NodeId(1), Term(1), Index(7), Term(1), (), Index(2), silent=True)
    (rejection,) = solo.step(beyond).of(AppendReply)
    assert rejection.rejected


def test_silent_entries_are_rejected() -> None:
    """Entries that were never acknowledged would stay in the leader's window."""
    solo = Solo(node_id=1)
    (entry,) = make_entries([1])
    message = AppendEntries(NodeId(2), NodeId(1), Term(1), Index(0), Term(0), (entry,), Index(0), silent=True)
    with pytest.raises(MessageRejected, match="not to be acknowledged"):
        solo.node.step(message)


def test_stale_leader_learns_the_term_from_its_silent_message() -> None:
    """Raft 5.1: the reply to an older term is what ends a stranded leadership."""
    solo = Solo(node_id=1, term=5)
    (reply,) = solo.step(AppendEntries(NodeId(2), NodeId(1), Term(4), Index(0), Term(0), (), Index(0), silent=True)).of(
        AppendReply
    )
    assert reply.term == 5


def test_lost_notice_is_made_good_by_a_heartbeat() -> None:
    """Nothing is answered, so nothing notices the loss but the next heartbeat."""
    cluster = Cluster.of(1, 2, 3, settings=DEFERRED)
    leader = cluster.elect(1)
    cluster.propose()
    commit = leader.core.commit_index
    assert cluster[2].core.commit_index < commit
    leader.tell_commit()
    leader.run_io()
    cluster.wire.clear()
    cluster.settle()
    assert cluster[2].core.commit_index < commit
    cluster.tick(DEFERRED.heartbeat_ticks)
    assert {cluster[member].core.commit_index for member in (1, 2, 3)} == {commit}


def test_quorum_is_checked_although_notices_are_not_answered() -> None:
    """Heartbeats are answered: an idle leader that tells commits alone keeps its quorum."""
    cluster = Cluster.of(1, 2, 3, settings=DEFERRED)
    leader = cluster.elect(1)
    for _ in range(3 * DEFERRED.election_ticks):
        cluster.propose()
        leader.tell_commit()
        cluster.tick()
    assert leader.core.is_leader
    assert cluster[2].core.leader == leader.node_id
    assert voters(1, 2, 3) == leader.core.configuration
