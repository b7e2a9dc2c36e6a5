"""Every way a request can fail, as RFC 9457 problem details.

`KINDS` is the one table from a stable code to status, title, whether the same request may be retried, and what is known
of its outcome. `CODES` maps the node's exceptions to it. Texts never quote a document.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple

import orjson

from collectionstore_node.api.http.answers import Answer
from collectionstore_node.errors import (
    ChangePending,
    DataDirectoryRefused,
    HistoryGone,
    InsufficientStorage,
    InvalidPart,
    InvalidRequest,
    LeadershipTransferring,
    NodeError,
    NotLeader,
    NotNow,
    OutcomeUnknown,
    Overloaded,
    ReadTimedOut,
    RevisionNotReached,
    StorageFailed,
    TooLarge,
    TooStale,
    UpgradePending,
)

Effect = Literal["not_applied", "applied", "unknown"]

TYPE_PREFIX: Final = "urn:collectionstore:problem:"
RETRY_AFTER_S: Final = 1.0
"""When to retry at the earliest, where nothing better is known."""

_CONTENT_TYPE: Final = b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n"


class Kind(NamedTuple):
    """What all problems with one code have in common."""

    status: int
    title: str
    retryable: bool = False
    outcome: Effect = "not_applied"


KINDS: Final[dict[str, Kind]] = {
    # The request as an HTTP message
    "malformed_request": Kind(400, "The request is not valid HTTP"),
    "unknown_route": Kind(404, "There is nothing at this path"),
    "method_not_allowed": Kind(405, "The path does not take this method"),
    "request_timeout": Kind(408, "The request did not arrive in time", retryable=True),
    "length_required": Kind(411, "The body's length must be declared"),
    "too_large": Kind(413, "The body is too large"),
    "target_too_long": Kind(414, "The path and query are too long"),
    "unsupported_content_type": Kind(415, "The body is of the wrong type"),
    "unsupported_encoding": Kind(415, "The body is encoded in an unsupported way"),
    "expectation_failed": Kind(417, "The expectation cannot be met"),
    "misdirected_request": Kind(421, "The Host does not name this server"),
    "upgrade_required": Kind(426, "The path is served over another protocol"),
    "header_too_large": Kind(431, "The headers are too large or too many"),
    "client_closed": Kind(499, "The client closed the connection", retryable=True),
    "transfer_coding_unsupported": Kind(501, "The transfer coding is not supported"),
    "version_not_supported": Kind(505, "The version of HTTP is not supported"),
    # Its content
    "malformed_json": Kind(400, "The body is not valid JSON"),
    "duplicate_key": Kind(400, "An object names a key twice"),
    "number_out_of_range": Kind(400, "A number cannot be kept exactly"),
    "nesting_too_deep": Kind(400, "The body is nested too deeply"),
    "not_an_object": Kind(400, "The body must be a JSON object"),
    "reserved_field": Kind(400, "A field name is reserved"),
    "invalid_body": Kind(400, "The body does not have the expected fields"),
    "invalid_name": Kind(400, "A name is not allowed"),
    "invalid_parameter": Kind(400, "A query parameter has an invalid value"),
    "unknown_parameter": Kind(400, "A query parameter is not known"),
    "invalid_precondition": Kind(400, "A precondition header cannot be understood"),
    "invalid_idempotency_key": Kind(400, "The Idempotency-Key is not allowed"),
    "invalid_header": Kind(400, "A header has an invalid value"),
    "invalid_cursor": Kind(400, "The cursor does not belong to this listing"),
    "unauthorized": Kind(401, "A valid credential is missing"),
    "not_logged_in": Kind(409, "The request shows no token that can be logged out"),
    "too_many_attempts": Kind(429, "Too many attempts failed", retryable=True),
    "forbidden": Kind(403, "Not allowed"),
    "profiling_disabled": Kind(403, "Profiles are not allowed on this member"),
    "invalid_query": Kind(400, "The query does not have the expected form"),
    "invalid_filter": Kind(400, "The filter is not one"),
    "invalid_pipeline": Kind(400, "The pipeline is not one"),
    "invalid_expression": Kind(400, "The expression is not one"),
    "invalid_sort": Kind(400, "The order is not one"),
    "invalid_projection": Kind(400, "The projection is not one"),
    "invalid_update": Kind(400, "The update is not one"),
    "invalid_index": Kind(400, "The index is not one"),
    "invalid_ttl": Kind(400, "The time to live is not one"),
    "invalid_options": Kind(400, "The options are not those of a collection"),
    "invalid_schema": Kind(400, "The schema is not one"),
    "invalid_hint": Kind(400, "The hint names no index that this query can use"),
    # The state of its target
    "collection_not_found": Kind(404, "There is no such collection"),
    "document_not_found": Kind(404, "There is no such document"),
    "key_not_found": Kind(404, "There is no such key"),
    "index_not_found": Kind(404, "There is no such index"),
    "index_exists": Kind(409, "The index exists already"),
    "unique_violation": Kind(409, "Another document has the same values in a unique index"),
    "index_entries": Kind(422, "The document has too many values for an index"),
    "too_many_indexes": Kind(422, "The collection has too many indexes"),
    "collection_exists": Kind(409, "The collection exists already"),
    "options_differ": Kind(409, "The collection exists with other options"),
    "schema_violation": Kind(422, "The schema of the collection does not allow the document"),
    "schema_too_costly": Kind(422, "The document is too large for the schema of the collection"),
    "id_not_allowed": Kind(422, "The collection takes no new document with this ID"),
    "sequence_taken": Kind(409, "The next IDs of the sequence are taken", retryable=True),
    "sequence_exhausted": Kind(422, "The sequence of the collection has ended"),
    "document_exists": Kind(409, "The document exists already"),
    "precondition_failed": Kind(412, "A precondition does not hold"),
    "lease_not_found": Kind(404, "There is no such lease"),
    "lease_full": Kind(422, "The lease has too many records"),
    "too_many_leases": Kind(422, "There are too many leases"),
    "lock_not_found": Kind(404, "The lock is free"),
    "lock_held": Kind(409, "Another one holds the lock", retryable=True),
    "lock_not_held": Kind(409, "The lock is not held under this token"),
    "patch_test_failed": Kind(409, "A test of the patch does not hold"),
    "update_failed": Kind(422, "The update does not fit the document"),
    "update_too_large": Kind(422, "The updated document would be too large"),
    "update_too_costly": Kind(422, "The update would take too many steps"),
    "not_attempted": Kind(424, "An earlier operation of the bulk failed", retryable=True),
    "query_too_costly": Kind(422, "The query would read too much"),
    "query_memory_exceeded": Kind(422, "The query needs too much memory"),
    "expression_failed": Kind(422, "An expression does not fit the values of a document"),
    "result_too_large": Kind(422, "The answer would be too large"),
    "sort_key_too_long": Kind(422, "A value is too long to sort by"),
    "transaction_too_large": Kind(422, "The transaction reads or writes too many bytes"),
    "too_many_errors": Kind(422, "Too many lines of the import failed"),
    "trailer_mismatch": Kind(422, "The import is not what was exported"),
    "transaction_conflict": Kind(409, "What the transaction has read is no longer so", retryable=True),
    "invalid_ticket": Kind(400, "This is no ticket of a write"),
    "settled": Kind(409, "The request was settled before it was applied"),
    "idempotency_key_reused": Kind(422, "The Idempotency-Key came with another request before"),
    # Watches
    "invalid_token": Kind(400, "The token is not one"),
    "future_revision": Kind(400, "The revision is not reached yet"),
    "foreign_token": Kind(410, "The token is of another cluster"),
    "consumer_not_found": Kind(404, "There is no such consumer"),
    "consumer_exists": Kind(409, "The consumer exists already, and is another one"),
    "too_many_consumers": Kind(422, "The cluster has too many consumers"),
    "invalid_consumer": Kind(400, "The consumer is not one"),
    "invalid_position": Kind(409, "The consumer cannot stand there"),
    # Access control
    "user_not_found": Kind(404, "There is no such user"),
    "role_not_found": Kind(404, "There is no such role"),
    "token_not_found": Kind(404, "There is no such token"),
    "invalid_access": Kind(422, "The user, role, token or configuration is not allowed"),
    "role_in_use": Kind(409, "The role is in use"),
    "access_lockout": Kind(409, "No one could administer the store"),
    # The past
    "history_gone": Kind(410, "What was changed since this revision is not kept any more"),
    "revision_not_reached": Kind(504, "The member has not applied this revision in time", retryable=True),
    # Backups
    "compacted": Kind(410, "The log begins behind this index"),
    # Membership
    "already_bootstrapped": Kind(409, "The cluster is bootstrapped already"),
    "configuration_changed": Kind(409, "The configuration is no longer the expected one"),
    "stale_epoch": Kind(409, "Another operator has taken over"),
    "epoch_out_of_range": Kind(400, "The epoch is out of range"),
    "invalid_member": Kind(400, "A member's name or address is not allowed"),
    "name_in_use": Kind(409, "Another node with this name is alive", retryable=True),
    "node_removed": Kind(409, "The node was removed and never returns"),
    "already_member": Kind(409, "The node is a member already"),
    "already_voter": Kind(409, "The node votes already"),
    "not_a_learner": Kind(409, "The node is not a learner"),
    "not_a_voter": Kind(409, "The node does not vote"),
    "not_a_member": Kind(409, "The node is not a member"),
    "change_pending": Kind(409, "The membership cannot change right now", retryable=True),
    # Not now: retry later
    "profile_running": Kind(409, "A profile is being taken already", retryable=True),
    "no_leader": Kind(503, "No leader could take the request", retryable=True),
    "overloaded": Kind(503, "The node has too much to do", retryable=True),
    "leadership_transferring": Kind(503, "Leadership is being handed over", retryable=True),
    "upgrade_pending": Kind(503, "The cluster is being upgraded", retryable=True),
    "unavailable": Kind(503, "The node cannot serve this now", retryable=True),
    "not_ready": Kind(503, "No linearizable read works here now", retryable=True),
    "too_stale": Kind(503, "The node's state may be older than the read allows", retryable=True),
    "read_timeout": Kind(504, "The read was not confirmed in time", retryable=True),
    "outcome_unknown": Kind(504, "It is not known whether the request took effect", outcome="unknown"),
    "insufficient_storage": Kind(507, "A member is short of disk space; reads and deletes work"),
    # The node's own faults
    "storage_failed": Kind(500, "The node's disk failed and the node is stopping", outcome="unknown"),
    "internal_error": Kind(500, "The node made a mistake", outcome="unknown"),
}

CODES: Final[dict[type[NodeError], str]] = {
    NotLeader: "no_leader",
    Overloaded: "overloaded",
    InsufficientStorage: "insufficient_storage",
    ChangePending: "change_pending",
    LeadershipTransferring: "leadership_transferring",
    ReadTimedOut: "read_timeout",
    RevisionNotReached: "revision_not_reached",
    TooStale: "too_stale",
    UpgradePending: "upgrade_pending",
    NotNow: "unavailable",
    OutcomeUnknown: "outcome_unknown",
    StorageFailed: "storage_failed",
    DataDirectoryRefused: "storage_failed",
    NodeError: "internal_error",
}

_OTHER_INVALID: Final = Kind(400, "The request cannot be carried out")


class Problem(Exception):
    """An error response, raised as an exception; `members` are added to the body, `headers` are whole header lines.

    `retryable` and `outcome` override `KINDS`. `revision` is that of the command, if one was applied and refused.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        headers: bytes = b"",
        revision: int | None = None,
        retryable: bool | None = None,
        outcome: Effect | None = None,
        retry_after_s: float = RETRY_AFTER_S,
        **members: object,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.headers = headers
        self.revision = revision
        self.retryable = retryable
        self.outcome = outcome
        self.retry_after_s = retry_after_s
        self.members = members


