"""How the outcome of a write becomes an answer, or a problem"""

from __future__ import annotations

from typing import Final, NamedTuple

from collectionstore_node.api.http.answers import JSON, Answer
from collectionstore_node.api.http.idempotency import REPLAYED
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.indexes.definition import INDEXES_MAX
from collectionstore_node.indexes.encoding import DEPTH_MAX
from collectionstore_node.indexes.entries import ENTRIES_MAX, VALUES_MAX
from collectionstore_node.service import Store
from collectionstore_node.service.limits import DEFAULTS_BYTES_MAX, SCHEMA_DEPTH_MAX, SCHEMA_STEPS_MAX
from collectionstore_node.service.lives import LEASE_RECORDS_MAX, LEASES_MAX
from collectionstore_node.service.operations import DocumentRef, Insert, Put, Update
from collectionstore_node.service.results import (
    Code,
    Item,
    Outcome,
    item_warned,
    refused_document,
    refused_index,
    warned,
)
from collectionstore_node.service.updates import STEPS_MAX

QUOTA_RETRY_AFTER_S: Final = 60.0
"""For clients that know nothing of a refusal but its status: until documents are deleted no retry succeeds."""
SCHEMA_WARNING: Final = b"X-Schema-Warning: the schema of the collection does not allow the document\r\n"

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
    Code.SCHEMA_VIOLATION: ("schema_violation", "its schema does not allow the document; nothing was changed"),
    Code.SCHEMA_COST: ("schema_too_costly", f"checking it could take more than {SCHEMA_STEPS_MAX} steps"),
    Code.SCHEMA_DEFAULTS: (
        "schema_violation",
        f"the defaults of its schema would add more than {DEFAULTS_BYTES_MAX} bytes to it, or nest it more than "
        f"{SCHEMA_DEPTH_MAX} deep",
    ),
    Code.INVALID_OPTIONS: ("invalid_options", "the members of the cluster do not accept these options"),
    Code.OPTIONS_DIFFER: ("options_differ", "change them: PATCH /api/v1/collections/{name}"),
    Code.ID_REFUSED: (
        "id_not_allowed",
        "its option `ids` decides: with sequence, new documents get their IDs from POST alone; with client, from you",
    ),
    Code.SEQUENCE_TAKEN: ("sequence_taken", "documents have them; the sequence goes on behind those that were tried"),
    Code.SEQUENCE_EXHAUSTED: ("sequence_exhausted", "it has given its last number"),
    Code.LEASE_NOT_FOUND: ("lease_not_found", "there is no such lease, or it has ended"),
    Code.LEASE_FULL: ("lease_full", f"at most {LEASE_RECORDS_MAX} records are attached to a lease; grant another one"),
    Code.TOO_MANY_LEASES: ("too_many_leases", f"there are at most {LEASES_MAX} leases; revoke some, or share them"),
    Code.INVALID_EXPIRY: ("invalid_ttl", "the members of the cluster do not accept this time to live"),
    Code.ACCESS_DOCUMENT: (
        "forbidden",
        "the document, as it is or as it would be, is not one that you may write; or the lease has such attached",
    ),
    Code.ACCESS_FIELDS: (
        "forbidden",
        "the request names, or would change, fields that are not yours to see or to write",
    ),
    Code.INVALID_RESTRICTION: ("forbidden", "the members of the cluster do not accept the rules of your roles"),
    Code.READ_COLLECTION_NOT_FOUND: ("collection_not_found", "the collection of a query does not exist"),
    Code.INVALID_QUERY: ("invalid_filter", "the filter of a query is none that this version knows"),
    Code.OUTCOME_UNKNOWN: ("settled", "its fate was asked when it was no longer known: it is not applied now"),
    Code.SETTLED: ("settled", "its fate was decided before it came to be applied: it never will be"),
    Code.IDEMPOTENCY_KEY_REUSED: ("idempotency_key_reused", "send a new key with a new request"),
}


