"""Queries of the past against their answers at the time, and pages of one state while documents are written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.documents.paths import parse_path
from collectionstore_node.errors import HistoryGone, InvalidPart, ManyDeleted, NotNow, ReadTimedOut, RevisionNotReached
from collectionstore_node.query.find import parse_find
from collectionstore_node.replica.consensus.revisions import Revisions
from collectionstore_node.service import Consistency, Store, StoreLimits
from collectionstore_node.service.operations import (
    CountDocuments,
    CreateCollection,
    Delete,
    DistinctValues,
    DocumentRef,
    Find,
    FindDocuments,
    KeyRef,
    ListCollections,
    ListDocuments,
    ListKeys,
    Put,
    ReadPoint,
)
from collectionstore_node.service.results import Found
from collectionstore_node.statemachine.commands import Command, CreateIndex
from collectionstore_node.statemachine.view import View
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.service.index_cases import Cases
from collectionstore_node.tests.statemachine.indexed import defined, next_steps

LATEST = Consistency.LINEARIZABLE


def at(revision: int) -> ReadPoint:
    return ReadPoint(at_revision=revision)


class World:
    """A store with a collection `c` of random documents and indexes, and what is asked of it."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.cases = Cases(chance)
        self.replica = MemoryReplica()
        self.store = Store(self.replica, StoreLimits())
        self.indexes = [self.cases.index(f"i{number}") for number in range(3)]
        self.plain = chance.random() < 0.5

    async def begin(self) -> None:
        await self._run(CreateCollection("c"))
        for one in self.indexes[:2]:
            await self._run(CreateIndex("c", one))
        await self.build()
        for number in range(self.chance.randrange(25)):
            await self.put(number)

    async def build(self) -> None:
        while steps := next_steps(self.replica.view):
            for step in steps:
                await self._run(step)

    async def put(self, number: int) -> None:
        text = orjson.dumps(self.cases.document(plain=self.plain))
        await self._run(Put(DocumentRef("c", f"d{number:02}"), text))

    async def write(self) -> None:
        """Write or delete a few documents, new ones too."""
        for _ in range(self.chance.randrange(4)):
            number = self.chance.randrange(30)
            if self.chance.random() < 0.4:
                await self._run(Delete(DocumentRef("c", f"d{number:02}")))
            else:
                await self.put(number)

    async def _run(self, action: Any) -> None:
        await self.replica.propose(Command(action), timeout_s=1)

    def queries(self, count: int) -> list[tuple[Find, Find]]:
        """Return random queries, each with its filter alone."""
        made = []
        for _ in range(count):
            asked, order, projection = self.cases.query(self.indexes)
            made.append((parse_find(asked, order, projection), parse_find(asked)))
        return made

    async def answer(self, query: tuple[Find, Find], point: Any = LATEST) -> tuple[list[Found], int, tuple[Any, ...]]:
        find, plain = query
        queries = self.store.queries
        page = await queries.find(FindDocuments("c", find, None, 100), show=_itself, consistency=point, timeout_s=9)
        count = await queries.count(CountDocuments("c", plain), consistency=point, timeout_s=9)
        path = parse_path("a", "invalid_query", "/field")
        values = await queries.distinct(DistinctValues("c", plain, path), consistency=point, timeout_s=9)
        return list(page.items), count.count, tuple(orjson.dumps(one) for one in values.values)


def _itself(found: Found) -> Found:
    return found


def run_world(seed: int, steps: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World(Random(seed))
        try:
            await world.begin()
            await steps(world)
        finally:
            world.store.queries.close()

    asyncio.run(main())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32))
