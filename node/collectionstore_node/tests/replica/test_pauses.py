"""Reads across a pause that no clock shows, as when a host freezes its virtual machine: linearizable, or failed.

There is no lease: a read is confirmed by a quorum that was asked after it. What confirms it may have waited in the
socket for any time; the moment at which it was true lies between the question and the answer all the same.
"""

from __future__ import annotations

from collectionstore_node.raft.messages import HeartbeatReply, Index, Message
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.server import Server

SETTINGS = RaftSettings(election_ticks=10, heartbeat_ticks=3)


def frozen_leader() -> tuple[Cluster, Server, Index, list[Message]]:
    """Return a leader that asked for read 7 and was frozen, what waits in its socket, and what it had committed.

    Meanwhile another leader was elected, which has committed more.
    """
    cluster = Cluster.of(1, 2, 3, settings=SETTINGS)
    leader = cluster.elect(1)
    acknowledged = cluster.propose(b"old")
    leader.read(7)
    assert leader.begin_io()
    leader.finish_io()
    cluster.deliver_all()
    for follower in (cluster[2], cluster[3]):
        follower.run_io()
    waiting, cluster.wire = cluster.wire, []
    assert [type(message) for message in waiting] == [HeartbeatReply, HeartbeatReply]
    cluster.isolate(1)
    for _ in range(3 * SETTINGS.election_ticks):
        for other in (cluster[2], cluster[3]):
            other.tick()
        for _ in range(4):
            for other in (cluster[2], cluster[3]):
                other.run_io()
            cluster.deliver_all()
    successor = cluster.leader()
    assert successor is not None
    assert successor is not leader
    index, _ = successor.propose(b"new")
    for _ in range(4):
        for other in (cluster[2], cluster[3]):
            other.run_io()
        cluster.deliver_all()
    assert successor.core.commit_index >= index
    assert leader.core.is_leader, "it knows nothing of all that"
    cluster.heal()
    return cluster, leader, acknowledged, waiting


def answered(leader: Server) -> dict[int, Index]:
    """Let the leader do what there is to do, and return the reads that it answers."""
    found: dict[int, Index] = {}
    while leader.begin_io():
        assert leader.writing is not None
        found |= {state.request_id: state.index for state in leader.writing.read_states}
        leader.finish_io()
    return found


def test_read_from_before_the_freeze_sees_all_that_was_acknowledged_before_it() -> None:
    """It ran beside what the other leader did, so it may miss that; it may not miss what came before the question."""
    _, leader, acknowledged, waiting = frozen_leader()
    for message in waiting:
        leader.step(message)
    assert answered(leader) == {7: acknowledged}


def test_read_from_after_the_freeze_is_not_confirmed_by_what_waited() -> None:
    """The followers said those words before the question, and follow another leader by now."""
    cluster, leader, acknowledged, waiting = frozen_leader()
    leader.read(8)
    for message in waiting:
        leader.step(message)
    assert answered(leader) == {7: acknowledged}
    for message in waiting:
        leader.step(message)
    cluster.settle()
    assert answered(leader) == {}
    assert not leader.core.is_leader
