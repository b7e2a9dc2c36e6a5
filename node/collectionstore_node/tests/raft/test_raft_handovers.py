"""Leadership is handed over at every micro-step of every kind of membership change (thesis 3.10, 4.3)."""

from __future__ import annotations

from collections import Counter

import pytest

from collectionstore_node.errors import LeadershipTransferring, NotNow
from collectionstore_node.raft.messages import (
    AppendEntries,
    ConfigChange,
    Configuration,
    Entry,
    EntryKind,
    Index,
    NodeId,
    RequestVote,
    Term,
    TimeoutNow,
    encode,
)
from collectionstore_node.raft.ready import Role
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.handovers import CASES, add, hand_over, learn, length, remove
from collectionstore_node.tests.raft.solo import Solo, make_entries


@pytest.mark.parametrize("name", CASES)
def test_handover_at_any_step_of_a_change_leaves_a_leader(name: str) -> None:
    """N3: without any time passing, and the change ends too. Servers are eager once, and once work in any order."""
    case = CASES[name]
    targets = sorted({*case.voters, *[int(step.node_id) for step in case.steps]} - {1})
    ends: Counter[str] = Counter()
    for at in range(length(case, 0) + 1):
        ends[hand_over(case, 0, at, targets[at % len(targets)])] += 1
        if at % 3 == 0:
            ends[hand_over(case, at + 1, at, targets[at // 3 % len(targets)])] += 1
    assert ends["leaderless"] == 0, ends
    assert ends["kept"] == 0, "no time passed, so no transfer was aborted"
    assert ends["done"] > 20


@pytest.mark.parametrize("name", ["promote", "replace"])
def test_handover_to_each_voter_at_every_step(name: str) -> None:
    """N3: these left no leader, at every one of their steps."""
    case = CASES[name]
    for at in range(length(case, 0) + 1):
        for to in (2, 4):
            assert hand_over(case, 0, at, to) in ("done", "refused"), (at, to)


def leading(*others: int, learners: tuple[int, ...] = ()) -> Solo:
    solo = Solo(
        term=1, configuration=Configuration((NodeId(1), *map(NodeId, others)), learners=tuple(map(NodeId, learners)))
    )
    solo.elect()
    solo.acknowledge(*others)
    return solo


def test_timeout_now_leaves_after_the_append_that_carries_the_commit() -> None:
    """N3: or the transferee campaigns under a configuration that the others are leaving."""
    solo = leading(2, 3)
    index, _ = solo.node.propose(b"x")
    solo.take()
    solo.node.transfer_leadership(NodeId(2))
    sent = [message for message in solo.acknowledge(2).messages if message.to == 2]
    assert [type(message) for message in sent] == [AppendEntries, TimeoutNow]
    assert isinstance(sent[0], AppendEntries)
    assert sent[0].leader_commit == index


def test_nothing_is_appended_while_a_transfer_runs() -> None:
    """N3: neither the entry that leaves a joint configuration nor the barrier; both follow when it is aborted."""
    solo = leading(2, 3, learners=(4,))
    solo.node.propose_change(ConfigChange((add(4),)))
    solo.take()
    solo.acknowledge(2, 4)
    assert solo.node.configuration.joint
    leave = solo.node.last_index
    solo.node.transfer_leadership(NodeId(3))
    solo.acknowledge(2, 4)
    assert not solo.node.configuration.joint
    assert solo.node.last_index == leave
    status = solo.node.status()
    assert status.pending_change_index > status.applied_index, "the change is not complete"
    for _ in range(2):
        solo.tick(5)
        solo.acknowledge(2, 4)
    assert solo.node.status().transferring_to == 0
    assert solo.node.last_index == leave + 1
    solo.acknowledge(2, 4)
    status = solo.node.status()
    assert status.pending_change_index == status.applied_index == leave + 1


def test_removed_leader_whose_handover_fails_steps_down_behind_the_barrier() -> None:
    """N3: it takes no proposals before, and hands over again after."""
    solo = leading(2, 3, 4)
    solo.node.propose_change(ConfigChange((remove(1),)))
    solo.take()
    solo.acknowledge(2, 3, 4)
    leave = solo.node.last_index
    solo.node.transfer_leadership(NodeId(4))
    solo.acknowledge(2, 3)
    assert (solo.node.last_index, solo.node.is_leader) == (leave, True)
    for action in (lambda: solo.node.propose(b"x"), lambda: solo.node.transfer_leadership(NodeId(2))):
        with pytest.raises(NotNow):
            action()
    solo.tick(5)
    solo.acknowledge(2, 3)
    solo.tick(5)
    assert solo.node.last_index == leave + 1
    output = solo.acknowledge(2, 3)
    assert not solo.node.is_leader
    assert [message.to for message in output.of(TimeoutNow)] == [2]


def test_order_to_campaign_waits_for_the_change_before_it() -> None:
    """N3: the commit that the append brought is applied with the next Ready; then the follower obeys."""
    entries = make_entries([1])
    change = make_entries([1], after=entries[-1], kind=EntryKind.CHANGE, data=encode(ConfigChange((learn(4),))))
    solo = Solo(term=1, log=(*entries, *change), commit=1)
    solo.step(solo.heartbeat())
    solo.node.step(solo.append((), commit=2, prev=change[-1]))
    solo.node.step(TimeoutNow(NodeId(2), NodeId(1), Term(1)))
    assert solo.node.status().role is Role.FOLLOWER
    output = solo.take()
    assert solo.node.status().role is Role.CANDIDATE
    assert {message.transfer for message in output.of(RequestVote)} == {True}


@pytest.mark.parametrize("why", ["time", "entries", "leader"])
def test_order_to_campaign_that_was_overtaken_is_dropped(why: str) -> None:
    """The leader that sent it has gone on, or is gone: the campaign would depose a leader for nothing."""
    entries = make_entries([1])
    change: tuple[Entry, ...] = make_entries(
        [1], after=entries[-1], kind=EntryKind.CHANGE, data=encode(ConfigChange((learn(4),)))
    )
    solo = Solo(term=1, log=(*entries, *change), commit=1)
    solo.step(solo.heartbeat())
    solo.node.step(solo.append((), commit=2, prev=change[-1]))
    solo.node.step(TimeoutNow(NodeId(2), NodeId(1), Term(1)))
    if why == "time":
        for _ in range(10):
            solo.node.tick()
            solo.node.step(solo.heartbeat())
    elif why == "entries":
        solo.node.step(solo.append(make_entries([1], after=change[-1]), commit=2, prev=change[-1]))
    else:
        solo.node.step(solo.heartbeat(leader=3, term=2))
    solo.take()
    assert solo.node.status().role is Role.FOLLOWER


def test_second_transfer_is_refused_once_the_first_target_was_told() -> None:
    """Two candidates of one term may split the votes; the same target again is no second transfer."""
    solo = leading(2, 3, 4)
    solo.node.transfer_leadership(NodeId(2))
    assert [message.to for message in solo.take().of(TimeoutNow)] == [2]
    with pytest.raises(LeadershipTransferring):
        solo.node.transfer_leadership(NodeId(3))
    solo.node.transfer_leadership(NodeId(2))
    assert solo.take().of(TimeoutNow) == []


def test_target_that_was_told_is_waited_for_although_it_is_being_removed() -> None:
    """N3: its campaign deposes this leader; an entry behind its back would make it lose."""
    solo = leading(2, 3, 4)
    solo.node.propose_change(ConfigChange((remove(3),)))
    solo.take()
    solo.node.transfer_leadership(NodeId(3))
    assert [message.to for message in solo.acknowledge(3).of(TimeoutNow)] == [3]
    last = solo.node.last_index
    solo.acknowledge(2, 4)
    assert solo.node.configuration.joint
    assert (solo.node.last_index, solo.node.status().transferring_to) == (last, 3)


def test_reads_go_on_while_leadership_is_handed_over_during_a_change() -> None:
    """A round confirms them, under the configuration that is active when it ends."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    cluster.add(4)
    leader.core.propose_change(ConfigChange((add(4),)))
    leader.core.transfer_leadership(NodeId(2))
    leader.read(1)
    cluster.settle()
    cluster.tick(10)
    assert cluster[2].core.is_leader
    assert cluster.observer.waiting_reads() == []
    assert cluster[2].core.configuration.voters == (1, 2, 3, 4)


def test_leader_waits_for_a_follower_that_installs_a_snapshot() -> None:
    """N5: with another follower dead it stepped down, again and again, for as long as the installation took."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    cluster.isolate(2)
    for _ in range(5):
        cluster.propose()
    leader.compact()
    cluster.heal()
    installing = cluster[2]
    for _ in range(20):
        cluster.deliver_all()
        for server in (leader, cluster[3]):
            server.tick()
            server.run_io()
        if installing.writing is not None and installing.writing.snapshot is not None:
            break
        installing.run_io_until_snapshot()
    assert installing.writing is not None
    assert installing.writing.snapshot is not None
    cluster[3].crash()
    term = leader.core.term
    for _ in range(100):
        for server in (leader, installing):
            server.tick()
        leader.run_io()
        cluster.deliver_all()
    assert (leader.core.is_leader, leader.core.term) == (True, term)
    cluster.settle()
    cluster.propose()
    assert installing.applied.index == leader.core.applied == Index(leader.core.last_index)
