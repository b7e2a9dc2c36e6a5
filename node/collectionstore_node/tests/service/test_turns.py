"""Long work in steps: at most so many steps in one turn of the loop, whatever is asked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator

import pytest

from collectionstore_node.errors import Overloaded
from collectionstore_node.service import StoreLimits
from collectionstore_node.service.operations import Consistency, DocumentRef, KeyRef, ListDocuments, ListKeys, Put
from collectionstore_node.service.store import Store
from collectionstore_node.service.turns import (
    FIRST_STEPS_MAX,
    READ_BYTES_MAX,
    READS_RESUMED_MAX,
    RUNNING_MAX,
    STEPS_MAX,
    Turns,
    Work,
)
from collectionstore_node.statemachine.reads import STEP_BYTES, STEP_ITEMS
from collectionstore_node.tests.api.memory_replica import MemoryReplica


class Loop:
    """Counts the turns of the loop, and what happened in each."""

    def __init__(self) -> None:
        self.turn = 0
        self.steps: Counter[int] = Counter()
        self.bytes: Counter[int] = Counter()
        self.open = 0
        self.most_open = 0
        self._ended = False
        self._next()

    def end(self) -> None:
        self._ended = True

    def job(self, steps: int, result: str = "done", error: Exception | None = None) -> Generator[None, None, str]:
        opened = False
        try:
            for step in range(steps):
                self.steps[self.turn] += 1
                if step == 1:
                    opened = True
                    self.open += 1
                    self.most_open = max(self.most_open, self.open)
                if error is not None and step == steps - 1:
                    raise error
                if step < steps - 1:
                    yield
        finally:
            self.open -= opened
        return result

    def _next(self) -> None:
        if not self._ended:
            self.turn += 1
            asyncio.get_running_loop().call_soon(self._next)


@pytest.fixture
async def loop() -> Loop:
    return Loop()


async def test_a_short_job_is_done_in_its_first_step(loop: Loop) -> None:
    before = loop.turn
    assert await Turns().run(Work.BODY, loop.job(1, "value"), timeout_s=1) == "value"
    assert loop.turn == before


async def test_many_long_jobs_take_few_steps_a_turn(loop: Loop) -> None:
    turns = Turns()
    jobs = [turns.run(kind, loop.job(20), timeout_s=60) for kind in Work for _ in range(40)]

    assert await asyncio.gather(*jobs) == ["done"] * len(jobs)

    assert max(loop.steps.values()) <= FIRST_STEPS_MAX + STEPS_MAX
    assert loop.most_open <= RUNNING_MAX * len(Work)
    assert loop.open == 0
    assert turns.pending == 0


async def test_a_short_job_does_not_wait_for_long_ones(loop: Loop) -> None:
    turns = Turns()
    long = [asyncio.ensure_future(turns.run(Work.LIST, loop.job(1_000), timeout_s=60)) for _ in range(20)]
    await asyncio.sleep(0)
    assert await turns.run(Work.LIST, loop.job(1), timeout_s=60) == "done"
    assert turns.pending > 0
    assert not any(one.done() for one in long)
    for one in long:
        one.cancel()
    await asyncio.gather(*long, return_exceptions=True)


async def test_there_are_only_so_many_places(loop: Loop) -> None:
    turns = Turns(running_max=2, waiting_max=3)
    results = await asyncio.gather(
        *(turns.run(Work.LIST, loop.job(50), timeout_s=60) for _ in range(9)),
        turns.run(Work.BODY, loop.job(50), timeout_s=60),
        return_exceptions=True,
    )

    assert sum(isinstance(one, Overloaded) for one in results[:9]) == 4
    assert results.count("done") == 6
    assert results[9] == "done"


async def test_a_job_ends_at_its_deadline_wherever_it_is(loop: Loop) -> None:
    """Running or waiting, it is refused; its generator is closed, and the others go on."""
    turns = Turns(running_max=1)
    endless = asyncio.ensure_future(turns.run(Work.LIST, loop.job(1 << 40), timeout_s=0.05))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await turns.run(Work.LIST, loop.job(50), timeout_s=0.01)
    with pytest.raises(Overloaded):
        await endless
    assert await turns.run(Work.LIST, loop.job(50), timeout_s=60) == "done"
    assert loop.open == 0


async def test_a_client_that_goes_away_frees_its_place(loop: Loop) -> None:
    turns = Turns(running_max=1, waiting_max=1)
    gone = asyncio.ensure_future(turns.run(Work.LIST, loop.job(1 << 40), timeout_s=60))
    await asyncio.sleep(0)
    gone.cancel()
    assert await turns.run(Work.LIST, loop.job(50), timeout_s=60) == "done"
    assert turns.pending == 0
    assert loop.open == 0


async def test_an_error_is_the_result(loop: Loop) -> None:
    turns = Turns()
    for steps in (1, 5):
        with pytest.raises(ZeroDivisionError):
            await turns.run(Work.BODY, loop.job(steps, error=ZeroDivisionError()), timeout_s=60)
    assert turns.pending == 0


@pytest.fixture
async def store() -> Store:
    """A store that holds 40 large values and 1,000 small documents."""
    store = Store(MemoryReplica(), StoreLimits())
    await store.create_collection("c", key=None, timeout_s=1)
    for at in range(40):
        await store.write(Put(KeyRef("b", f"{at:02}"), b"x" * (1 << 20)), key=None, timeout_s=1)
    for at in range(1_000):
        await store.write(Put(DocumentRef("c", f"{at:03}"), b"{}"), key=None, timeout_s=1)
    return store


async def test_lists_read_and_render_little_in_a_turn(store: Store, loop: Loop) -> None:
    """By bytes and by items; a page holds what one state held."""
    shown: Counter[int] = Counter()

    def show(size_bytes: int) -> str:
        loop.bytes[loop.turn] += size_bytes
        shown[loop.turn] += 1
        return "item"

    consistency = Consistency.LINEARIZABLE
    pages = [
        store.lists.keys(
            ListKeys("b", "", None, 100),
            show=lambda item: show(len(item.stored.value)),
            consistency=consistency,
            timeout_s=60,
        )
        for _ in range(30)
    ] + [
        store.lists.documents(
            ListDocuments("c", "", None, 1_000), show=lambda item: show(0), consistency=consistency, timeout_s=60
        )
        for _ in range(30)
    ]
    found = await asyncio.gather(*pages)

    assert {len(page.items) for page in found[:30]} == {3}
    assert {len(page.items) for page in found[30:]} == {1_000}
    assert max(shown.values()) <= (FIRST_STEPS_MAX + STEPS_MAX) * STEP_ITEMS
    assert max(loop.bytes.values()) <= (FIRST_STEPS_MAX + STEPS_MAX) * max(STEP_BYTES, 1 << 20)


async def test_a_page_shows_one_state(store: Store) -> None:
    """What is written while the page is read is not in it, and its revision is that of its beginning."""
    first, *_ = await asyncio.gather(
        store.lists.documents(
            ListDocuments("c", "", None, 1_000),
            show=lambda item: item.id,
            consistency=Consistency.STALE,
            timeout_s=60,
        ),
        store.write(Put(DocumentRef("c", "999+"), b"{}"), key=None, timeout_s=1),
    )
    assert first.revision == 1_041
    assert first.items[-1] == "999"


async def test_many_large_reads_are_spread_over_turns(store: Store, loop: Loop) -> None:
    async def read(at: int) -> None:
        found = await store.read(KeyRef("b", f"{at % 40:02}"), consistency=Consistency.LINEARIZABLE, timeout_s=60)
        assert found.stored is not None
        loop.bytes[loop.turn] += len(found.stored.value)

    await asyncio.gather(*(read(at) for at in range(200)))

    assert sum(loop.bytes.values()) == 200 << 20
    assert max(loop.bytes.values()) <= READ_BYTES_MAX + (READS_RESUMED_MAX << 20)


async def test_small_reads_of_many_turns_do_not_add_up() -> None:
    """What is bounded is one turn: the next one has room again, however much was read before."""
    turns = Turns()
    turns.read(READ_BYTES_MAX)
    assert turns.reads_wait

    await asyncio.sleep(0)

    assert not turns.reads_wait
    for _ in range(3):
        turns.read(READ_BYTES_MAX // 2)
        assert not turns.reads_wait
        await asyncio.sleep(0)
