"""The history in a group of members, on disk: reads of the past on any of them, waits for revisions, snapshots."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from collectionstore_node.errors import HistoryGone, RevisionNotReached, UpgradePending
from collectionstore_node.query.find import parse_find
from collectionstore_node.service import Consistency, Store, StoreLimits, StoreReplica
from collectionstore_node.service.operations import CountDocuments, DocumentRef, FindDocuments, ReadPoint
from collectionstore_node.service.results import Found
from collectionstore_node.statemachine import history
from collectionstore_node.statemachine.commands import Command, CreateCollection, Delete, KeyRef, Put
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.history import Limits, kept_after, scan_changes
from collectionstore_node.statemachine.keys import HISTORY, META, TOKEN_KEY, prefix_end
from collectionstore_node.statemachine.levels import CHANGES, ENGINE
from collectionstore_node.statemachine.tokens import TOKEN_KEY_BYTES
from collectionstore_node.statemachine.view import View
from collectionstore_node.storage import Database
from collectionstore_node.storage.snapshots import export_snapshot, install_snapshot
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, group, programs_support
from collectionstore_node.tests.statemachine.indexed import put
from collectionstore_node.tests.storage.entries import SMALL


def at(revision: int) -> ReadPoint:
    return ReadPoint(at_revision=revision)


async def propose(member: Member, action: Any) -> int:
    return (await member.replica.propose(Command(action), timeout_s=PATIENCE_S)).revision


def store_of(member: Member) -> Store:
    return Store(cast(StoreReplica, member.replica), StoreLimits())


def kept(view: View) -> dict[bytes, bytes]:
    return dict(view.scan(HISTORY, prefix_end(HISTORY))) | dict(view.scan(META + b"history", META + b"i"))


async def test_all_members_keep_the_same_and_answer_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Init: three members at the level. Step: random writes, more than are kept, on all of them.

    Check: equal histories, byte by byte; every state that is kept is answered by every member as it was.
    """
    monkeypatch.setattr(history, "LIMITS", Limits(bytes_max=40_000, segment_bytes=4_000))
    chance = Random(3)
    async with group(tmp_path, 3, raised=True) as (_, members):
        await propose(members[0], CreateCollection("c"))
        states: dict[int, dict[str, int]] = {}
        documents: dict[str, int] = {}
        for number in range(150):
            name = f"d{chance.randrange(12):02}"
            if name in documents and chance.random() < 0.3:
                revision = await propose(chance.choice(members), Delete(DocumentRef("c", name)))
                del documents[name]
            else:
                revision = await propose(chance.choice(members), put(name, {"a": number, "t": "x" * 200}))
                documents[name] = revision
            states[revision] = dict(documents)
        last = max(one.replica.applied_index for one in members)
        for member in members:
            await member.until(lambda member=member: member.replica.applied_index >= last)  # type: ignore[misc]
        views = [one.database.state for one in members]
        assert len({tuple(kept(one).items()) for one in views}) == len({read_digest(one) for one in views}) == 1
        oldest = kept_after(views[0])
        assert min(states) < oldest < max(states) - 20
        for member in members:
            store = store_of(member)
            for revision in chance.sample([one for one in states if one >= oldest], 8):
                request = FindDocuments("c", parse_find(None), None, 100)
                page = await store.queries.find(request, show=_itself, consistency=at(revision), timeout_s=PATIENCE_S)
                assert {one.id: one.revision for one in page.items} == states[revision]
            with pytest.raises(HistoryGone):
                await store.read(DocumentRef("c", "d00"), consistency=at(oldest - 1), timeout_s=PATIENCE_S)
            store.queries.close()


def _itself(found: Found) -> Found:
    return found


async def test_reads_of_the_past_are_not_disturbed_by_writes(tmp_path: Path) -> None:
    """A query that has begun reads on what it has opened, whatever is written to the disk meanwhile."""
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        await propose(member, CreateCollection("c"))
        for number in range(300):
            then = await propose(member, put(f"d{number:03}", {"a": 1}))
        for number in range(0, 300, 2):
            await propose(member, put(f"d{number:03}", {"a": 2}))
        store = store_of(member)
        asked = CountDocuments("c", parse_find({"a": 1}))
        counted = []
        for number in range(0, 300, 30):
            await propose(member, Delete(DocumentRef("c", f"d{number:03}")))
            found = await store.queries.count(asked, consistency=at(then), timeout_s=PATIENCE_S)
            counted.append(found.count)
            await propose(member, put(f"e{number:03}", {"a": 1}))
        assert counted == [300] * 10
        store.queries.close()


