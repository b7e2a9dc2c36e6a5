"""Changes as one sees them who sees a part of a collection."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from collectionstore_node.access.masks import mask_of
from collectionstore_node.access.rights import DocumentView, Grant
from collectionstore_node.access.roles import FieldMask
from collectionstore_node.changes import Cursor, Eyes, Position, Recent, Scope, Selection
from collectionstore_node.documents.filters import compile_filter, parse_filter
from collectionstore_node.statemachine.commands import CreateCollection, Delete, DocumentRef, DropCollection, Put
from collectionstore_node.statemachine.history import INLINE_BYTES
from collectionstore_node.statemachine.reads import read_revision
from collectionstore_node.tests.changes.history import TOKENS, decoded, run
from collectionstore_node.tests.statemachine.memory_view import MemoryView

PEOPLE = Scope("collection", "people")
LARGE = "x" * 2 * INLINE_BYTES


def _put(**fields: Any) -> Put:
    return Put(DocumentRef("people", "ada"), orjson.dumps(fields))


def _seen(view: MemoryView, *, before: bool = True) -> list[tuple[str, Any, Any]]:
    """Return what one is told who sees team a, without pay: what happened, and the document then and before."""
    given = {"team": "a"}
    grant = Grant(compile_filter(parse_filter(given)), mask_of(FieldMask(hide=("pay",))), given)
    eyes = Eyes(lambda _: True, lambda _: DocumentView((grant,), ()))
    cursor = Cursor(Selection(PEOPLE, before=before), Position(0), TOKENS)
    events = []
    revision = read_revision(view)
    while cursor.due(revision):
        events += cursor.step(view, revision, Recent(0), eyes).events
    return [(one["op"], one.get("document"), one.get("before")) for one in decoded(events) if "op" in one]


@pytest.mark.parametrize("more", [{}, {"text": LARGE}], ids=["small", "large"])
def test_a_document_comes_into_view_and_leaves_it(more: dict[str, str]) -> None:
    """Large ones are not in the history itself."""
    view = MemoryView()
    run(view, CreateCollection("people"))
    for fields in ({"team": "b"}, {"team": "a", "pay": 1}, {"team": "a", "pay": 2}, {"team": "b"}, {"team": "b"}):
        run(view, _put(**fields, **more))
    run(view, Delete(DocumentRef("people", "ada")))

    shown = {"team": "a", **more}
    assert _seen(view) == [
        ("create_collection", None, None),
        ("insert", shown, None),
        ("replace", shown, shown),
        ("delete", None, shown),
    ]


def test_what_is_not_known_any_more_is_not_shown() -> None:
    """What a change has left is unknown when it was large and its collection is gone: so is whether it is hidden."""
    view = MemoryView()
    run(view, CreateCollection("people"))
    run(view, _put(team="a"))
    run(view, _put(team="b", text=LARGE))
    run(view, _put(team="b", text=LARGE, more=1))
    run(view, DropCollection("people"))

    assert _seen(view) == [
        ("create_collection", None, None),
        ("insert", {"team": "a"}, None),
        ("delete", None, {"team": "a"}),
        ("drop_collection", None, None),
    ]
