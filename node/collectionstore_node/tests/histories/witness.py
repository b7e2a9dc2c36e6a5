"""The short way: the store numbers its writes, so the order it claims can be checked instead of searched for.

An order that explains every answer and agrees with time proves linearizability, wherever it comes from. When the
claimed order fails, nothing is proved: the search decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from collectionstore_node.tests.histories.model import Revisions, run
from collectionstore_node.tests.histories.operations import Operation
from collectionstore_node.tests.histories.promises import stored


def claimed_order_holds(operations: Sequence[Operation], revisions: Revisions) -> bool:
    """Whether the operations in the order of their revisions explain all answers. None of them is a failed one."""
    if any(one.outcome == "ok" and (one.answer is None or one.answer.revision is None) for one in operations):
        return False
    order = _claimed_order(operations, revisions)
    if not _agrees_with_time(order):
        return False
    store: dict[str, str] = {}
    for operation in order:
        fits, changes = run(operation, store, revisions)
        if not fits:
            return False
        store.update(changes)
    return True


def _claimed_order(operations: Iterable[Operation], revisions: Revisions) -> list[Operation]:
    placed = []
    for operation in operations:
        revision = _revision(operation, revisions)
        if revision is not None:
            writes = any(step.action != "get" for step in operation.ran())
            placed.append(((revision, 0 if writes else 1, operation.invoked, operation.id), operation))
    return [operation for _, operation in sorted(placed, key=lambda pair: pair[0])]


def _revision(operation: Operation, revisions: Revisions) -> int | None:
    """Return where the operation stands; None for one of unknown fate that nobody saw anything of."""
    if operation.outcome == "ok" and operation.answer is not None:
        return operation.answer.revision
    return next((found for _, value in stored(operation) if (found := revisions.of(value)) is not None), None)


def _agrees_with_time(order: Sequence[Operation]) -> bool:
    """Whether nobody stands before one that had ended when it began."""
    earliest_end = inf
    for operation in reversed(order):
        if operation.invoked > earliest_end:
            return False
        if operation.outcome == "ok" and operation.returned is not None:
            earliest_end = min(earliest_end, operation.returned)
    return True
