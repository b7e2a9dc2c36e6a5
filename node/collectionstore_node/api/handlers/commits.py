"""The end of an interactive transaction: its writes, if what it has read is still so."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from collectionstore_node.api.handlers.commit_bodies import CommitBody, check_commit, commit_of, read_positions
from collectionstore_node.api.handlers.tickets import decided
from collectionstore_node.api.handlers.transactions import (
    now,
    placed,
    refused,
    request_key,
    result_label,
    result_of,
    time_left,
    transaction_answer,
    written_at,
)
from collectionstore_node.api.handlers.write_answers import outcome_lines
from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.json_bodies import decode
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service import Store
from collectionstore_node.service.operations import Commit, DocumentRef, KeyRef, plain
from collectionstore_node.service.results import Code, Outcome, conflicting

_OF_READS: Final = frozenset(
    {
        Code.TRANSACTION_CONFLICT,
        Code.CHANGES_UNKNOWN,
        Code.REVISION_AHEAD,
        Code.QUERY_TOO_COSTLY,
        Code.INVALID_QUERY,
        Code.READ_COLLECTION_NOT_FOUND,
    }
)


async def commit(call: Call) -> Answer:
    """End an interactive transaction: 200 with the results of its writes, 409 if what it has read is no longer so."""
    key, api = request_key(call), call.api
    items_max = api.store.limits.transaction_items_max
    rules = Rules(api.limits.depth_max, names_depth=0, entries_max=2 * items_max)
    body = decode(await call.json_text(api.limits.transaction_bytes_max, rules), CommitBody)
    if len(body.reads) > items_max or len(body.writes) > items_max:
        raise Problem("invalid_body", f"reads and writes have at most {items_max} items each")
    action, positions = commit_of(body, api.limits.key_bytes_max), read_positions(body)
    store, began = api.store, now()
    await store.queries.checked(partial(check_commit, action, positions), timeout_s=call.timeout_s)
    with placed("reads", positions):
        outcome = await decided(call, action, key, timeout_s=time_left(call, began))
    if isinstance(outcome, Answer):
        return outcome
    api.metrics.transaction(result_label(outcome))
    if outcome.code is not Code.OK:
        raise commit_refusal(store, action, outcome, positions)
    results = b",".join(map(result_of, map(plain, action.writes), outcome.items))
    return transaction_answer(outcome, b'{"revision":%d,"results":[%s]}' % (outcome.revision, results))


def commit_refusal(store: Store, action: Commit, outcome: Outcome, positions: Sequence[int]) -> Problem:
    """Return the problem of a commit that changed nothing; `positions` are those of its reads in the body."""
    code, position = outcome.code, outcome.failed_operation
    if position is None or code not in _OF_READS:
        operation = None if position is None else f"writes[{position}]"
        return refused(outcome, operation, written_at(store, action.writes, position))
    where = f"reads[{positions[position]}]"
    facts = outcome_lines(outcome)
    if code is Code.TRANSACTION_CONFLICT:
        return Problem(
            "transaction_conflict",
            f"{where} would read something else now; read again, and repeat the transaction",
            headers=facts,
            revision=outcome.revision,
            operation=where,
            conflict=_conflict(action, outcome, position),
        )
    if code is Code.CHANGES_UNKNOWN:
        return Problem(
            "transaction_conflict",
            f"what has changed since the revision of {where} is no longer kept, or is too much to look at; read again, "
            "and repeat the transaction, or state what the query has `seen`",
            headers=facts,
            revision=outcome.revision,
            operation=where,
        )
    if code is Code.REVISION_AHEAD:
        detail = f"{where}: there is no such revision yet; give the `revision` of the answer"
        return Problem("invalid_body", detail, headers=facts, revision=outcome.revision, operation=where)
    return refused(outcome, where)


def _conflict(action: Commit, outcome: Outcome, position: int) -> dict[str, object]:
    """Return which document or value is another one: names and revisions, no content."""
    current = outcome.items[0].revision
    if position >= len(action.targets):
        query = action.queries[position - len(action.targets)].query
        return {"collection": query.collection, "id": conflicting(outcome) or None, "current_revision": current}
    match action.targets[position].ref:
        case DocumentRef(collection, name):
            return {"collection": collection, "id": name, "current_revision": current}
        case KeyRef(bucket, key):
            return {"bucket": bucket, "key": key, "current_revision": current}
