"""The builder: one step after the other while this member leads, with pauses for clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from collectionstore_node.errors import ManyDeleted, NotLeader, OutcomeUnknown
from collectionstore_node.service import IndexBuilder
from collectionstore_node.service.index_builder import LOOK_S, RETRY_S
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import (
    BuildIndex,
    ConfigureCollection,
    CreateCollection,
    CreateIndex,
    DropCollection,
    DropIndex,
)
from collectionstore_node.statemachine.index_catalog import IndexState
from collectionstore_node.statemachine.keys import DOCUMENTS as DOCUMENTS_FAMILY
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.options import CollectionOptions
from collectionstore_node.statemachine.usage import read_usage
from collectionstore_node.tests.api.memory_replica import ME, MemoryReplica
from collectionstore_node.tests.statemachine.indexed import check, defined, indexes_of, put, run

DOCUMENTS = 300
STEPS = 3


class Series:
    """Implements `BuildSeries`."""

    def __init__(self) -> None:
        self.now_building: list[int] = []
        self.documents = 0
        self.results: list[str] = []

    def building(self, count: int) -> None:
        self.now_building.append(count)

    def passed(self, documents: int) -> None:
        self.documents += documents

    def ended(self, result: str) -> None:
        self.results.append(result)


class Bench:
    """A builder over a replica in memory; every look at the clock is a quarter of a second later."""

    def __init__(self) -> None:
        self.replica = MemoryReplica()
        self.series = Series()
        self.slept: list[float] = []
        ticks = count()
        self.builder = IndexBuilder(self.replica, self.series, lambda: next(ticks) / 4, self._sleep)
        self.naps = 1_000
        run(self.replica.view, CreateCollection("c"))
        run(self.replica.view, *(put(f"d{number:04}", {"a": number % 200}) for number in range(DOCUMENTS)))

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.naps -= 1
        if self.naps < 0:
            raise asyncio.CancelledError


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_it_proposes_steps_until_the_index_is_ready(bench: Bench) -> None:
    run(bench.replica.view, CreateIndex("c", defined()))
    while await bench.builder.build_some():
        check(bench.replica.view)
    assert indexes_of(bench.replica.view)[0].state is IndexState.READY
    assert len(bench.replica.proposed) == STEPS
    assert bench.series.now_building == [1] * STEPS + [0]
    assert (bench.series.documents, bench.series.results) == (DOCUMENTS, ["ready"])


async def test_it_pauses_for_as_long_as_each_step_took(bench: Bench) -> None:
    run(bench.replica.view, CreateIndex("c", defined()))
    while await bench.builder.build_some():
        pass
    assert bench.slept == [0.25] * STEPS


async def test_several_indexes_take_turns(bench: Bench) -> None:
    run(bench.replica.view, CreateIndex("c", defined()), CreateIndex("c", defined("two", {"a": -1})))
    await bench.builder.build_some()
    assert [one.passed for one in indexes_of(bench.replica.view)] == [128, 128]


async def test_a_follower_proposes_nothing_and_the_next_leader_goes_on(bench: Bench) -> None:
    run(bench.replica.view, CreateIndex("c", defined()))
    await bench.builder.build_some()
    bench.replica.known_leader = None
    assert not await bench.builder.build_some()
    assert len(bench.replica.proposed) == 1
    other = IndexBuilder(bench.replica, bench.series, lambda: 0.0, bench._sleep)
    bench.replica.known_leader = ME
    while await other.build_some():
        pass
    afters = [one.action.after for one in bench.replica.proposed if isinstance(one.action, BuildIndex)]
    assert afters == [None, "d0127", "d0255"]
    check(bench.replica.view)


async def test_a_dropped_index_is_not_built_any_further(bench: Bench) -> None:
    run(bench.replica.view, CreateIndex("c", defined()))
    await bench.builder.build_some()
    run(bench.replica.view, DropIndex("c", "one"))
    assert not await bench.builder.build_some()
    check(bench.replica.view)


async def test_a_failed_build_is_counted(bench: Bench) -> None:
    run(bench.replica.view, CreateIndex("c", defined(unique=True)))
    while await bench.builder.build_some():
        pass
    assert bench.series.results == ["failed"]
    assert indexes_of(bench.replica.view)[0].documents == ("d0000", "d0200")


@pytest.mark.parametrize("error", [NotLeader(), OutcomeUnknown("late")])
async def test_it_tries_again_later(bench: Bench, error: Exception) -> None:
    run(bench.replica.view, CreateIndex("c", defined()))
    bench.replica.write_error = error
    bench.naps = 3
    with pytest.raises(asyncio.CancelledError):
        await bench.builder.run()
    assert bench.slept == [RETRY_S, LOOK_S, RETRY_S, LOOK_S]


async def test_what_many_deleted_keys_hide_is_made_readable(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(lo: bytes, hi: bytes) -> None:
        raise ManyDeleted(lo=lo, hi=hi)

    monkeypatch.setattr(bench.replica.view, "scan", hidden)
    bench.naps = 0
    with pytest.raises(asyncio.CancelledError):
        await bench.builder.run()
    assert len(bench.replica.reclaimed) == 1


async def test_no_step_is_proposed_that_meets_many_deleted_documents(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Applying skips them all, on every member, before it does anything else."""
    run(bench.replica.view, CreateIndex("c", defined()))
    scan = bench.replica.view.scan

    def hidden(lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        if lo.startswith(DOCUMENTS_FAMILY) and not bench.replica.reclaimed:
            raise ManyDeleted(lo=lo, hi=hi)
        return scan(lo, hi)

    monkeypatch.setattr(bench.replica.view, "scan", hidden)
    with pytest.raises(ManyDeleted):
        await bench.builder.build_some()
    assert bench.replica.proposed == []
    bench.naps = 5
    with pytest.raises(asyncio.CancelledError):
        await bench.builder.run()
    assert len(bench.replica.reclaimed) == 1
    assert indexes_of(bench.replica.view)[0].state is IndexState.READY


async def test_it_counts_the_documents_of_a_collection_that_gets_a_quota(bench: Bench) -> None:
    view = bench.replica.view
    run(view, ConfigureCollection("c", CollectionOptions(max_documents=1)), level=CHANGES)
    steps = 0
    while await bench.builder.build_some():
        steps += 1
    found = find_collection(view, "c")
    assert found is not None
    usage = read_usage(view, found.id)
    assert usage is not None
    assert (usage.documents, usage.counting) == (DOCUMENTS, False)
    assert steps == STEPS
    assert len(bench.slept) == STEPS


async def test_a_count_is_gone_on_with_by_the_next_leader_and_ends_with_its_collection(bench: Bench) -> None:
    view = bench.replica.view
    run(view, ConfigureCollection("c", CollectionOptions(max_documents=1)), level=CHANGES)
    await bench.builder.build_some()
    bench.replica.known_leader = None
    assert not await bench.builder.build_some()
    bench.replica.known_leader = ME
    await bench.builder.build_some()
    run(view, DropCollection("c"), level=CHANGES)
    assert not await bench.builder.build_some()