class Written(NamedTuple):
    """What was to be written, for the answer of a schema that does not allow it."""

    store: Store
    collection: str
    text: bytes | None
    """The document; None if only the outcome may have it."""


def written_by(store: Store, action: object) -> Written | None:
    """Return what an action writes, None if it writes no document."""
    if isinstance(action, Put) and isinstance(action.ref, DocumentRef):
        return Written(store, action.ref.collection, action.value)
    if isinstance(action, Insert):
        return Written(store, action.collection, action.value)
    return Written(store, action.ref.collection, None) if isinstance(action, Update) else None


def refusal(outcome: Outcome, *, absent: str, document: Written | None = None) -> Problem:
    """Return the problem for an outcome other than OK; `absent` is the code of a missing target."""
    code = outcome.code
    if code is Code.SCHEMA_VIOLATION:
        return _refused_by_schema(outcome, document)
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
    if code is Code.QUOTA_EXCEEDED:
        return _refused_by_quota(outcome, facts)
    if code is Code.UNIQUE_VIOLATION or code is Code.INDEX_ENTRIES:
        return _refused_by_index(outcome, facts)
    name, detail = _REFUSALS[code]
    return Problem(name, detail, headers=facts, revision=outcome.revision)


def _refused_by_schema(outcome: Outcome, document: Written | None) -> Problem:
    name, detail = _REFUSALS[outcome.code]
    problem = Problem(name, detail, headers=outcome_lines(outcome), revision=outcome.revision)
    if document is None:
        return problem
    text = refused_document(outcome) or document.text
    found = None if text is None else document.store.options.violations(document.collection, text)
    if found is None:
        problem.detail += "; it is too large, or too many are refused just now, to say what is wrong"
    elif found:
        problem.members["errors"] = [one._asdict() for one in found]
    else:
        problem.detail += "; what this member knows now allows it: the schema is changing"
    return problem


def _refused_by_index(outcome: Outcome, facts: bytes) -> Problem:
    by = refused_index(outcome)
    if not by.name:
        # For those who see a part of the collection: which index and document it is, is none of that.
        code = "unique_violation" if outcome.code is Code.UNIQUE_VIOLATION else "index_entries"
        return Problem(
            code, "an index of the collection refuses the document", headers=facts, revision=outcome.revision
        )
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


def _refused_by_quota(outcome: Outcome, facts: bytes) -> Problem:
    by = refused_index(outcome)
    return Problem(
        "quota_exceeded",
        f"its option {by.name} is {by.other}, and it would have more; writes that make it no larger, and deletes, work",
        headers=facts,
        revision=outcome.revision,
        retry_after_s=QUOTA_RETRY_AFTER_S,
        quota=by.name,
        limit=int(by.other),
    )


def outcome_lines(outcome: Outcome) -> bytes:
    """Return the header lines that every answer to an applied command carries."""
    lines = REPLAYED if outcome.replayed else b""
    return lines + SCHEMA_WARNING if outcome.items and warned(outcome) else lines


def item_warning(item: Item) -> dict[str, bool]:
    """Return the member of a result that says that a schema does not allow what was stored; none if it does."""
    return {"schema_warning": True} if item_warned(item) else {}


def written(status: int, outcome: Outcome, body: bytes) -> Answer:
    """Return the answer to a write that left its target at the command's revision."""
    revision = outcome.revision
    headers = b'%sETag: "%d"\r\nX-Revision: %d\r\n' % (JSON, revision, revision)
    if outcome.items or outcome.replayed:
        headers += outcome_lines(outcome)
    return Answer(status, headers, body)


def removed(outcome: Outcome, body: bytes) -> Answer:
    """Return the answer to a write that removed its target."""
    return Answer(200, b"%sX-Revision: %d\r\n%s" % (JSON, outcome.revision, outcome_lines(outcome)), body)
