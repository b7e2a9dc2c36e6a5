"""Transactions: compare, then run one of two branches, all at one revision."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import orjson

from collectionstore_node.api.handlers.tickets import decided
from collectionstore_node.api.handlers.transaction_bodies import (
    TransactionBody,
    check_guarded,
    check_updates,
    compare_positions,
    has_updates,
    transaction_of,
)
from collectionstore_node.api.handlers.write_answers import Written, item_warning, outcome_lines, refusal, written_by
from collectionstore_node.api.http.answers import JSON, Answer
from collectionstore_node.api.http.call import ApiContext, Call
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.json_bodies import AT_ONCE_BYTES_MAX, decode
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.options import TIMEOUT_MIN_S
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service import Store
from collectionstore_node.service.commits import TOO_COSTLY, QueryTooCostly
from collectionstore_node.service.limits import (
    TRANSACTION_COST_MAX,
    TRANSACTION_READ_BYTES_MAX,
    TRANSACTION_WRITE_BYTES_MAX,
    check_transaction_items,
)
from collectionstore_node.service.operations import (
    ANY,
    DocumentRef,
    Get,
    GuardedTransaction,
    Put,
    Transaction,
    TransactionStep,
    Update,
    plain,
)
from collectionstore_node.service.results import Code, Item, Outcome

_OF_COMPARES: Final = frozenset(
    {Code.COMPARES_TOO_LARGE, Code.QUERY_TOO_COSTLY, Code.INVALID_QUERY, Code.READ_COLLECTION_NOT_FOUND}
)


async def post(call: Call) -> Answer:
    """Run a transaction. 200 says which branch ran; a failed precondition of an operation is 412."""
    key, api = request_key(call), call.api
    text = await call.json_text(api.limits.transaction_bytes_max, transaction_rules(api))
    body = parse_body(text, api)
    transaction = transaction_of(body, api.limits.key_bytes_max)
    store, began = api.store, now()
    if isinstance(transaction, GuardedTransaction):
        positions = compare_positions(body)
        checked, guarded = partial(check_guarded, transaction, positions), transaction
        await store.queries.checked(checked, timeout_s=call.timeout_s)
        with placed("compare", positions):
            outcome = await decided(call, guarded, key, timeout_s=time_left(call, began))
        if isinstance(outcome, Answer):
            return outcome
        api.metrics.transaction(result_label(outcome))
        if outcome.code is not Code.OK:
            raise transaction_refusal(outcome, store, guarded.transaction, positions)
        return transaction_answer(outcome, transaction_results(guarded.transaction, outcome))
    if has_updates(transaction):
        await store.queries.checked(partial(check_updates, transaction), timeout_s=call.timeout_s)
    if len(text) > AT_ONCE_BYTES_MAX:
        # What follows, encoding and proposing it, takes as long as what came before.
        await asyncio.sleep(0)
    outcome = await decided(call, transaction, key, timeout_s=time_left(call, began))
    if isinstance(outcome, Answer):
        return outcome
    api.metrics.transaction(result_label(outcome))
    if outcome.code is not Code.OK:
        raise transaction_refusal(outcome, store, transaction)
    return transaction_answer(outcome, transaction_results(transaction, outcome))


def request_key(call: Call) -> str | None:
    """Return the idempotency key of a transaction; it takes no preconditions. Raises `Problem`."""
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "a transaction states its conditions in its body")
    return idempotency_key(headers)


def now() -> float:
    """Return the time by the clock of the event loop, in seconds: it is the one that timeouts are counted by."""
    return asyncio.get_running_loop().time()


def time_left(call: Call, began: float) -> float:
    """Return what is left of a request's time, in seconds; `began` is by `now`."""
    return max(call.timeout_s - (now() - began), TIMEOUT_MIN_S)


def transaction_answer(outcome: Outcome, body: bytes) -> Answer:
    """Return the answer of a transaction that was carried out."""
    return Answer(200, b"%sX-Revision: %d\r\n%s" % (JSON, outcome.revision, outcome_lines(outcome)), body)


@contextmanager
def placed(name: str, positions: Sequence[int]) -> Iterator[None]:
    """Say which item of the list `name` a query that is too costly is, in the terms of the body."""
    try:
        yield
    except QueryTooCostly as error:
        where = f"{name}[{positions[error.position]}]"
        raise Problem(error.code, f"{where}: {error.detail}", operation=where) from None


def transaction_rules(api: ApiContext) -> Rules:
    """Return what the JSON of a transaction may look like."""
    # The number of entries is bounded BEFORE they are decoded: two mebibytes can hold 150,000 of them. Names are those
    # of documents and of filters, which have `_id`.
    entries_max = 3 * api.store.limits.transaction_items_max
    return Rules(api.limits.depth_max, names_depth=0, entries_max=entries_max)


