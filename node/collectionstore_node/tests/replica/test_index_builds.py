"""Builds of indexes in a group of members: through changes of leadership, writes, restarts and snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from collectionstore_node.errors import ChangePending, NotLeader, UpgradePending
from collectionstore_node.query.find import parse_find
from collectionstore_node.service import Consistency, Store, StoreLimits, StoreReplica
from collectionstore_node.service.index_builder import IndexBuilder
from collectionstore_node.service.operations import CountDocuments, FindDocuments
from collectionstore_node.service.results import Found
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import (
    Code,
    Command,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    Transaction,
)
from collectionstore_node.statemachine.costs import BUILD_DOCUMENTS
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.index_catalog import IndexState, collections_with_builds, read_indexes
from collectionstore_node.statemachine.keys import (
    INDEX_ENTRIES,
    prefix_end,
)
from collectionstore_node.statemachine.levels import ENGINE, FIRST, HIGHEST
from collectionstore_node.statemachine.view import View
from collectionstore_node.storage import Database
from collectionstore_node.storage.snapshot_file import verify_snapshot
from collectionstore_node.storage.snapshots import export_snapshot, install_snapshot
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, Wires, group, programs_support
from collectionstore_node.tests.service.test_index_builder import Series
from collectionstore_node.tests.statemachine.indexed import defined, entries_wanted, put
from collectionstore_node.tests.storage.entries import SMALL

DOCUMENTS = BUILD_DOCUMENTS * 4


@asynccontextmanager
async def built(members: Sequence[Member]) -> AsyncIterator[None]:
    """Run a builder on every member, as nodes do; they look as fast as they can."""

    async def turn(_seconds: float) -> None:
        await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(IndexBuilder(member.replica, Series(), loop.time, turn).run()) for member in members]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in results), results


async def propose(member: Member, action: Any) -> Any:
    return await member.replica.propose(Command(action), timeout_s=PATIENCE_S)


async def filled(members: Sequence[Member]) -> None:
    """Wait for the level of indexes, and store documents."""
    for member in members:
        await member.until(lambda member=member: member.local.applier.level >= ENGINE)  # type: ignore[misc]
    await propose(members[0], CreateCollection("c"))
    for first in range(0, DOCUMENTS, 128):
        writes = tuple(
            put(f"d{number:05}", {"a": number, "b": [number % 7, 8]}) for number in range(first, first + 128)
        )
        assert (await propose(members[0], Transaction(then=writes))).code is Code.OK


async def hand_over(members: Sequence[Member]) -> None:
    """Have another member lead; one that no longer leads when it is asked has been followed by another already.

    A transfer is given up after an election timeout, 0.2 s here, which one sync of a busy disk may take; the leader
    leads on then, as it said, and is asked again.
    """
    for leader in [one for one in members if one.replica.is_leader][:1]:
        while leader.replica.is_leader:
            try:
                await leader.replica.transfer_leadership(None, timeout_s=PATIENCE_S)
            except NotLeader:
                assert not leader.replica.is_leader
            except ChangePending:
                continue


def state_of(view: View) -> IndexState | None:
    found = find_collection(view, "c")
    indexes = () if found is None else read_indexes(view, found.id)
    return indexes[0].state if indexes else None


def stored(view: View) -> dict[bytes, bytes]:
    return dict(view.scan(INDEX_ENTRIES, prefix_end(INDEX_ENTRIES)))


async def test_a_build_goes_on_through_changes_of_leadership_and_writes(tmp_path: Path) -> None:
    """Init: three members, documents. Step: create an index; hand leadership around while documents change.

    Check: it becomes ready, its entries are those of the documents, and all members have the same, byte by byte.
    """
    async with group(tmp_path, 3) as (_, members):
        await filled(members)
        assert (await propose(members[1], CreateIndex("c", defined("one", {"a": 1, "b": -1})))).code is Code.OK
        async with built(members):
            for number in range(6):
                await propose(members[number % 3], put(f"d{number * 40:05}", {"a": "new", "b": number}))
                await propose(members[0], put(f"e{number}", {"a": None}))
                await propose(members[1], Delete(DocumentRef("c", f"d{number * 40 + 1:05}")))
                await hand_over(members)
            for member in members:
                await member.until(lambda member=member: state_of(member.replica.view) is IndexState.READY)  # type: ignore[misc]
        last = max(one.replica.applied_index for one in members)
        for member in members:
            await member.until(lambda member=member: member.replica.applied_index >= last)  # type: ignore[misc]
        wanted = entries_wanted(members[0].database.state)
        assert len(wanted) > DOCUMENTS
        for member in members:
            assert stored(member.database.state) == wanted
            assert read_digest(member.database.state) == read_digest(members[0].database.state)


async def test_a_build_goes_on_after_a_restart(tmp_path: Path) -> None:
    """Where it stood, in the middle: what it had made is not made again."""
    async with group(tmp_path, 1) as (_, (member,)):
        await filled([member])
        await propose(member, CreateIndex("c", defined()))
        async with built([member]):
            await member.until(lambda: bool(stored(member.database.state)))
    again = Member("n0", tmp_path / "n0", Wires(), 7)
    try:
        before = len(stored(again.database.state))
        assert before >= BUILD_DOCUMENTS
        async with built([again]):
            await again.until(lambda: state_of(again.replica.view) is IndexState.READY)
        assert stored(again.database.state) == entries_wanted(again.database.state)
        assert before <= len(stored(again.database.state)) == DOCUMENTS
    finally:
        await again.stop()


async def test_a_snapshot_holds_indexes(tmp_path: Path) -> None:
    """Also one in the middle of its build, which is built on by who has it."""
    async with group(tmp_path / "one", 1) as (_, (member,)):
        await filled([member])
        await propose(member, CreateIndex("c", defined()))
        async with built([member]):
            await member.until(lambda: state_of(member.replica.view) is IndexState.READY)
        await propose(member, CreateIndex("c", defined("two", {"b": 1})))
        snapshot = export_snapshot(member.database, tmp_path)
        assert verify_snapshot(snapshot.path).level == HIGHEST
        wanted = stored(member.database.state)
    other = Database.open(tmp_path / "two", cluster_id="test", name="n1", tuning=SMALL)
    try:
        install_snapshot(other, snapshot.path)
        assert stored(other.state) == wanted == entries_wanted(other.state)
        found = find_collection(other.state, "c")
        assert found is not None
        assert [one.state for one in read_indexes(other.state, found.id)] == [IndexState.READY, IndexState.BUILDING]
        assert other.index_entries() == DOCUMENTS
    finally:
        other.close()


async def test_an_older_cluster_refuses_indexes_before_they_are_proposed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the leader and on a follower: no member that cannot decode the command ever gets it."""
    programs_support(FIRST, monkeypatch)
    async with group(tmp_path, 3) as (_, (leader, follower, _)):
        await propose(leader, CreateCollection("c"))
        last = leader.local.raft_status().last_index
        for member in (leader, follower):
            with pytest.raises(UpgradePending, match="being upgraded: its feature level is 1, and this needs 3"):
                await propose(member, CreateIndex("c", defined()))
        assert leader.local.raft_status().last_index == last