def test_a_query_of_the_past_answers_what_it_did_then(seed: int) -> None:
    """Finds in any order, counts and values, by whichever plan; also by an index that was made since."""

    async def steps(world: World) -> None:
        queries = world.queries(6)
        told = []
        for _ in range(4):
            told.append((world.replica.revision, [await world.answer(one) for one in queries]))
            await world.write()
        await world._run(CreateIndex("c", world.indexes[2]))
        await world.build()
        await world.write()
        for revision, answers in told:
            assert [await world.answer(one, at(revision)) for one in queries] == answers

    run_world(seed, steps)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_pages_at_a_revision_have_no_gaps_and_no_doubles(seed: int) -> None:
    """While documents are written between them, each page is of the state of the first."""

    async def steps(world: World) -> None:
        for query in world.queries(4):
            revision, (wanted, _, _) = world.replica.revision, await world.answer(query)
            limit, after = world.chance.choice((1, 2, 5)), None
            found: list[Found] = []
            while True:
                request = FindDocuments("c", query[0], after, limit)
                page = await world.store.queries.find(request, show=_itself, consistency=at(revision), timeout_s=9)
                assert page.revision == revision
                found += page.items
                after = page.next_after
                if after is None:
                    break
                await world.write()
            assert found == wanted

    run_world(seed, steps)


@pytest.fixture
async def written(store: Store, replica: MemoryReplica) -> Store:
    """A store with a document and a value of two states: revisions 2 to 3, and 4 to 5."""
    await store.create_collection("c", key=None, timeout_s=1)
    for text in (b"1", b"2"):
        await store.write(Put(DocumentRef("c", "d"), b'{"a":%s}' % text), key=None, timeout_s=1)
        await store.write(Put(KeyRef("b", "k"), text), key=None, timeout_s=1)
    return store


async def test_single_reads_are_of_the_past(written: Store) -> None:
    """Document and value, and None for what was not there yet."""
    document = await written.read(DocumentRef("c", "d"), consistency=at(3), timeout_s=1)
    assert document.stored is not None
    assert (document.stored.value, document.stored.revision, document.revision) == (b'{"a":1}', 2, 3)
    value = await written.read(KeyRef("b", "k"), consistency=at(2), timeout_s=1)
    assert (value.stored, value.revision) == (None, 2)


async def test_pages_of_documents_and_values_are_of_the_past(written: Store) -> None:
    """In the bounds of other lists."""
    documents = await written.lists.documents(
        ListDocuments("c", "", None, 5), show=lambda one: one.stored.revision, consistency=at(2), timeout_s=1
    )
    assert (documents.items, documents.revision) == ((2,), 2)
    keys = await written.lists.keys(
        ListKeys("b", "", None, 5), show=lambda one: one.stored.value, consistency=at(4), timeout_s=1
    )
    assert (keys.items, keys.revision) == ((b"1",), 4)


async def test_a_list_of_collections_is_of_now(written: Store) -> None:
    """The catalog of the past is not told, and says so."""
    with pytest.raises(Exception, match="as they are now"):
        await written.lists.collections(
            ListCollections("", None, 5), show=lambda one: one.name, consistency=at(2), timeout_s=1
        )


async def test_a_read_of_the_past_asks_no_leader(written: Store, replica: MemoryReplica) -> None:
    """It works on any member, without a majority."""
    replica.known_leader = None
    replica.read_error = NotNow("no leader")
    assert (await written.read(DocumentRef("c", "d"), consistency=at(3), timeout_s=1)).stored is not None


async def test_a_read_of_a_later_revision_waits_for_both(written: Store, replica: MemoryReplica) -> None:
    """The confirmation that its consistency demands, and the revision; within one deadline."""
    with pytest.raises(RevisionNotReached, match="has applied revision 5, and the read is of 6") as caught:
        await written.read(DocumentRef("c", "d"), consistency=ReadPoint(min_revision=6), timeout_s=0.01)
    assert (caught.value.revision, caught.value.applied) == (6, 5)
    assert replica.barriers == 1
    reading = asyncio.ensure_future(
        written.read(DocumentRef("c", "d"), consistency=ReadPoint(Consistency.STALE, 6), timeout_s=5)
    )
    replica.awaited.clear()
    await replica.awaited.wait()
    await written.write(Put(DocumentRef("c", "d"), b"{}"), key=None, timeout_s=1)
    assert (await reading).revision == 6
    assert replica.barriers == 1


async def test_the_time_of_a_read_bounds_what_is_looked_at(written: Store) -> None:
    """A long history is not read to its end for a client that is gone."""
    with pytest.raises(ReadTimedOut):
        await written.read(DocumentRef("c", "d"), consistency=at(2), timeout_s=0.0)


