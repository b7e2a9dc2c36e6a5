"""Who is told what about a command, and when."""

from __future__ import annotations

import asyncio

import pytest

from collectionstore_node.errors import NotLeader, NotNow, OutcomeUnknown, Overloaded
from collectionstore_node.metrics import ProposalSeries, member_metrics
from collectionstore_node.raft.messages import Index, Term
from collectionstore_node.replica.consensus.proposals import ENTRY_BYTES_MAX, ENTRY_COMMANDS_MAX, Proposals
from collectionstore_node.statemachine.commands import Code, Outcome

COMMAND = b"one encoded command"


def proposals(waiting_max: int = 10_000) -> Proposals:
    return Proposals(
        bytes_max=1 << 30,
        waiting_max=waiting_max,
        loop=asyncio.get_running_loop(),
        series=ProposalSeries(member_metrics()),
    )


def outcome(revision: int) -> Outcome:
    return Outcome(Code.OK, revision)


async def test_commands_that_wait_together_become_one_batch_in_order() -> None:
    queue = proposals()
    futures = [queue.submit(COMMAND, 100.0) for _ in range(3)]
    batch = queue.take()
    assert [waiting.future for waiting in batch] == futures
    assert queue.take() == []


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [
        pytest.param(1, ENTRY_COMMANDS_MAX + 5, ENTRY_COMMANDS_MAX, id="by-count"),
        pytest.param(ENTRY_BYTES_MAX // 4, 6, 4, id="by-bytes"),
        pytest.param(ENTRY_BYTES_MAX * 2, 2, 1, id="one-larger-than-the-bound-goes-alone"),
    ],
)
async def test_batch_is_bounded(size: int, count: int, expected: int) -> None:
    queue = proposals()
    for _ in range(count):
        queue.submit(bytes(size), 100.0)
    assert len(queue.take()) == expected
    assert queue.waiting == count - expected


async def test_full_queue_refuses_and_keeps_what_it_has() -> None:
    queue = proposals(waiting_max=1)
    queue.submit(COMMAND, 100.0)
    with pytest.raises(Overloaded):
        queue.submit(COMMAND, 100.0)
    assert queue.waiting == 1


async def test_applied_entry_gives_each_caller_its_own_outcome() -> None:
    queue = proposals()
    futures = [queue.submit(COMMAND, 100.0) for _ in range(2)]
    queue.proposed(Index(7), Term(3), queue.take(), 100)
    queue.applied(Index(7), Term(3), [outcome(1), outcome(2)])
    assert [(await one).revision for one in futures] == [1, 2]
    assert queue.pending == 0


async def test_another_term_at_the_index_means_not_applied() -> None:
    """(index, term) names an entry for ever, so another committed there excludes ours (Raft 5.3)."""
    queue = proposals()
    future = queue.submit(COMMAND, 100.0)
    queue.proposed(Index(7), Term(3), queue.take(), 100)
    queue.applied(Index(7), Term(4), [])
    with pytest.raises(NotLeader):
        await future


async def test_proposed_command_past_its_deadline_is_unknown() -> None:
    queue = proposals()
    future = queue.submit(COMMAND, 5.0)
    queue.proposed(Index(7), Term(3), queue.take(), 100)
    queue.expire(4.9)
    assert not future.done()
    queue.expire(5.0)
    with pytest.raises(OutcomeUnknown):
        await future
    assert queue.pending == 0


async def test_waiting_command_past_its_deadline_is_not_applied() -> None:
    queue = proposals()
    future = queue.submit(COMMAND, 5.0)
    queue.expire(5.0)
    with pytest.raises(NotNow):
        await future
    assert queue.take() == []


async def test_snapshot_over_a_proposed_entry_leaves_it_unknown() -> None:
    queue = proposals()
    future = queue.submit(COMMAND, 100.0)
    queue.proposed(Index(7), Term(3), queue.take(), 100)
    queue.skipped_to(Index(6))
    assert not future.done()
    queue.skipped_to(Index(7))
    with pytest.raises(OutcomeUnknown):
        await future


async def test_second_entry_proposed_at_an_index_leaves_the_first_unknown() -> None:
    queue = proposals()
    first = queue.submit(COMMAND, 100.0)
    queue.proposed(Index(7), Term(3), queue.take(), 100)
    second = queue.submit(COMMAND, 100.0)
    queue.proposed(Index(7), Term(5), queue.take(), 100)
    with pytest.raises(OutcomeUnknown):
        await first
    queue.applied(Index(7), Term(5), [outcome(9)])
    assert (await second).revision == 9


async def test_command_whose_caller_left_is_not_proposed() -> None:
    queue = proposals()
    gone, stays = (queue.submit(COMMAND, 100.0) for _ in range(2))
    gone.cancel()
    assert [waiting.future for waiting in queue.take()] == [stays]


async def test_close_separates_not_applied_from_unknown() -> None:
    queue = proposals()
    proposed = queue.submit(COMMAND, 100.0)
    queue.proposed(Index(1), Term(1), queue.take(), 100)
    waiting = queue.submit(COMMAND, 100.0)
    queue.close()
    with pytest.raises(OutcomeUnknown):
        await proposed
    with pytest.raises(NotNow):
        await waiting