async def test_the_key_of_tokens_is_that_of_all_members(tmp_path: Path) -> None:
    """The leader that raises the level draws it, and it takes no revision."""
    async with group(tmp_path, 3, raised=True) as (_, members):
        keys = {one.database.state.get(TOKEN_KEY) for one in members}
        assert len(keys) == 1
        assert {len(one or b"") for one in keys} == {TOKEN_KEY_BYTES}
        assert {store_of(one).token_key() for one in members} == {store_of(members[0]).token_key()}
        assert {one.replica.revision for one in members} == {0}
        assert all(store_of(one).pins for one in members)


async def test_a_member_tells_of_what_it_applies_and_waits_for_it(tmp_path: Path) -> None:
    """An observer hears of each revision once it can be read; a follower's stale read sees what it waits for."""
    async with group(tmp_path, 3, raised=True) as (_, members):
        follower = next(one for one in members if not one.replica.is_leader)
        told: list[tuple[int, bytes | None]] = []

        def observe(revision: int, _time_ms: int) -> None:
            found = [one.revision for one in scan_changes(follower.replica.view, 0)]
            # Of revision 0 before the first command: entries of other kinds are applied, too.
            told.append((revision, None if found[-1:] == ([revision] if revision else []) else b"behind"))

        end = follower.replica.observe_applied(observe)
        store = store_of(follower)
        for number in range(5):
            revision = await propose(follower, Put(KeyRef("b", "k"), b"%d" % number))
            found = await store.read(
                KeyRef("b", "k"), consistency=ReadPoint(Consistency.STALE, revision), timeout_s=PATIENCE_S
            )
            assert found.stored is not None
            assert (found.stored.value, found.revision >= revision) == (b"%d" % number, True)
        end()
        assert [one for one, _ in told] == sorted({one for one, _ in told})
        assert (told[-1], {one for _, one in told}) == ((revision, None), {None})
        with pytest.raises(RevisionNotReached):
            await store.read(KeyRef("b", "k"), consistency=ReadPoint(min_revision=revision + 1), timeout_s=0.01)
        store.queries.close()


async def test_a_snapshot_holds_the_history(tmp_path: Path) -> None:
    """Who installs it answers as far back as who wrote it."""
    async with group(tmp_path / "one", 1, raised=True) as (_, (member,)):
        for number in range(20):
            await propose(member, Put(KeyRef("b", "k"), b"%d" % number))
        snapshot = export_snapshot(member.database, tmp_path)
        wanted = list(scan_changes(member.database.state, 0))
    other = Database.open(tmp_path / "two", cluster_id="test", name="n1", tuning=SMALL)
    try:
        install_snapshot(other, snapshot.path)
        assert list(scan_changes(other.state, 0)) == wanted
        assert len(wanted) == 20
        assert kept_after(other.state) == 0
    finally:
        other.close()


async def test_an_older_cluster_keeps_no_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a member does not support the level: a read of the past is refused, one of a revision to come is not."""
    programs_support(ENGINE, monkeypatch)
    async with group(tmp_path, 1) as (_, (member,)):
        await member.until(lambda: member.local.applier.level >= ENGINE)
        revision = await propose(member, Put(KeyRef("b", "k"), b"1"))
        store = store_of(member)
        with pytest.raises(UpgradePending, match=f"feature level is {ENGINE}, and reads of the past need {CHANGES}"):
            await store.read(KeyRef("b", "k"), consistency=at(revision), timeout_s=PATIENCE_S)
        assert not store.pins
        found = await store.read(KeyRef("b", "k"), consistency=ReadPoint(min_revision=1), timeout_s=PATIENCE_S)
        assert found.stored is not None
        assert kept(member.database.state) == {}
        store.queries.close()
