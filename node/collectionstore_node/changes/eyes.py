"""`Eyes`: what one caller sees of changes, by its rights at one access revision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson
from msgspec.structs import replace

from collectionstore_node.access.rights import DocumentView
from collectionstore_node.changes.shown import OPS, Scope, Shown, asked_about
from collectionstore_node.documents.paths import ID, REVISION
from collectionstore_node.query.scanning import VISITS_MAX
from collectionstore_node.statemachine.commands import DocumentRef
from collectionstore_node.statemachine.history import ChangeKind
from collectionstore_node.statemachine.stored import Stored

_OF_COLLECTIONS: Final = (ChangeKind.CREATE_COLLECTION, ChangeKind.DROP_COLLECTION)
"""What those are told of a collection who see a part of it; indexes and options name fields."""


class Eyes:
    """Pure; may be used in another thread than it was made in."""

    __slots__ = ("_follows", "_view")

    def __init__(self, follows: Callable[[Scope], bool], view: Callable[[str], DocumentView | None]) -> None:
        """`follows` says whether changes of a collection or bucket are told, `view` what of its documents."""
        self._follows = follows
        self._view = view

    def look(self, shown: Shown) -> Shown | None:
        """Return a change as it is seen; None for one that is not.

        A document that comes into view is inserted, and one that leaves it is deleted, whatever has happened to it.
        """
        if not self._follows(shown.scope):
            return None
        ref = shown.change.ref
        view = self._view(shown.scope.name) if shown.scope.kind == "collection" else None
        if view is None:
            return shown
        if not isinstance(ref, DocumentRef):
            return shown if shown.change.kind in _OF_COLLECTIONS else None
        before, after = self._seen(view, ref.id, shown.old()), self._seen(view, ref.id, shown.new())
        if before is None and after is None:
            return None
        op = shown.op
        if after is None:
            # Also what is not known any more: it may be hidden.
            op = op if shown.change.after is None else OPS[ChangeKind.DELETE]
        elif before is None:
            op = OPS[ChangeKind.INSERT]
        return shown.as_seen(op, before, after)

    def document(self, scope: Scope, name: str, stored: Stored) -> Stored | None:
        """Return an initial document or value as it is seen; None for one that is not."""
        view = self._view(scope.name) if scope.kind == "collection" else None
        return stored if view is None else self._seen(view, name, stored)

    def _seen(self, view: DocumentView, name: str, stored: Stored | None) -> Stored | None:
        if stored is None or (len(view.allowed) + len(view.denied)) * (1 + stored.value.count(b",")) > VISITS_MAX:
            return None
        found = view.shown(asked_about(name, stored))
        if found is None or not view.masked:
            return None if found is None else stored
        text = orjson.dumps({key: value for key, value in found.items() if key not in (ID, REVISION)})
        return replace(stored, value=text)
