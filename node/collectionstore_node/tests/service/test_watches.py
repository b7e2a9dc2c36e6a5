"""Watches of a store: rounds in the thread, what is found while no one waits, and states that cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from collectionstore_node.changes import STORE, Position, Scope, Selection
from collectionstore_node.errors import (
    HistoryGone,
    InvalidRequest,
    ManyDeleted,
    Overloaded,
    ReadTimedOut,
    UpgradePending,
)
from collectionstore_node.service import Consistency, Store, StoreLimits, watch_rounds, watches
from collectionstore_node.service.operations import DocumentRef, Put, Start, WatchChanges
from collectionstore_node.service.watches import Told, Watch
from collectionstore_node.statemachine.levels import ENGINE
from collectionstore_node.statemachine.reads import Listed
from collectionstore_node.statemachine.view import View
from collectionstore_node.tests.api.memory_replica import MemoryReplica

BOOKS = Selection(Scope("collection", "books"))
PATIENCE_S = 10.0
"""For what must come; it never passes in a test that succeeds."""


@pytest.fixture
async def replica() -> MemoryReplica:
    return MemoryReplica()


@pytest.fixture
async def store(replica: MemoryReplica) -> Store:
    made = Store(replica, StoreLimits())
    await made.create_collection("books", key=None, timeout_s=1)
    return made


async def put(store: Store, name: str, size: int = 1) -> int:
    document = b'{"text":"%s"}' % (b"x" * size)
    return (await store.write(Put(DocumentRef("books", name), document), key=None, timeout_s=1)).revision


async def opened(store: Store, selection: Selection = BOOKS, start: Start | Position = Start.NOW, **more: Any) -> Watch:
    return await store.watches.open(
        WatchChanges(selection, start), consistency=Consistency.LINEARIZABLE, timeout_s=1, **more
    )


async def following(watch: Watch) -> Told:
    async with asyncio.timeout(PATIENCE_S):
        return await watch.next()


def ids(told: Told) -> list[str]:
    return [orjson.loads(one.text).get("id", one.kind) for one in told.events]


async def turns(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - turns of the loop, not time
            await asyncio.sleep(0)


async def test_a_state_that_cannot_be_read_is_asked_again_and_nothing_is_lost(
    store: Store, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while a snapshot replaces it."""
    watch = await opened(store)
    attempts = 0

    def unreadable(view: View) -> int:
        nonlocal attempts
        attempts += 1
        raise ReadTimedOut("a snapshot is replacing the state")

    with monkeypatch.context() as patched:
        patched.setattr(watch_rounds, "kept_after", unreadable)
        patched.setattr("collectionstore_node.changes.cursor.kept_after", unreadable)
        waiting = asyncio.ensure_future(following(watch))
        await put(store, "a")
        await turns(lambda: watch.resting)
        before = attempts
        # Not again and again: at the next sweep.
        await put(store, "b")
        assert attempts == before
    store.watches.sweep(0)

    assert ids(await waiting) == ["a", "b"]