def problem_of(error: NodeError, *, safe_to_repeat: bool) -> Problem:
    """Return the problem for `error`.

    `safe_to_repeat` says that a retry of the request cannot take effect twice.
    """
    if type(error) is Overloaded:
        # First: under overload most requests end here, and refusing must cost far less than serving.
        return Problem("overloaded", str(error), retry_after_s=error.retry_after_s)
    if isinstance(error, TooLarge):
        return Problem(error.code, error.detail, limit_bytes=error.limit_bytes)
    if isinstance(error, InvalidPart):
        return Problem(error.code, error.detail, errors=[{"pointer": error.pointer, "detail": error.detail}])
    if isinstance(error, HistoryGone):
        return Problem(error.code, error.detail, oldest_revision=error.oldest)
    if isinstance(error, InvalidRequest):
        return Problem(error.code, error.detail)
    if isinstance(error, RevisionNotReached):
        return Problem(
            "revision_not_reached", str(error), asked_revision=error.revision, applied_revision=error.applied
        )
    code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
    if isinstance(error, OutcomeUnknown):
        advice = "repeat it with the same Idempotency-Key" if safe_to_repeat else "read back before repeating it"
        return Problem(code, f"{error}; {advice}", retryable=safe_to_repeat)
    if KINDS[code].status == 500:
        return Problem(code, "see the node's log")
    return Problem(code, str(error))


