"""Which loops count as stuck: those whose round does not end, and not those that wait for their turn."""

from __future__ import annotations

import asyncio
from typing import Final

from collectionstore_operator.kubernetes.turns import TURNS, Rounds, Turns
from collectionstore_operator.observability.health import STUCK_S, Health
from collectionstore_operator.reconcile.loop import Round
from collectionstore_operator.tests.kubernetes.test_client import Clock

DONE: Final = Round(result="Settled")


class Loops:
    """Loops that have rounds of the same length, and the operator's probe."""

    def __init__(self, count: int, *, turns: int = TURNS) -> None:
        self.clock = Clock()
        self.turns = Turns(turns, clock=self.clock.time)
        self.rounds = [Rounds(self.turns) for _ in range(count)]
        self.may_end = asyncio.Semaphore(0)
        self.ended: asyncio.Queue[Rounds] = asyncio.Queue()
        self.health = Health()
        self.health.slowest_loop_s = lambda: max((one.silent_s() for one in self.rounds), default=0.0)

    async def round(self, rounds: Rounds) -> None:
        async with rounds:
            await self.may_end.acquire()
        rounds.finished(DONE)
        self.ended.put_nowait(rounds)

    async def end(self, count: int) -> list[Rounds]:
        """Let so many rounds end, and return which."""
        for _ in range(count):
            self.may_end.release()
        return [await self.ended.get() for _ in range(count)]

    def stuck(self) -> bool:
        return bool(self.health.report()["stuck"])


async def test_loop_that_waits_while_others_take_turns_is_not_stuck() -> None:
    """Two hundred clusters whose rounds take 20 s each: the last one begins after 380 s."""
    world = Loops(200)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for one in world.rounds:
            group.create_task(world.round(one))
        await asyncio.sleep(0)
        for _ in range(200 // TURNS):
            world.clock.now += 20.0
            assert all(one.silent_s() <= 20.0 for one in world.rounds), f"at {world.clock.now} s"
            assert not world.stuck()
            for one in await world.end(TURNS):
                world.rounds.remove(one)  # it is idle from now on
    assert world.clock.now > STUCK_S
    assert world.rounds == []


async def test_round_that_does_not_end_is_stuck_and_so_is_what_waits_for_it() -> None:
    world = Loops(2, turns=1)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(world.round(one)) for one in world.rounds]
        await asyncio.sleep(0)
        world.clock.now += STUCK_S
        assert not world.stuck()
        world.clock.now += 1.0
        assert world.stuck()
        assert [one.silent_s() for one in world.rounds] == [STUCK_S + 1.0] * 2
        for one in tasks:
            one.cancel()


async def test_round_is_measured_from_the_start_of_its_turn() -> None:
    world = Loops(1, turns=1)
    await world.turns.take()
    task = asyncio.create_task(world.round(world.rounds[0]))
    await asyncio.sleep(0)
    world.clock.now += 200.0
    assert world.rounds[0].silent_s() == 200.0, "no turn ends"
    world.turns.end()
    assert world.rounds[0].silent_s() == 0.0
    for _ in range(3):
        await asyncio.sleep(0)
    world.clock.now += 7.0
    assert world.rounds[0].silent_s() == 7.0
    await world.end(1)
    await task
    world.clock.now += 2.0
    assert world.rounds[0].silent_s() == 2.0


async def test_loop_that_ends_while_it_waits_takes_no_turn() -> None:
    world = Loops(2, turns=1)
    await world.turns.take()
    task = asyncio.create_task(world.round(world.rounds[0]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    world.turns.end()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(world.round(world.rounds[1]))
        assert await world.end(1) == [world.rounds[1]]


def test_seconds_since_the_last_round_are_measured() -> None:
    clock = Clock()
    rounds = Rounds(Turns(clock=clock.time))
    clock.now += 5.0
    assert rounds.silent_s() == 5.0
    rounds.finished(Round(result="Failed"))
    clock.now += 2.0
    assert rounds.silent_s() == 2.0