async def test_deleted_documents_that_cannot_be_passed_are_reclaimed(
    store: Store, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch that met them ends, as its view is spent; the next one passes."""

    def blocked(*_: object) -> Iterator[tuple[int, Listed]]:
        raise ManyDeleted(lo=b"a", hi=b"b")
        yield

    await put(store, "a")
    with monkeypatch.context() as patched:
        patched.setattr(watches, "scan_documents", blocked)
        failed = await following(await opened(store, start=Start.SNAPSHOT))
    await turns(lambda: replica.reclaimed)

    assert [orjson.loads(one.text)["code"] for one in failed.events] == ["unavailable"]
    assert replica.reclaimed == [(b"a", b"b")]
    assert ids(await following(await opened(store, start=Start.SNAPSHOT))) == ["a", "ready"]


async def test_what_is_found_while_no_one_waits_is_told_next(store: Store) -> None:
    """A page whose time is over at the very moment: its token is before what was found."""
    watch = await opened(store)
    begin = watch.token
    waiting = asyncio.ensure_future(watch.next())
    await asyncio.sleep(0)
    await put(store, "a")
    await turns(lambda: watch.in_round)
    waiting.cancel()
    await turns(lambda: watch.stash is not None)

    assert watch.token == begin
    assert ids(await following(watch)) == ["a"]
    assert watch.position == Position(2)


async def test_all_are_served_however_much_there_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_rounds, "ROUND_BYTES", 1)
    monkeypatch.setattr(watch_rounds, "CATCH_UP_BYTES", 5_000)
    many = [await opened(store) for _ in range(9)]
    for number in range(20):
        await put(store, f"{number:02}", 2_000)

    async def follow(watch: Watch) -> list[str]:
        found: list[str] = []
        while len(found) < 20:
            found += ids(await following(watch))
        return found

    found = await asyncio.gather(*map(follow, many))

    assert found == [[f"{number:02}" for number in range(20)]] * 9


async def test_who_is_far_behind_reads_the_history_and_others_do_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_rounds, "CATCH_UP_REVISIONS", 3)
    for number in range(10):
        await put(store, f"{number}")
    behind = await opened(store, start=Position(0))
    recent = await opened(store)
    waiting = asyncio.ensure_future(following(recent))
    await put(store, "new")

    assert ids(await waiting) == ["new"]
    found: list[str] = []
    while len(found) < 12:
        found += ids(await following(behind))
    assert found == ["change", *map(str, range(10)), "new"]


async def test_a_bug_ends_all_watches_and_is_logged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their clients must not wait for ever."""

    def broken(*_: object) -> bool:
        raise RuntimeError

    first, second = await opened(store), await opened(store, Selection(STORE))
    waiting = [asyncio.ensure_future(following(one)) for one in (first, second)]
    await asyncio.sleep(0)
    monkeypatch.setattr("collectionstore_node.changes.recent.Recent.covers", broken)
    with capture_logs() as lines:
        await put(store, "a")
        found = await asyncio.gather(*waiting)

    assert [(told.ended, ids(told)) for told in found] == [(True, ["failed"])] * 2
    assert [line["event"] for line in lines] == ["watch.failed"]


async def test_a_watch_that_was_closed_tells_nothing_more(store: Store) -> None:
    watch = await opened(store)
    waiting = asyncio.ensure_future(watch.next())
    await asyncio.sleep(0)
    watch.close()
    watch.close()

    with pytest.raises(ConnectionResetError):
        await waiting
    assert len(store.watches) == 0
    assert store.watches.ended == {"left": 1}
    await put(store, "a")


async def test_a_stopping_store_opens_no_watch_and_ends_those_there_are(store: Store) -> None:
    waits, works = await opened(store), await opened(store)
    waiting = asyncio.ensure_future(following(waits))
    await asyncio.sleep(0)
    store.watches.stop()

    assert ids(await waiting) == ["moved"]
    assert ids(await following(works)) == ["moved"]
    with pytest.raises(Overloaded):
        await opened(store)
    store.watches.close()


async def test_where_a_watch_may_begin(store: Store, replica: MemoryReplica) -> None:
    with pytest.raises(InvalidRequest) as future:
        await opened(store, start=Position(99))
    with pytest.raises(InvalidRequest) as absent:
        await opened(store, Selection(Scope("collection", "films")))
    assert (future.value.code, absent.value.code) == ("future_revision", "collection_not_found")
    # One that was dropped is told from the history.
    assert (await opened(store, Selection(Scope("collection", "films")), Position(0))).position == Position(0)
    assert (await opened(store, Selection(Scope("bucket", "never-used")))).position == Position(1)


async def test_a_history_that_begins_later_is_refused_with_where(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await put(store, f"{number}")
    monkeypatch.setattr(watches, "kept_after", lambda view: 4)

    with pytest.raises(HistoryGone) as gone:
        await opened(store, start=Position(4, 0))
    assert gone.value.oldest == 4
    assert (await opened(store, start=Position(4))).position == Position(4)


async def test_before_its_level_there_is_no_watch() -> None:
    replica = MemoryReplica()
    replica.level = ENGINE
    store = Store(replica, StoreLimits())
    await store.create_collection("books", key=None, timeout_s=1)

    with pytest.raises(UpgradePending):
        await opened(store)


async def test_the_last_one_says_how_far_it_is_behind(store: Store) -> None:
    await opened(store)
    await opened(store, start=Position(0))
    for number in range(3):
        await put(store, f"{number}")

    assert store.watches.lag == 4
    assert store.watches.status().open == 2
