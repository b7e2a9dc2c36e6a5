"""How the outcome of a write becomes an answer, or a problem"""

from __future__ import annotations

from typing import Final

from collectionstore_node.api.http.answers import JSON, Answer
from collectionstore_node.api.http.idempotency import REPLAYED
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.indexes.definition import INDEXES_MAX
from collectionstore_node.indexes.encoding import DEPTH_MAX
from collectionstore_node.indexes.entries import ENTRIES_MAX, VALUES_MAX
from collectionstore_node.service.results import Code, Outcome, refused_index
from collectionstore_node.service.updates import STEPS_MAX

_REFUSALS: Final = {
    Code.COLLECTION_NOT_FOUND: ("collection_not_found", "create it first: PUT /api/v1/collections/{name}"),
    Code.COLLECTION_EXISTS: ("collection_exists", "use PUT to accept an existing one"),
    Code.INDEX_NOT_FOUND: ("index_not_found", "the collection has no index of this name"),
    Code.INDEX_EXISTS: ("index_exists", "drop it first to change it"),
    Code.TOO_MANY_INDEXES: ("too_many_indexes", f"a collection has at most {INDEXES_MAX} indexes; drop another one"),
    Code.INVALID_INDEX: ("invalid_index", "the members of the cluster do not accept this definition"),
    Code.LEVEL_TOO_LOW: ("upgrade_pending", "not all members of the cluster are of a version that can do this"),
    Code.INVALID_TRANSACTION: ("invalid_body", "the transaction contradicts itself or has too many operations"),
    Code.INVALID_UPDATE: ("invalid_update", "the update is none that this version knows"),
    Code.UPDATE_TYPE: ("update_failed", "a value has another type than the update takes"),
    Code.UPDATE_PATH: ("update_failed", "there is nothing at the path of the update, and nothing can be made there"),
    Code.UPDATE_RANGE: ("update_failed", "a number would leave 64 bits, or not be finite"),
    Code.UPDATE_CONFLICT: ("update_failed", "two parts of the update change the same place"),
    Code.UPDATE_TEST: ("patch_test_failed", "the value at the path is another one"),
    Code.UPDATE_SIZE: ("update_too_large", "beyond the limit of documents in bytes, or nested more than 100 deep"),
    Code.UPDATE_COST: ("update_too_costly", f"it would take more than {STEPS_MAX} steps"),
    Code.READ_COLLECTION_NOT_FOUND: ("collection_not_found", "the collection of a query does not exist"),
    Code.INVALID_QUERY: ("invalid_filter", "the filter of a query is none that this version knows"),
    Code.SETTLED: ("settled", "its fate was decided before it came to be applied: it never will be"),
    Code.IDEMPOTENCY_KEY_REUSED: ("idempotency_key_reused", "send a new key with a new request"),
}


def refusal(outcome: Outcome, *, absent: str) -> Problem:
    """Return the problem for an outcome other than OK; `absent` is the code of a missing target."""
    code = outcome.code
    facts = outcome_lines(outcome)
    if code is Code.NOT_FOUND:
        return Problem(
            absent, "it does not exist, so there was nothing to do", headers=facts, revision=outcome.revision
        )
    if code is Code.PRECONDITION_FAILED:
        current = outcome.current_revision
        detail = f"the current revision is {current}" if current else "the target does not exist"
        return Problem(
            "precondition_failed", detail, headers=facts, current_revision=current, revision=outcome.revision
        )
    if code is Code.CONDITION_FAILED:
        return Problem(
            "precondition_failed",
            "the document does not match the condition",
            headers=facts,
            current_revision=outcome.current_revision,
            revision=outcome.revision,
        )
    if code is Code.UNIQUE_VIOLATION or code is Code.INDEX_ENTRIES:
        return _refused_by_index(outcome, facts)
    name, detail = _REFUSALS[code]
    return Problem(name, detail, headers=facts, revision=outcome.revision)


def _refused_by_index(outcome: Outcome, facts: bytes) -> Problem:
    by = refused_index(outcome)
    if outcome.code is Code.UNIQUE_VIOLATION:
        # Not `id`: many answers name the document by it that was to be written.
        detail = f"the document with the ID in `conflicting_id` has the same values in the unique index {by.name!r}"
        revision = outcome.revision
        return Problem(
            "unique_violation", detail, headers=facts, revision=revision, index=by.name, conflicting_id=by.other
        )
    detail = (
        f"in the index {by.name!r} a document has at most {ENTRIES_MAX} entries, "
        f"with its arrays and objects at most {VALUES_MAX} values, and values are nested at most {DEPTH_MAX} deep"
    )
    return Problem("index_entries", detail, headers=facts, revision=outcome.revision, index=by.name)


def outcome_lines(outcome: Outcome) -> bytes:
    """Return the header lines that every answer to an applied command carries."""
    return REPLAYED if outcome.replayed else b""


def written(status: int, outcome: Outcome, body: bytes) -> Answer:
    """Return the answer to a write that left its target at the command's revision."""
    revision = outcome.revision
    headers = b'%sETag: "%d"\r\nX-Revision: %d\r\n' % (JSON, revision, revision)
    return Answer(status, headers + REPLAYED if outcome.replayed else headers, body)


def removed(outcome: Outcome, body: bytes) -> Answer:
    """Return the answer to a write that removed its target."""
    return Answer(200, b"%sX-Revision: %d\r\n%s" % (JSON, outcome.revision, outcome_lines(outcome)), body)