async def test_queries_by_an_index_read_the_disk_as_a_scan_does(tmp_path: Path) -> None:
    """Entries and documents in RocksDB, with writes between the queries, and pages by cursors."""
    async with group(tmp_path, 1) as (_, (member,)):
        await filled([member])
        for one in (defined("one", {"a": 1}), defined("two", {"b": 1, "a": -1})):
            await propose(member, CreateIndex("c", one))
        async with built([member]):
            await member.until(lambda: not list(collections_with_builds(member.replica.view)))
        store = Store(cast(StoreReplica, member.replica), StoreLimits())
        try:
            for number in range(12):
                await propose(member, put(f"d{number * 7:05}", {"a": number * 10, "b": number}))
                await propose(member, Delete(DocumentRef("c", f"d{number * 11 + 3:05}")))
                for asked, order, index in (
                    ({"a": {"$gte": 20, "$lt": 90}}, None, "one"),
                    ({"a": {"$gte": 20, "$lt": 90}}, {"a": 1}, "one"),
                    ({"b": 8, "a": {"$gt": 400}}, None, "two"),
                    ({"b": {"$in": [3, 5]}}, None, "two"),
                ):
                    wanted = await found(store, asked, order, "scan")
                    assert wanted
                    assert await found(store, asked, order, index) == wanted
                    assert await found(store, asked, order, None) == wanted
        finally:
            store.queries.close()


async def found(store: Store, asked: Any, order: Any, hint: str | None) -> list[tuple[str, int, bytes]]:
    """Return all matches, page by page, and check that counting them gives as many."""
    find, items, after = parse_find(asked, order, None, None, hint), list[tuple[str, int, bytes]](), None
    fresh = Consistency.LINEARIZABLE
    while True:
        request = FindDocuments("c", find, after, 13)
        page = await store.queries.find(request, show=_item, consistency=fresh, timeout_s=PATIENCE_S)
        items += page.items
        if page.next_after is None:
            break
        after = page.next_after
    plain = CountDocuments("c", parse_find(asked, None, None, None, hint))
    counted = await store.queries.count(plain, consistency=fresh, timeout_s=PATIENCE_S)
    assert counted.count == len(items)
    return items


def _item(one: Found) -> tuple[str, int, bytes]:
    return one.id, one.revision, one.document
