"""Transactions: compares, then one branch, atomically and at one revision (etcd's Txn).

Writes are staged beside the overlay and added to it after the last operation has succeeded, so a failure has nothing
to undo. Operations read the staged writes of earlier ones. What a transaction may cost is in `costs`.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeAlias

from collectionstore_node.statemachine.catalog import Catalog
from collectionstore_node.statemachine.commands import (
    Code,
    Compare,
    CompareField,
    CompareOperator,
    Delete,
    DocumentRef,
    Expiring,
    Get,
    Image,
    Item,
    Operation,
    Outcome,
    Put,
    Ref,
    Transaction,
    Update,
    plain,
    refused_item,
)
from collectionstore_node.statemachine.costs import (
    TRANSACTION_COST_MAX,
    TRANSACTION_ITEMS_MAX,
    TRANSACTION_READ_BYTES_MAX,
    TRANSACTION_WRITE_BYTES_MAX,
)
from collectionstore_node.statemachine.indexing import Write, live, store
from collectionstore_node.statemachine.stored import NEVER, Expiry, decode_stored, expiry_of, value_start
from collectionstore_node.statemachine.updates import (
    Change,
    Refused,
    change_kind,
    computed,
    conformed,
    hand_refused,
    item_of,
    updated_record,
)
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.statemachine.writing import allows, current_revision, next_record

_HOLDS: Final[dict[CompareOperator, Callable[[int | bytes, int | bytes], bool]]] = {
    CompareOperator.EQUAL: operator.eq,
    CompareOperator.NOT_EQUAL: operator.ne,
    CompareOperator.GREATER: operator.gt,
    CompareOperator.LESS: operator.lt,
}


Guard: TypeAlias = Callable[[], bool | Outcome]
"""What more must hold for `then` to run; an outcome fails the transaction."""


def invalid_reason(transaction: Transaction) -> str | None:
    """Return why the transaction is invalid in any state, as a message for the client, or None.

    Callers check before they propose; apply checks again and returns INVALID_TRANSACTION.
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
            write = plain(operation)
            if isinstance(write, Update) and write.image is not Image.NONE:
                return f"{name} {position}: an update in a transaction has no image; use a get"
            written.add(operation.ref)
    return None


def apply_transaction(
    overlay: Overlay,
    catalog: Catalog,
    transaction: Transaction,
    revision: int,
    values: list[Item] | None,
    guard: Guard | None = None,
) -> Outcome:
    """Apply the transaction at `revision`, or change nothing and return the reason as the outcome.

    The outcome holds no values. `values`, unless None, takes the items with the values that were read, in the order of
    the outcome's, if the branch that ran reads anything. `guard` is asked behind the compares.
    """
    # All of this again, although the proposer has checked: an exception here would stop every replica at this entry,
    # forever.
    lists = (transaction.compare, transaction.then, transaction.otherwise)
    if max(map(len, lists)) > TRANSACTION_ITEMS_MAX or invalid_reason(transaction) is not None:
        return Outcome(Code.INVALID_TRANSACTION, revision)
    return _compare_and_run(_Records(overlay, values), overlay, catalog, transaction, revision, guard)


def apply_unbounded(overlay: Overlay, catalog: Catalog, transaction: Transaction, revision: int) -> Outcome:
    """Apply the transaction as level 1 does: nothing is bounded, and the outcome holds the values that were read."""
    if invalid_reason(transaction) is not None:
        return Outcome(Code.INVALID_TRANSACTION, revision)
    return _compare_and_run(_UnboundedRecords(overlay), overlay, catalog, transaction, revision)


class _TooMuch(Exception):
    """The operation at hand exceeds a bound."""


