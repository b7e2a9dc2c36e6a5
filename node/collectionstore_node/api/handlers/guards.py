"""The conditions of a transaction."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from collectionstore_node.api.handlers.targets import Target, base64_of, query_of, ref_of
from collectionstore_node.api.http.names import lock_name
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.limits import COUNT_MAX
from collectionstore_node.service.operations import LOCKS, CompareField, CompareOperator, Guard, KeyRef, QueryGuard, Ref


class Compare(Target, frozen=True, kw_only=True):
    """One guard; `operand` is a revision, a boolean for "exists", or base64 for the value of a raw key.

    With `filter` it is about the documents of `collection` that match, or about that with the `id`: whether one
    "exists", or their number, "count". In place of a target it may name a `lock`, whose revision is its fencing token.
    """

    lock: str | None = None

    field: Literal["revision", "exists", "value", "count"]
    operator: Literal["==", "!=", ">", "<"] = "=="
    operand: int | bool | str
    filter: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)

    @property
    def queries(self) -> bool:
        """Whether it is about what a filter finds."""
        return bool(self.filter) or self.field == "count"


_OPERATORS: Final = {
    "==": CompareOperator.EQUAL,
    "!=": CompareOperator.NOT_EQUAL,
    ">": CompareOperator.GREATER,
    "<": CompareOperator.LESS,
}


def _guarded(guard: Compare, path: str, key_bytes_max: int) -> Ref:
    if guard.lock is None:
        return ref_of(guard, path, key_bytes_max)
    if (guard.collection, guard.id, guard.bucket, guard.key) != (None,) * 4 or guard.field == "value":
        raise Problem("invalid_body", f"{path}: of a lock compare revision or exists, and name no other target")
    return KeyRef(LOCKS, lock_name(guard.lock))


def guard_of(guard: Compare, path: str, key_bytes_max: int) -> Guard:
    """Return the condition on a target; `path` is where it is in the body. Raises `Problem`."""
    ref = _guarded(guard, path, key_bytes_max)
    operator = _OPERATORS[guard.operator]
    operand = guard.operand
    match guard.field:
        # By exact type: a JSON `true` is an int to Python, and must not pass as revision 1.
        case "revision" if type(operand) is int and operand >= 0:
            return Guard(ref, CompareField.REVISION, operator, operand)
        case "exists" if type(operand) is bool and guard.operator in ("==", "!="):
            return Guard(ref, CompareField.EXISTS, operator, int(operand))
        case "value" if type(operand) is str and isinstance(ref, KeyRef):
            return Guard(ref, CompareField.VALUE, operator, base64_of(operand, f"{path}.operand"))
    raise Problem(
        "invalid_body",
        f"{path}: compare revision with a number of at least 0, exists (== or !=) with true or false, "
        "or the value of a raw key with base64",
    )


def query_guard_of(guard: Compare, path: str, key_bytes_max: int) -> QueryGuard:
    """Return the condition on what a filter finds. As `guard_of`."""
    if guard.lock is not None:
        raise Problem("invalid_body", f"{path}: of a lock compare revision or exists, without a filter")
    query = query_of(guard, bytes(guard.filter), path, key_bytes_max)
    operand = guard.operand
    match guard.field:
        # By exact type, as in `guard_of`.
        case "count" if type(operand) is int and 0 <= operand <= COUNT_MAX:
            return QueryGuard(query, _OPERATORS[guard.operator], operand)
        case "exists" if type(operand) is bool and guard.operator in ("==", "!="):
            exists = operand is (guard.operator == "==")
            return QueryGuard(query, CompareOperator.GREATER if exists else CompareOperator.EQUAL, 0)
    raise Problem(
        "invalid_body",
        f"{path}: with a filter compare exists (== or !=) with true or false, or count with a number from 0 to "
        f"{COUNT_MAX}",
    )
