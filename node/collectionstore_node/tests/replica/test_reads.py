"""Which round a linearizable read belongs to, and when it is released (thesis 6.4)."""

from __future__ import annotations

import asyncio

import pytest

from collectionstore_node.errors import NotLeader, NotNow, ReadTimedOut
from collectionstore_node.metrics import ReadSeries, member_metrics
from collectionstore_node.raft.messages import Index, NodeId
from collectionstore_node.raft.ready import ReadState
from collectionstore_node.replica.consensus.reads import Reads


def reads() -> Reads:
    return Reads(asyncio.get_running_loop(), ReadSeries(member_metrics()))


async def test_all_that_arrive_together_share_a_round() -> None:
    table = reads()
    futures = [table.join(100.0) for _ in range(3)]
    request = table.start()
    assert not table.waiting
    table.confirmed([ReadState(request, Index(5))])
    table.applied(Index(4))
    assert not any(future.done() for future in futures)
    table.applied(Index(5))
    assert all(future.done() for future in futures)


async def test_late_comer_waits_for_a_round_that_starts_after_it() -> None:
    table = reads()
    table.join(100.0)
    first = table.start()
    late = table.join(100.0)
    assert not table.waiting, "one round at a time"
    table.confirmed([ReadState(first, Index(5))])
    table.applied(Index(9))
    assert not late.done()
    assert table.waiting
    second = table.start()
    assert second > first
    table.confirmed([ReadState(second, Index(6))])
    table.applied(Index(9))
    assert late.done()


async def test_confirmation_of_another_round_is_ignored() -> None:
    table = reads()
    future = table.join(100.0)
    request = table.start()
    table.confirmed([ReadState(request - 1, Index(1))])
    table.applied(Index(9))
    assert not future.done()


async def test_failed_round_tells_its_callers_and_frees_the_next() -> None:
    table = reads()
    future = table.join(100.0)
    table.failed([table.start()], NodeId(7))
    with pytest.raises(NotLeader) as error:
        await future
    assert error.value.leader == 7
    table.join(100.0)
    assert table.waiting


async def test_deadline_fails_one_caller_and_not_its_round() -> None:
    table = reads()
    early, late = table.join(5.0), table.join(6.0)
    request = table.start()
    table.expire(5.0)
    with pytest.raises(ReadTimedOut):
        await early
    table.confirmed([ReadState(request, Index(1))])
    table.applied(Index(1))
    assert late.done()
    assert late.exception() is None


async def test_close_leaves_nobody_waiting() -> None:
    table = reads()
    asked = table.join(100.0)
    table.confirmed([ReadState(table.start(), Index(8))])
    waiting = table.join(100.0)
    table.close()
    for future in (asked, waiting):
        with pytest.raises(NotNow):
            await future
