"""The errors of the client: one tree, whose problems come from the `code` of the store's answers.

Every error says `retryable` (the same call may succeed if it is made again, and making it again is safe) and `outcome`:
`not_applied`, `applied`, or `unknown` for a write that may have been applied, or may still be. No text and no attribute
holds what a document has in it, a value or a credential.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

Outcome: TypeAlias = Literal["not_applied", "applied", "unknown"]


class CollectionStoreError(Exception):
    """The base of all errors of this client."""

    def __init__(self, text: str, *, outcome: Outcome = "not_applied", retryable: bool = False) -> None:
        super().__init__(text)
        self.outcome: Outcome = outcome
        """What became of the write; of a read `not_applied`."""
        self.retryable = retryable
        """Whether the same call may succeed if it is made again, and making it again is safe."""
        self.request_id: str | None = None
        """What the logs of the store call the request."""


class ConfigurationError(CollectionStoreError, ValueError):
    """An option, a connection string or a file of credentials is wrong; the text says which, and what is allowed."""


class InvalidArgument(CollectionStoreError, ValueError):
    """An argument is wrong; nothing was sent."""


class InvalidOperation(CollectionStoreError):
    """The client is used in a way that it does not allow; nothing was sent."""


class ClientClosed(InvalidOperation):
    """The client, cursor, watch or transaction was closed before."""


class WrongEventLoop(InvalidOperation):
    """The client belongs to another event loop, which it was first used in, or to the process before a fork."""


class ConnectionFailure(CollectionStoreError, ConnectionError):
    """No member could be reached, or the connection was lost before the answer."""


class IncompatibleServer(CollectionStoreError):
    """The server speaks another protocol, or is no Collection Store; the text has both versions."""


class DeadlineExceeded(CollectionStoreError, TimeoutError):
    """The call's `timeout` is over; `last_error` is what the last attempt met, if it met anything."""

    def __init__(self, text: str, *, outcome: Outcome, last_error: CollectionStoreError | None = None) -> None:
        super().__init__(text, outcome=outcome, retryable=outcome == "not_applied")
        self.last_error = last_error


class CorruptValue(CollectionStoreError):
    """A large value is incomplete, or a chunk of it is not what its manifest says."""


