"""The limits of the store: the size of an operation and of its result, and the number of concurrent operations.

They bound what an accepted operation costs every replica in memory, disk and time on the event loop. What a
transaction reads is known only where it is applied, and bounded there (`statemachine.costs`). Limits on a request as a
message (its target, its headers, how its body arrives) belong to the front end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from collectionstore_node.errors import InvalidPart, InvalidRequest, TooLarge
from collectionstore_node.schemas import DEFAULTS_BYTES_MAX, SCHEMA_BYTES_MAX
from collectionstore_node.service.access_requests import (
    ConfigureAccess,
    CreateToken,
    DeleteRole,
    DeleteUser,
    ListRoles,
    ListTokens,
    ListUsers,
    PutRole,
    PutUser,
    RevokeToken,
    RotateToken,
    SetPassword,
)
from collectionstore_node.service.operations import (
    Commit,
    Expiring,
    FindDocuments,
    GrantLease,
    GuardedTransaction,
    KeepLease,
    List,
    ListCollections,
    ListDocuments,
    ListKeys,
    ListLeases,
    Operation,
    Put,
    ReadLease,
    RevokeLease,
    Touch,
    Transaction,
    Update,
    ValidateDocuments,
)
from collectionstore_node.statemachine.access_checks import check_access
from collectionstore_node.statemachine.access_commands import AccessAction
from collectionstore_node.statemachine.admissible import (
    RESERVED_NAMES,
    CommandLimits,
    check_commit,
    check_counts,
    check_guarded,
    check_life,
    check_size,
    check_transaction,
    check_update_size,
    has_reserved_name,
)
from collectionstore_node.statemachine.commits import COUNT_MAX
from collectionstore_node.statemachine.costs import (
    QUERY_SEEN_MAX,
    SCHEMA_DEPTH_MAX,
    SCHEMA_STEPS_MAX,
    TRANSACTION_COST_MAX,
    TRANSACTION_READ_BYTES_MAX,
    TRANSACTION_WRITE_BYTES_MAX,
    UPDATE_BYTES_MAX,
)

__all__ = [
    "COUNT_MAX",
    "DEFAULTS_BYTES_MAX",
    "QUERY_SEEN_MAX",
    "RESERVED_NAMES",
    "SCHEMA_BYTES_MAX",
    "SCHEMA_DEPTH_MAX",
    "SCHEMA_STEPS_MAX",
    "TRANSACTION_COST_MAX",
    "TRANSACTION_READ_BYTES_MAX",
    "TRANSACTION_WRITE_BYTES_MAX",
    "UPDATE_BYTES_MAX",
    "StoreLimits",
    "check_operation",
    "check_transaction_items",
    "has_reserved_name",
]


VALIDATED_MAX: Final = 100_000
"""Documents that one request checks against a schema."""
VALIDATED_SHOWN_MAX: Final = 100
"""Of how many it says what is wrong."""


class StoreLimits(CommandLimits, frozen=True, kw_only=True):
    """Bounds on one operation and on all of them together."""

    list_items_max: int = 1_000
    """Items of a page."""
    list_bytes_max: int = 4 << 20
    """A page ends after the item that reaches this size."""
    query_documents_max: int = 1_000_000
    query_bytes_max: int = 1 << 30
    """What a query may read that must see all of its matches: one that sorts, counts, or collects values."""
    query_memory_bytes_max: int = 32 << 20
    """What a query that sorts may keep."""
    distinct_values_max: int = 10_000
    inflight_requests_max: int = 1_024
    """Requests being served; probes are not counted."""
    inflight_stream_writes_max: int = 2_048
    """Writes of streams, beside them: as many as operations of streams are served at a time."""

    @property
    def inflight_writes_max(self) -> int:
        """How many of them may be writes: some places are left for reads, which writes that wait must not shut out."""
        return self.inflight_requests_max - self.inflight_requests_max // 8


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
    check_counts(limits, compare=compare, then=then, otherwise=otherwise)


def _check_expiring(request: Expiring, limits: StoreLimits) -> None:
    check_life(request.ttl_ms, request.lease)
    _CHECKS[type(request.write)](request.write, limits)


def _check_touch(request: Touch, limits: StoreLimits) -> None:
    check_life(request.ttl_ms, request.lease)


def _check_grant(request: GrantLease, limits: StoreLimits) -> None:
    check_life(request.ttl_ms or -1, 0)


def _check_lease(request: KeepLease | RevokeLease | ReadLease, limits: StoreLimits) -> None:
    check_life(0, request.lease)


def _check_validation(request: ValidateDocuments, limits: StoreLimits) -> None:
    for name, given, least, most in (
        ("limit", request.limit, 1, VALIDATED_MAX),
        ("show", request.shown, 0, VALIDATED_SHOWN_MAX),
    ):
        if not least <= given <= most:
            raise InvalidPart("invalid_query", f"/{name}", f"{name} is {given}; allowed are {least} to {most}")
    if request.draft is not None and len(request.draft) > limits.document_bytes_max:
        bytes_max = limits.document_bytes_max
        raise TooLarge(f"the document has {len(request.draft)} bytes; at most {bytes_max}", limit_bytes=bytes_max)


def _check_access(request: AccessAction, limits: StoreLimits) -> None:
    check_access(request)


def _check_list(
    request: List | FindDocuments | ListLeases | ListUsers | ListRoles | ListTokens, limits: StoreLimits
) -> None:
    if not 1 <= request.limit <= limits.list_items_max:
        raise InvalidRequest("invalid_parameter", f"limit is {request.limit}; allowed are 1 to {limits.list_items_max}")


# By type and not by `match`: a read, which has no limit, costs one dictionary lookup.
_CHECKS: Final[dict[type, Callable[[Any, StoreLimits], None]]] = {
    Put: check_size,
    Transaction: check_transaction,
    GuardedTransaction: check_guarded,
    Commit: check_commit,
    Update: check_update_size,
    ListCollections: _check_list,
    ListDocuments: _check_list,
    ListKeys: _check_list,
    FindDocuments: _check_list,
    ListLeases: _check_list,
    Expiring: _check_expiring,
    Touch: _check_touch,
    GrantLease: _check_grant,
    KeepLease: _check_lease,
    RevokeLease: _check_lease,
    ReadLease: _check_lease,
    ValidateDocuments: _check_validation,
    ListUsers: _check_list,
    ListRoles: _check_list,
    ListTokens: _check_list,
    PutUser: _check_access,
    DeleteUser: _check_access,
    PutRole: _check_access,
    DeleteRole: _check_access,
    CreateToken: _check_access,
    RotateToken: _check_access,
    RevokeToken: _check_access,
    ConfigureAccess: _check_access,
    SetPassword: _check_access,
}
