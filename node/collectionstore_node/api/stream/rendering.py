"""Outcomes, reads and problems as answers of a stream, from the same parts as the responses of the REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectionstore_node.api.handlers.transactions import transaction_refusal, transaction_results
from collectionstore_node.api.handlers.write_answers import outcome_lines, refusal, written_by
from collectionstore_node.api.http.bodies import DEFAULT_CONTENT_TYPE
from collectionstore_node.api.http.idempotency import REPLAYED
from collectionstore_node.api.http.overload_answers import OverloadAnswers
from collectionstore_node.api.http.problems import Problem, render
from collectionstore_node.api.stream.codec import Codec
from collectionstore_node.api.stream.conversion import read_failed, read_unchanged
from collectionstore_node.api.stream.operations import Answer, ConditionalRead, GetValue
from collectionstore_node.errors import Overloaded
from collectionstore_node.service import Store
from collectionstore_node.service.operations import DocumentRef, Insert, Put, Transaction
from collectionstore_node.service.results import Code, Outcome, ReadResult, inserted_id, warned

if TYPE_CHECKING:
    from collectionstore_node.service.operations import Delete


def put_answer(tag: int, action: Put | Insert, outcome: Outcome, made: str | None, store: Store) -> Answer:
    """Return the answer to a write of one target; `made` is the ID of an inserted document. Raises `Problem`."""
    if made is not None and outcome.code is Code.OK:
        made = inserted_id(outcome) or made
    if outcome.code is Code.OK:
        status = 201 if outcome.created else 200
        answer = Answer(tag=tag, status=status, revision=outcome.revision, replayed=outcome.replayed, id=made)
        if outcome.items:
            answer.schema_warning = warned(outcome)
        return answer
    if made is not None and outcome.code is Code.PRECONDITION_FAILED:
        raise document_exists(outcome, made)
    absent = "document_not_found" if isinstance(action, Insert) else _absent(action)
    raise refusal(outcome, absent=absent, document=written_by(store, action))


def removed_answer(tag: int, outcome: Outcome, *, absent: str) -> Answer:
    """Return the answer to a write that removes its target. Raises `Problem`."""
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent=absent)
    return Answer(tag=tag, status=200, revision=outcome.revision, replayed=outcome.replayed)


def delete_answer(tag: int, action: Delete, outcome: Outcome) -> Answer:
    """Return the answer to a delete. Raises `Problem`."""
    return removed_answer(tag, outcome, absent=_absent(action))


def created_answer(tag: int, outcome: Outcome, *, if_exists: bool | None) -> Answer | None:
    """Return the answer to the creation of a collection; None if what it found must be read. Raises `Problem`."""
    if outcome.code is Code.OK:
        return Answer(tag=tag, status=201, revision=outcome.revision, replayed=outcome.replayed)
    if outcome.code is not Code.COLLECTION_EXISTS:
        raise refusal(outcome, absent="collection_not_found")
    current = outcome.current_revision
    if if_exists is False:
        raise collection_present(outcome)
    if not current:
        return None  # an outcome of feature level 1
    return Answer(tag=tag, status=200, revision=outcome.revision, etag=current, replayed=outcome.replayed)


def transaction_answer(tag: int, action: Transaction, outcome: Outcome, codec: Codec, store: Store) -> Answer:
    """Return the answer to a transaction. Raises `Problem`."""
    if outcome.code is not Code.OK:
        raise transaction_refusal(outcome, store, action)
    body = codec.json(transaction_results(action, outcome))
    return Answer(tag=tag, status=200, revision=outcome.revision, replayed=outcome.replayed, body=body)


def read_answer(operation: ConditionalRead, found: ReadResult, codec: Codec) -> Answer:
    """Return the answer to a single read, under its conditions. Raises `Problem`."""
    raw = type(operation) is GetValue
    stored = found.stored
    if stored is None:
        if raw:
            raise Problem("key_not_found", "there is no value under this key")
        raise Problem("document_not_found", "there is no document with this id")
    etag = stored.revision
    if read_failed(operation, etag):
        raise Problem("precondition_failed", f"the current revision is {etag}", current_revision=etag)
    if read_unchanged(operation, etag):
        return Answer(tag=operation.tag, status=304, revision=found.revision, etag=etag)
    if raw:
        kind = stored.content_type or DEFAULT_CONTENT_TYPE
        return Answer(
            tag=operation.tag, status=200, revision=found.revision, etag=etag, value=stored.value, content_type=kind
        )
    body = codec.json(stored.value)
    return Answer(tag=operation.tag, status=200, revision=found.revision, etag=etag, body=body)


def problem_answer(tag: int, problem: Problem, codec: Codec, *, request_id: str, revision: int) -> Answer:
    """Return the answer that holds a problem; `revision` is the node's, used if no command was applied."""
    rendered = render(problem, request_id=request_id, revision=revision)
    return Answer(
        tag=tag,
        status=rendered.code,
        revision=revision if problem.revision is None else problem.revision,
        replayed=REPLAYED in problem.headers,
        body=codec.json(rendered.content),
    )


def overload_answer(
    tag: int, error: Overloaded, answers: OverloadAnswers, codec: Codec, *, request_id: str, revision: int
) -> Answer:
    """Return the answer to an operation that was refused for overload, from what was rendered for others."""
    content = answers.answer(error, request_id, revision).content
    return Answer(tag=tag, status=503, revision=revision, body=codec.json(content))


def document_exists(outcome: Outcome, made: str) -> Problem:
    """Return the problem of an insert whose document is there. Possible with a key only: the key derives the id."""
    return Problem(
        "document_exists",
        "a request with this Idempotency-Key created it long ago",
        headers=outcome_lines(outcome),
        revision=outcome.revision,
        id=made,
    )


def collection_present(outcome: Outcome) -> Problem:
    """Return the problem of a collection that must not exist."""
    problem = Problem(
        "precondition_failed", "the collection exists", headers=outcome_lines(outcome), revision=outcome.revision
    )
    if outcome.current_revision:
        problem.members["current_revision"] = outcome.current_revision
    return problem


def _absent(action: Put | Delete) -> str:
    return "document_not_found" if isinstance(action.ref, DocumentRef) else "key_not_found"
