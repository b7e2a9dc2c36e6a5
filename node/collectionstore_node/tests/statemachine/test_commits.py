"""The ends of interactive transactions: what conflicts and what does not, and that all of it is serializable."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.statemachine import commits, dedupe, searching
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Code,
    Command,
    Commit,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    DropCollection,
    Expire,
    Expiring,
    Get,
    GrantLease,
    Idempotency,
    KeyRef,
    Outcome,
    Precondition,
    Put,
    Query,
    ReadQuery,
    ReadTarget,
    Ref,
    RevokeLease,
    Settle,
    UpdateForm,
    conflicting,
    encode_batch,
    level_needed,
)
from collectionstore_node.statemachine.commands import Update as DocumentUpdate
from collectionstore_node.statemachine.commits import queries_reason
from collectionstore_node.statemachine.costs import QUERY_SEEN_MAX
from collectionstore_node.statemachine.levels import CHANGES, ENGINE
from collectionstore_node.statemachine.reads import get_document, get_key, read_revision
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.indexed import build, defined, put
from collectionstore_node.tests.statemachine.indexed import run as run_at
from collectionstore_node.tests.statemachine.memory_view import MemoryView
from collectionstore_node.tests.statemachine.pages import list_documents
from collectionstore_testkit.histories.draft import Draft, Found, QueryRead
from collectionstore_testkit.histories.serial import Committed, replay

A, B, NONE = DocumentRef("c", "a"), DocumentRef("c", "b"), DocumentRef("c", "none")
KEY = KeyRef("b", "k")


def run(view: MemoryView, *actions: Any) -> list[Outcome]:
    return run_at(view, *actions, level=CHANGES)


def query(filter_: dict[str, Any], collection: str = "c", **members: Any) -> Query:
    return Query(collection, orjson.dumps(filter_), **members)


def write(text: bytes = b'{"new":1}') -> tuple[Put]:
    return (Put(DocumentRef("c", "written"), text),)


def written(view: MemoryView) -> bool:
    return get_document(view, "c", "written") is not None


@pytest.fixture
def view() -> MemoryView:
    """Revision 1 creates the collection, 2 to 4 put `a`, `b` and the raw value."""
    made = MemoryView()
    run(made, CreateCollection("c"))
    run(made, put("a", {"n": 1}))
    run(made, put("b", {"n": 2}))
    run(made, Put(KEY, b"v"))
    return made


def test_it_is_applied_while_all_reads_are_so(view: MemoryView) -> None:
    targets = (ReadTarget(A, 2), ReadTarget(KEY, 4), ReadTarget(NONE, 0))
    queries = (
        ReadQuery(query({"n": 1}), since=4),
        ReadQuery(query({"n": {"$gte": 1}}), seen=(("a", 2), ("b", 3))),
        ReadQuery(query({"n": 7}), seen=()),
    )
    (outcome,) = run(view, Commit(targets, queries, (*write(), Get(A))))
    assert outcome.code is Code.OK
    assert [one.revision for one in outcome.items] == [5, 2]
    assert written(view)


@pytest.mark.parametrize(
    ("ref", "revision", "current"), [(A, 1, 2), (A, 3, 2), (A, 0, 2), (NONE, 2, 0), (KEY, 0, 4), (KEY, 9, 4)]
)
def test_a_target_with_another_revision_conflicts(view: MemoryView, ref: Ref, revision: int, current: int) -> None:
    targets = (ReadTarget(B, 3), ReadTarget(ref, revision))
    (outcome,) = run(view, Commit(targets, writes=write()))
    assert (outcome.code, outcome.failed_operation) == (Code.TRANSACTION_CONFLICT, 1)
    assert (conflicting(outcome), outcome.items[0].revision) == ("", current)
    assert not written(view)


CHANGES_THAT_MATTER = {
    "one that matches now": (put("new", {"n": 1}), "new"),
    "one that matched before": (put("a", {"n": 5}), "a"),
    "one that matches before and behind": (put("a", {"n": 1, "m": 0}), "a"),
    "one that is gone": (Delete(A), "a"),
    "an update": (DocumentUpdate(A, UpdateForm.OPERATORS, b'{"$inc":{"m":1}}'), "a"),
}


@pytest.mark.parametrize("change", CHANGES_THAT_MATTER)
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("exact", [False, True])
def test_what_a_query_would_find_otherwise_conflicts(
    view: MemoryView,
    change: str,
    together: bool,  # noqa: FBT001
    exact: bool,  # noqa: FBT001 - columns of a table
) -> None:
    """Also if the change is in the same entry, which is in no history yet."""
    action, name = CHANGES_THAT_MATTER[change]
    read = ReadQuery(query({"n": 1}), seen=(("a", 2),)) if exact else ReadQuery(query({"n": 1}), since=4)
    commit = Commit((ReadTarget(B, 3),), (read,), write())
    if together:
        outcome = run(view, action, commit)[1]
    else:
        run(view, action)
        (outcome,) = run(view, commit)
    assert (outcome.code, outcome.failed_operation) == (Code.TRANSACTION_CONFLICT, 1)
    assert conflicting(outcome) == name
    assert not written(view)


@pytest.mark.parametrize(
    "action", [put("b", {"n": 3}), put("new", {"n": 2}), Put(KEY, b"w"), Delete(B), CreateCollection("d")]
)
@pytest.mark.parametrize("together", [False, True])
def test_other_changes_do_not_conflict(view: MemoryView, action: Any, together: bool) -> None:  # noqa: FBT001
    reads = (ReadQuery(query({"n": 1}), since=4), ReadQuery(query({"n": 1}), seen=(("a", 2),)))
    commit = Commit((ReadTarget(A, 2),), reads, write())
    outcomes = run(view, action, commit) if together else [*run(view, action), *run(view, commit)]
    assert [one.code for one in outcomes] == [Code.OK, Code.OK]


def test_a_query_about_one_document_asks_for_no_other(view: MemoryView) -> None:
    run(view, put("b", {"n": 1}))
    about_a, about_b = (ReadQuery(query({"n": 1}, id=name), since=4) for name in ("a", "b"))
    assert run(view, Commit((), (about_a,), write()))[0].code is Code.OK
    assert conflicting(run(view, Commit((), (about_b,), write()))[0]) == "b"


def test_only_what_came_behind_each_query_counts(view: MemoryView) -> None:
    run(view, put("a", {"n": 5}))
    new, old = ReadQuery(query({"n": 5}), since=5), ReadQuery(query({"n": 1}), since=5)
    assert run(view, Commit((), (new, old), write()))[0].code is Code.OK
    first = ReadQuery(query({"n": 5}), since=4)
    (outcome,) = run(view, Commit((), (new, first), write()))
    assert (outcome.code, outcome.failed_operation) == (Code.TRANSACTION_CONFLICT, 1)


def test_a_collection_that_is_another_one_conflicts(view: MemoryView) -> None:
    run(view, DropCollection("c"))
    read = ReadQuery(query({"n": 1}), since=4)
    (outcome,) = run(view, Commit((), (read,)))
    assert (outcome.code, outcome.failed_operation) == (Code.READ_COLLECTION_NOT_FOUND, 0)
    run(view, CreateCollection("c"))
    (outcome,) = run(view, Commit((), (read,)))
    assert (outcome.code, outcome.failed_operation) == (Code.TRANSACTION_CONFLICT, 0)
    (outcome,) = run(view, Commit((ReadTarget(DocumentRef("none", "a"), 1),)))
    assert (outcome.code, outcome.failed_operation) == (Code.READ_COLLECTION_NOT_FOUND, 0)


@pytest.mark.parametrize("since", [0, 1])
def test_a_query_from_before_its_collection_conflicts(view: MemoryView, since: int) -> None:
    # The change that is met is that of a collection: what is stored of it is no record of a document.
    run(view, CreateCollection("later"))
    (outcome,) = run(view, Commit((), (ReadQuery(query({}, "later"), since=since),), write()))
    assert (outcome.code, outcome.failed_operation) == (Code.TRANSACTION_CONFLICT, 0)
    assert (conflicting(outcome), outcome.items[0].revision) == ("", 0)
    assert not written(view)


def test_what_a_lease_of_the_same_entry_took_along_is_not_read_as_there(view: MemoryView) -> None:
    # The queue of leases begins at another one, and what is attached is gone without a change in the history.
    granted = [run(view, GrantLease(ttl_ms))[0].revision for ttl_ms in (60_000, 5_000)]
    run(view, Expiring(put("leased", {"n": 1}), lease=granted[0]))
    run(view, Expire())
    commit = Commit((), (ReadQuery(query({"n": 1}), since=read_revision(view)),), write())
    outcomes = run(view, RevokeLease(granted[0]), commit)
    assert [one.code for one in outcomes] == [Code.OK, Code.CHANGES_UNKNOWN]
    assert not written(view)


def test_a_revision_that_is_not_there_yet_is_refused(view: MemoryView) -> None:
    (outcome,) = run(view, Commit((), (ReadQuery(query({}), since=5),), write()))
    assert outcome.code is Code.REVISION_AHEAD
    # Its own revision is not behind it either.
    assert run(view, Commit((), (ReadQuery(query({}), since=7),)))[0].code is Code.REVISION_AHEAD
    assert not written(view)


def test_what_is_no_longer_kept_is_not_guessed(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "kept_after", lambda view: 3)
    reads = [ReadQuery(query({"n": 1}), since=since) for since in (2, 3)]
    assert [run(view, Commit((), (one,)))[0].code for one in reads] == [Code.CHANGES_UNKNOWN, Code.OK]


def test_too_many_changes_are_not_looked_at(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        run(view, put(f"d{number}", {"m": number}))
    monkeypatch.setattr(searching, "TRANSACTION_COST_MAX", 12_000)
    late, early = ReadQuery(query({"n": 1}), since=60), ReadQuery(query({"n": 1}), since=4)
    assert run(view, Commit((), (late,), write()))[0].code is Code.OK
    (outcome,) = run(view, Commit((), (late, early), write()))
    assert (outcome.code, outcome.failed_operation) == (Code.CHANGES_UNKNOWN, 1)


def test_entries_that_change_nothing_are_counted_too(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(60):
        run(view, Delete(NONE))
    monkeypatch.setattr(searching, "TRANSACTION_COST_MAX", 12_000)
    (outcome,) = run(view, Commit((), (ReadQuery(query({"n": 1}), since=4),), write()))
    assert outcome.code is Code.CHANGES_UNKNOWN


def test_a_level_3_state_keeps_no_changes(view: MemoryView) -> None:
    """Of what came before the level was raised nothing is known."""
    old = MemoryView()
    run_at(old, CreateCollection("c"), put("a", {"n": 1}), level=ENGINE)
    codes = [run(old, Commit((), (ReadQuery(query({"n": 1}), since=since),)))[0].code for since in (1, 2)]
    assert codes == [Code.CHANGES_UNKNOWN, Code.OK]


def test_a_write_that_is_refused_changes_nothing(view: MemoryView) -> None:
    failing = Put(A, b"{}", Precondition(exists=False))
    (outcome,) = run(view, Commit((ReadTarget(A, 2),), (), (*write(), failing)))
    assert (outcome.code, outcome.failed_operation) == (Code.PRECONDITION_FAILED, 1)
    assert not written(view)


@pytest.mark.parametrize(
    "commit",
    [
        Commit((ReadTarget(A, -1),)),
        Commit((ReadTarget(A, 1),) * 129),
        Commit((), (ReadQuery(query({}), since=-1),)),
        Commit((), (ReadQuery(query({}), seen=tuple((str(at), 1) for at in range(QUERY_SEEN_MAX + 1))),)),
        Commit((), (), write() * 129),
    ],
)
def test_what_no_member_proposes_is_an_outcome(view: MemoryView, commit: Commit) -> None:
    assert queries_reason(commit) is not None
    assert run(view, commit)[0].code is Code.INVALID_TRANSACTION


def test_a_target_that_is_written_twice_is_refused(view: MemoryView) -> None:
    assert run(view, Commit((), (), (Put(A, b"{}"), Delete(A))))[0].code is Code.INVALID_TRANSACTION


def test_below_its_level_it_changes_nothing() -> None:
    fresh = MemoryView()
    assert level_needed(Commit()) == level_needed(Settle(0)) == CHANGES
    outcomes = run_at(fresh, CreateCollection("c"), Commit((), (), write()), Settle(0), level=ENGINE)
    assert [one.code for one in outcomes] == [Code.OK, Code.LEVEL_TOO_LOW, Code.LEVEL_TOO_LOW]
    assert not written(fresh)


def test_a_commit_that_is_repeated_is_applied_once(view: MemoryView) -> None:
    key = Idempotency("k", b"f" * 32)
    commit = Command(Commit((ReadTarget(A, 2),), (), (put("a", {"n": 9}),)), key)
    first, second = (run_at_once(view, commit) for _ in range(2))
    assert (first.code, first.replayed) == (Code.OK, False)
    assert (second.code, second.replayed, second.revision) == (Code.OK, True, first.revision)


def run_at_once(view: MemoryView, command: Command) -> Outcome:
    overlay = Overlay(view)
    (outcome,) = apply_batch(overlay, encode_batch(0, [command], CHANGES), b"")
    view.commit(overlay.writes)
    return outcome


def test_settling_decides_whichever_comes_first(view: MemoryView) -> None:
    lost, done = Idempotency("lost", b"l" * 32), Idempotency("done", b"d" * 32)
    assert run_at_once(view, Command(Put(KEY, b"1"), done)).code is Code.OK
    settled = run_at_once(view, Command(Settle(0), done))
    assert (settled.code, settled.replayed) == (Code.OK, True)
    assert run_at_once(view, Command(Settle(2), lost)).code is Code.SETTLED
    late = run_at_once(view, Command(Put(KEY, b"2"), lost))
    assert (late.code, late.replayed) == (Code.SETTLED, True)
    stored = get_key(view, "b", "k")
    assert stored is not None
    assert stored.value == b"1"
    other = run_at_once(view, Command(Settle(0), Idempotency("done", b"x" * 32)))
    assert other.code is Code.IDEMPOTENCY_KEY_REUSED


def test_what_may_have_been_forgotten_is_not_settled(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has dropped records that are as new as the command: it may have been applied."""
    monkeypatch.setattr(dedupe, "LIMITS", dedupe.LIMITS._replace(entries_max=2))
    for number in range(4):
        run_at_once(view, Command(Put(KEY, b"1"), Idempotency(f"k{number}", b"f" * 32)))
    # Records 0 and 1 are gone: of what came at 1 nothing is known, of what came at 2 all is.
    assert run_at_once(view, Command(Settle(1), Idempotency("old", b"o" * 32))).code is Code.OUTCOME_UNKNOWN
    assert run_at_once(view, Command(Settle(3), Idempotency("new", b"n" * 32))).code is Code.SETTLED


