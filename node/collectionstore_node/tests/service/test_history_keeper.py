"""The bound of the history while a member is short of space: proposed by the leader, once, and taken back."""

from __future__ import annotations

import asyncio

import pytest

from collectionstore_node.errors import NotLeader, OutcomeUnknown
from collectionstore_node.service import HistoryKeeper
from collectionstore_node.service.history_keeper import CALM_LOOKS, LOOK_S
from collectionstore_node.statemachine.commands import Command, KeyRef, LimitHistory, Put
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.history import LIMIT_MIN_BYTES
from collectionstore_node.tests.api.memory_replica import ME, OTHER, MemoryReplica


class Bench:
    """A keeper over a replica in memory, which sleeps a number of times."""

    def __init__(self) -> None:
        self.replica = MemoryReplica()
        self.naps = 0
        self.keeper = HistoryKeeper(self.replica, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        assert seconds == LOOK_S
        self.naps -= 1
        if self.naps < 0:
            raise asyncio.CancelledError

    async def begin(self) -> None:
        await self.replica.propose(Command(Put(KeyRef("b", "k"), b"v")), timeout_s=1)
        self.replica.proposed.clear()

    async def look(self, times: int) -> list[object]:
        """Return what was proposed in so many looks."""
        self.naps = times
        with pytest.raises(asyncio.CancelledError):
            await self.keeper.run()
        proposed = [one.action for one in self.replica.proposed]
        self.replica.proposed.clear()
        return list(proposed)


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    await made.begin()
    return made


async def test_a_short_member_bounds_the_history_until_there_is_space(bench: Bench) -> None:
    assert await bench.look(3) == []
    bench.replica.short_of_space = True
    assert await bench.look(3) == [LimitHistory(LIMIT_MIN_BYTES)]
    history = read_header(bench.replica.view).history
    assert history is not None
    assert history.bytes_max == LIMIT_MIN_BYTES
    bench.replica.short_of_space = False
    assert await bench.look(CALM_LOOKS - 1) == []
    assert await bench.look(3) == [LimitHistory(0)]
    assert await bench.look(3) == []


async def test_a_shortage_in_between_begins_the_wait_again(bench: Bench) -> None:
    """Clients that delete make room, and the history must not take it."""
    bench.replica.short_of_space = True
    assert await bench.look(1) == [LimitHistory(LIMIT_MIN_BYTES)]
    for _ in range(3):
        bench.replica.short_of_space = False
        assert await bench.look(CALM_LOOKS - 1) == []
        bench.replica.short_of_space = True
        assert await bench.look(1) == []


async def test_a_member_that_does_not_lead_proposes_nothing(bench: Bench) -> None:
    bench.replica.short_of_space = True
    bench.replica.known_leader = OTHER
    assert await bench.look(2) == []
    bench.replica.known_leader = ME
    assert len(await bench.look(1)) == 1


async def test_before_the_level_there_is_nothing_to_bound() -> None:
    bench = Bench()
    bench.replica.short_of_space = True
    assert await bench.look(2) == []


@pytest.mark.parametrize("error", [NotLeader(), OutcomeUnknown("late")])
async def test_a_proposal_that_fails_is_made_again(bench: Bench, error: Exception) -> None:
    bench.replica.short_of_space = True
    bench.replica.write_error = error
    assert await bench.look(2) == []
    bench.replica.write_error = None
    assert len(await bench.look(2)) == 1
