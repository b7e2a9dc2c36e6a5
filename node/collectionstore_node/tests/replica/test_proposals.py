"""Who is told what about a command, and when."""

from __future__ import annotations

import asyncio

import pytest

from collectionstore_node.errors import NotLeader, NotNow, OutcomeUnknown, Overloaded
from collectionstore_node.metrics import ProposalSeries, member_metrics
from collectionstore_node.raft.messages import Index, Term
from collectionstore_node.replica.consensus.proposals import (
    ENOUGH_BYTES,
    ENTRY_BYTES_MAX,
    ENTRY_COMMANDS_MAX,
    FEW_COMMANDS,
    MANY_COMMANDS,
    Proposals,
)
from collectionstore_node.replica.observation.command import EarlyWaiter
from collectionstore_node.statemachine.commands import Code, Outcome

COMMAND = b"one encoded command"


def proposals(waiting_max: int = 10_000, bytes_max: int = 1 << 30) -> Proposals:
    return Proposals(
        bytes_max=bytes_max,
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


def under_way(queue: Proposals, *entries: int) -> None:
    """Propose an entry of so many commands each, from index 1 on."""
    for index, commands in enumerate(entries, 1):
        for _ in range(commands):
            queue.submit(COMMAND, 100.0)
        queue.proposed(Index(index), Term(3), queue.take(), 100)


@pytest.mark.parametrize(
    ("entries", "waiting", "enough"),
    [
        pytest.param((1,), 1, True, id="few-clients-do-not-wait"),
        pytest.param((FEW_COMMANDS - 1,), 1, True, id="nearly-many"),
        pytest.param((FEW_COMMANDS,), FEW_COMMANDS - 1, False, id="gathers"),
        pytest.param((FEW_COMMANDS,), FEW_COMMANDS, True, id="as-many-as-are-under-way"),
        pytest.param((20, 10), 29, False, id="under-way-in-several-entries"),
        pytest.param((20, 10), 30, True, id="as-many-as-in-all-of-them"),
        pytest.param((500,), MANY_COMMANDS - 1, False, id="not-many"),
        pytest.param((500,), MANY_COMMANDS, True, id="many-whatever-is-under-way"),
    ],
)
async def test_commands_gather_while_many_are_under_way(entries: tuple[int, ...], waiting: int, enough: bool) -> None:  # noqa: FBT001
    queue = proposals()
    under_way(queue, *entries)
    for _ in range(waiting):
        queue.submit(COMMAND, 100.0)
    assert queue.enough is enough


async def test_large_commands_do_not_gather() -> None:
    queue = proposals()
    under_way(queue, 100)
    queue.submit(bytes(ENOUGH_BYTES - 1), 100.0)
    assert not queue.enough
    queue.submit(b"1", 100.0)
    assert queue.enough


@pytest.mark.parametrize("end", ["applied", "another term", "snapshot", "deadline", "displaced", "closed"])
async def test_entry_is_under_way_until_its_end(end: str) -> None:
    """Whatever ends it: commands that gathered for an entry that has ended would wait for nothing."""
    queue = proposals()
    futures = [queue.submit(COMMAND, 5.0) for _ in range(FEW_COMMANDS)]
    queue.proposed(Index(1), Term(3), queue.take(), 100)
    queue.submit(COMMAND, 100.0)
    assert not queue.enough
    match end:
        case "applied":
            queue.applied(Index(1), Term(3), [outcome(number) for number in range(FEW_COMMANDS)])
        case "another term":
            queue.applied(Index(1), Term(4), [])
        case "snapshot":
            queue.skipped_to(Index(1))
        case "deadline":
            queue.expire(5.0)
        case "displaced":
            queue.proposed(Index(1), Term(5), queue.take(), 100)
        case _:
            queue.close()
    assert queue.enough
    # The failures are other tests' subject; an exception that is never looked at would be reported here.
    await asyncio.gather(*futures, return_exceptions=True)


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


async def test_deferred_commands_go_first_into_the_next_entry_and_nobody_hears_of_it() -> None:
    """In their order, and fewer at a time; later entries grow again."""
    queue = proposals()
    futures = [queue.submit(b"%d" % number, 100.0) for number in range(6)]
    batch = queue.take()
    queue.proposed(Index(1), Term(1), batch, 10)
    queue.submit(b"later", 100.0)
    deferred = Outcome(Code.DEFERRED, 9)
    queue.applied(Index(1), Term(1), [outcome(1), outcome(2), *[deferred] * 4])
    assert [future.done() for future in futures] == [True, True, False, False, False, False]
    again = queue.take()
    assert [waiting.command for waiting in again] == [b"2", b"3"]
    queue.proposed(Index(2), Term(1), again, 10)
    queue.applied(Index(2), Term(1), [outcome(3), outcome(4)])
    assert [waiting.command for waiting in queue.take()] == [b"4", b"5", b"later"]


async def test_deferred_commands_count_as_waiting_bytes_again() -> None:
    """Taken off twice and added once, the count would sink with every deferral, and let ever more bytes wait."""
    queue = proposals(bytes_max=2 * len(COMMAND))
    for _ in range(2):
        queue.submit(COMMAND, 100.0)
    queue.proposed(Index(1), Term(1), queue.take(), 10)
    queue.applied(Index(1), Term(1), [outcome(1), Outcome(Code.DEFERRED, 1)])
    queue.submit(COMMAND, 100.0)
    with pytest.raises(Overloaded):
        queue.submit(COMMAND, 100.0)
    while queue.waiting:
        queue.take()
    for _ in range(2):
        queue.submit(COMMAND, 100.0)
    with pytest.raises(Overloaded):
        queue.submit(COMMAND, 100.0)


async def test_deferred_command_of_a_leader_that_steps_down_was_not_applied() -> None:
    queue = proposals()
    future = queue.submit(COMMAND, 100.0)
    queue.proposed(Index(1), Term(1), queue.take(), 10)
    queue.applied(Index(1), Term(1), [Outcome(Code.DEFERRED, 1)])
    queue.refuse_waiting(NotLeader)
    with pytest.raises(NotLeader):
        await future


async def test_caller_gets_the_answer_with_values() -> None:
    queue = proposals()
    futures = [queue.submit(COMMAND, 100.0) for _ in range(2)]
    assert not queue.waits(Index(1), Term(1))
    queue.proposed(Index(1), Term(1), queue.take(), 10)
    assert queue.waits(Index(1), Term(1))
    assert not queue.waits(Index(1), Term(2))
    queue.applied(Index(1), Term(1), [outcome(1), outcome(2)], {1: outcome(77)})
    assert [(await future).revision for future in futures] == [1, 77]


def early(queue: Proposals, deadline: float = 100.0) -> asyncio.Future[Outcome | None]:
    """Queue a command whose caller goes on once the leader has it on its disk."""
    told: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
    waiter = EarlyWaiter(told)
    queue.enqueue(COMMAND, deadline, waiter, early=waiter)
    return told


async def test_an_early_waiter_is_told_once_the_disk_of_the_leader_has_its_entry() -> None:
    queue = proposals()
    first, plain, second = early(queue), queue.submit(COMMAND, 100.0), early(queue)
    queue.proposed(Index(7), Term(2), queue.take(), 1)
    third = early(queue)
    queue.proposed(Index(8), Term(2), queue.take(), 1)
    queue.synced(Index(6), Term(2))
    assert not first.done()
    queue.synced(Index(7), Term(2))
    assert (first.result(), second.result()) == (None, None)
    assert not plain.done()
    assert not third.done()
    queue.applied(Index(7), Term(2), [outcome(1), outcome(2), outcome(3)])
    assert plain.result() == outcome(2)
    queue.synced(Index(9), Term(2))
    assert third.result() is None


@pytest.mark.parametrize("leads", [None, Term(3)])
async def test_the_disk_of_another_term_says_nothing(leads: Term | None) -> None:
    """The entry at that index may be another one."""
    queue = proposals()
    told = early(queue)
    queue.proposed(Index(7), Term(2), queue.take(), 1)
    queue.synced(Index(9), leads)
    assert not told.done()
    queue.applied(Index(7), Term(3), [])
    with pytest.raises(NotLeader):
        told.result()


async def test_an_early_waiter_is_told_the_outcome_that_is_known_before() -> None:
    queue = proposals()
    told = early(queue)
    queue.proposed(Index(7), Term(2), queue.take(), 1)
    queue.applied(Index(7), Term(2), [outcome(5)])
    assert told.result() == outcome(5)
    queue.synced(Index(7), Term(2))


async def test_a_command_whose_caller_was_told_is_proposed_again_if_its_entry_had_no_room() -> None:
    queue = proposals()
    told = early(queue)
    queue.proposed(Index(7), Term(2), queue.take(), 1)
    queue.synced(Index(7), Term(2))
    assert told.result() is None
    queue.applied(Index(7), Term(2), [Outcome(Code.DEFERRED, 1)])
    (again,) = queue.take()
    queue.proposed(Index(8), Term(2), [again], 1)
    queue.synced(Index(8), Term(2))
    queue.applied(Index(8), Term(2), [outcome(2)])
    assert again.future.done()
    assert queue.pending == 0


async def test_a_command_whose_caller_was_told_does_not_stay_beyond_its_deadline() -> None:
    queue = proposals()
    told = early(queue, 5.0)
    queue.proposed(Index(7), Term(2), queue.take(), 1)
    queue.synced(Index(7), Term(2))
    queue.expire(6.0)
    assert told.result() is None
    assert queue.pending == 0


async def test_an_early_command_whose_caller_has_gone_is_dropped() -> None:
    queue = proposals()
    early(queue).cancel()
    kept = early(queue)
    batch = queue.take()
    assert len(batch) == 1
    queue.proposed(Index(7), Term(2), batch, 1)
    queue.synced(Index(7), Term(2))
    assert kept.result() is None


async def test_an_early_command_that_was_never_proposed_is_certainly_not_applied() -> None:
    queue = proposals()
    told = early(queue)
    queue.refuse_waiting(NotLeader)
    with pytest.raises(NotLeader):
        told.result()
