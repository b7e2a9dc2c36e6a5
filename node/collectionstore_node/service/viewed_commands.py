"""Commands of callers who may not read or write everything, and their answers. Pure.

What depends on documents is decided where the command is applied (`statemachine.restrictions`): the views go along.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

import orjson
from msgspec.structs import replace

from collectionstore_node.access.rights import DocumentView, Rights
from collectionstore_node.access.stored_views import VIEW_BYTES_MAX, encode_view
from collectionstore_node.access.verbs import Verb
from collectionstore_node.documents.paths import ID, REVISION
from collectionstore_node.errors import Forbidden
from collectionstore_node.service.operations import (
    Action,
    CollectionView,
    Commit,
    Delete,
    DocumentRef,
    Expiring,
    Get,
    GuardedTransaction,
    Insert,
    Put,
    Restricted,
    Touch,
    Transaction,
    TransactionStep,
    Update,
    plain,
    steps_of,
)
from collectionstore_node.service.results import Code, Item, Outcome
from collectionstore_node.statemachine.commands import Action as CommandAction
from collectionstore_node.statemachine.commands import RefusedBy, refused_item, unrestricted
from collectionstore_node.statemachine.restrictions import views_reason

_RESTRICTABLE: Final = (Put, Delete, Update, Insert, Expiring, Touch, Transaction, GuardedTransaction, Commit)
_UNTOLD: Final = (refused_item(RefusedBy("", "")),)
_BY_INDEX: Final = (Code.UNIQUE_VIOLATION, Code.INDEX_ENTRIES)
_BY_SCHEMA: Final = (Code.SCHEMA_VIOLATION, Code.SCHEMA_COST, Code.SCHEMA_DEFAULTS)
_KEPT: Final = 1_024


def restricted(action: CommandAction, rights: Rights) -> CommandAction:
    """Return an action with the views of its caller, if there are any. Raises `Forbidden` for rules that do not fit."""
    if type(action) is Put:
        ref = action.ref  # the hot path: one collection, or none
        names: Iterable[str] = (ref.collection,) if type(ref) is DocumentRef else ()
    elif isinstance(action, _RESTRICTABLE):
        names = dict.fromkeys(_collections(action))
    else:
        return action
    views: list[CollectionView] = []
    for name in names:
        read, write = rights.view(name), rights.view(name, Verb.WRITE)
        if read is not None or write is not None:
            views.append(CollectionView(name, _encoded(read), _encoded(write)))
    if not views:
        return action
    if views_reason(views) is not None or any(len(one.read or b"") > VIEW_BYTES_MAX for one in views):
        raise Forbidden(Verb.WRITE, "cluster", of="a command of so many rules of roles ")
    return Restricted(action, tuple(views))


def answered(action: Action, outcome: Outcome, rights: Rights) -> Outcome:
    """Return an outcome without what its caller may not see."""
    action = unrestricted(action)  # type: ignore[assignment]  # what it restricts is an action of a client
    if outcome.code in _BY_INDEX:
        # Which document has the same values, and in which index, is told to those who see all of the collection.
        seen = all(rights.view(name) is None for name in _collections(action))
        return outcome if seen else untold(outcome)
    if outcome.code in _BY_SCHEMA:
        # The document as it would be, for what is wrong with it.
        seen = all(rights.view(name) is None for name in _collections(action))
        return outcome if seen else replace(outcome, items=())
    if outcome.code is not Code.OK or not any(item.value for item in outcome.items):
        return outcome
    steps = _answering(action, outcome)
    if len(steps) != len(outcome.items):
        return outcome
    items = tuple(_seen(plain(step), item, rights) for step, item in zip(steps, outcome.items, strict=True))
    return replace(outcome, items=items)


def untold(outcome: Outcome) -> Outcome:
    """Return an outcome that names no index and no other document."""
    return replace(outcome, items=_UNTOLD) if outcome.code in _BY_INDEX else outcome


def _seen(step: Any, item: Item, rights: Rights) -> Item:
    if not item.value or not isinstance(step, Get | Update) or not isinstance(step.ref, DocumentRef):
        return item
    view = rights.view(step.ref.collection)
    if view is None:
        return item
    document: dict[str, Any] = orjson.loads(item.value)
    document[ID], document[REVISION] = step.ref.id, item.previous_revision or item.revision
    shown = view.shown(document)
    if shown is None:
        # A get of a document that only may be written finds none.
        return Item(0) if isinstance(step, Get) else replace(item, value=None)
    text = orjson.dumps({name: value for name, value in shown.items() if name not in (ID, REVISION)})
    return replace(item, value=text)


def _answering(action: Action, outcome: Outcome) -> tuple[TransactionStep, ...]:
    """Return the operations whose results an outcome holds, in their order."""
    match action:
        case Transaction():
            return action.then if outcome.succeeded else action.otherwise
        case GuardedTransaction(transaction, _):
            return transaction.then if outcome.succeeded else transaction.otherwise
        case Commit():
            return action.writes
        case Update() | Expiring():
            return (action,)
    return ()


def _collections(action: Any) -> Iterator[str]:
    match action:
        case Insert(collection, _):
            yield collection
        case Transaction() | GuardedTransaction() | Commit():
            for step in steps_of(action):
                yield from _collections(plain(step))
            if isinstance(action, Transaction):
                refs = [one.ref for one in action.compare]
            elif isinstance(action, GuardedTransaction):
                refs = [one.ref for one in action.transaction.compare]
                yield from (one.query.collection for one in action.guards)
            else:
                refs = [one.ref for one in action.targets]
                yield from (one.query.collection for one in action.queries)
            yield from (ref.collection for ref in refs if isinstance(ref, DocumentRef))
        case _:
            ref = getattr(action, "ref", None)
            if isinstance(ref, DocumentRef):
                yield ref.collection


def _encoded(view: DocumentView | None) -> bytes | None:
    return None if view is None else _encoded_view(view)


@lru_cache(maxsize=_KEPT)
def _encoded_view(view: DocumentView) -> bytes:
    # By identity: rights remember their views, and are few.
    return encode_view(view)
