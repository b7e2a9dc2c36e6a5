"""What a real member counts and shows: proposals by their fate, reads, and what the leader alone knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from collectionstore_node.errors import LeadershipTransferring, NodeError, NotLeader, NotNow, Overloaded
from collectionstore_node.metrics import ProposalSeries, ReadSeries, member_metrics
from collectionstore_node.raft.messages import Configuration, Index, NodeId, Term
from collectionstore_node.raft.ready import ReadState
from collectionstore_node.replica.consensus.proposals import Proposals
from collectionstore_node.replica.consensus.reads import Reads
from collectionstore_node.replica.reporting.gauges import tolerated_failures
from collectionstore_node.statemachine.commands import Code, Outcome
from collectionstore_node.tests.metrics.reading import sample_value
from collectionstore_node.tests.replica.group import group

SECONDS = "collectionstore_raft_proposal_duration_seconds_count"


class Queue(Proposals):
    """A queue of one, and what it counted."""

    def __init__(self) -> None:
        self.metrics = member_metrics()
        super().__init__(
            waiting_max=1, bytes_max=1 << 20, loop=asyncio.get_running_loop(), series=ProposalSeries(self.metrics)
        )

    def value(self, name: str, **labels: str) -> float | None:
        return sample_value(self.metrics, f"collectionstore_raft_{name}", **labels)

    @property
    def failures(self) -> dict[str, float]:
        """The reasons for which something was counted as failed."""
        reasons = ("overloaded", "expired", "not_leader", "transferring", "displaced", "unknown", "stopping")
        counted = {reason: self.value("proposals_failed_total", reason=reason) for reason in reasons}
        return {reason: count for reason, count in counted.items() if count}

    def propose(self, index: int = 1, term: int = 1) -> asyncio.Future[Outcome]:
        future = self.submit(b"command", 10.0)
        self.proposed(Index(index), Term(term), self.take(), 7)
        return future


async def failed(future: asyncio.Future[Outcome]) -> None:
    with pytest.raises(NodeError):
        await future


async def test_committed_proposal_is_counted_and_timed() -> None:
    queue = Queue()
    future = queue.propose()
    queue.applied(Index(1), Term(1), [Outcome(Code.OK, 1)])
    await future
    assert queue.value("proposals_total") == queue.value("proposals_committed_total") == 1
    assert queue.value("proposal_duration_seconds_count") == queue.value("commit_duration_seconds_count") == 1
    assert queue.value("entry_size_bytes_sum") == 7
    assert queue.failures == {}


FATES: dict[str, Callable[[Queue], None]] = {
    "expired": lambda queue: queue.expire(10.0),
    "not_leader": lambda queue: queue.refuse_waiting(NotLeader),
    "transferring": lambda queue: queue.refuse_waiting(LeadershipTransferring),
    "overloaded": lambda queue: queue.refuse(queue.take(), Overloaded("the log is full")),
    "stopping": lambda queue: queue.close(),
}


@pytest.mark.parametrize("reason", FATES)
async def test_command_that_was_not_proposed_is_counted_by_what_kept_it(reason: str) -> None:
    queue = Queue()
    future = queue.submit(b"command", 10.0)
    FATES[reason](queue)
    await failed(future)
    assert queue.failures == {reason: 1}
    assert queue.value("proposals_total") == 0


async def test_command_that_finds_the_queue_full_or_closed_is_counted() -> None:
    queue = Queue()
    queue.submit(b"command", 10.0).cancel()
    with pytest.raises(Overloaded):
        queue.submit(b"command", 10.0)
    queue.close()
    with pytest.raises(NotNow):
        queue.submit(b"command", 10.0)
    assert queue.failures == {"overloaded": 1, "stopping": 1}


async def test_proposal_whose_fate_was_not_learnt_is_unknown_and_one_that_lost_is_displaced() -> None:
    queue = Queue()
    lost, late = queue.propose(1), queue.propose(2)
    queue.applied(Index(1), Term(2), [Outcome(Code.OK, 1)])
    queue.expire(10.0)
    await failed(lost)
    await failed(late)
    assert queue.failures == {"displaced": 1, "unknown": 1}
    assert queue.value("proposals_committed_total") == 0


async def test_reads_are_counted_by_caller_and_rounds_are_timed() -> None:
    metrics = member_metrics()
    reads = Reads(asyncio.get_running_loop(), ReadSeries(metrics))
    callers = [reads.join(10.0), reads.join(10.0)]
    reads.confirmed([ReadState(reads.start(), Index(3))])
    late = reads.join(1.0)
    assert reads.pending == 3
    reads.applied(Index(3))
    reads.expire(1.0)
    await asyncio.gather(*callers)
    with pytest.raises(NotNow):
        await late
    lost = reads.join(10.0)
    reads.failed([reads.start()], NodeId(2))
    with pytest.raises(NotLeader):
        await lost
    assert reads.pending == 0
    assert sample_value(metrics, "collectionstore_raft_reads_total") == 4
    assert sample_value(metrics, "collectionstore_raft_read_index_duration_seconds_count") == 1
    assert sample_value(metrics, "collectionstore_raft_reads_failed_total", reason="timeout") == 1
    assert sample_value(metrics, "collectionstore_raft_reads_failed_total", reason="not_leader") == 1


def ids(*numbers: int) -> tuple[NodeId, ...]:
    return tuple(NodeId(number) for number in numbers)


@pytest.mark.parametrize(
    ("voters", "outgoing", "heard", "more"),
    [
        ((1,), (), (1,), 0),
        ((1, 2, 3), (), (1, 2, 3), 1),
        ((1, 2, 3), (), (1, 2, 9), 0),
        ((1, 2, 3), (), (1,), -1),
        ((1, 2, 3, 4, 5), (), (1, 2, 3, 4, 5), 2),
        ((1, 2, 3, 4, 5), (), (1,), -1),
        ((1, 2, 3, 4), (), (1, 2, 3, 4), 1),
        ((1, 2, 3), (1, 4, 5), (1, 2, 3, 4), 0),
        ((1, 2, 3), (1, 4, 5), (1, 2, 3), -1),
    ],
)
def test_tolerated_failures(
    voters: tuple[int, ...], outgoing: tuple[int, ...], heard: tuple[int, ...], more: int
) -> None:
    """While the configuration is joint both halves need their majority."""
    configuration = Configuration(voters=ids(*voters), outgoing=ids(*outgoing))
    assert tolerated_failures(configuration, frozenset(ids(*heard))) == more


async def test_what_the_leader_knows_is_told_by_the_leader_alone(tmp_path: Path) -> None:
    """Lag, silence and replication by peer; the former leader leaves nothing behind."""
    async with group(tmp_path, 3) as (wires, (first, second, third)):
        await first.put("a", b"1")
        lag = {"peer": second.name}
        assert first.series("collectionstore_raft_peer_lag_entries", **lag) is not None
        assert first.series("collectionstore_raft_tolerated_failures") == 1
        assert sample_value(second.metrics, "collectionstore_raft_tolerated_failures") is None
        assert sample_value(second.metrics, "collectionstore_raft_peer_lag_entries", peer=first.name) is None
        assert first.series("collectionstore_raft_term") == second.series("collectionstore_raft_term")
        assert first.series("collectionstore_raft_voters") == 3
        assert first.series("collectionstore_raft_proposals_committed_total") >= 1

        wires.isolate(third)
        await first.until(lambda: first.series("collectionstore_raft_tolerated_failures") == 0)
        assert first.series("collectionstore_raft_peer_silence_seconds", peer=third.name) > 0

        await first.replica.transfer_leadership(second.id, timeout_s=30)
        assert first.series("collectionstore_raft_leadership_transfers_total", result="done") == 1
        assert sample_value(first.metrics, "collectionstore_raft_peer_lag_entries", **lag) is None
        assert sample_value(first.metrics, "collectionstore_raft_tolerated_failures") is None
        await second.until(lambda: sample_value(second.metrics, "collectionstore_raft_tolerated_failures") == 0)
        assert second.series("collectionstore_raft_leader_changes_total") == 2