def render(problem: Problem, *, request_id: str, revision: int) -> Answer:
    """Return the problem as `application/problem+json`.

    `revision` is the node's, used if no command was applied.
    """
    kind = KINDS.get(problem.code, _OTHER_INVALID)
    retryable = kind.retryable if problem.retryable is None else problem.retryable
    body: dict[str, object] = {
        "type": TYPE_PREFIX + problem.code,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "instance": f"urn:collectionstore:request:{request_id}",
        "code": problem.code,
        "retryable": retryable,
        "outcome": problem.outcome or kind.outcome,
        "request_id": request_id,
    }
    headers = b"%sX-Revision: %d\r\nX-Request-Id: %s\r\n%s" % (
        _CONTENT_TYPE,
        revision if problem.revision is None else problem.revision,
        request_id.encode(),
        problem.headers,
    )
    if kind.status in (429, 503) or (kind.status == 504 and retryable):
        body["retry_after_ms"] = round(problem.retry_after_s * 1000)
        # Whole seconds (RFC 9110 10.2.3), and never 0, which says: at once.
        headers += b"Retry-After: %d\r\n" % max(1, math.ceil(problem.retry_after_s))
    if problem.revision is not None:
        body["revision"] = problem.revision
    return Answer(kind.status, headers, orjson.dumps(body | problem.members))