class _Records:
    """The records that one transaction touches: each is read once, and all are counted. Methods raise `_TooMuch`."""

    __slots__ = ("_began", "_known", "_overlay", "_read", "_reads", "_writes", "_written", "values")

    def __init__(self, overlay: Overlay, values: list[Item] | None) -> None:
        self._overlay = overlay
        self.values = values
        self._began = overlay.cost
        self._known: dict[bytes, bytes | None] = {}
        self._read = self._reads = self._written = self._writes = 0

    @property
    def cost_max(self) -> int | None:
        """What `Overlay.cost` may be behind the transaction; None for no bound."""
        return self._began + TRANSACTION_COST_MAX

    def get(self, key: bytes, ref: Ref, catalog: Catalog) -> bytes | None:
        """Return the record of `key`, where `ref` is stored, before the transaction."""
        if key in self._known:
            return self._known[key]
        record = self._overlay.get(key)
        if record is not None:
            record = live(self._overlay, catalog, ref, key, record)
        # A single record is always allowed: documents may be larger than any bound.
        if self._known and self._overlay.cost - self._began > TRANSACTION_COST_MAX:
            raise _TooMuch
        self._known[key] = record
        return record

    def answer(self, record: bytes | None, current: int) -> Item:
        """Return the item of a get, for the outcome."""
        if record is None:
            return Item(0)
        # Counted for every get, also of the same record: the answer holds its value each time.
        size_bytes = len(record) - value_start(record)
        self._read += size_bytes
        self._reads += 1
        # Besides reading it: the answers of an entry are held together, also those of one value.
        self._overlay.cost += size_bytes
        if self._reads > 1 and self._read > TRANSACTION_READ_BYTES_MAX:
            raise _TooMuch
        return Item(current, previous_revision=current)

    def writes(self, size_bytes: int) -> None:
        """Count a value that is written."""
        self._written += size_bytes
        self._writes += 1
        if self._writes > 1 and self._written > TRANSACTION_WRITE_BYTES_MAX:
            raise _TooMuch

    def updates(self, size_bytes: int) -> None:
        """Count an update that was computed, whose document has so many bytes."""
        self.writes(size_bytes)
        if self._overlay.cost - self._began > TRANSACTION_COST_MAX and self._writes > 1:
            raise _TooMuch

    def hand_over(self, read: list[tuple[int, bytes]], items: list[Item]) -> None:
        """Give the member that answers the items with their values; `read` are records by the position of their get."""
        if self.values is None or not read:
            return
        self.values += items
        for position, record in read:
            self.values[position] = whole_item(record, items[position].revision)


class _UnboundedRecords(_Records):
    """The same at level 1: every read is one of the overlay, and the outcome has the values."""

    __slots__ = ()

    def __init__(self, overlay: Overlay) -> None:
        super().__init__(overlay, None)

    @property
    def cost_max(self) -> int | None:
        return None

    def get(self, key: bytes, ref: Ref, catalog: Catalog) -> bytes | None:
        del ref, catalog  # nothing expires at level 1
        return self._overlay.get(key)

    def answer(self, record: bytes | None, current: int) -> Item:
        return Item(0) if record is None else whole_item(record, current)

    def writes(self, size_bytes: int) -> None:
        del size_bytes


def whole_item(record: bytes, current: int) -> Item:
    """Return the item of a get, with the value and content type of `record`."""
    stored = decode_stored(record)
    return Item(current, value=stored.value, previous_revision=current, content_type=stored.content_type)


def _compare_and_run(
    records: _Records,
    overlay: Overlay,
    catalog: Catalog,
    transaction: Transaction,
    revision: int,
    guard: Guard | None = None,
) -> Outcome:
    succeeded = True
    for position, compare in enumerate(transaction.compare):
        key = catalog.key(compare.ref)
        if key is None:
            return Outcome(Code.COLLECTION_NOT_FOUND, revision)
        # No early exit: a missing collection in a later compare fails the transaction whatever the earlier ones gave.
        try:
            succeeded = succeeded and _holds(compare, records.get(key, compare.ref, catalog), catalog)
        except _TooMuch:
            return Outcome(Code.COMPARES_TOO_LARGE, revision, failed_operation=position)
    if guard is not None:
        guarded = guard()
        if isinstance(guarded, Outcome):
            return guarded
        succeeded = succeeded and guarded
    branch = transaction.then if succeeded else transaction.otherwise
    return _run(records, overlay, catalog, branch, revision, succeeded=succeeded)


def _holds(compare: Compare, record: bytes | None, catalog: Catalog) -> bool:
    # Both operands are bytes or both are numbers, by `invalid_reason`; Python cannot order one against the other.
    holds, operand = _HOLDS[compare.operator], compare.operand
    if compare.field is CompareField.REVISION:
        return holds(current_revision(record), operand)
    if compare.field is CompareField.EXISTS:
        return holds(int(record is not None), operand)
    if record is None or not isinstance(operand, bytes):
        return False
    restrictions = catalog.restrictions
    if restrictions is not None and isinstance(compare.ref, DocumentRef):
        # As its caller sees it: enough comparisons with the whole text would tell what is hidden in it.
        text = restrictions.shown(compare.ref.collection, compare.ref.id, record)
        return text is not None and holds(text, operand)
    start = value_start(record)
    # One byte more than the operand decides every comparison: what is copied is bounded by what the command holds.
    return holds(record[start : start + len(operand) + 1], operand)


