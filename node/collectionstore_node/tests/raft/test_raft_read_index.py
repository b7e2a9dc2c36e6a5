"""Read rounds and forwarded reads as values."""

from __future__ import annotations

from collectionstore_node.raft.messages import NO_NODE, Configuration, Index, NodeId
from collectionstore_node.raft.tracker.read_index import ForwardedReads, ReadQueue, ReadRequest

LEADER = NodeId(1)
THREE = Configuration(voters=(NodeId(1), NodeId(2), NodeId(3)))
JOINT = Configuration(voters=(NodeId(1), NodeId(4)), outgoing=(NodeId(1), NodeId(2), NodeId(3)), auto_leave=True)


def own(request_id: int) -> ReadRequest:
    return ReadRequest(NO_NODE, request_id)


def confirmed_ids(reads: ReadQueue, configuration: Configuration = THREE) -> list[int]:
    return [request.request_id for batch in reads.confirmed(LEADER, configuration) for request in batch.requests]


def test_waiting_reads_share_one_round() -> None:
    reads = ReadQueue()
    for request_id in (1, 2, 3):
        reads.add(own(request_id))
    sequence = reads.begin_round(Index(7))
    assert not reads.waiting
    reads.acknowledged(NodeId(2), sequence)
    (batch,) = reads.confirmed(LEADER, THREE)
    assert batch.commit == 7
    assert [request.request_id for request in batch.requests] == [1, 2, 3]


def test_acknowledgement_of_an_earlier_round_confirms_nothing_newer() -> None:
    """S5: an old heartbeat's reply must not confirm a later read (etcd-io/etcd#20418, etcd-io/raft#397)."""
    reads = ReadQueue()
    reads.add(own(1))
    first = reads.begin_round(Index(7))
    reads.add(own(1))
    reads.begin_round(Index(9))
    reads.acknowledged(NodeId(2), first)
    assert confirmed_ids(reads) == [1]
    assert reads.unconfirmed


def test_later_acknowledgement_confirms_earlier_rounds_and_late_ones_do_not_undo_it() -> None:
    reads = ReadQueue()
    reads.add(own(1))
    first = reads.begin_round(Index(7))
    reads.add(own(2))
    second = reads.begin_round(Index(9))
    reads.acknowledged(NodeId(2), second)
    reads.acknowledged(NodeId(2), first)
    assert confirmed_ids(reads) == [1, 2]


def test_round_counts_against_the_present_joint_configuration() -> None:
    reads = ReadQueue()
    reads.add(own(1))
    sequence = reads.begin_round(Index(7))
    reads.acknowledged(NodeId(2), sequence)
    assert confirmed_ids(reads, JOINT) == [], "a majority of the new voters is missing"
    reads.acknowledged(NodeId(4), sequence)
    assert confirmed_ids(reads, JOINT) == [1]
    reads.add(own(2))
    sequence = reads.begin_round(Index(8))
    reads.acknowledged(NodeId(4), sequence)
    assert confirmed_ids(reads, JOINT) == [], "a majority of the old voters is missing"
    reads.acknowledged(NodeId(3), sequence)
    assert confirmed_ids(reads, JOINT) == [2]


def test_acknowledgements_of_learners_do_not_count() -> None:
    reads = ReadQueue()
    reads.add(own(1))
    sequence = reads.begin_round(Index(7))
    reads.acknowledged(NodeId(9), sequence)
    assert confirmed_ids(reads) == []


def test_leader_outside_the_voters_does_not_confirm_itself() -> None:
    reads = ReadQueue()
    reads.add(own(1))
    sequence = reads.begin_round(Index(7))
    others = Configuration(voters=(NodeId(2), NodeId(3)))
    reads.acknowledged(NodeId(2), sequence)
    assert confirmed_ids(reads, others) == []
    reads.acknowledged(NodeId(3), sequence)
    assert confirmed_ids(reads, others) == [1]


def test_own_requests_are_those_of_no_follower() -> None:
    reads = ReadQueue()
    reads.add(own(1))
    reads.add(ReadRequest(NodeId(2), 5))
    reads.begin_round(Index(7))
    reads.add(own(2))
    assert sorted(reads.own_requests()) == [1, 2]


def test_forwarded_read_is_answered_once() -> None:
    forwarded = ForwardedReads(first_id=100)
    wire_id = forwarded.sent(7, tick=1)
    assert wire_id == 100
    assert forwarded.answered(wire_id) == 7
    assert forwarded.answered(wire_id) is None
    assert not forwarded


def test_forwarded_reads_expire_in_order_of_asking() -> None:
    forwarded = ForwardedReads(first_id=0)
    forwarded.sent(7, tick=1)
    forwarded.sent(8, tick=5)
    assert list(forwarded.expired(1)) == []
    assert list(forwarded.expired(3)) == [7]
    assert forwarded.abandon() == [8]
    assert not forwarded