class ProblemError(CollectionStoreError):
    """The store refused, with a problem (RFC 9457)."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.code = str(problem.get("code", "unknown"))
        """The stable name of what is wrong."""
        self.status = int(problem.get("status", 500))
        """The status of HTTP."""
        self.detail = str(problem.get("detail", ""))
        self.details = {name: value for name, value in problem.items() if name not in _COMMON}
        """The members that only this kind of problem has, such as `index` or `errors`."""
        outcome = problem.get("outcome")
        known: Outcome = outcome if outcome in ("not_applied", "applied", "unknown") else "unknown"
        where = "; ".join(
            f"{one.get('pointer') or '/'}: {one.get('detail', '')}"
            for one in problem.get("errors", ())
            if isinstance(one, Mapping)
        )
        text = f"{self.code} ({self.status}): {self.detail}" + (f" [{where}]" if where else "")
        super().__init__(text, outcome=known, retryable=problem.get("retryable") is True)
        self.request_id = problem.get("request_id")
        retry_after = problem.get("retry_after_ms")
        self.retry_after_s = retry_after / 1000 if isinstance(retry_after, int | float) else None
        """How long the store asks to wait."""


_COMMON: Final = frozenset(
    ("type", "title", "status", "detail", "instance", "code", "outcome", "retryable", "request_id", "retry_after_ms")
)


class BadRequest(ProblemError):
    """400 and its like: the request is wrong, and always will be."""


class TooLarge(BadRequest):
    """413: a document, value, update, transaction or target is larger than is allowed."""


class Unauthorized(ProblemError):
    """401: credentials are missing, wrong or over."""


class Forbidden(ProblemError):
    """403: the caller has no right to do this."""


class NotFound(ProblemError):
    """404: what is named is not there."""


class CollectionNotFound(NotFound):
    """The collection does not exist: `create_collection` makes it."""


class Conflict(ProblemError):
    """409: the state does not allow it."""


class DuplicateKey(Conflict):
    """A document with this ID, or with these values of a unique index, exists.

    `details` has `index` and `conflicting_id` of a unique index.
    """


class TransactionConflict(Conflict):
    """What the transaction has read was changed meanwhile: begin again. `with_transaction` does so."""


class LockHeld(Conflict):
    """Another client holds the lock; `details["holder"]` says which."""


class LockNotHeld(Conflict):
    """The lock is not held with this token any more."""


class HistoryLost(ProblemError):
    """410: what was asked for is not kept any more. It is final: read everything anew."""


class PreconditionFailed(ProblemError):
    """412: `if_revision`, `if_exists` or `when` does not hold; `current_revision` is 0 for an absent target."""

    @property
    def current_revision(self) -> int | None:
        """The revision that the target has, if the store said it."""
        revision = self.details.get("current_revision")
        return revision if isinstance(revision, int) else None


class Unprocessable(ProblemError):
    """422: it is well formed, and cannot be done."""


class SchemaViolation(Unprocessable):
    """The schema of the collection does not allow the document; `details["errors"]` says where."""


class UpdateFailed(Unprocessable):
    """The update does not fit the document."""


class QueryFailed(Unprocessable):
    """The query costs more than is allowed, or meets values that do not fit it."""


class Unavailable(ProblemError):
    """503 and its like: not now. Nothing was applied."""


class Overloaded(Unavailable):
    """The store has too much to do: wait for `retry_after_s`."""


class OutcomeUnknown(ProblemError):
    """504: the write may have been applied, or may still be."""


class InsufficientStorage(ProblemError):
    """507: a member is short of disk space, or the cluster has reached its quota."""


class ServerError(ProblemError):
    """500: a fault of the server."""


class BulkWriteError(CollectionStoreError):
    """Some writes of a bulk failed; `errors` has (position in the bulk, error), `result` what was done."""

    def __init__(self, errors: Sequence[tuple[int, CollectionStoreError]], result: object) -> None:
        first = f"; the first, at {errors[0][0]}: {errors[0][1]}" if errors else ""
        unknown = any(error.outcome == "unknown" for _, error in errors)
        super().__init__(f"{len(errors)} writes of the bulk failed{first}", outcome="unknown" if unknown else "applied")
        self.errors = list(errors)
        self.result = result


class ImageNotKept(CollectionStoreError):
    """The write was applied by an earlier attempt, and the document that it should answer is not kept any more."""

    def __init__(self, revision: int) -> None:
        super().__init__(
            f"the write was applied at revision {revision}; the document it should answer is not kept any more",
            outcome="applied",
        )
        self.revision = revision


_BY_CODE: Final[dict[str, type[ProblemError]]] = {
    "collection_not_found": CollectionNotFound,
    "document_exists": DuplicateKey,
    "unique_violation": DuplicateKey,
    "transaction_conflict": TransactionConflict,
    "lock_held": LockHeld,
    "lock_not_held": LockNotHeld,
    "history_gone": HistoryLost,
    "foreign_token": HistoryLost,
    "schema_violation": SchemaViolation,
    "update_failed": UpdateFailed,
    "update_too_large": UpdateFailed,
    "update_too_costly": UpdateFailed,
    "patch_test_failed": UpdateFailed,
    "query_too_costly": QueryFailed,
    "query_memory_exceeded": QueryFailed,
    "sort_key_too_long": QueryFailed,
    "expression_failed": QueryFailed,
    "result_too_large": QueryFailed,
    "overloaded": Overloaded,
    "outcome_unknown": OutcomeUnknown,
}
_BY_STATUS: Final[dict[int, type[ProblemError]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    410: HistoryLost,
    412: PreconditionFailed,
    413: TooLarge,
    414: TooLarge,
    422: Unprocessable,
    424: Unavailable,
    429: Overloaded,
    500: ServerError,
    503: Unavailable,
    504: Unavailable,
    507: InsufficientStorage,
}


def problem_error(problem: Mapping[str, Any]) -> ProblemError:
    """Return the error of a problem: by its code, else by its status, else `BadRequest` or `ServerError`."""
    code, status = str(problem.get("code", "")), problem.get("status", 500)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status if isinstance(status, int) else 500)
    if kind is None:
        kind = BadRequest if isinstance(status, int) and 400 <= status < 500 else ServerError
    return kind(problem)