async def test_what_cannot_be_kept_in_memory_is_refused(replica: MemoryReplica) -> None:
    """The bound is that of queries that sort."""
    store = Store(replica, StoreLimits(query_memory_bytes_max=1_000))
    await store.create_collection("c", key=None, timeout_s=1)
    for number in range(10):
        await store.write(Put(DocumentRef("c", f"{number}"), b"{}"), key=None, timeout_s=1)
    count = CountDocuments("c", parse_find(None))
    with pytest.raises(HistoryGone):
        await store.queries.count(count, consistency=at(1), timeout_s=1)
    assert (await store.queries.count(count, consistency=at(9), timeout_s=1)).count == 8
    store.queries.close()


async def test_what_is_in_the_way_of_a_scan_is_reclaimed_once(written: Store, replica: MemoryReplica) -> None:
    """As for queries of now."""
    failures = [ManyDeleted(lo=b"a", hi=b"b")]

    class Stuck(type(replica.view)):  # type: ignore[misc]
        def fixed(self) -> View:
            if failures:
                raise failures.pop()
            return super().fixed()  # type: ignore[no-any-return]

    replica.view.__class__ = Stuck
    assert (await written.read(DocumentRef("c", "d"), consistency=at(3), timeout_s=1)).stored is not None
    assert replica.reclaimed == [(b"a", b"b")]


async def test_an_index_that_is_left_out_cannot_be_named(replica: MemoryReplica) -> None:
    """A hint of an index that could not hold the past is refused as one that is not there."""
    store = Store(replica, StoreLimits())
    await store.create_collection("c", key=None, timeout_s=1)
    for name in "xy":
        await store.write(Put(DocumentRef("c", name), b'{"u":1}'), key=None, timeout_s=1)
    await store.write(Put(DocumentRef("c", "y"), b'{"u":2}'), key=None, timeout_s=1)
    await replica.propose(Command(CreateIndex("c", defined("u", {"u": 1}, unique=True))), timeout_s=1)
    while steps := next_steps(replica.view):
        for step in steps:
            await replica.propose(Command(step), timeout_s=1)
    asked = CountDocuments("c", parse_find({"u": 1}, hint="u"))
    with pytest.raises(InvalidPart, match="there is no index of this name"):
        await store.queries.count(asked, consistency=at(3), timeout_s=1)
    assert (await store.queries.count(asked, consistency=at(4), timeout_s=1)).count == 1
    assert (
        await store.queries.count(CountDocuments("c", parse_find({"u": 1})), consistency=at(3), timeout_s=1)
    ).count == 2
    store.queries.close()


async def test_revisions_wake_those_that_wait_and_tell_observers() -> None:
    """In the order of revisions; a wait that is over is forgotten, an observer that has ended hears nothing."""
    revisions, told = Revisions(3), list[tuple[int, int]]()
    end = revisions.observe(lambda revision, time_ms: told.append((revision, time_ms)))
    assert await revisions.reached(3, timeout_s=0)
    waits = [asyncio.ensure_future(revisions.reached(one, timeout_s=5)) for one in (6, 5, 4)]
    late = asyncio.ensure_future(revisions.reached(9, timeout_s=0.001))
    assert not await late
    revisions.applied(5, 100)
    await asyncio.gather(*waits[1:])
    assert not waits[0].done()
    end()
    revisions.applied(6, 200)
    assert await waits[0]
    assert told == [(5, 100)]


async def test_a_wait_for_a_revision_ends_with_the_node() -> None:
    """Nothing more is applied there."""
    revisions = Revisions(0)
    wait = asyncio.ensure_future(revisions.reached(1, timeout_s=60))
    await asyncio.sleep(0)
    revisions.close()
    with pytest.raises(NotNow):
        await wait
    with pytest.raises(NotNow):
        await revisions.reached(1, timeout_s=60)


async def test_a_client_that_goes_away_leaves_no_wait() -> None:
    """Its revision may never come."""
    revisions = Revisions(0)
    waits = [asyncio.ensure_future(revisions.reached(10 + one, timeout_s=60)) for one in range(100)]
    await asyncio.sleep(0)
    for one in waits:
        one.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert len(revisions._waiting) < 3