NAMES = ("d0", "d1", "d2", "d3")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 2), st.sampled_from(NAMES)),
        st.tuples(st.just("query"), st.integers(0, 2), st.integers(0, 1), st.booleans()),
        st.tuples(st.just("put"), st.integers(0, 2), st.sampled_from(NAMES), st.integers(0, 1)),
        st.tuples(st.just("delete"), st.integers(0, 2), st.sampled_from(NAMES)),
        st.tuples(st.just("commit"), st.integers(0, 2)),
        st.tuples(st.just("alone"), st.sampled_from(NAMES), st.integers(0, 1)),
        st.tuples(st.just("flush")),
    ),
    max_size=60,
)


class Interleaving:
    """Three clients with interactive transactions, one who writes alone, and a leader that groups commands."""

    def __init__(self, *, indexed: bool) -> None:
        self.view = MemoryView()
        run(self.view, CreateCollection("c"))
        if indexed:
            run(self.view, CreateIndex("c", defined(fields={"g": 1})))
            build(self.view)
        self.drafts = [Draft() for _ in range(3)]
        self.committed: list[Committed] = []
        self.conflicts: list[tuple[int, Draft]] = []
        self._waiting: list[tuple[Any, Draft]] = []
        self._next = 0

    def documents(self) -> dict[str, tuple[int, dict[str, Any]]]:
        page = list_documents(self.view, "c", limit=100)
        return {one.id: (one.stored.revision, orjson.loads(one.stored.value)) for one in page.items}

    def step(self, kind: str, *parts: Any) -> None:
        getattr(self, f"_{kind}")(*parts)

    def _read(self, client: int, name: str) -> None:
        revision, document = self.documents().get(name, (0, None))
        self.drafts[client].saw(("c", name), revision, document)

    def _query(self, client: int, group: int, exact: bool) -> None:  # noqa: FBT001 - drawn
        found: Found = {name: one for name, one in self.documents().items() if one[1]["g"] == group}
        read = QueryRead("c", {"g": group}, read_revision(self.view), found, exact)
        self.drafts[client].found(read)

    def _put(self, client: int, name: str, group: int) -> None:
        self._next += 1
        self.drafts[client].put(("c", name), {"g": group, "v": self._next})

    def _delete(self, client: int, name: str) -> None:
        self.drafts[client].delete(("c", name))

    def _commit(self, client: int) -> None:
        draft, self.drafts[client] = self.drafts[client], Draft()
        targets = tuple(ReadTarget(DocumentRef(*name), revision) for name, (revision, _) in draft.reads.items())
        queries = tuple(
            ReadQuery(query(one.filter), seen=tuple((name, pair[0]) for name, pair in one.found.items()))
            if one.exact
            else ReadQuery(query(one.filter), since=one.revision)
            for one in draft.queries
        )
        writes = tuple(
            Delete(DocumentRef(*name)) if one is None else Put(DocumentRef(*name), orjson.dumps(one))
            for name, one in draft.writes.items()
        )
        self._waiting.append((Commit(targets, queries, writes), draft))

    def _alone(self, name: str, group: int) -> None:
        self._next += 1
        draft = Draft()
        draft.put(("c", name), {"g": group, "v": self._next})
        self._waiting.append((put(name, draft.writes["c", name]), draft))

    def _flush(self) -> None:
        """Apply all that waits as one entry."""
        waiting, self._waiting = self._waiting, []
        for outcome, (_, draft) in zip(run(self.view, *(action for action, _ in waiting)), waiting, strict=True):
            if outcome.code is Code.OK:
                self.committed.append(Committed(outcome.revision, draft))
            else:
                assert outcome.code is Code.TRANSACTION_CONFLICT
                self.conflicts.append((outcome.revision, draft))