def _made(
    overlay: Overlay, catalog: Catalog, operation: Put | Delete | Update, record: bytes | None, current: int
) -> Change | Refused | None:
    """Return what an operation makes of a document; None for one that does not depend on what is there."""
    if isinstance(operation, Update):
        return conformed(overlay, catalog, operation.ref, computed(overlay, catalog, operation, record))
    if not catalog.configured or not isinstance(operation, Put) or not isinstance(operation.ref, DocumentRef):
        return None
    if not allows(operation.precondition, current):
        return None
    return conformed(overlay, catalog, operation.ref, Change(record, operation.value, changed=True))


def _run(
    records: _Records,
    overlay: Overlay,
    catalog: Catalog,
    branch: tuple[Operation, ...],
    revision: int,
    *,
    succeeded: bool,
) -> Outcome:
    staged: dict[bytes, bytes | None] = {}
    written: list[tuple[int, Write]] = []
    items: list[Item] = []
    read: list[tuple[int, bytes]] = []
    attached: Counter[int] = Counter()
    for position, step in enumerate(branch):
        operation = plain(step)
        key = catalog.key(operation.ref)
        if key is None:
            return Outcome(Code.COLLECTION_NOT_FOUND, revision, succeeded=succeeded, failed_operation=position)
        try:
            record = staged[key] if key in staged else records.get(key, operation.ref, catalog)
            current = current_revision(record)
            if isinstance(operation, Get):
                items.append(records.answer(record, current))
                if record is not None:
                    read.append((position, record))
                continue
            made = _made(overlay, catalog, operation, record, current)
            if made is not None and not isinstance(made, Refused):
                records.updates(len(made.after or b""))
            elif isinstance(operation, Put):
                records.writes(len(operation.value))
        except _TooMuch:
            return Outcome(Code.TRANSACTION_TOO_LARGE, revision, succeeded=succeeded, failed_operation=position)
        failed = None if allows(operation.precondition, current) else Code.PRECONDITION_FAILED
        if failed is None and isinstance(made, Refused):
            failed = made.code
            hand_refused(made, records.values)
        expiry: Expiry | None = None
        expiring = step if isinstance(step, Expiring) else None
        if failed is None and (expiring is not None or catalog.configured):
            number = 0 if expiring is None else expiring.lease
            found = catalog.expiry(operation.ref, expiring, record, attached=attached[number])
            attached[number] += record is None or expiry_of(record).lease != number
            failed, expiry = (found, None) if isinstance(found, Code) else (None, found)
        if failed is not None:
            return Outcome(failed, revision, current_revision=current, succeeded=succeeded, failed_operation=position)
        if not isinstance(operation, Delete) and made is not None and not isinstance(made, Refused):
            if made.changed or expiring is not None:
                staged[key] = updated_record(operation, made, revision, record, expiry)
            items.append(item_of(made, revision, current))
        elif isinstance(operation, Put):
            staged[key] = next_record(operation, revision, record, expiry or NEVER)
            items.append(Item(revision, created=record is None, previous_revision=current))
        else:
            staged[key] = None
            items.append(Item(0, previous_revision=current))
        if key in staged:  # else an update left the document as it was
            kind = change_kind(operation) if isinstance(operation, Update) else None
            written.append((position, Write(operation.ref, key, record, staged[key], kind)))
    # Only AFTER the last operation: an earlier `return` leaves the overlay as it was.
    refused = store(overlay, catalog, [write for _, write in written], records.cost_max)
    if refused is not None:
        by = () if refused.code is Code.TRANSACTION_TOO_LARGE else (refused_item(refused.by),)
        at_fault = written[refused.position][0]
        return Outcome(refused.code, revision, succeeded=succeeded, items=by, failed_operation=at_fault)
    records.hand_over(read, items)
    return Outcome(Code.OK, revision, succeeded=succeeded, items=tuple(items))
