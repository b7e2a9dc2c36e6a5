"""Watches over a history: every change once, in order, from any place, and never behind a gap."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.changes import (
    ALL,
    STORE,
    Cursor,
    Form,
    Position,
    Recent,
    Scope,
    Selection,
    commands,
    write,
)
from collectionstore_node.changes import cursor as cursor_module
from collectionstore_node.documents.projection import parse_projection
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.indexes.definition import Definition, IndexField
from collectionstore_node.query.find import parse_find
from collectionstore_node.query.scanning import VISITS_MAX
from collectionstore_node.statemachine.commands import (
    Action,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    DropCollection,
    DropIndex,
    KeyRef,
    Put,
    Transaction,
    Update,
    UpdateForm,
)
from collectionstore_node.statemachine.history import kept_after
from collectionstore_node.statemachine.images import whole_changes
from collectionstore_node.statemachine.reads import read_revision, scan_documents, scan_keys
from collectionstore_node.tests.changes.history import TOKENS, decoded, recent_of, run, told, watch
from collectionstore_node.tests.statemachine.memory_view import MemoryView

BOOKS = Scope("collection", "books")
DUNE = DocumentRef("books", "dune")


def filtered(given_filter: dict[str, Any], **more: Any) -> Selection:
    return Selection(BOOKS, parse_find(given_filter).asked, **more)


def put(name: str, /, **fields: Any) -> Put:
    return Put(DocumentRef("books", name), orjson.dumps(fields))


@pytest.fixture
def view() -> MemoryView:
    """A store with the collection books."""
    made = MemoryView()
    run(made, CreateCollection("books"))
    return made


def test_each_kind_of_change_is_told_with_its_images(view: MemoryView) -> None:
    run(view, put("dune", year=1965))
    run(view, put("dune", year=1966))
    run(view, Update(DUNE, UpdateForm.OPERATORS, b'{"$inc":{"year":1}}'))
    run(view, Delete(DUNE))

    created, inserted, replaced, updated, deleted = watch(view, Selection(BOOKS, before=True))

    assert (created["op"], created["collection"], created["revision"]) == ("create_collection", "books", 1)
    assert "id" not in created
    assert "document" not in created
    assert (inserted["op"], inserted["id"], inserted["document"]) == ("insert", "dune", {"year": 1965})
    assert "before" not in inserted
    assert (replaced["op"], replaced["document"], replaced["before"]) == ("replace", {"year": 1966}, {"year": 1965})
    assert (updated["op"], updated["document"], updated["before"]) == ("update", {"year": 1967}, {"year": 1966})
    assert (deleted["op"], deleted["before"], deleted["revision"]) == ("delete", {"year": 1967}, 5)
    assert "document" not in deleted
    assert 0 < created["time_ms"] <= inserted["time_ms"] <= deleted["time_ms"]
    assert all(one["last"] for one in (created, inserted, replaced, updated, deleted))


def test_what_changes_nothing_is_not_told(view: MemoryView) -> None:
    run(view, put("dune", year=1965))
    run(view, Update(DUNE, UpdateForm.OPERATORS, b'{"$set":{"year":1965}}'), Delete(DocumentRef("books", "none")))

    assert [one["op"] for one in watch(view, Selection(BOOKS), Position(2))] == []


def test_a_step_ends_also_where_nothing_has_changed(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursor_module, "STEP_REVISIONS", 5)
    for _ in range(3):
        run(view, *(Delete(DocumentRef("books", "none")) for _ in range(4)))
    run(view, put("dune", year=1965))
    cursor = Cursor(Selection(BOOKS), Position(1), TOKENS)

    steps = []
    while cursor.due(read_revision(view)):
        steps.append(cursor.step(view, read_revision(view), Recent(1 << 20)))

    assert [one.position for one in steps] == [Position(6), Position(11), Position(14)]
    assert [decoded(one.events) for one in steps[:2]] == [[], []]
    assert [one["id"] for one in decoded(steps[2].events)] == ["dune"]


def test_raw_values_are_base64(view: MemoryView) -> None:
    run(view, Put(KeyRef("books", "k"), b"\x00\xff", content_type="image/png"))
    run(view, Put(KeyRef("books", "k"), b"new"), put("dune", n=1))
    run(view, Delete(KeyRef("books", "k")))

    first, second, third = watch(view, Selection(Scope("bucket", "books"), before=True))

    assert (first["op"], first["bucket"], first["key"]) == ("insert", "books", "k")
    assert (first["value"], first["content_type"]) == ("AP8=", "image/png")
    assert (second["value"], second["content_type"], second["before"]) == ("bmV3", "", "AP8=")
    assert (third["op"], third["before"]) == ("delete", "bmV3")
    assert "value" not in third


def test_a_collection_and_a_bucket_of_one_name_are_apart(view: MemoryView) -> None:
    run(view, Put(KeyRef("books", "k"), b"x"), put("dune", n=1))

    assert [one.get("id") for one in watch(view, Selection(BOOKS), Position(1))] == ["dune"]
    assert [one.get("key") for one in watch(view, Selection(Scope("bucket", "books")), Position(1))] == ["k"]
    assert len(watch(view, Selection(STORE), Position(1))) == 2


def test_indexes_are_named(view: MemoryView) -> None:
    run(view, CreateIndex("books", Definition("by_year", (IndexField("year"),))))
    run(view, DropIndex("books", "by_year"))

    found = watch(view, filtered({"year": 1}), Position(1))

    # No filter is about a collection itself.
    assert [(one["op"], one["index"]) for one in found] == [("create_index", "by_year"), ("drop_index", "by_year")]


# Filters


def test_a_document_that_leaves_the_filter_is_told_a_last_time(view: MemoryView) -> None:
    old = filtered({"year": {"$lt": 1950}}, before=True)
    run(view, put("hobbit", year=1937), put("dune", year=1965))
    run(view, put("hobbit", year=2000))
    run(view, put("hobbit", year=2001))
    run(view, put("hobbit", year=1938))
    run(view, Delete(DocumentRef("books", "hobbit")), Delete(DUNE))

    found = watch(view, old, Position(1))

    shown = [(one["op"], one.get("document", {}).get("year"), one.get("left", False)) for one in found]
    assert shown == [
        ("insert", 1937, False),
        ("replace", 2000, True),
        ("replace", 1938, False),
        ("delete", None, False),
    ]


def test_filters_see_the_id_and_the_revision(view: MemoryView) -> None:
    run(view, put("a", n=1), put("b", n=1))

    assert [one["id"] for one in watch(view, filtered({"_id": "b"}), Position(1))] == ["b"]
    assert [one["id"] for one in watch(view, filtered({"_revision": 2}), Position(1))] == ["a"]


def test_only_some_kinds_of_changes(view: MemoryView) -> None:
    run(view, put("dune", n=1), put("dune", n=2), Delete(DUNE))

    found = watch(view, Selection(BOOKS, ops=frozenset({"insert", "delete"})))

    assert [one["op"] for one in found] == ["insert", "delete"]


def test_a_projection_shows_a_part(view: MemoryView) -> None:
    run(view, put("dune", title="Dune", year=1965))
    run(view, put("dune", title="Dune", year=1966))
    shown = Selection(BOOKS, before=True, project=parse_projection({"year": 1}))

    first, second = watch(view, shown, Position(1))

    assert first["document"] == {"year": 1965}
    assert (second["document"], second["before"]) == ({"year": 1966}, {"year": 1965})
    hidden = watch(view, Selection(BOOKS, project=parse_projection({"year": 0})), Position(2))
    assert hidden[0]["document"] == {"title": "Dune"}


def test_a_document_beyond_what_a_filter_may_cost_ends_the_watch_behind_what_came_before(view: MemoryView) -> None:
    tests = {"$or": [{f"f{n}": n} for n in range(100)]}
    costly = filtered({"a": {"$elemMatch": tests}})
    many = VISITS_MAX // costly.asked.heaviest + 10 if costly.asked is not None else 0
    run(view, put("small", a=[{"f1": 1}]))
    run(view, Put(DUNE, b'{"a":[%s]}' % b",".join([b"1"] * many)))
    cursor = Cursor(costly, Position(1), TOKENS)

    step = cursor.step(view, 3, recent_of(view))

    assert [one["id"] for one in decoded(step.events)] == ["small"]
    assert cursor.position == Position(2)
    with pytest.raises(InvalidRequest) as refused:
        cursor.step(view, 3, recent_of(view))
    assert refused.value.code == "query_too_costly"
    assert cursor.position == Position(2)


# Commands with many changes


def transaction(*names: str) -> Transaction:
    return Transaction(then=tuple(put(name, n=1) for name in names))


def test_the_changes_of_a_command_stay_together_and_say_where_it_ends(view: MemoryView, monkeypatch: Any) -> None:
    monkeypatch.setattr(cursor_module, "STEP_EVENT_BYTES", 1)
    run(view, transaction("a", "b", "c"), transaction("d", "e"))
    cursor = Cursor(Selection(BOOKS), Position(1), TOKENS)

    first = decoded(cursor.step(view, 3, recent_of(view)).events)
    second = decoded(cursor.step(view, 3, recent_of(view)).events)

    assert [(one["id"], one["position"], one.get("last", False)) for one in first] == [
        ("a", 0, False),
        ("b", 1, False),
        ("c", 2, True),
    ]
    assert [(one["id"], one.get("last", False)) for one in second] == [("d", False), ("e", True)]
    assert TOKENS.decode(first[0]["token"]) == Position(2, 1)
    assert TOKENS.decode(first[-1]["token"]) == Position(2, ALL)


def test_the_end_of_a_command_is_that_of_what_is_told_of_it(view: MemoryView) -> None:
    run(view, transaction("a", "b", "c"))

    (found,) = watch(view, filtered({"_id": "b"}), Position(1))

    assert found["last"] is True
    assert TOKENS.decode(found["token"]) == Position(2, 2)


# The beginning


def test_initial_documents_come_before_all_changes(view: MemoryView, monkeypatch: Any) -> None:
    monkeypatch.setattr(cursor_module, "STEP_DOCUMENTS", 2)
    for number in range(5):
        run(view, put(f"b{number}", n=number))
    begin = read_revision(view)
    cursor = Cursor(filtered({"n": {"$gte": 1}}), Position(begin), TOKENS, scan_documents(view.fixed(), "books"))
    run(view, put("b1", n=100), Delete(DocumentRef("books", "b2")), put("new", n=7))

    found = decoded(told(view, cursor))

    assert [(one["event"], one.get("id"), one.get("op")) for one in found] == [
        ("document", "b1", None),
        ("document", "b2", None),
        ("document", "b3", None),
        ("document", "b4", None),
        ("ready", None, None),
        ("change", "b1", "replace"),
        ("change", "b2", "delete"),
        ("change", "new", "insert"),
    ]
    assert found[0]["document"] == {"n": 1}
    assert found[0]["revision"] == 3
    assert TOKENS.decode(found[4]["token"]) == Position(begin)


def test_initial_values_of_a_bucket(view: MemoryView) -> None:
    run(view, Put(KeyRef("b", "k"), b"v", content_type="text/plain"), Put(KeyRef("c", "k"), b"w"))
    scope = Scope("bucket", "b")
    cursor = Cursor(Selection(scope), Position(read_revision(view)), TOKENS, scan_keys(view.fixed(), "b"))

    value, ready = decoded(told(view, cursor))

    assert value == {
        "event": "document",
        "bucket": "b",
        "key": "k",
        "revision": 2,
        "value": "dg==",
        "content_type": "text/plain",
    }
    assert ready["event"] == "ready"


# Ends


def test_a_dropped_collection_ends_its_watch_and_no_other(view: MemoryView) -> None:
    run(view, put("dune", n=1))
    run(view, DropCollection("books"))
    run(view, CreateCollection("books"))

    own = watch(view, Selection(BOOKS), Position(1))
    everything = watch(view, Selection(STORE), Position(1))

    assert [(one["event"], one.get("op")) for one in own] == [
        ("change", "insert"),
        ("change", "drop_collection"),
        ("invalidate", None),
    ]
    assert [one["op"] for one in everything] == ["insert", "drop_collection", "create_collection"]
    # From there on it is a watch of the new collection.
    assert [one["op"] for one in watch(view, Selection(BOOKS), TOKENS.decode(own[-1]["token"]))] == [
        "create_collection"
    ]


def test_a_drop_ends_the_watch_whatever_kinds_it_asks_for(view: MemoryView) -> None:
    run(view, DropCollection("books"))

    assert [one["event"] for one in watch(view, Selection(BOOKS, ops=frozenset({"insert"})))] == ["invalidate"]


def test_a_place_that_is_not_kept_is_gone_with_where_to_go_on(view: MemoryView) -> None:
    """Init: a history of which the beginning was dropped. Check: one event, the last one, and no change."""
    for number in range(30):
        run(view, Put(DUNE, b'{"a":"%s","n":%d}' % (b"x" * 1_000_000, number)), time_ms=number)
    for hours in range(1, 200):
        run(view, put("late", n=hours), time_ms=hours * 600_000)
    kept = kept_after(view)
    assert 1 < kept < read_revision(view)

    gone = watch(view, Selection(BOOKS), Position(kept, 1) if kept > 1 else Position(0))
    found = watch(view, Selection(BOOKS), Position(kept))

    assert [one["event"] for one in gone] == ["gone"]
    assert gone[0]["kept_after"] == kept
    assert TOKENS.decode(gone[0]["restart"]) == Position(kept)
    assert "token" not in gone[0]
    assert [one["revision"] for one in found] == list(range(kept + 1, read_revision(view) + 1))


def test_initial_documents_whose_changes_are_gone_are_no_beginning(view: MemoryView) -> None:
    run(view, put("dune", n=1))
    cursor = Cursor(Selection(BOOKS), Position(0), TOKENS, scan_documents(view.fixed(), "books"))
    for hours in range(200):
        run(view, Put(DUNE, b'{"a":"%s"}' % (b"x" * 400_000)), time_ms=hours * 600_000)
    assert kept_after(view) > 0

    assert [one["event"] for one in decoded(told(view, cursor))] == ["gone"]


# Against a model


NAMES = st.sampled_from(("a", "b", "c"))
COLLECTIONS = st.sampled_from(("books", "films"))
REFS = st.builds(DocumentRef, COLLECTIONS, NAMES) | st.builds(KeyRef, COLLECTIONS, NAMES)
VALUES = st.sampled_from((b'{"n":1}', b'{"n":2}', b'{"n":3}'))
PUTS = st.builds(Put, REFS, VALUES)
DELETES = st.builds(Delete, REFS)
UPDATES = st.builds(
    Update,
    st.builds(DocumentRef, COLLECTIONS, NAMES),
    st.just(UpdateForm.OPERATORS),
    st.sampled_from((b'{"$inc":{"n":1}}', b'{"$set":{"n":2}}')),
)
ACTIONS: st.SearchStrategy[Action] = (
    PUTS
    | DELETES
    | UPDATES
    | st.builds(
        Transaction,
        then=st.lists(PUTS | DELETES, max_size=4, unique_by=lambda one: one.ref).map(tuple),
    )
    | st.builds(CreateCollection, COLLECTIONS)
    | st.builds(DropCollection, COLLECTIONS)
)
ENTRIES = st.lists(st.lists(ACTIONS, min_size=1, max_size=4), min_size=1, max_size=12)
SELECTIONS = st.sampled_from(
    (
        Selection(STORE),
        Selection(BOOKS),
        Selection(Scope("bucket", "books"), before=True),
        Selection(BOOKS, parse_find({"n": 2}).asked),
        Selection(STORE, parse_find({"n": {"$gte": 2}}).asked, frozenset({"insert", "update", "delete"})),
    )
)


@settings(max_examples=150, deadline=None)
@given(ENTRIES, SELECTIONS, st.integers(0, 4_000), st.booleans())
def test_from_every_token_the_rest_follows(
    entries: list[list[Action]],
    selection: Selection,
    recent_bytes: int,
    remembers: bool,  # noqa: FBT001
) -> None:
    """No gap, nothing twice, and the order of commands, whatever is kept in memory and wherever a watch begins."""
    view = MemoryView()
    for entry in entries:
        run(view, *entry)
    begin = read_revision(view) // 2 if remembers else 0
    recent = recent_of(view, begin, recent_bytes)
    expected = [
        one
        for command in commands(whole_changes(view, 0, read_revision(view)), TOKENS)
        for one in selection.events(command)
    ]
    ends = next(
        (at for at, one in enumerate(decoded(expected)) if selection.scope == BOOKS and one["op"] == "drop_collection"),
        None,
    )

    def follow(position: Position) -> list[dict[str, Any]]:
        return decoded(told(view, Cursor(selection, position, TOKENS), recent))

    everything = follow(Position(0))
    if selection.scope == BOOKS and everything and everything[-1]["event"] == "invalidate":
        everything.pop()
        assert ends is not None
        expected = expected[: ends + 1]
    assert everything == decoded(expected)
    places = [TOKENS.decode(one["token"]) for one in everything]
    assert places == sorted(set(places))
    for at, place in enumerate(places[: ends if ends is not None else None]):
        rest = follow(place)
        if rest and rest[-1]["event"] == "invalidate":
            rest.pop()
        assert [one["token"] for one in rest] == [one["token"] for one in everything[at + 1 :]]
        # Where a command was passed in part, what is left of it still says where it ends.
        assert rest == everything[at + 1 :]


# Forms


def test_events_are_written_for_each_transport(view: MemoryView) -> None:
    run(view, put("dune", text="two\nlines\r\n"))
    events = told(view, Cursor(Selection(BOOKS), Position(1), TOKENS))
    token = events[0].token.encode()

    lines, sse = write(events * 2, Form.LINES), write(events, Form.SSE)

    assert len(lines.splitlines()) == 2
    assert orjson.loads(b"[%s]" % write(events * 2, Form.ITEMS))[1]["document"] == {"text": "two\nlines\r\n"}
    assert sse.split(b"\n") == [b"event: change", b"id: " + token, b"data: " + events[0].text, b"", b""]