@settings(max_examples=300, deadline=None)
@given(STEPS, st.booleans())
def test_what_commits_is_serializable_in_the_order_of_revisions(steps: list[tuple[Any, ...]], indexed: bool) -> None:  # noqa: FBT001
    """And what conflicts has read something that was not so, or not so all along."""
    world = Interleaving(indexed=indexed)
    for one in steps:
        world.step(*one)
    world.step("flush")
    wrong, left = replay({}, world.committed)
    assert wrong == []
    assert {name: one for (_, name), one in left.items()} == world.documents()
    for revision, draft in world.conflicts:
        if any(not one.exact for one in draft.queries):
            continue  # a change that was undone again counts, too
        before = [one for one in world.committed if one.revision < revision]
        read = Committed(revision, Draft(draft.reads, draft.queries))
        assert replay({}, [*before, read])[0] != []


def test_the_checker_finds_write_skew_and_phantoms() -> None:
    """A store with snapshot isolation commits both of these."""
    begin = {("c", "a"): (1, {"g": 0}), ("c", "b"): (1, {"g": 0})}
    first, second = Draft(), Draft()
    for draft in (first, second):
        for name in ("a", "b"):
            draft.saw(("c", name), 1, {"g": 0})
    first.put(("c", "a"), {"g": 1})
    second.put(("c", "b"), {"g": 1})
    assert replay(begin, [Committed(2, first)])[0] == []
    assert len(replay(begin, [Committed(2, first), Committed(3, second)])[0]) == 1
    inserts = []
    for number in (2, 3):
        draft = Draft()
        draft.found(QueryRead("c", {"slot": 1}, 1, {}, exact=False))
        draft.put(("c", f"new{number}"), {"slot": 1})
        inserts.append(Committed(number, draft))
    assert replay(begin, inserts[:1])[0] == []
    assert len(replay(begin, inserts)[0]) == 1
