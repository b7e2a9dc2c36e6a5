"""One-shot transactions: compare, then run one of two branches, all at one revision."""

from __future__ import annotations

import asyncio
import base64

import orjson

from collectionstore_node.api.handlers.transaction_bodies import (
    DOCUMENT_DEPTH,
    TransactionBody,
    check_updates,
    has_updates,
    transaction_of,
)
from collectionstore_node.api.handlers.write_answers import item_warning, outcome_lines, refusal, written_by
from collectionstore_node.api.http.answers import JSON, Answer
from collectionstore_node.api.http.call import ApiContext, Call
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.json_bodies import AT_ONCE_BYTES_MAX, decode
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service import Store
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
    Put,
    Transaction,
    TransactionStep,
    Update,
    plain,
)
from collectionstore_node.service.results import Code, Item, Outcome


async def post(call: Call) -> Answer:
    """Run a transaction. 200 says which branch ran; a failed precondition of an operation is 412."""
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "a transaction states its conditions in `compare`")
    key = idempotency_key(headers)
    api = call.api
    text = await call.json_text(api.limits.transaction_bytes_max, transaction_rules(api))
    transaction = parse_transaction(text, api)
    if has_updates(transaction):
        await api.store.queries.checked(lambda: check_updates(transaction), timeout_s=call.timeout_s)
    if len(text) > AT_ONCE_BYTES_MAX:
        # What follows, encoding and proposing it, takes as long as what came before.
        await asyncio.sleep(0)
    outcome = await api.store.transact(transaction, key=key, timeout_s=call.timeout_s)
    api.metrics.transaction(result_label(outcome))
    if outcome.code is not Code.OK:
        raise transaction_refusal(outcome, api.store, transaction)
    return Answer(
        200,
        b"%sX-Revision: %d\r\n%s" % (JSON, outcome.revision, outcome_lines(outcome)),
        transaction_results(transaction, outcome),
    )


def transaction_rules(api: ApiContext) -> Rules:
    """Return what the JSON of a transaction may look like."""
    # The number of entries is bounded BEFORE they are decoded: two mebibytes can hold 150,000 of them.
    entries_max = 3 * api.store.limits.transaction_items_max
    return Rules(api.limits.depth_max, names_depth=DOCUMENT_DEPTH, entries_max=entries_max)


def parse_transaction(text: bytes, api: ApiContext) -> Transaction:
    """Return the transaction in checked JSON. Raises `Problem` or `InvalidRequest`."""
    body = decode(text, TransactionBody)
    # BEFORE the conversion, whose cost is per entry; the store checks it again with everything else.
    check_transaction_items(
        api.store.limits, compare=len(body.compare), then=len(body.then), otherwise=len(body.otherwise)
    )
    return transaction_of(body, api.limits.key_bytes_max)


def result_label(outcome: Outcome) -> str:
    """Return the label under which a transaction is counted."""
    match outcome.code:
        case Code.OK:
            return "then" if outcome.succeeded else "else"
        case Code.PRECONDITION_FAILED:
            return "conflict"
        case _:
            return "refused"


def transaction_refusal(outcome: Outcome, store: Store, transaction: Transaction) -> Problem:
    """Return the problem of a transaction that was applied and changed nothing."""
    branch = "then" if outcome.succeeded else "else"
    if outcome.code is Code.COMPARES_TOO_LARGE:
        branch = "compare"
    operation = None if outcome.failed_operation is None else f"{branch}[{outcome.failed_operation}]"
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
    else:
        steps, at = transaction.then if outcome.succeeded else transaction.otherwise, outcome.failed_operation
        written = written_by(store, plain(steps[at])) if at is not None and at < len(steps) else None
        problem = refusal(outcome, absent="document_not_found", document=written)
    if operation is not None:
        problem.members["operation"] = operation
    return problem


def transaction_results(transaction: Transaction, outcome: Outcome) -> bytes:
    """Return the body of the answer: which branch ran, and the result of each of its operations."""
    branch = transaction.then if outcome.succeeded else transaction.otherwise
    return b'{"succeeded":%s,"revision":%d,"results":[%s]}' % (
        b"true" if outcome.succeeded else b"false",
        outcome.revision,
        b",".join(_result(plain(step), item) for step, item in zip(branch, outcome.items, strict=True)),
    )


def _result(step: TransactionStep, item: Item) -> bytes:
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
