"""Transactions: compares, then one branch, atomically and at one revision (etcd's Txn).

Writes are staged beside the overlay and added to it after the last operation has succeeded, so a failure has nothing
to undo. Operations read the staged writes of earlier ones.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Final

from collectionstore_node.statemachine.catalog import Catalog
from collectionstore_node.statemachine.commands import (
    Code,
    Compare,
    CompareField,
    CompareOperator,
    Get,
    Item,
    Operation,
    Outcome,
    Put,
    Ref,
    Transaction,
)
from collectionstore_node.statemachine.stored import decode_stored
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.statemachine.writing import allows, current_revision, next_record

_HOLDS: Final[dict[CompareOperator, Callable[[int | bytes, int | bytes], bool]]] = {
    CompareOperator.EQUAL: operator.eq,
    CompareOperator.NOT_EQUAL: operator.ne,
    CompareOperator.GREATER: operator.gt,
    CompareOperator.LESS: operator.lt,
}


def invalid_reason(transaction: Transaction) -> str | None:
    """Return why the transaction is invalid in any state, as a message for the client, or None.

    Callers check before they propose; `apply_transaction` checks again and returns INVALID_TRANSACTION.
    """
    for position, compare in enumerate(transaction.compare):
        if isinstance(compare.operand, bytes) != (compare.field is CompareField.VALUE):
            return (
                f"compare {position}: the operand must be bytes for the field VALUE, and a number for any other field"
            )
    for name, branch in (("then", transaction.then), ("otherwise", transaction.otherwise)):
        written: set[Ref] = set()
        for position, operation in enumerate(branch):
            if isinstance(operation, Get):
                continue
            if operation.ref in written:
                return f"{name} {position}: the target is written twice in this branch; allowed: once"
            written.add(operation.ref)
    return None


def apply_transaction(overlay: Overlay, catalog: Catalog, transaction: Transaction, revision: int) -> Outcome:
    """Apply the transaction at `revision`, or change nothing and return the reason as the outcome."""
    # Again, although the proposer has checked: an exception here would stop every replica at this entry, forever.
    if invalid_reason(transaction) is not None:
        return Outcome(Code.INVALID_TRANSACTION, revision)
    succeeded = True
    for compare in transaction.compare:
        key = catalog.key(compare.ref)
        if key is None:
            return Outcome(Code.COLLECTION_NOT_FOUND, revision)
        # No early exit: a missing collection in a later compare fails the transaction whatever the earlier ones gave.
        succeeded = succeeded and _holds(compare, overlay.get(key))
    branch = transaction.then if succeeded else transaction.otherwise
    return _run(overlay, catalog, branch, revision, succeeded=succeeded)


def _holds(compare: Compare, record: bytes | None) -> bool:
    actual: int | bytes
    if compare.field is CompareField.REVISION:
        actual = current_revision(record)
    elif compare.field is CompareField.EXISTS:
        actual = int(record is not None)
    elif record is None:
        return False
    else:
        actual = decode_stored(record).value
    # Both are bytes or both are numbers, by `invalid_reason`; Python cannot order one against the other.
    return _HOLDS[compare.operator](actual, compare.operand)


def _run(
    overlay: Overlay, catalog: Catalog, branch: tuple[Operation, ...], revision: int, *, succeeded: bool
) -> Outcome:
    staged: dict[bytes, bytes | None] = {}
    items = []
    for position, operation in enumerate(branch):
        key = catalog.key(operation.ref)
        if key is None:
            return Outcome(Code.COLLECTION_NOT_FOUND, revision, succeeded=succeeded, failed_operation=position)
        record = staged[key] if key in staged else overlay.get(key)
        current = current_revision(record)
        if isinstance(operation, Get):
            items.append(_read(record, current))
            continue
        if not allows(operation.precondition, current):
            return Outcome(
                Code.PRECONDITION_FAILED,
                revision,
                current_revision=current,
                succeeded=succeeded,
                failed_operation=position,
            )
        if isinstance(operation, Put):
            staged[key] = next_record(operation, revision, record)
            items.append(Item(revision, created=record is None, previous_revision=current))
        else:
            staged[key] = None
            items.append(Item(0, previous_revision=current))
    # Only AFTER the last operation: an earlier `return` leaves the overlay as it was.
    _store(overlay, staged)
    return Outcome(Code.OK, revision, succeeded=succeeded, items=tuple(items))


def _read(record: bytes | None, current: int) -> Item:
    if record is None:
        return Item(0)
    stored = decode_stored(record)
    return Item(current, value=stored.value, previous_revision=current, content_type=stored.content_type)


def _store(overlay: Overlay, staged: dict[bytes, bytes | None]) -> None:
    for key, record in staged.items():
        if record is None:
            overlay.delete(key)
        else:
            overlay.put(key, record)