def parse_body(text: bytes, api: ApiContext) -> TransactionBody:
    """Return the body in checked JSON. Raises `Problem` or `InvalidRequest`."""
    body = decode(text, TransactionBody)
    # BEFORE the conversion, whose cost is per entry; the store checks it again with everything else.
    check_transaction_items(
        api.store.limits, compare=len(body.compare), then=len(body.then), otherwise=len(body.otherwise)
    )
    return body


def parse_transaction(text: bytes, api: ApiContext) -> Transaction:
    """Return the transaction in checked JSON, for callers that take none with queries. Raises as `parse_body`."""
    made = transaction_of(parse_body(text, api), api.limits.key_bytes_max)
    if isinstance(made, GuardedTransaction):
        raise Problem("invalid_body", "a compare with a filter is not for streams; use POST /api/v1/transactions")
    return made


def result_label(outcome: Outcome) -> str:
    """Return the label under which a transaction is counted."""
    match outcome.code:
        case Code.OK:
            return "then" if outcome.succeeded else "else"
        case Code.PRECONDITION_FAILED | Code.TRANSACTION_CONFLICT | Code.CHANGES_UNKNOWN:
            return "conflict"
        case _:
            return "refused"


def transaction_refusal(
    outcome: Outcome, store: Store, transaction: Transaction, positions: Sequence[int] = ()
) -> Problem:
    """Return the problem of a transaction that was applied and changed nothing.

    `positions` are those of its compares in the body, where they are not the same.
    """
    branch, position = "then" if outcome.succeeded else "else", outcome.failed_operation
    if outcome.code in _OF_COMPARES and position is not None:
        branch, position = "compare", positions[position] if positions else position
    operation = None if position is None else f"{branch}[{position}]"
    steps = transaction.then if outcome.succeeded else transaction.otherwise
    return refused(outcome, operation, None if branch == "compare" else written_at(store, steps, position))


def written_at(store: Store, steps: Sequence[TransactionStep], position: int | None) -> Written | None:
    """Return what the operation at `position` writes, None if it writes no document."""
    return written_by(store, plain(steps[position])) if position is not None and position < len(steps) else None


def refused(outcome: Outcome, operation: str | None, document: Written | None = None) -> Problem:
    """Return the problem of a refused transaction; `operation` says where in the body its reason is.

    `document` is what was to be written there.
    """
    if outcome.code in (Code.TRANSACTION_TOO_LARGE, Code.COMPARES_TOO_LARGE):
        problem = Problem(
            "transaction_too_large",
            f"up to and with {operation}; allowed in a transaction: {TRANSACTION_READ_BYTES_MAX} bytes of values that "
            f"are read by get, {TRANSACTION_WRITE_BYTES_MAX} bytes of values that are written, and "
            f"{TRANSACTION_COST_MAX} bytes of stored values that are compared, read, replaced or deleted, "
            "with what indexes of documents cost",
            headers=outcome_lines(outcome),
            revision=outcome.revision,
        )
    elif outcome.code is Code.QUERY_TOO_COSTLY:
        detail = f"{operation}: {TOO_COSTLY}"
        problem = Problem("query_too_costly", detail, headers=outcome_lines(outcome), revision=outcome.revision)
    else:
        problem = refusal(outcome, absent="document_not_found", document=document)
    if operation is not None:
        problem.members["operation"] = operation
    return problem


def transaction_results(transaction: Transaction, outcome: Outcome) -> bytes:
    """Return the body of the answer: which branch ran, and the result of each of its operations."""
    branch = transaction.then if outcome.succeeded else transaction.otherwise
    return b'{"succeeded":%s,"revision":%d,"results":[%s]}' % (
        b"true" if outcome.succeeded else b"false",
        outcome.revision,
        b",".join(result_of(plain(step), item) for step, item in zip(branch, outcome.items, strict=True)),
    )


def result_of(step: TransactionStep, item: Item) -> bytes:
    """Return the result of an operation as JSON."""
    match step:
        case Get() if item.value is None and item.revision:
            # A replay: the value is not kept, and what is stored now may be another one.
            return b'{"revision":%d}' % item.revision
        case Get(ref=DocumentRef()):
            # Joined as text: the stored document is compact JSON already.
            return b'{"revision":%d,"document":%s}' % (item.revision, item.value or b"null")
        case Get():
            value = None if item.value is None else base64.b64encode(item.value).decode()
            return orjson.dumps({"revision": item.revision, "value": value})
        case Put():
            return orjson.dumps({"revision": item.revision, "created": item.created} | item_warning(item))
        case Update() if item.revision:
            modified = item.revision != item.previous_revision
            facts = {"revision": item.revision, "created": item.created, "modified": modified}
            return orjson.dumps(facts | item_warning(item))
        case _:
            return orjson.dumps({"revision": 0, "deleted": item.previous_revision != 0})
