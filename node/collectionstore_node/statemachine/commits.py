"""Transactions that depend on queries, and those that were computed by a client; from level `CHANGES` on.

A `GuardedTransaction` compares what queries find now. A `Commit` is the end of an interactive transaction: its client
has read one thing after the other, holding nothing on any member, and states what it has read. If all of that would be
read now, too, the transaction is as if it had run here and now, between two other commands: serializable, whatever its
client has read, and in which order (Kung and Robinson 1981, backward validation; with the results of queries, so that
documents that have come to match are seen, too).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Final, NamedTuple

import msgspec

from collectionstore_node.documents.updates import Condition
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.statemachine.catalog import Catalog
from collectionstore_node.statemachine.commands import (
    Code,
    Commit,
    CompareOperator,
    DocumentRef,
    GuardedTransaction,
    Item,
    Outcome,
    QueryGuard,
    ReadQuery,
    Transaction,
    conflict_item,
)
from collectionstore_node.statemachine.costs import (
    QUERY_RANGES_MAX,
    QUERY_SEEN_MAX,
    TRANSACTION_ITEMS_MAX,
    TRANSACTION_PATTERNS_MAX,
    TRANSACTION_QUERIES_MAX,
)
from collectionstore_node.statemachine.history import OMITTED, Change, ChangeKind, kept_after, scan_changes
from collectionstore_node.statemachine.searching import NoCollection, Search, TooCostly, patterns_in
from collectionstore_node.statemachine.transactions import apply_transaction
from collectionstore_node.statemachine.view import Overlay, View
from collectionstore_node.statemachine.writing import current_revision

COUNT_MAX: Final = 1_000_000
"""The largest number of documents that a guard may compare with."""
_COMPARED: Final[dict[CompareOperator, Callable[[int, int], bool]]] = {
    CompareOperator.EQUAL: operator.eq,
    CompareOperator.NOT_EQUAL: operator.ne,
    CompareOperator.GREATER: operator.gt,
    CompareOperator.LESS: operator.lt,
}
_REFUSED: Final = (InvalidRequest, NoCollection, TooCostly)
_CODES: Final[dict[type[Exception], Code]] = {
    NoCollection: Code.READ_COLLECTION_NOT_FOUND,
    TooCostly: Code.QUERY_TOO_COSTLY,
}


def queries_reason(action: GuardedTransaction | Commit) -> str | None:
    """Return why the queries of a transaction are invalid in any state, but for their filters; None if they are not."""
    match action:
        case GuardedTransaction(transaction, guards):
            if len(transaction.compare) + len(guards) > TRANSACTION_ITEMS_MAX:
                return f"compare has more than {TRANSACTION_ITEMS_MAX} items"
            if any(not 0 <= one.operand <= COUNT_MAX for one in guards):
                return f"a number of documents is from 0 to {COUNT_MAX}"
            queries = [one.query for one in guards]
        case Commit(targets, reads, writes):
            if len(targets) + len(reads) > TRANSACTION_ITEMS_MAX or len(writes) > TRANSACTION_ITEMS_MAX:
                return f"reads and writes have at most {TRANSACTION_ITEMS_MAX} items each"
            if any(one.revision < 0 for one in targets) or any(one.since < 0 for one in reads):
                return "a revision is at least 0"
            if sum(len(one.seen or ()) for one in reads) > QUERY_SEEN_MAX:
                return f"the queries of a transaction have seen at most {QUERY_SEEN_MAX} documents together"
            queries = [one.query for one in reads]
    if len(queries) > TRANSACTION_QUERIES_MAX:
        return f"a transaction has at most {TRANSACTION_QUERIES_MAX} queries"
    if any(len(one.plan.ranges) > QUERY_RANGES_MAX for one in queries):
        return f"a plan has at most {QUERY_RANGES_MAX} ranges"
    # BEFORE they are compiled, which takes longer than all else.
    if sum(patterns_in(one.filter) for one in queries) > TRANSACTION_PATTERNS_MAX:
        return f"the queries of a transaction have at most {TRANSACTION_PATTERNS_MAX} patterns together"
    return None


def too_costly_at(view: View, action: GuardedTransaction | Commit) -> int | None:
    """Return the position of the query that is too costly on the state of `view`, None if none is.

    For members, BEFORE they propose: a refused command takes no place in the log, and what hides behind deleted keys is
    met here and not by every replica. Raises what reading the view does.
    """
    overlay = Overlay(view)
    catalog = Catalog(overlay)
    search = Search(overlay, catalog)
    first = len(action.transaction.compare) if isinstance(action, GuardedTransaction) else len(action.targets)
    for position, one in enumerate(_looks(action), first):
        try:
            one(search)
        except TooCostly:
            return position
        except (InvalidRequest, NoCollection):
            continue  # apply says so
    return None


def _looks(action: GuardedTransaction | Commit) -> list[Callable[[Search], object]]:
    if isinstance(action, GuardedTransaction):
        return [partial(_holds, guard=one) for one in action.guards]
    return [
        partial(_changed, read=one, seen=one.seen) if one.seen is not None else lambda search: None
        for one in action.queries
    ]


def apply_guarded(
    overlay: Overlay, catalog: Catalog, guarded: GuardedTransaction, revision: int, values: list[Item] | None
) -> Outcome:
    """Apply a transaction whose compares include queries, as `apply_transaction` does."""
    if queries_reason(guarded) is not None:
        return Outcome(Code.INVALID_TRANSACTION, revision)
    search, first = Search(overlay, catalog), len(guarded.transaction.compare)

    def guard() -> bool | Outcome:
        succeeded = True
        # As for compares no early exit: a collection that is missing fails the transaction.
        for position, one in enumerate(guarded.guards, first):
            try:
                succeeded = _holds(search, one) and succeeded
            except _REFUSED as error:
                return _refusal(error, revision, position)
        return succeeded

    return apply_transaction(overlay, catalog, guarded.transaction, revision, values, guard)


def apply_commit(
    overlay: Overlay, catalog: Catalog, commit: Commit, revision: int, values: list[Item] | None
) -> Outcome:
    """Apply the writes of an interactive transaction if what it has read is still so; else change nothing."""
    if queries_reason(commit) is not None:
        return Outcome(Code.INVALID_TRANSACTION, revision)
    search = Search(overlay, catalog)

    def guard() -> bool | Outcome:
        for position, target in enumerate(commit.targets):
            key = catalog.key(target.ref)
            if key is None:
                return Outcome(Code.READ_COLLECTION_NOT_FOUND, revision, failed_operation=position)
            try:
                current = search.revision_at(key, target.ref)
            except TooCostly as error:
                return _refusal(error, revision, position)
            if current != target.revision:
                return _conflict(revision, position, "", current)
        since: list[tuple[int, ReadQuery]] = []
        for position, one in enumerate(commit.queries, len(commit.targets)):
            if one.seen is None:
                since.append((position, one))
                continue
            try:
                changed = _changed(search, one, one.seen)
            except _REFUSED as error:
                return _refusal(error, revision, position)
            if changed is not None:
                return _conflict(revision, position, *changed)
        return _unchanged(overlay, catalog, search, since, revision)

    return apply_transaction(overlay, catalog, Transaction(then=commit.writes), revision, values, guard)


def _holds(search: Search, guard: QueryGuard) -> bool:
    # One more than the operand decides every comparison: what is looked at is bounded by it, where there are many.
    count = sum(1 for _ in islice(search.matches(guard.query), guard.operand + 1))
    return _COMPARED[guard.operator](count, guard.operand)


def _changed(search: Search, read: ReadQuery, seen: tuple[tuple[str, int], ...]) -> tuple[str, int] | None:
    """Return a document that a query would not find now as it was read, with its revision now; None if all are.

    Ends with the first one: what is kept is bounded by what was seen.
    """
    left = dict(seen)
    for document_id, current in search.matches(read.query):
        if left.pop(document_id, 0) != current:
            return document_id, current
    return (min(left), 0) if left else None


class _Asked(NamedTuple):
    """A query that was read at a revision."""

    position: int
    since: int
    condition: Condition
    id: str | None


def _unchanged(
    overlay: Overlay, catalog: Catalog, search: Search, reads: Sequence[tuple[int, ReadQuery]], revision: int
) -> bool | Outcome:
    """Return whether nothing that the queries find, or would have found, was changed since they were read.

    Looks at every change since the oldest of them, in the history and in the entry at hand, until one matters.
    """
    if not reads:
        return True
    asked: dict[str, list[_Asked]] = {}
    kept = kept_after(overlay)
    for position, one in reads:
        if one.since >= revision:
            return Outcome(Code.REVISION_AHEAD, revision, failed_operation=position)
        if one.since < kept:
            return Outcome(Code.CHANGES_UNKNOWN, revision, failed_operation=position)
        try:
            if catalog.documents_of(one.query.collection) is None:
                raise NoCollection
            condition = search.condition(one.query)
        except _REFUSED as error:
            return _refusal(error, revision, position)
        asked.setdefault(one.query.collection, []).append(_Asked(position, one.since, condition, one.query.id))
    # The position of the oldest: to read it again makes the most of a difference.
    position, oldest = min(((at, one.since) for at, one in reads), key=lambda read: read[1])
    if catalog.deadlines.overdue:
        # It was there for the reader, and is not now: that it is gone comes into the history when it is removed.
        return Outcome(Code.CHANGES_UNKNOWN, revision, failed_operation=position)
    try:
        # Each record is counted as well: entries that have changed nothing have one.
        kept_changes = scan_changes(overlay, oldest, looked=partial(search.look_at, 0))
        for change in chain(kept_changes, _at_hand(catalog, oldest)):
            if change.after == OMITTED and change.ref is not None and change.collection in asked:
                # What it left is what the next change of it has met, or what is there now.
                key = catalog.key(change.ref)
                change = msgspec.structs.replace(change, after=None if key is None else overlay.get(key))
            search.look_at(len(change.before or b"") + len(change.after or b""))
            for query in asked.get(change.collection, ()):
                if change.revision > query.since and _matters(search, query, change):
                    return _conflict(revision, query.position, *_changed_to(change))
    except TooCostly:
        return Outcome(Code.CHANGES_UNKNOWN, revision, failed_operation=position)
    return True


def _at_hand(catalog: Catalog, after: int) -> Iterator[Change]:
    """Yield the changes of the entry at hand, which is not in the history before its end, behind a revision."""
    for revision, position, kind, ref, collection, before, behind in catalog.changes or ():
        if revision > after:
            name = ref.collection if isinstance(ref, DocumentRef) else collection
            yield Change(revision, position, ChangeKind(kind), ref, name, before, behind)


def _matters(search: Search, asked: _Asked, change: Change) -> bool:
    """Whether a change of the collection may have changed what a query finds: what matches before it, or behind it."""
    if not isinstance(change.ref, DocumentRef):
        return change.kind in (ChangeKind.CREATE_COLLECTION, ChangeKind.DROP_COLLECTION)
    name = change.ref.id
    if asked.id is not None and asked.id != name:
        return False
    return any(
        record is not None and search.holds(asked.condition, change.ref.collection, name, record)
        for record in (change.before, change.after)
    )


def _changed_to(change: Change) -> tuple[str, int]:
    """Return the ID of a document that was changed, and its revision behind it; of a whole collection neither."""
    # What is stored of a collection is no record of a document, and cannot be read as one.
    return (change.ref.id, current_revision(change.after)) if isinstance(change.ref, DocumentRef) else ("", 0)


def _conflict(revision: int, position: int, document_id: str, current: int) -> Outcome:
    items = (conflict_item(document_id, current),)
    return Outcome(Code.TRANSACTION_CONFLICT, revision, failed_operation=position, items=items)


def _refusal(error: Exception, revision: int, position: int) -> Outcome:
    return Outcome(_CODES.get(type(error), Code.INVALID_QUERY), revision, failed_operation=position)
