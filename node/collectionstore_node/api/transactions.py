"""One-shot transactions: compare, then one of two branches, all at one revision."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import orjson

from collectionstore_node.api.answers import JSON, Answer
from collectionstore_node.api.bodies import DEFAULT_CONTENT_TYPE, check_content_type
from collectionstore_node.api.idempotency import idempotency_key
from collectionstore_node.api.json_bodies import check_field_names
from collectionstore_node.api.limits import Limits
from collectionstore_node.api.names import bucket_name, check_key, collection_name
from collectionstore_node.api.ports import Call
from collectionstore_node.api.preconditions import write_precondition
from collectionstore_node.api.problems import Problem
from collectionstore_node.api.requests import read_request
from collectionstore_node.api.writes import outcome_lines, propose, refusal
from collectionstore_node.statemachine import commands
from collectionstore_node.statemachine.commands import (
    ANY,
    Code,
    CompareField,
    CompareOperator,
    DocumentRef,
    Item,
    KeyRef,
    Operation,
    Outcome,
    Precondition,
    Ref,
    Transaction,
)
from collectionstore_node.statemachine.transactions import invalid_reason


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A document by `collection` and `id`, or a raw value by `bucket` and `key`."""

    collection: str | None = None
    id: str | None = None
    bucket: str | None = None
    key: str | None = None


class Compare(Target, frozen=True, kw_only=True):
    """One guard; `operand` is a revision, a truth value for "exists", or base64 for the value of a raw key."""

    field: Literal["revision", "exists", "value"]
    operator: Literal["==", "!=", ">", "<"] = "=="
    operand: int | bool | str


class Guarded(Target, frozen=True, kw_only=True):
    """A write with its own precondition; a failing one fails the whole transaction."""

    if_revision: Annotated[int, msgspec.Meta(ge=1)] | None = None
    if_exists: bool | None = None


class Put(Guarded, frozen=True, kw_only=True, tag_field="op", tag="put"):
    """Store `document`, or `value` (base64) with its `content_type`."""

    document: dict[str, Any] | None = None
    value: str | None = None
    content_type: str | None = None


class Delete(Guarded, frozen=True, kw_only=True, tag_field="op", tag="delete"):
    """Remove the target; one that is not there is left so."""


class Get(Target, frozen=True, kw_only=True, tag_field="op", tag="get"):
    """Read the target at the transaction's revision."""


Step: TypeAlias = Put | Delete | Get


class TransactionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a transaction."""

    compare: list[Compare] = []
    then: list[Step] = []
    otherwise: list[Step] = msgspec.field(default_factory=list, name="else")


_OPERATORS: Final = {
    "==": CompareOperator.EQUAL,
    "!=": CompareOperator.NOT_EQUAL,
    ">": CompareOperator.GREATER,
    "<": CompareOperator.LESS,
}


async def post(call: Call) -> Answer:
    """Perform a transaction. 200 says which branch ran; a failed precondition of an operation is 412."""
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "a transaction states its conditions in `compare`")
    key = idempotency_key(headers)
    body = await read_request(call, TransactionBody, call.api.limits.transaction_bytes_max)
    transaction = _transaction(body, call.api.limits)
    outcome = await propose(call, transaction, key)
    call.api.metrics.transaction(_came_to(outcome))
    if outcome.code is not Code.OK:
        raise _refusal(outcome)
    return _answer(transaction, outcome)


def _transaction(body: TransactionBody, limits: Limits) -> Transaction:
    for name, items in (("compare", body.compare), ("then", body.then), ("else", body.otherwise)):
        if len(items) > limits.transaction_items_max:
            raise Problem("invalid_body", f"{name} has {len(items)} items; at most {limits.transaction_items_max}")
    transaction = Transaction(
        compare=tuple(_compare(one, f"compare[{at}]", limits) for at, one in enumerate(body.compare)),
        then=_branch(body.then, "then", limits),
        otherwise=_branch(body.otherwise, "else", limits),
    )
    wrong = invalid_reason(transaction)
    if wrong is not None:
        raise Problem("invalid_body", wrong.replace("otherwise", "else", 1))
    return transaction


def _branch(steps: Sequence[Step], name: str, limits: Limits) -> tuple[Operation, ...]:
    return tuple(_operation(step, f"{name}[{at}]", limits) for at, step in enumerate(steps))


def _operation(step: Step, path: str, limits: Limits) -> Operation:
    ref = _ref(step, path, limits)
    match step:
        case Get():
            return commands.Get(ref)
        case Delete():
            return commands.Delete(ref, _precondition(step))
        case Put() if isinstance(ref, DocumentRef):
            return commands.Put(ref, _document(step, path, limits), _precondition(step))
        case Put():
            kind = DEFAULT_CONTENT_TYPE if step.content_type is None else check_content_type(step.content_type)
            return commands.Put(ref, _value(step, path, limits), _precondition(step), kind)


def _ref(target: Target, path: str, limits: Limits) -> Ref:
    match target:
        case Target(collection=str(collection), id=str(name), bucket=None, key=None):
            return DocumentRef(collection_name(collection), check_key(name, limits.key_bytes_max, "document id"))
        case Target(collection=None, id=None, bucket=str(bucket), key=str(key)):
            return KeyRef(bucket_name(bucket), check_key(key, limits.key_bytes_max, "key"))
    raise Problem("invalid_body", f"{path}: name a target by collection and id, or by bucket and key")


def _precondition(step: Guarded) -> Precondition:
    if step.if_revision is None and step.if_exists is None:
        return ANY
    return Precondition(step.if_exists, None if step.if_revision is None else (step.if_revision,))


def _document(step: Put, path: str, limits: Limits) -> bytes:
    if step.document is None or step.value is not None or step.content_type is not None:
        raise Problem("invalid_body", f"{path}: to put a document give `document`, and neither value nor content_type")
    check_field_names(step.document)
    return _bounded(orjson.dumps(step.document), limits.document_bytes_max, path)


def _value(step: Put, path: str, limits: Limits) -> bytes:
    if step.value is None or step.document is not None:
        raise Problem("invalid_body", f"{path}: to put a raw value give `value` in base64, and no document")
    return _bounded(_base64(step.value, f"{path}.value"), limits.value_bytes_max, path)


def _bounded(data: bytes, bytes_max: int, path: str) -> bytes:
    if len(data) > bytes_max:
        raise Problem("too_large", f"{path}: {len(data)} bytes; at most {bytes_max}", limit_bytes=bytes_max)
    return data


def _base64(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Problem("invalid_body", f"{path}: not base64 with padding") from None


def _compare(guard: Compare, path: str, limits: Limits) -> commands.Compare:
    ref = _ref(guard, path, limits)
    operator = _OPERATORS[guard.operator]
    operand = guard.operand
    match guard.field:
        case "revision" if type(operand) is int and operand >= 0:
            return commands.Compare(ref, CompareField.REVISION, operator, operand)
        case "exists" if type(operand) is bool and guard.operator in ("==", "!="):
            return commands.Compare(ref, CompareField.EXISTS, operator, int(operand))
        case "value" if type(operand) is str and isinstance(ref, KeyRef):
            return commands.Compare(ref, CompareField.VALUE, operator, _base64(operand, f"{path}.operand"))
    raise Problem(
        "invalid_body",
        f"{path}: compare revision with a number of at least 0, exists (== or !=) with true or false, "
        "or the value of a raw key with base64",
    )


def _came_to(outcome: Outcome) -> str:
    """Return the word under which a transaction is counted."""
    match outcome.code:
        case Code.OK:
            return "then" if outcome.succeeded else "else"
        case Code.PRECONDITION_FAILED:
            return "conflict"
        case _:
            return "refused"


def _refusal(outcome: Outcome) -> Problem:
    problem = refusal(outcome, absent="document_not_found")
    if outcome.failed_operation is not None:
        branch = "then" if outcome.succeeded else "else"
        problem.members["operation"] = f"{branch}[{outcome.failed_operation}]"
    return problem


def _answer(transaction: Transaction, outcome: Outcome) -> Answer:
    branch = transaction.then if outcome.succeeded else transaction.otherwise
    body = b'{"succeeded":%s,"revision":%d,"results":[%s]}' % (
        b"true" if outcome.succeeded else b"false",
        outcome.revision,
        b",".join(_result(step, item) for step, item in zip(branch, outcome.items, strict=True)),
    )
    return Answer(200, b"%sX-Revision: %d\r\n%s" % (JSON, outcome.revision, outcome_lines(outcome)), body)


def _result(step: Operation, item: Item) -> bytes:
    match step:
        case commands.Get(ref=DocumentRef()):
            return b'{"revision":%d,"document":%s}' % (item.revision, item.value or b"null")
        case commands.Get():
            value = None if item.value is None else base64.b64encode(item.value).decode()
            return orjson.dumps({"revision": item.revision, "value": value})
        case commands.Put():
            return orjson.dumps({"revision": item.revision, "created": item.created})
        case _:
            return orjson.dumps({"revision": 0, "deleted": item.previous_revision != 0})
