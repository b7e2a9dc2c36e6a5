"""The short way: the store numbers its writes, so the order it claims can be checked instead of searched for.

An order that explains every answer and agrees with time proves linearizability, wherever it comes from. When the
claimed order fails, nothing is proved: the search decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from collectionstore_testkit.histories.model import Revisions, Store, run
from collectionstore_testkit.histories.operations import Operation
from collectionstore_testkit.histories.promises import stored


def claimed_order_holds(operations: Sequence[Operation], revisions: Revisions) -> bool:
    """Whether the operations in the order of their revisions explain all answers. None of them is a failed one.

    Those of unknown outcome that no operation observed, such as a delete, are inserted where a response needs one.
    """
    if any(one.outcome == "ok" and (one.answer is None or one.answer.revision is None) for one in operations):
        return False
    claimed = _claimed_order(operations, revisions)
    unseen = [one for one in operations if one.writes and _revision(one, revisions) is None]
    store: dict[str, str] = {}
    order: list[Operation] = []
    for operation in claimed:
        fits, changes = run(operation, store, revisions)
        if not fits:
            before = _needed_before(operation, unseen, store, revisions)
            if before is None:
                return False
            unseen.remove(before)
            order.append(before)
            store.update(run(before, store, revisions)[1])
            changes = run(operation, store, revisions)[1]
        order.append(operation)
        store.update(changes)
    return _agrees_with_time(order)


def _needed_before(
    operation: Operation, unseen: Iterable[Operation], store: Store, revisions: Revisions
) -> Operation | None:
    """Return one of `unseen` after which the operation's answer would be right, None when there is none.

    The one that began last is the best guess: whatever was under way for long has probably come to nothing.
    """
    for one in sorted(unseen, key=lambda one: -one.invoked):
        if one.invoked < (operation.returned or 0.0) and not one.keys.isdisjoint(operation.keys):
            after = {**store, **run(one, store, revisions)[1]}
            if run(operation, after, revisions)[0]:
                return one
    return None


def _claimed_order(operations: Iterable[Operation], revisions: Revisions) -> list[Operation]:
    placed = []
    for operation in operations:
        revision = _revision(operation, revisions)
        if revision is not None:
            writes = any(step.action != "get" for step in operation.ran())
            placed.append(((revision, 0 if writes else 1, operation.invoked, operation.id), operation))
    return [operation for _, operation in sorted(placed, key=lambda pair: pair[0])]


def _revision(operation: Operation, revisions: Revisions) -> int | None:
    """Return where the operation stands; None for one of unknown outcome that no operation observed."""
    if operation.outcome == "ok" and operation.answer is not None:
        return operation.answer.revision
    return next((found for _, value in stored(operation) if (found := revisions.of(value)) is not None), None)


def _agrees_with_time(order: Sequence[Operation]) -> bool:
    """Whether no operation stands before one that had ended when it began."""
    earliest_end = inf
    for operation in reversed(order):
        if operation.invoked > earliest_end:
            return False
        if operation.outcome == "ok" and operation.returned is not None:
            earliest_end = min(earliest_end, operation.returned)
    return True
