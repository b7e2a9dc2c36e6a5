"""The limits of the store: the size of an operation and of its result, and the number of concurrent operations.

They bound what an accepted operation costs every replica in memory, disk and time on the event loop. Limits on a
request as a message (its target, its headers, how its body arrives) belong to the front end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from collectionstore_node.errors import InvalidRequest, TooLarge
from collectionstore_node.service.operations import (
    DocumentRef,
    List,
    ListCollections,
    ListDocuments,
    ListKeys,
    Operation,
    Put,
    Transaction,
    TransactionStep,
)
from collectionstore_node.statemachine.transactions import invalid_reason


class StoreLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on one operation and on all of them together."""

    document_bytes_max: int = 1 << 20
    """The JSON text of a document as it is stored."""
    value_bytes_max: int = 1 << 20
    """A raw value."""
    transaction_items_max: int = 128
    """Entries in each of `compare`, `then` and `else`."""
    list_items_max: int = 1_000
    """Items of a page."""
    list_bytes_max: int = 4 << 20
    """A page ends after the item that reaches this size."""
    inflight_requests_max: int = 1_024
    """Requests being served; probes are not counted."""


def check_operation(operation: Operation, limits: StoreLimits) -> None:
    """Reject an operation that exceeds a limit or contradicts itself. Raises `InvalidRequest` or `TooLarge`."""
    check = _CHECKS.get(type(operation))
    if check is not None:
        check(operation, limits)


def check_transaction_items(limits: StoreLimits, *, compare: int, then: int, otherwise: int) -> None:
    """Reject a transaction with too many entries in one of its lists. Raises `InvalidRequest`.

    Public, because a front end must check BEFORE it converts the entries: a body of 2 MiB can hold 100,000 of them, and
    converting those would block the event loop.
    """
    for name, size in (("compare", compare), ("then", then), ("else", otherwise)):
        if size > limits.transaction_items_max:
            raise InvalidRequest("invalid_body", f"{name} has {size} items; at most {limits.transaction_items_max}")


def _check_put(put: Put, limits: StoreLimits) -> None:
    bytes_max = limits.document_bytes_max if type(put.ref) is DocumentRef else limits.value_bytes_max
    if len(put.value) > bytes_max:
        what = "document" if type(put.ref) is DocumentRef else "value"
        raise TooLarge(f"the {what} has {len(put.value)} bytes; at most {bytes_max}", limit_bytes=bytes_max)


def _check_list(request: List, limits: StoreLimits) -> None:
    if not 1 <= request.limit <= limits.list_items_max:
        raise InvalidRequest("invalid_parameter", f"limit is {request.limit}; allowed are 1 to {limits.list_items_max}")


def _check_transaction(transaction: Transaction, limits: StoreLimits) -> None:
    then, otherwise = transaction.then, transaction.otherwise
    check_transaction_items(limits, compare=len(transaction.compare), then=len(then), otherwise=len(otherwise))
    _check_steps("then", then, limits)
    _check_steps("else", otherwise, limits)
    # The state machine rejects these too, but only after they have used an entry of the log.
    reason = invalid_reason(transaction)
    if reason is not None:
        raise InvalidRequest("invalid_body", reason.replace("otherwise", "else", 1))


def _check_steps(branch: str, steps: Sequence[TransactionStep], limits: StoreLimits) -> None:
    for position, step in enumerate(steps):
        if type(step) is Put:
            try:
                _check_put(step, limits)
            except TooLarge as error:
                raise TooLarge(f"{branch}[{position}]: {error.detail}", limit_bytes=error.limit_bytes) from None


# By type and not by `match`: a read, which has no limit, costs one dictionary lookup.
_CHECKS: Final[dict[type, Callable[[Any, StoreLimits], None]]] = {
    Put: _check_put,
    Transaction: _check_transaction,
    ListCollections: _check_list,
    ListDocuments: _check_list,
    ListKeys: _check_list,
}
